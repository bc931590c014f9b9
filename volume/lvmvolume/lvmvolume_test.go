//go:build linux

package lvmvolume_test

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/kintoun/kintoun/internal/lab/vm"
	"github.com/kintoun/kintoun/volume/driver"
	"github.com/kintoun/kintoun/volume/drivertest"
	"github.com/kintoun/kintoun/volume/internal/volumetest"
	"github.com/kintoun/kintoun/volume/lvmvolume"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

// The machine is some 20 times slower than its host: what is tried there by default is a selection.
var (
	machineTests = flag.String("machine-tests", quick, "which tests run in the machine: patterns of names below TestMachine, with spaces between them; . is all")
	machineTime  = flag.Duration("machine-time", 10*time.Minute, "how long the machine may take")
	kills        = flag.Int("kills", 2, "how often a test kills a process")
)

const quick = "^Volumes$/(A_content|from_a_snapshot|Encrypted|Going_back|A_full) ^VolumesOfOtherHosts$/(Connecting|in_use_grows) " +
	"^(Kill|Probe|Chapter|Tails|Mends|Servers)$"

func TestMain(m *testing.M) {
	if dir := os.Getenv(killVariable); dir != "" {
		os.Exit(beKilled(dir))
	}
	if volumetest.IsGuest() {
		os.Exit(volumetest.BeGuest())
	}
	os.Exit(vm.Main(func() int {
		code := m.Run()
		if err := goleak.Find(); err != nil && code == 0 {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
		return code
	}))
}

// group is the volume group of the machine, on its disk.
const group = "kintoun-test"

// TestMachine has a kernel with device-mapper, and a disk.
func TestMachine(t *testing.T) {
	if !vm.Inside() {
		chosen := strings.Fields(*machineTests)
		for i := range chosen {
			chosen[i] = "^TestMachine$/" + chosen[i]
		}
		vm.Run(t, &vm.Options{
			Modules: []string{"dm-thin-pool"}, Programs: []string{"lvm", "dmsetup", "thin_check", "qemu-storage-daemon", "/bin/sh"}, DiskBytes: 8 << 30,
			Match: strings.Join(chosen, "|"), Timeout: *machineTime, Arguments: []string{fmt.Sprintf("-kills=%d", *kills)},
		})
		return
	}
	lvm(t, "pvcreate", "/dev/vda")
	lvm(t, "vgcreate", "--physicalextentsize", "1m", group, "/dev/vda")
	t.Run("Volumes", func(t *testing.T) { drivertest.TestVolumes(t, factory(local)) })
	t.Run("VolumesOfOtherHosts", func(t *testing.T) { drivertest.TestVolumes(t, factory(remote)) })
	t.Run("Kill", testKill)
	t.Run("Probe", testProbe)
	t.Run("Chapter", testChapter)
	t.Run("Tails", testTails)
	t.Run("Mends", testMends)
	t.Run("EndedCalls", testEndedCalls)
	t.Run("Servers", testServers)
}

func lvm(t testing.TB, args ...string) {
	t.Helper()
	program(t, "lvm", append([]string{args[0], "--yes", "--quiet", "--config", "activation { udev_sync = 0 udev_rules = 0 }"}, args[1:]...)...)
}

func program(t testing.TB, name string, args ...string) {
	t.Helper()
	out, err := exec.CommandContext(cleanup(t), name, args...).CombinedOutput()
	require.NoError(t, err, "%s %v: %s", name, args, out)
}

// cleanup is a context for what is done when a test has ended.
func cleanup(t testing.TB) context.Context { return context.WithoutCancel(t.Context()) }

func local(o *lvmvolume.Options) { o.Host = drivertest.Host }

// remote has all hosts be other ones.
func remote(o *lvmvolume.Options) { o.Host, o.Listen, o.User = "another", "127.0.0.1", "nobody" }

// pool is a thin pool of that size, which goes when the test ends, with all that is in it.
func pool(t testing.TB, mib int, change func(*lvmvolume.Options)) (dir string, o *lvmvolume.Options) {
	t.Helper()
	o = &lvmvolume.Options{ThinPool: "pool" + strings.ReplaceAll(uuid.NewString(), "-", "")}
	change(o)
	o.Emulated()
	lvm(t, "lvcreate", "--type", "thin-pool", "--size", fmt.Sprintf("%dm", mib), "--poolmetadatasize", "4m", "--name", o.ThinPool, group)
	dir = filepath.Join(t.TempDir(), "state")
	t.Cleanup(func() {
		disconnectAll(t, driverOf(t, dir, o))
		lvm(t, "lvremove", group+"/"+o.ThinPool)
	})
	return dir, o
}

func disconnectAll(t testing.TB, d *lvmvolume.Driver) {
	t.Helper()
	all, err := d.List(cleanup(t))
	require.NoError(t, err)
	for _, v := range all {
		for _, c := range v.Connections {
			require.NoError(t, d.Disconnect(cleanup(t), v.ID, c))
		}
	}
}

func driverOf(t testing.TB, dir string, o *lvmvolume.Options) *lvmvolume.Driver {
	t.Helper()
	d, err := lvmvolume.New(cleanup(t), group, dir, o)
	require.NoError(t, err)
	return d
}

func suitePool(t testing.TB, mib int, change func(*lvmvolume.Options)) drivertest.Pool {
	dir, o := pool(t, mib, change)
	return drivertest.Pool{
		Open:  func(t testing.TB) driver.Volumes { return driverOf(t, dir, o) },
		Reach: volumetest.Reach,
		Place: func(t testing.TB, bytes int64) string {
			name := "theirs-" + o.ThinPool
			lvm(t, "lvcreate", "--type", "thin", "--thinpool", o.ThinPool, "--virtualsize", fmt.Sprintf("%db", bytes), "--name", name, group)
			return name
		},
	}
}

func factory(change func(*lvmvolume.Options)) drivertest.Factory {
	return func(t testing.TB) drivertest.Pool {
		p := suitePool(t, 1024, change)
		p.Small = func(t testing.TB) drivertest.Pool { return suitePool(t, 64, change) }
		return p
	}
}

func testProbe(t *testing.T) {
	require.NoError(t, lvmvolume.Probe(t.Context(), group, nil))
	err := lvmvolume.Probe(t.Context(), "no-such-group", nil)
	require.ErrorContains(t, err, "vgcreate no-such-group /dev/DISK")
	_, err = lvmvolume.New(t.Context(), "no-such-group", t.TempDir(), nil)
	require.ErrorIs(t, err, lvmvolume.ErrUnavailable)
	t.Setenv("PATH", t.TempDir())
	require.ErrorContains(t, lvmvolume.Probe(t.Context(), group, nil), "apt-get install lvm2")
}
