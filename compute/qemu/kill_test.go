//go:build linux

package qemu_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/kintoun/kintoun/compute/driver"
	"github.com/kintoun/kintoun/compute/drivertest"
	"github.com/kintoun/kintoun/compute/qemu"
	"github.com/kintoun/kintoun/internal/lab/labtest"
	"github.com/stretchr/testify/require"
)

// applyVariable makes this program apply one server and end: what is to be killed in the midst of it.
const applyVariable = "KINTOUN_TEST_APPLY"

type applyJob struct {
	Options qemu.Options
	Want    driver.Server
	// Capture copies the server's disk instead.
	Capture bool
}

func applyAndEnd(text string) int {
	var job applyJob
	err := json.Unmarshal([]byte(text), &job)
	if err == nil {
		var d *qemu.Driver
		if d, err = qemu.New(context.Background(), &job.Options); err == nil {
			err = job.do(d)
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

func (j *applyJob) do(d *qemu.Driver) error {
	if !j.Capture {
		return d.Apply(context.Background(), j.Want)
	}
	c, err := d.Capture(context.Background(), j.Want.ID, j.Want.Root, "qcow2")
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, c)
	return errors.Join(err, c.Close())
}

// killed runs the job in a program of its own, which is killed after a while.
func (j *applyJob) killed(t *testing.T, after time.Duration) {
	t.Helper()
	text, err := json.Marshal(j)
	require.NoError(t, err)
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), applyVariable+"="+string(text))
	require.NoError(t, cmd.Start())
	kill := time.AfterFunc(after, func() { _ = cmd.Process.Kill() })
	_ = cmd.Wait()
	kill.Stop()
}

// TestKilledMidApply kills the applying program at many moments and finds one server, or none, and never a leftover.
func TestKilledMidApply(t *testing.T) {
	o, image := options(t), drivertest.BootSectorImage(t)
	job := applyJob{Options: *o, Want: driver.Server{ID: uuid.NewString(), VCPUs: 1, MemoryMiB: 16, Running: true, Boots: 1, Hard: true, Root: driver.Disk{Base: image, Format: "raw"}}}
	for step := range 12 {
		job.killed(t, time.Duration(5+step*20)*time.Millisecond)

		d, err := qemu.New(t.Context(), o)
		require.NoError(t, err)
		before, err := d.List(t.Context())
		require.NoError(t, err)
		require.NoError(t, d.Apply(t.Context(), job.Want))
		after, err := d.List(t.Context())
		require.NoError(t, err)
		require.Len(t, after, 1)
		require.Equal(t, driver.Running, after[0].State)
		require.Equal(t, []int{after[0].PID}, processes(t, job.Want.ID), "step %d", step)
		if len(before) == 1 && before[0].PID != 0 && before[0].Boots == job.Want.Boots {
			require.Equal(t, before[0].PID, after[0].PID, "a server that ran was not disturbed")
		}
		if step%4 == 3 {
			require.NoError(t, d.Remove(t.Context(), job.Want.ID))
			require.Empty(t, processes(t, job.Want.ID))
		} else {
			// Next time a reboot is cut short.
			job.Want.Boots++
		}
	}
}

// TestKilledMidPlug kills a program that changes a running server's volumes at many moments. Afterwards the server has what it
// is to have, and nothing is left of what it is not.
func TestKilledMidPlug(t *testing.T) {
	o := options(t)
	d, err := qemu.New(t.Context(), o)
	require.NoError(t, err)
	dir := t.TempDir()
	all := []driver.Volume{fileVolume(t, dir, 1<<20, nil), fileVolume(t, dir, 2<<20, nil), fileVolume(t, dir, 3<<20, nil)}
	all[0].Limits.IOPS = 100
	_, want := login(t, d, o)
	running := processes(t, want.ID)
	for step := range 16 {
		want.Volumes = nil
		for i, v := range all {
			if (step+1)>>i&1 == 1 {
				want.Volumes = append(want.Volumes, v)
			}
		}
		job := applyJob{Options: *o, Want: want}
		job.killed(t, time.Duration(20+step*12)*time.Millisecond)

		d, err := qemu.New(t.Context(), o)
		require.NoError(t, err)
		require.NoError(t, d.Apply(t.Context(), want))
		disks, err := d.Disks(t.Context(), want.ID)
		require.NoError(t, err)
		require.Len(t, disks, len(want.Volumes))
		require.Equal(t, running, processes(t, want.ID))
		ids := []string{}
		for _, v := range want.Volumes {
			ids = append(ids, v.ID)
		}
		require.ElementsMatch(t, ids, openVolumes(t, running[0], all), "step %d", step)
	}
}

// openVolumes are the volumes whose files a process has open.
func openVolumes(t *testing.T, pid int, all []driver.Volume) []string {
	t.Helper()
	links, err := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
	require.NoError(t, err)
	found := map[string]bool{}
	for _, link := range links {
		target, _ := os.Readlink(link)
		for _, v := range all {
			if target == v.Path {
				found[v.ID] = true
			}
		}
	}
	return slices.Collect(maps.Keys(found))
}

// processes are the QEMUs that run a server.
func processes(t testing.TB, id string) []int {
	t.Helper()
	lines, err := filepath.Glob("/proc/[0-9]*/cmdline")
	require.NoError(t, err)
	var pids []int
	for _, path := range lines {
		if data, err := os.ReadFile(path); err == nil && strings.Contains(string(data), "\x00guest="+id+"\x00") {
			var pid int
			_, err := fmt.Sscanf(path, "/proc/%d/", &pid)
			require.NoError(t, err)
			pids = append(pids, pid)
		}
	}
	return pids
}

func TestNothingIsStartedThatCannotRun(t *testing.T) {
	o, image := options(t), drivertest.BootSectorImage(t)
	o.CPU = "no-such-cpu"
	d, err := qemu.New(t.Context(), o)
	require.NoError(t, err)
	want := driver.Server{ID: uuid.NewString(), VCPUs: 1, MemoryMiB: 16, Running: true, Boots: 1, Root: driver.Disk{Base: image, Format: "raw"}}
	err = d.Apply(t.Context(), want)
	require.ErrorIs(t, err, qemu.ErrUnavailable)
	require.ErrorContains(t, err, "no-such-cpu")
	require.Empty(t, processes(t, want.ID))
	all, err := d.List(t.Context())
	require.NoError(t, err)
	require.Equal(t, driver.Crashed, all[0].State)
	require.Contains(t, all[0].Reason, "no-such-cpu")

	want.NICs = []driver.NIC{{Device: "tapnone", MAC: "fa:16:3e:00:00:01"}}
	err = d.Apply(t.Context(), want)
	require.ErrorIs(t, err, qemu.ErrUnavailable)
	require.ErrorContains(t, err, "tapnone")
	require.NoError(t, d.Remove(t.Context(), want.ID))
}

func TestServersRunWithoutPrivileges(t *testing.T) {
	if os.Geteuid() != 0 {
		labtest.Skip(t, "needs root: without it servers run as the caller")
	}
	o, image := options(t), drivertest.BootSectorImage(t)
	d, err := qemu.New(t.Context(), o)
	require.NoError(t, err)
	require.NotZero(t, d.UID())
	want := driver.Server{ID: uuid.NewString(), VCPUs: 1, MemoryMiB: 16, Running: true, Boots: 1, Hard: true, Root: driver.Disk{Base: image, Format: "raw"}}
	require.NoError(t, d.Apply(t.Context(), want))
	defer func() { require.NoError(t, d.Remove(context.WithoutCancel(t.Context()), want.ID)) }()
	pids := processes(t, want.ID)
	require.Len(t, pids, 1)
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pids[0]))
	require.NoError(t, err)
	require.Contains(t, string(status), fmt.Sprintf("Uid:\t%d\t%d\t%d\t%d\n", d.UID(), d.UID(), d.UID(), d.UID()))
	require.Contains(t, string(status), "CapEff:\t0000000000000000\n")
	require.Contains(t, string(status), "Seccomp:\t2\n")
	require.Contains(t, string(status), "NoNewPrivs:\t1\n")
}

func TestOptionsAreChecked(t *testing.T) {
	for name, spoil := range map[string]func(*qemu.Options){
		"no directory": func(o *qemu.Options) { o.Dir = "" },
		"long sockets": func(o *qemu.Options) { o.RunDir = "/" + strings.Repeat("x", 70) },
		"accelerator":  func(o *qemu.Options) { o.Accelerator = "warp" },
		"no such QEMU": func(o *qemu.Options) { o.Binary = "qemu-system-none" },
		"unknown user": func(o *qemu.Options) { o.User = "no-such-user" },
	} {
		if name == "unknown user" && os.Geteuid() != 0 {
			continue
		}
		o := options(t)
		spoil(o)
		_, err := qemu.New(t.Context(), o)
		require.Error(t, err, name)
	}
}

func TestKVMIsTriedOncePerBoot(t *testing.T) {
	o := options(t)
	o.Accelerator = "auto"
	first, err := qemu.New(t.Context(), o)
	require.NoError(t, err)
	t.Logf("accelerator %s, missing: %q", first.Accelerator(), first.Advice())
	verdict := filepath.Join(o.Dir, "accelerator.json")
	before, err := os.Stat(verdict)
	require.NoError(t, err)
	second, err := qemu.New(t.Context(), o)
	require.NoError(t, err)
	require.Equal(t, first.Accelerator(), second.Accelerator())
	after, err := os.Stat(verdict)
	require.NoError(t, err)
	require.Equal(t, before.ModTime(), after.ModTime())
}
