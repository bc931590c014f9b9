//go:build linux

package rbdvolume_test

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
	"github.com/kintoun/kintoun/volume/rbdvolume"
	"github.com/stretchr/testify/require"
)

var kills = flag.Int("kills", 2, "how often a test kills a process")

// killVariable names the pool in which this program works until it is killed; the other two are how, and by how many.
const (
	killVariable    = "RBDVOLUME_TEST_KILL"
	optionsVariable = "RBDVOLUME_TEST_OPTIONS"
	workersVariable = "RBDVOLUME_TEST_WORKERS"
)

// TestKill kills processes that work on the pool, and the commands that they run.
func TestKill(t *testing.T) {
	c, o := cluster(t)
	options, err := json.Marshal(o)
	require.NoError(t, err)
	drivertest.TestKills(t, drivertest.Kills{
		Rounds: *kills, Steps: 15,
		Command: func(_ testing.TB, workers int) *exec.Cmd {
			cmd := exec.CommandContext(t.Context(), "/proc/self/exe")
			cmd.Env = append(os.Environ(), killVariable+"="+c.pool, optionsVariable+"="+string(options), workersVariable+"="+strconv.Itoa(workers))
			return cmd
		},
		Open: func(t testing.TB) driver.Volumes { return open(t, o) },
		Check: func(t testing.TB, volumes driver.Volumes) {
			all, err := volumes.List(t.Context())
			require.NoError(t, err)
			op := at{t, c, c.pool + "/" + o.Namespace}
			require.JSONEq(t, "[]", op.rbd("group", "ls", op.place, "--format", "json"))
			if len(all) == 0 {
				require.JSONEq(t, "[]", op.rbd("ls", op.place, "--format", "json"))
			}
		},
	})
}

// beKilled works until it is killed.
func beKilled(pool string) int {
	var o rbdvolume.Options
	err := json.Unmarshal([]byte(os.Getenv(optionsVariable)), &o)
	workers, _ := strconv.Atoi(os.Getenv(workersVariable))
	var d *rbdvolume.Driver
	if err == nil {
		d, err = rbdvolume.New(context.Background(), pool, &o)
	}
	if err == nil {
		err = drivertest.Work(context.Background(), d, workers, os.Stdout)
	}
	fmt.Fprintln(os.Stderr, err)
	return 1
}
