//go:build linux

package filevolume_test

import (
	"context"
	"encoding/json"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/kintoun/kintoun/volume/driver"
	"github.com/kintoun/kintoun/volume/drivertest"
	"github.com/kintoun/kintoun/volume/filevolume"
	"github.com/kintoun/kintoun/volume/internal/volumetest"
	"github.com/stretchr/testify/require"
)

// snapshotVariable names the volumes of which this program takes snapshots together, until it is killed.
const snapshotVariable = "FILEVOLUME_TEST_SNAPSHOTS"

// TestWritersGoOn kills a process that takes snapshots of volumes together, at random moments: those who write to them, whom it
// had stopped, go on.
func TestWritersGoOn(t *testing.T) {
	dir, o := pool(t, 1<<30)
	d := driverOf(t, dir, o)
	var volumes []string
	var guests []driver.Device
	for range 2 {
		c := driver.Connection{ID: uuid.NewString(), VolumeID: uuid.NewString(), Host: drivertest.Host}
		require.NoError(t, d.Apply(t.Context(), driver.Volume{ID: c.VolumeID, Bytes: 1 << 20}))
		target, err := d.Connect(t.Context(), c)
		require.NoError(t, err)
		g := volumetest.Reach(t, target)
		defer func() { require.NoError(t, g.Close()) }()
		volumes, guests = append(volumes, c.VolumeID), append(guests, g)
	}
	options, err := json.Marshal(o)
	require.NoError(t, err)
	for range 10 {
		child := exec.Command("/proc/self/exe")
		child.Env = append(os.Environ(), snapshotVariable+"="+strings.Join(volumes, " "), "FILEVOLUME_TEST_DIR="+dir, "FILEVOLUME_TEST_OPTIONS="+string(options))
		child.Stderr = os.Stderr
		out, err := child.StdoutPipe()
		require.NoError(t, err)
		require.NoError(t, child.Start())
		_, err = out.Read(make([]byte, 1))
		require.NoError(t, err, "it has begun")
		time.AfterFunc(time.Duration(rand.IntN(30_000))*time.Microsecond, func() { _ = child.Process.Signal(syscall.SIGKILL) })
		require.Error(t, child.Wait())
		require.False(t, child.ProcessState.Exited(), "it ended by itself")
		for _, g := range guests {
			_, err := g.WriteAt([]byte("on"), 0)
			require.NoError(t, err)
		}
	}
}

// BenchmarkGroupInUse takes snapshots of four volumes together that four processes have open; they stand still for less than that.
func BenchmarkGroupInUse(b *testing.B) {
	dir, o := pool(b, 4<<30)
	d := driverOf(b, dir, o)
	var volumes []string
	for range 4 {
		c := driver.Connection{ID: uuid.NewString(), VolumeID: uuid.NewString(), Host: drivertest.Host}
		require.NoError(b, d.Apply(b.Context(), driver.Volume{ID: c.VolumeID, Bytes: 10 << 30}))
		target, err := d.Connect(b.Context(), c)
		require.NoError(b, err)
		g := volumetest.Reach(b, target)
		defer func() { require.NoError(b, g.Close()) }()
		volumes = append(volumes, c.VolumeID)
	}
	for b.Loop() {
		var want []driver.Snapshot
		for _, v := range volumes {
			want = append(want, driver.Snapshot{ID: uuid.NewString(), VolumeID: v})
		}
		require.NoError(b, d.ApplySnapshots(b.Context(), want...))
		b.StopTimer()
		for _, s := range want {
			require.NoError(b, d.RemoveSnapshot(b.Context(), s.ID))
		}
		b.StartTimer()
	}
}

// takeSnapshots takes them until it is killed.
func takeSnapshots(volumes []string) int {
	var o filevolume.Options
	if err := json.Unmarshal([]byte(os.Getenv("FILEVOLUME_TEST_OPTIONS")), &o); err != nil {
		panic(err)
	}
	d, err := filevolume.New(context.Background(), os.Getenv("FILEVOLUME_TEST_DIR"), &o)
	if err != nil {
		panic(err)
	}
	_, _ = os.Stdout.Write([]byte{1})
	for {
		var want []driver.Snapshot
		for _, v := range volumes {
			want = append(want, driver.Snapshot{ID: uuid.NewString(), VolumeID: v})
		}
		if err := d.ApplySnapshots(context.Background(), want...); err != nil {
			panic(err)
		}
	}
}
