//go:build linux

package lvmvolume_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"testing"

	"github.com/kintoun/kintoun/volume/driver"
	"github.com/kintoun/kintoun/volume/drivertest"
	"github.com/kintoun/kintoun/volume/lvmvolume"
	"github.com/stretchr/testify/require"
)

// killVariable names the directory of the pool in which this program works until it is killed; the other two are how, and by how many.
const (
	killVariable    = "LVMVOLUME_TEST_KILL"
	optionsVariable = "LVMVOLUME_TEST_OPTIONS"
	workersVariable = "LVMVOLUME_TEST_WORKERS"
)

func beKilled(dir string) int {
	var o lvmvolume.Options
	err := json.Unmarshal([]byte(os.Getenv(optionsVariable)), &o)
	workers, _ := strconv.Atoi(os.Getenv(workersVariable))
	var d *lvmvolume.Driver
	if err == nil {
		d, err = lvmvolume.New(context.Background(), group, dir, &o)
	}
	if err == nil {
		err = drivertest.Work(context.Background(), d, workers, os.Stdout)
	}
	fmt.Fprintln(os.Stderr, err)
	return 1
}

func testKill(t *testing.T) {
	dir, o := pool(t, 1024, local)
	options, err := json.Marshal(o)
	require.NoError(t, err)
	drivertest.TestKills(t, drivertest.Kills{
		Rounds: *kills, Steps: 12,
		Command: func(_ testing.TB, workers int) *exec.Cmd {
			cmd := exec.CommandContext(t.Context(), "/proc/self/exe")
			cmd.Env = append(os.Environ(), killVariable+"="+dir, optionsVariable+"="+string(options), workersVariable+"="+strconv.Itoa(workers))
			return cmd
		},
		Open: func(t testing.TB) driver.Volumes { return driverOf(t, dir, o) },
	})
}
