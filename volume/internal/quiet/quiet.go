//go:build linux

// Package quiet keeps processes from writing to volumes while something is done to several of them at one moment.
//
//	err := quiet.Do(ctx, []string{"/dev/group/a", "/dev/group/b"}, func() error { return snapshots(a, b) })
//
// It needs to be root, or the writers' user, and /proc; it does not know of writers in the kernel, such as mounted file systems, nor of
// this process's own. Who is stopped goes on when the call returns or this process is killed. Errors are the system's. Calls may be made
// at once.
package quiet

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Do runs do while no other process writes to the files or block devices: those that have them open for writing are stopped (SIGSTOP), and go on
// (SIGCONT) when do has returned. What they had under way in the kernel may still end, but they cannot have seen that it did, and
// so nothing that they do later depends on it. That is what makes snapshots of several files one moment's.
//
// A shell process, which waits for our end of a pipe to close, has them go on if we are killed meanwhile.
func Do(ctx context.Context, paths []string, do func() error) error {
	var stoppedOnes []int
	// Others may open one of the files while we look: look until there is nobody new.
	for range lookTimes {
		writers, err := writersOf(paths)
		if err != nil {
			return err
		}
		writers = slices.DeleteFunc(writers, func(pid int) bool { return slices.Contains(stoppedOnes, pid) })
		if len(writers) == 0 {
			return do()
		}
		waker, err := startWaker(writers)
		if err != nil {
			return err
		}
		defer waker.wake()
		for _, pid := range writers {
			if err := stop(ctx, pid); err != nil {
				return err
			}
		}
		stoppedOnes = append(stoppedOnes, writers...)
	}
	return errors.New("more and more processes open the volumes for writing")
}

// lookTimes bounds how often.
const lookTimes = 100

// writersOf are the other processes that have one of the files open for writing.
func writersOf(paths []string) ([]int, error) {
	wanted := map[object]bool{}
	for _, path := range paths {
		var stat unix.Stat_t
		if err := unix.Stat(path, &stat); err != nil {
			return nil, &os.PathError{Op: "stat", Path: path, Err: err}
		}
		wanted[objectOf(&stat)] = true
	}
	processes, err := os.ReadDir("/proc")
	if err != nil {
		return nil, err
	}
	var pids []int
	for _, p := range processes {
		pid, err := strconv.Atoi(p.Name())
		if err != nil || pid == os.Getpid() {
			continue
		}
		// Processes end while we look.
		open, _ := os.ReadDir(filepath.Join("/proc", p.Name(), "fd"))
		for _, fd := range open {
			var stat unix.Stat_t
			if unix.Stat(filepath.Join("/proc", p.Name(), "fd", fd.Name()), &stat) == nil &&
				wanted[objectOf(&stat)] && forWriting(p.Name(), fd.Name()) {
				pids = append(pids, pid)
				break
			}
		}
	}
	return pids, nil
}

// object is a file, or a block device, which may have several files.
type object struct{ device, dev, ino uint64 }

func objectOf(stat *unix.Stat_t) object {
	if stat.Mode&unix.S_IFMT == unix.S_IFBLK {
		return object{device: stat.Rdev}
	}
	return object{dev: stat.Dev, ino: stat.Ino}
}

// forWriting says whether the descriptor is (proc(5), fdinfo: flags in octal).
func forWriting(pid, fd string) bool {
	data, err := os.ReadFile(filepath.Join("/proc", pid, "fdinfo", fd))
	if err != nil {
		return false
	}
	for line := range strings.Lines(string(data)) {
		if value, ok := strings.CutPrefix(line, "flags:"); ok {
			flags, err := strconv.ParseInt(strings.TrimSpace(value), 8, 64)
			return err != nil || flags&unix.O_ACCMODE != unix.O_RDONLY
		}
	}
	return true
}

// stopTime is how long a process may take to stop: as long as its longest call into the kernel.
const stopTime = 5 * time.Second

// stop stops a process, and returns when all its threads have.
func stop(ctx context.Context, pid int) error {
	if err := unix.Kill(pid, unix.SIGSTOP); err != nil {
		if errors.Is(err, unix.ESRCH) {
			return nil
		}
		return fmt.Errorf("stop process %d: %w", pid, err)
	}
	ctx, cancel := context.WithTimeout(ctx, stopTime)
	defer cancel()
	tick := time.NewTicker(100 * time.Microsecond)
	defer tick.Stop()
	for !stopped(pid) {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("process %d writes to a volume and does not stop: %w", pid, ctx.Err())
		}
	}
	return nil
}

// stopped says whether every thread is, or has ended.
func stopped(pid int) bool {
	tasks, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
	if err != nil {
		return true
	}
	for _, t := range tasks {
		data, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%s/stat", pid, t.Name()))
		if err != nil {
			continue
		}
		// The name, in parentheses, may hold anything; the state comes after it.
		text := string(data)
		rest := strings.TrimSpace(text[strings.LastIndexByte(text, ')')+1:])
		if rest == "" || !strings.ContainsAny(rest[:1], "TtZX") {
			return false
		}
	}
	return true
}

// waker is a process that has others go on.
type waker struct {
	cmd  *exec.Cmd
	hold *os.File
}

// startWaker starts one for these. It waits until it is told to wake them, or until we end.
func startWaker(pids []int) (*waker, error) {
	read, hold, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer func() { _ = read.Close() }()
	args := []string{"-c", `read -r _; kill -CONT "$@"`, "sh"}
	for _, pid := range pids {
		args = append(args, strconv.Itoa(pid))
	}
	cmd := exec.Command("/bin/sh", args...)
	cmd.Stdin = read
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return nil, errors.Join(err, hold.Close())
	}
	return &waker{cmd, hold}, nil
}

// wake has the processes go on; those that have ended are no error.
func (w *waker) wake() {
	_ = w.hold.Close()
	_ = w.cmd.Wait()
}
