//go:build linux

package qemu_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/kintoun/kintoun/compute/driver"
	"github.com/kintoun/kintoun/compute/qemu"
	"github.com/stretchr/testify/require"
)

// userSpace is what the small guest prints first.
const userSpace = "guest: user space"

// BenchmarkUserSpace measures from the wish for a new server to its guest's first process, beside the same guest
// started by hand (qemu-img, then QEMU), in turn, with emulation. "x-bare" is the ratio of the times, "x-cpu" that of the
// processor time that the two QEMUs used meanwhile, which says more on a busy machine.
func BenchmarkUserSpace(b *testing.B) {
	o := options(b)
	d, err := qemu.New(b.Context(), o)
	require.NoError(b, err)
	var ours, bare, oursCPU, bareCPU time.Duration
	for b.Loop() {
		wall, cpu := bareStart(b)
		bare, bareCPU = bare+wall, bareCPU+cpu
		want := guest(b)
		start := time.Now()
		require.NoError(b, d.Apply(b.Context(), want))
		awaitText(b, filepath.Join(o.Dir, "instances", want.ID, "console.log"), userSpace)
		ours += time.Since(start)
		oursCPU += cpuTime(b, processes(b, want.ID)[0])
		require.NoError(b, d.Remove(b.Context(), want.ID))
	}
	b.ReportMetric(ours.Seconds()/bare.Seconds(), "x-bare")
	b.ReportMetric(oursCPU.Seconds()/bareCPU.Seconds(), "x-cpu")
	b.ReportMetric(float64(ours.Milliseconds())/float64(b.N), "ms-driver")
	b.ReportMetric(float64(bare.Milliseconds())/float64(b.N), "ms-bare")
}

// cpuTime is the processor time that a process has used (proc(5), stat fields 14 and 15, in ticks of 10 ms).
func cpuTime(b *testing.B, pid int) time.Duration {
	b.Helper()
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	require.NoError(b, err)
	_, after, _ := strings.Cut(string(data), ") ")
	fields := strings.Fields(after)
	user, err := strconv.Atoi(fields[11])
	require.NoError(b, err)
	system, err := strconv.Atoi(fields[12])
	require.NoError(b, err)
	return time.Duration(user+system) * 10 * time.Millisecond
}

// bareStart returns the time from the start to the guest's first process, and QEMU's processor time until then.
func bareStart(b *testing.B) (wall, cpu time.Duration) {
	b.Helper()
	want, dir := guest(b), b.TempDir()
	console, disk := filepath.Join(dir, "console"), filepath.Join(dir, "disk")
	start := time.Now()
	require.NoError(b, exec.Command("qemu-img", "create", "-q", "-f", "qcow2", "-F", "raw", "-b", want.Root.Base, disk, "1G").Run())
	cmd := exec.Command("qemu-system-x86_64", "-M", "q35", "-accel", "tcg,tb-size=32", "-cpu", "qemu64", "-m", "128", "-nodefaults", "-display", "none",
		"-serial", "file:"+console, "-drive", "if=virtio,file="+disk, "-kernel", want.Kernel, "-initrd", want.Initrd, "-append", want.CommandLine)
	require.NoError(b, cmd.Start())
	awaitText(b, console, userSpace)
	wall, cpu = time.Since(start), cpuTime(b, cmd.Process.Pid)
	require.NoError(b, cmd.Process.Kill())
	_ = cmd.Wait()
	return wall, cpu
}

func awaitText(b *testing.B, path, text string) {
	b.Helper()
	require.Eventually(b, func() bool {
		data, err := os.ReadFile(path)
		return err == nil && strings.Contains(string(data), text)
	}, 2*time.Minute, 2*time.Millisecond)
}

// BenchmarkApplyUnchanged is what an agent's periodic look at a server that runs costs.
func BenchmarkApplyUnchanged(b *testing.B) {
	d, err := qemu.New(b.Context(), options(b))
	require.NoError(b, err)
	want := guest(b)
	want.ID = uuid.NewString()
	require.NoError(b, d.Apply(b.Context(), want))
	for b.Loop() {
		require.NoError(b, d.Apply(b.Context(), want))
	}
	b.StopTimer()
	require.NoError(b, d.Remove(b.Context(), want.ID))
}

// BenchmarkVolume measures how long a running guest takes to get a disk and to let go of it.
func BenchmarkVolume(b *testing.B) {
	o := options(b)
	d, err := qemu.New(b.Context(), o)
	require.NoError(b, err)
	want := guest(b)
	require.NoError(b, d.Apply(b.Context(), want))
	b.Cleanup(func() { require.NoError(b, d.Remove(context.WithoutCancel(b.Context()), want.ID)) })
	awaitConsole(b, d, want.ID, "login:", 1)
	v := fileVolume(b, b.TempDir(), 1<<30, nil)
	var attach, detach time.Duration
	for b.Loop() {
		start := time.Now()
		want.Volumes = []driver.Volume{v}
		require.NoError(b, d.Apply(b.Context(), want))
		attach += time.Since(start)
		start = time.Now()
		want.Volumes = nil
		require.NoError(b, d.Apply(b.Context(), want))
		detach += time.Since(start)
	}
	b.ReportMetric(attach.Seconds()*1000/float64(b.N), "ms-attach")
	b.ReportMetric(detach.Seconds()*1000/float64(b.N), "ms-detach")
}
