//go:build linux

package qemu

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/kintoun/kintoun/compute/driver"
	"golang.org/x/sys/unix"
)

const (
	cgroupRoot = "/sys/fs/cgroup"
	// memoryOverheadMiB is what QEMU may use beside its guest's memory, its translation buffer included.
	memoryOverheadMiB = 512
	// maxTasks bounds QEMU's threads beside the processors'.
	maxTasks = 256
)

// prepareCgroup makes the directory that servers' cgroups are made in, and says where it is; empty where there is none.
func prepareCgroup(dir string) string {
	if dir == "none" {
		return ""
	}
	if dir == "" {
		var fs unix.Statfs_t
		if unix.Statfs(cgroupRoot, &fs) != nil || fs.Type != unix.CGROUP2_SUPER_MAGIC || os.Geteuid() != 0 {
			return ""
		}
		dir = filepath.Join(cgroupRoot, "kintoun")
	}
	return dir
}

// makeCgroup makes the server's cgroup with its bounds; empty where that is not possible. Controllers that the host does
// not delegate bound nothing.
func (d *Driver) makeCgroup(want driver.Server) string {
	if d.cgroup == "" {
		return ""
	}
	dir := filepath.Join(d.cgroup, want.ID)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return ""
	}
	for _, controller := range []string{"+memory", "+pids"} {
		_ = write(filepath.Join(filepath.Dir(d.cgroup), "cgroup.subtree_control"), controller)
		_ = write(filepath.Join(d.cgroup, "cgroup.subtree_control"), controller)
	}
	_ = write(filepath.Join(dir, "memory.max"), strconv.FormatInt(int64(want.MemoryMiB+memoryOverheadMiB)<<20, 10))
	_ = write(filepath.Join(dir, "pids.max"), strconv.Itoa(maxTasks+want.VCPUs))
	return dir
}

func write(path, value string) error {
	file, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }()
	_, err = file.WriteString(value)
	return err
}

// removeCgroup removes the cgroup of a server that ended, and that of all servers with the last. The threads of a process
// leave their cgroup a moment after the process has ended.
func (d *Driver) removeCgroup(id string) {
	if d.cgroup == "" {
		return
	}
	for range 100 {
		if err := unix.Rmdir(filepath.Join(d.cgroup, id)); !errors.Is(err, unix.EBUSY) {
			break
		}
		time.Sleep(5 * time.Millisecond) //nolint:forbidigo // the kernel gives no sign
	}
	_ = os.Remove(d.cgroup)
}
