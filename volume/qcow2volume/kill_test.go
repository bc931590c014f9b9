//go:build linux

package qcow2volume_test

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/kintoun/kintoun/volume/driver"
	"github.com/kintoun/kintoun/volume/drivertest"
	"github.com/kintoun/kintoun/volume/qcow2volume"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

var kills = flag.Int("kills", 8, "how often a test kills a process")

// killVariable names the pool in which this program works until it is killed, workersVariable by how many.
const (
	killVariable    = "QCOW2VOLUME_TEST_KILL"
	workersVariable = "QCOW2VOLUME_TEST_WORKERS"
)

// killing has processes be killed that work on the pool.
func killing(t *testing.T, dir string) drivertest.Kills {
	return drivertest.Kills{
		Rounds: *kills,
		Command: func(_ testing.TB, workers int) *exec.Cmd {
			cmd := exec.CommandContext(t.Context(), "/proc/self/exe")
			cmd.Env = append(os.Environ(), killVariable+"="+dir, workersVariable+"="+strconv.Itoa(workers))
			return cmd
		},
		Open: func(t testing.TB) driver.Volumes { return driverOf(t, dir, local()) },
		Check: func(t testing.TB, volumes driver.Volumes) {
			requireTidy(t, dir)
			all, err := volumes.List(t.Context())
			require.NoError(t, err)
			if len(all) == 0 {
				require.Empty(t, layersOf(t, dir))
			}
		},
	}
}

// beKilled works until it is killed.
func beKilled(dir string) int {
	workers, _ := strconv.Atoi(os.Getenv(workersVariable))
	d, err := qcow2volume.New(context.Background(), dir, local())
	if err == nil {
		err = drivertest.Work(context.Background(), d, workers, os.Stdout)
	}
	fmt.Fprintln(os.Stderr, err)
	return 1
}

func TestKill(t *testing.T) {
	need(t)
	drivertest.TestKills(t, killing(t, pool(t, filepath.Join(t.TempDir(), "pool"), local())))
}

// TestPower has the power fail.
func TestPower(t *testing.T) {
	need(t)
	ext4 := newDisk(t, 1<<30)
	dir := pool(t, filepath.Join(ext4.dir, "pool"), local())
	k := killing(t, dir)
	k.Power = &drivertest.Power{
		Fail: func(t testing.TB) { loseLog(t, ext4.dir) },
		Return: func(t testing.TB) {
			killDaemon(t, dir)
			ext4.unmount(t)
			ext4.mount(t)
		},
	}
	check := k.Check
	k.Check = func(t testing.TB, volumes driver.Volumes) {
		check(t, volumes)
		if !daemonRuns(t, dir) { // otherwise a volume is connected
			sound(t, dir, time.Time{})
		}
	}
	drivertest.TestKills(t, k)
}

// loseLog has the file system forget what was not made durable, as if the power had failed (EXT4_IOC_SHUTDOWN of ext4.h, with
// EXT4_GOING_FLAGS_NOLOGFLUSH).
func loseLog(t testing.TB, dir string) {
	t.Helper()
	f, err := os.Open(dir)
	require.NoError(t, err)
	const shutdown, noLogFlush = 0x8004587d, 2
	require.NoError(t, unix.IoctlSetPointerInt(int(f.Fd()), shutdown, noLogFlush))
	require.NoError(t, f.Close())
}

// killDaemon kills the pool's storage daemon, whose file system is gone, and waits until it has ended.
func killDaemon(t testing.TB, dir string) {
	t.Helper()
	mark := "KINTOUN_PROCESS=" + filepath.Join(dir, "daemon")
	processes, err := filepath.Glob("/proc/[0-9]*/environ")
	require.NoError(t, err)
	for _, path := range processes {
		env, err := os.ReadFile(path)
		if err != nil || !slices.Contains(strings.Split(string(env), "\x00"), mark) {
			continue
		}
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(path)))
		require.NoError(t, err)
		_ = syscall.Kill(pid, syscall.SIGKILL)
		require.Eventually(t, func() bool { _, err := os.Stat(filepath.Join(filepath.Dir(path), "fd", "3")); return err != nil }, 10*time.Second, time.Millisecond)
	}
}

// requireTidy fails if the directory has anything but volumes, snapshots and connections.
func requireTidy(t testing.TB, dir string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	for _, e := range entries {
		require.Regexp(t, `^(volume-.*\.json|snapshot-.*\.json|connections|daemon|layers|sockets)$`, e.Name())
	}
}
