// Package drivertest is the conformance suite that every driver of volumes (package volume/driver) passes.
//
//	func TestVolumes(t *testing.T) { drivertest.TestVolumes(t, factory) }
//
// where factory makes an empty pool for each part, and [Pool] says how the driver is opened over it, and perhaps again.
// A part about something that only some drivers can do (an optional interface, a host that reaches a target) is skipped for
// the others; those lines say what is not tried. It needs testify, and of the host what the driver needs; it keeps some 50 MiB,
// [Pool.Small] filled once, the benchmarks 1 GiB. Processes that are killed, and power that fails, have a test of their own,
// [TestKills], for which the test's program is started again as a process that calls [Work]. Errors are test failures, with the name
// of the part. Drivers are used concurrently, and a factory may have its test run in parallel with others.
package drivertest

import (
	"context"
	"io"
	"math/rand/v2"
	"testing"

	"github.com/google/uuid"
	"github.com/kintoun/kintoun/volume/driver"
	"github.com/stretchr/testify/require"
)

// Host is the name of the pool's own host in connections.
const Host = "host1"

// Pool is an empty pool to try a driver on.
type Pool struct {
	// Open makes a driver over the pool; a second one is what a program finds that was started again, and those before it are
	// not used any more.
	Open func(t testing.TB) driver.Volumes
	// Reach opens what a host has that was connected; nil if no host can be.
	Reach func(t testing.TB, target driver.Target) driver.Device
	// Place puts a volume of that size into the pool that is not the driver's, and returns its name. Only a [driver.Manager]
	// needs it.
	Place func(t testing.TB, bytes int64) string
	// Small makes another empty pool, with room for 8 MiB at least and 1 GiB at most, to be filled; nil tries nothing.
	Small func(t testing.TB) Pool
}

// Factory returns an empty pool that lasts as long as the test.
type Factory func(t testing.TB) Pool

const mib = int64(1) << 20

// suite is what a part works with.
type suite struct {
	driver.Volumes
	t    *testing.T
	ctx  context.Context //nolint:containedctx // of one test
	pool Pool
}

// TestVolumes runs the suite.
func TestVolumes(t *testing.T, factory Factory) {
	for _, c := range []struct {
		name string
		test func(s *suite)
	}{
		{"A new volume is zeroes", (*suite).zeroes},
		{"A content is what was written", (*suite).contents},
		{"A volume grows and never shrinks", (*suite).grows},
		{"A volume of any multiple of a sector", (*suite).sectors},
		{"Applying again changes nothing", (*suite).again},
		{"A volume from a volume", (*suite).fromVolume},
		{"A volume from a snapshot", (*suite).fromSnapshot},
		{"A smaller volume than its source is refused", (*suite).smaller},
		{"What was made outlives what it was made from", (*suite).independent},
		{"Long lines of descent", (*suite).descent},
		{"A snapshot is taken once", (*suite).snapshotOnce},
		{"Snapshots are taken all or none", (*suite).allOrNone},
		{"Snapshots of volumes in use are of one moment", (*suite).oneMoment},
		{"Clones of a volume in use are of one moment", (*suite).cloneInUse},
		{"A new driver finds everything", (*suite).restart},
		{"Removing is happy when it is gone", (*suite).removes},
		{"What is not there", (*suite).missing},
		{"Bad wishes are refused", (*suite).bad},
		{"An ended context", (*suite).ended},
		{"Connecting, twice and again", (*suite).connects},
		{"Connections exclude each other", (*suite).excludes},
		{"A volume in use grows", (*suite).growsConnected},
		{"A reading connection", (*suite).readOnlyConnection},
		{"Opening for reading", (*suite).readOnly},
		{"Beyond the end", (*suite).beyond},
		{"What was never written is known", (*suite).sparse},
		{"Encrypted volumes", (*suite).encrypted},
		{"Going back to a snapshot", (*suite).reverts},
		{"Volumes of others", (*suite).manages},
		{"Snapshots of others", (*suite).managesSnapshots},
		{"A full pool", (*suite).full},
		{"Capacity is told", (*suite).capacity},
		{"Many at once", (*suite).many},
	} {
		t.Run(c.name, func(t *testing.T) {
			pool := factory(t)
			c.test(&suite{Volumes: pool.Open(t), t: t, ctx: t.Context(), pool: pool})
		})
	}
}

// id is a new identifier.
func id() string { return uuid.NewString() }

// volume makes an empty one.
func (s *suite) volume(bytes int64) string {
	s.t.Helper()
	v := id()
	require.NoError(s.t, s.Apply(s.ctx, driver.Volume{ID: v, Bytes: bytes}))
	return v
}

func (s *suite) snapshot(volumeID string) string {
	s.t.Helper()
	n := id()
	require.NoError(s.t, s.ApplySnapshots(s.ctx, driver.Snapshot{ID: n, VolumeID: volumeID}))
	return n
}

// from makes a volume from a source.
func (s *suite) from(source driver.Source, bytes int64) string {
	s.t.Helper()
	v := id()
	require.NoError(s.t, s.Apply(s.ctx, driver.Volume{ID: v, Bytes: bytes, Source: source}))
	return v
}

// open opens; the test closes.
func (s *suite) open(volume string, access driver.Access) driver.Device {
	s.t.Helper()
	d, err := s.Open(s.ctx, volume, access)
	require.NoError(s.t, err)
	return d
}

// write writes and makes durable.
func (s *suite) write(volume string, offset int64, content []byte) {
	s.t.Helper()
	d := s.open(volume, driver.ReadWrite)
	writeTo(s.t, d, offset, content)
	require.NoError(s.t, d.Close())
}

func writeTo(t testing.TB, d driver.Device, offset int64, content []byte) {
	t.Helper()
	n, err := d.WriteAt(content, offset)
	require.NoError(t, err)
	require.Equal(t, len(content), n)
	require.NoError(t, d.Sync())
}

// read reads a part of a volume or snapshot.
func (s *suite) read(volume string, offset, length int64) []byte {
	s.t.Helper()
	d := s.open(volume, driver.ReadOnly)
	defer func() { require.NoError(s.t, d.Close()) }()
	return readFrom(s.t, d, offset, length)
}

func readFrom(t testing.TB, d driver.Device, offset, length int64) []byte {
	t.Helper()
	content := make([]byte, length)
	n, err := d.ReadAt(content, offset)
	if int64(n) != length || err != io.EOF { //nolint:errorlint // io.ReaderAt's own
		require.NoError(t, err)
	}
	require.Equal(t, int(length), n)
	return content
}

// holds fails unless the content at offset is this one.
func (s *suite) holds(volume string, offset int64, content []byte) {
	s.t.Helper()
	same(s.t, content, s.read(volume, offset, int64(len(content))))
}

// same compares without printing megabytes.
func same(t testing.TB, want, got []byte) {
	t.Helper()
	require.True(t, len(want) == len(got), "%d bytes, not %d", len(got), len(want)) //nolint:testifylint // Len would print them
	for i := range want {
		if want[i] != got[i] {
			require.Failf(t, "other content", "byte %d of %d is %#02x, not %#02x", i, len(want), got[i], want[i])
		}
	}
}

// size is what an opened content says.
func (s *suite) size(volume string) int64 {
	s.t.Helper()
	d := s.open(volume, driver.ReadOnly)
	defer func() { require.NoError(s.t, d.Close()) }()
	return d.Size()
}

// bytesOf are so many bytes that look random, the same for the same seed, none of them in a row of zeroes.
func bytesOf(seed uint64, n int64) []byte {
	b := make([]byte, n)
	var key [32]byte
	for i := range 8 {
		key[i] = byte(seed >> (8 * i))
	}
	_, _ = rand.NewChaCha8(key).Read(b)
	return b
}

func zeros(n int64) []byte { return make([]byte, n) }

// observed finds one in the list.
func (s *suite) observed(name string) *driver.Observed {
	s.t.Helper()
	all, err := s.List(s.ctx)
	require.NoError(s.t, err)
	var found *driver.Observed
	for i := range all {
		if all[i].ID == name {
			require.Nil(s.t, found, "%s is listed twice", name)
			found = &all[i]
		}
	}
	return found
}

// only fails unless exactly these exist, whole.
func (s *suite) only(names ...string) {
	s.t.Helper()
	all, err := s.List(s.ctx)
	require.NoError(s.t, err)
	var got []string
	for _, o := range all {
		require.False(s.t, o.Partial, "%s %s is partial", o.Kind, o.ID)
		got = append(got, o.ID)
	}
	require.ElementsMatch(s.t, names, got)
}

// restarted is what a program has that was started again.
func (s *suite) restarted() { s.Volumes = s.pool.Open(s.t) }
