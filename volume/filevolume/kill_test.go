//go:build linux

package filevolume_test

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"testing"

	"github.com/kintoun/kintoun/volume/driver"
	"github.com/kintoun/kintoun/volume/drivertest"
	"github.com/kintoun/kintoun/volume/filevolume"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

var kills = flag.Int("kills", 10, "how often a test kills a process")

// killVariable names the pool in which this program works until it is killed; the other two are how, and by how many.
const (
	killVariable    = "FILEVOLUME_TEST_KILL"
	optionsVariable = "FILEVOLUME_TEST_OPTIONS"
	workersVariable = "FILEVOLUME_TEST_WORKERS"
)

// killing is a pool on which processes are killed.
func killing(t *testing.T) (dir string, o *filevolume.Options, k drivertest.Kills) {
	dir, o = pool(t, 2<<30)
	driverOf(t, dir, o)
	options, err := json.Marshal(o)
	require.NoError(t, err)
	return dir, o, drivertest.Kills{
		Rounds: *kills,
		Command: func(_ testing.TB, workers int) *exec.Cmd {
			cmd := exec.CommandContext(t.Context(), "/proc/self/exe")
			cmd.Env = append(os.Environ(), killVariable+"="+dir, optionsVariable+"="+string(options), workersVariable+"="+strconv.Itoa(workers))
			return cmd
		},
		Open:  func(t testing.TB) driver.Volumes { return driverOf(t, dir, o) },
		Check: func(t testing.TB, _ driver.Volumes) { requireTidy(t, dir) },
	}
}

// beKilled works until it is killed.
func beKilled(dir string) int {
	var o filevolume.Options
	err := json.Unmarshal([]byte(os.Getenv(optionsVariable)), &o)
	workers, _ := strconv.Atoi(os.Getenv(workersVariable))
	var d *filevolume.Driver
	if err == nil {
		d, err = filevolume.New(context.Background(), dir, &o)
	}
	if err == nil {
		err = drivertest.Work(context.Background(), d, workers, os.Stdout)
	}
	fmt.Fprintln(os.Stderr, err)
	return 1
}

func TestKill(t *testing.T) {
	_, _, k := killing(t)
	drivertest.TestKills(t, k)
}

// TestPower has the power fail. XFS lets directories be synced after their changes are lost.
func TestPower(t *testing.T) {
	dir, o, k := killing(t)
	before := driverOf(t, dir, o)
	k.Power = &drivertest.Power{
		Fail: func(t testing.TB) { loseLog(t, dir) },
		Return: func(t testing.TB) {
			require.ErrorContains(t, before.Unmount(t.Context()), "has stopped")
			require.NoError(t, unix.Unmount(dir, 0))
		},
	}
	drivertest.TestKills(t, k)
}

// loseLog has the file system forget what was not made durable, as if the power had failed (XFS_IOC_GOINGDOWN of xfs_fs.h, with
// XFS_FSOP_GOING_FLAGS_NOLOGFLUSH).
func loseLog(t testing.TB, dir string) {
	t.Helper()
	f, err := os.Open(dir)
	require.NoError(t, err)
	const goingDown, noLogFlush = 0x8004587d, 2
	require.NoError(t, unix.IoctlSetPointerInt(int(f.Fd()), goingDown, noLogFlush))
	require.NoError(t, f.Close())
}

// requireTidy fails if the directory has anything but volumes, snapshots and connections.
func requireTidy(t testing.TB, dir string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	for _, e := range entries {
		require.Regexp(t, "^(volume-.*|snapshot-.*|connections)$", e.Name())
	}
}
