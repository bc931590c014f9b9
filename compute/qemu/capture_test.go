//go:build linux

package qemu_test

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/kintoun/kintoun/compute/driver"
	"github.com/kintoun/kintoun/compute/qemu"
	"github.com/stretchr/testify/require"
)

// copyOf is a copy of the server's disk, in a file.
func copyOf(t *testing.T, d *qemu.Driver, want driver.Server, format string) string {
	t.Helper()
	c, err := d.Capture(t.Context(), want.ID, want.Root, format)
	require.NoError(t, err)
	path := filepath.Join(t.TempDir(), "copy")
	file, err := os.Create(path)
	require.NoError(t, err)
	_, err = io.Copy(file, c)
	require.NoError(t, err)
	require.NoError(t, c.Close())
	require.NoError(t, file.Close())
	return path
}

// qemuImg runs qemu-img and returns what it says.
func qemuImg(t *testing.T, args ...string) string {
	t.Helper()
	out, err := exec.Command("qemu-img", args...).CombinedOutput()
	require.NoError(t, err, "qemu-img %s: %s", args, out)
	return string(out)
}

// TestACopyHasWhatTheGuestFlushed takes the disk of a guest that goes on writing, and again when it is off.
func TestACopyHasWhatTheGuestFlushed(t *testing.T) {
	o := options(t)
	d, err := qemu.New(t.Context(), o)
	require.NoError(t, err)
	s, want := login(t, d, o)
	s.run("i=0; while echo $i > /root/busy; sync; do i=$((i+1)); done > /dev/null 2>&1 & echo")
	s.run("echo flushed-before-the-copy > /root/mark; sync")
	start := time.Now()
	path := copyOf(t, d, want, "qcow2")
	info, err := os.Stat(path)
	require.NoError(t, err)
	t.Logf("a copy of %d MiB in %v", info.Size()>>20, time.Since(start))
	require.NotContains(t, qemuImg(t, "info", path), "backing file")
	qemuImg(t, "check", "-f", "qcow2", path)
	raw := path + ".raw"
	qemuImg(t, "convert", "-f", "qcow2", "-O", "raw", path, raw)
	content, err := os.ReadFile(raw)
	require.NoError(t, err)
	require.Len(t, content, 1<<30)
	require.True(t, bytes.Contains(content, []byte("flushed-before-the-copy\n")))

	// The guest has not noticed, and its disk is whole.
	s.run("echo after-the-copy > /root/mark; sync")
	stop := want
	stop.Running, stop.Hard = false, true
	require.NoError(t, d.Apply(t.Context(), stop))
	qemuImg(t, "check", "-f", "qcow2", filepath.Join(o.Dir, "instances", want.ID, "disk.qcow2"))
	content, err = os.ReadFile(copyOf(t, d, want, "raw"))
	require.NoError(t, err)
	require.True(t, bytes.Contains(content, []byte("after-the-copy\n")))
}

// TestKilledMidCapture kills a program that copies the disk of a guest at many moments, and finds that the guest goes on, its
// disk is whole, and nothing is left of the copy.
func TestKilledMidCapture(t *testing.T) {
	o := options(t)
	d, err := qemu.New(t.Context(), o)
	require.NoError(t, err)
	s, want := login(t, d, o)
	running := processes(t, want.ID)
	instance := filepath.Join(o.Dir, "instances", want.ID)
	for step := range 16 {
		if step == 10 {
			stop := want
			stop.Running = false
			require.NoError(t, d.Apply(t.Context(), stop))
			running = nil
		}
		if running != nil {
			s.run(fmt.Sprintf("echo flushed-%02d-end > /root/mark-%d; sync", step, step))
		}
		job := applyJob{Options: *o, Want: want, Capture: true}
		job.killed(t, time.Duration(20+step%10*25)*time.Millisecond)

		d, err := qemu.New(t.Context(), o)
		require.NoError(t, err)
		require.NoError(t, d.Discard(t.Context(), want.ID))
		require.Equal(t, running, processes(t, want.ID))
		require.Empty(t, processes(t, want.ID+"-capture"))
		require.NoDirExists(t, filepath.Join(instance, "capture"))
		for _, pid := range running {
			require.Empty(t, openCopies(t, pid))
		}
	}
	qemuImg(t, "check", "-f", "qcow2", filepath.Join(instance, "disk.qcow2"))
	content, err := os.ReadFile(copyOf(t, d, want, "raw"))
	require.NoError(t, err)
	for step := range 10 {
		require.True(t, bytes.Contains(content, fmt.Appendf(nil, "flushed-%02d-end\n", step)), "step %d", step)
	}
}

// openCopies are the copies that a process has open.
func openCopies(t *testing.T, pid int) (open []string) {
	t.Helper()
	links, err := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
	require.NoError(t, err)
	for _, link := range links {
		if target, _ := os.Readlink(link); strings.Contains(target, "/capture/") {
			open = append(open, target)
		}
	}
	return open
}
