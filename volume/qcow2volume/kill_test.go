//go:build linux

package qcow2volume_test

import (
	"bufio"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"flag"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/kintoun/kintoun/volume/driver"
	"github.com/kintoun/kintoun/volume/drivertest"
	"github.com/kintoun/kintoun/volume/qcow2volume"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

var kills = flag.Int("kills", 8, "how often a test kills a process")

// killVariable names the pool in which this program works until it is killed.
const killVariable = "QCOW2VOLUME_TEST_KILL"

// thing is what a volume or a snapshot is known to be. Stamp is what its content begins with.
type thing struct {
	VolumeID   string `json:",omitempty"` // of a snapshot
	Bytes      int64
	Stamp      uint64
	Connection string `json:",omitempty"`
}

// step is what a worker says before it does it, and, with nothing in it, when it is done.
type step struct {
	Worker int
	Set    map[string]thing `json:",omitempty"`
	Del    []string         `json:",omitempty"`
}

// on is the state after the step.
func (s step) on(state map[string]thing) map[string]thing {
	after := maps.Clone(state)
	maps.Copy(after, s.Set)
	for _, id := range s.Del {
		delete(after, id)
	}
	return after
}

// TestKill kills a process that works on a pool, at random moments, and looks at what the next one finds: everything that was
// acknowledged, what was under way wholly or not at all, and nothing else.
func TestKill(t *testing.T) {
	need(t)
	dir := pool(t, filepath.Join(t.TempDir(), "pool"), local())
	k := killing{dir: dir, state: map[string]thing{}}
	for round := range *kills {
		pending := k.kill(t, nil)
		d := driverOf(t, dir, local())
		found := inspect(t, d)
		for _, s := range pending {
			k.state = settled(t, s, k.state, found)
		}
		requireSame(t, k.state, found, round)
		k.tidy(t, d, round == *kills-1)
	}
}

// TestPower has the power fail, too.
func TestPower(t *testing.T) {
	need(t)
	ext4 := newDisk(t, 1<<30)
	dir := pool(t, filepath.Join(ext4.dir, "pool"), local())
	k := killing{dir: dir, state: map[string]thing{}}
	for round := range *kills {
		pending := k.kill(t, &ext4)
		ext4.unmount(t)
		ext4.mount(t)
		d := driverOf(t, dir, local())
		found := inspect(t, d)
		for _, s := range pending {
			if !maps.Equal(k.state, found) { // one did everything up to some step
				k.state = s.on(k.state)
			}
		}
		requireSame(t, k.state, found, round)
		if !daemonRuns(t, dir) { // otherwise a volume is connected
			mendLeaks(t, dir)
		}
		k.tidy(t, d, round == *kills-1)
	}
}

// killing is a pool that processes work on, and what it is known to hold.
type killing struct {
	dir   string
	state map[string]thing
}

// tidy fails if the directory has anything but what belongs there, and removes everything when it is much or the last time.
func (k *killing) tidy(t *testing.T, d *qcow2volume.Driver, last bool) {
	t.Helper()
	requireTidy(t, k.dir)
	if len(k.state) < 60 && !last {
		return
	}
	removeAll(t, d, k.state)
	k.state = map[string]thing{}
	require.Empty(t, inspect(t, d))
	require.Empty(t, layersOf(t, k.dir))
}

// requireSame compares without printing what is the same.
func requireSame(t *testing.T, want, got map[string]thing, round int) {
	t.Helper()
	for id, x := range want {
		if got[id] == x {
			delete(got, id)
			continue
		}
		require.Failf(t, "not what was acknowledged", "round %d: %s: %+v, not %+v", round, id, got[id], x)
	}
	require.Empty(t, got, "round %d", round)
}

// settled says whether a step that was under way has been done: what it is about is all as before, or all as after.
func settled(t *testing.T, s step, before, found map[string]thing) map[string]thing {
	t.Helper()
	after := s.on(before)
	about := append([]string(nil), s.Del...)
	for id := range s.Set {
		about = append(about, id)
	}
	part := func(state map[string]thing) map[string]thing {
		only := map[string]thing{}
		for _, id := range about {
			if x, ok := state[id]; ok {
				only[id] = x
			}
		}
		return only
	}
	if maps.Equal(part(found), part(after)) {
		return after
	}
	require.Equal(t, part(before), part(found), "%+v is half done", s)
	return before
}

// kill runs workers and kills them; or one, for which the power fails as soon as it has acknowledged something, before anything else
// is made durable. It keeps what was acknowledged, and returns what was under way. Of the one it is all that it began, in order: what
// it says when its file system is gone may not be true.
func (k *killing) kill(t *testing.T, power *disk) []step {
	t.Helper()
	child := exec.Command("/proc/self/exe")
	child.Env = append(os.Environ(), killVariable+"="+k.dir)
	if power != nil {
		child.Env = append(child.Env, "QCOW2VOLUME_TEST_WORKERS=1") // it fails, and says so
	} else {
		child.Stderr = os.Stderr
	}
	out, err := child.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, child.Start())
	pending := map[int]step{}
	lines := bufio.NewScanner(out)
	die := rand.IntN(120)
	if power != nil {
		die = 2*rand.IntN(40) + 1
	}
	var lost []step
	for n := 0; lines.Scan(); n++ {
		var s step
		require.NoError(t, json.Unmarshal(lines.Bytes(), &s), lines.Text())
		done := s.Set == nil && s.Del == nil
		switch {
		case power != nil && n > die:
			if !done {
				lost = append(lost, s)
			}
			continue
		case done:
			k.state = pending[s.Worker].on(k.state)
			delete(pending, s.Worker)
		default:
			pending[s.Worker] = s
		}
		if n == die && power != nil {
			loseLog(t, power.dir)
			_ = child.Process.Kill()
			killDaemon(t, k.dir)
		}
		if n == die && power == nil {
			// Not only at moments when it writes a line.
			time.AfterFunc(time.Duration(rand.IntN(20_000))*time.Microsecond, func() { _ = child.Process.Signal(syscall.SIGKILL) })
		}
	}
	require.Error(t, child.Wait())
	require.True(t, power != nil || !child.ProcessState.Exited(), "it ended by itself")
	if power != nil {
		killDaemon(t, k.dir)
	}
	return append(slices.Collect(maps.Values(pending)), lost...)
}

// loseLog has the file system forget what was not made durable, as if the power had failed (EXT4_IOC_SHUTDOWN of ext4.h, with
// EXT4_GOING_FLAGS_NOLOGFLUSH).
func loseLog(t *testing.T, dir string) {
	t.Helper()
	f, err := os.Open(dir)
	require.NoError(t, err)
	const shutdown, noLogFlush = 0x8004587d, 2
	require.NoError(t, unix.IoctlSetPointerInt(int(f.Fd()), shutdown, noLogFlush))
	require.NoError(t, f.Close())
}

// killDaemon kills the pool's storage daemon, whose file system is gone, and waits until it has ended.
func killDaemon(t *testing.T, dir string) {
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

// inspect reads what the pool holds.
func inspect(t *testing.T, d *qcow2volume.Driver) map[string]thing {
	t.Helper()
	all, err := d.List(t.Context())
	require.NoError(t, err)
	found := map[string]thing{}
	for _, o := range all {
		require.False(t, o.Partial)
		x := thing{VolumeID: o.VolumeID, Bytes: o.Bytes, Connection: strings.Join(o.Connections, " ")}
		dev, err := d.Open(t.Context(), o.ID, driver.ReadOnly)
		require.NoError(t, err)
		var b [8]byte
		_, err = dev.ReadAt(b[:], 0)
		require.NoError(t, errors.Join(err, dev.Close()))
		x.Stamp = binary.BigEndian.Uint64(b[:])
		found[o.ID] = x
	}
	return found
}

// requireTidy fails if the directory has anything but volumes, snapshots and connections.
func requireTidy(t *testing.T, dir string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	for _, e := range entries {
		require.Regexp(t, `^(volume-.*\.json|snapshot-.*\.json|connections|daemon|layers|sockets)$`, e.Name())
	}
}

func removeAll(t *testing.T, d *qcow2volume.Driver, state map[string]thing) {
	t.Helper()
	for id, x := range state {
		if x.VolumeID != "" {
			require.NoError(t, d.RemoveSnapshot(t.Context(), id))
			continue
		}
		if x.Connection != "" {
			require.NoError(t, d.Disconnect(t.Context(), id, x.Connection))
		}
		require.NoError(t, d.Remove(t.Context(), id))
	}
}

// worker does things to volumes of its own, which state has, and says so.
type worker struct {
	*qcow2volume.Driver
	number int
	out    *sync.Mutex
	state  map[string]thing
}

func (w *worker) say(s step) {
	s.Worker = w.number
	line, err := json.Marshal(s)
	if err != nil {
		panic(err)
	}
	w.out.Lock()
	defer w.out.Unlock()
	_, _ = os.Stdout.Write(append(line, '\n'))
}

func (w *worker) do(s step, do func(context.Context) error) {
	w.say(s)
	if err := do(context.Background()); err != nil {
		panic(err)
	}
	w.say(step{})
	w.state = s.on(w.state)
}

// beKilled works until it is killed.
func beKilled(dir string) int {
	d, err := qcow2volume.New(context.Background(), dir, local())
	if err != nil {
		panic(err)
	}
	var wg sync.WaitGroup
	var out sync.Mutex
	workers := 4
	if os.Getenv("QCOW2VOLUME_TEST_WORKERS") != "" {
		workers = 1
	}
	for n := range workers {
		w := &worker{Driver: d, number: n, out: &out, state: map[string]thing{}}
		wg.Go(func() {
			for {
				w.round()
			}
		})
	}
	wg.Wait()
	return 1
}

// round is a life of two volumes, and what is made of them.
func (w *worker) round() {
	a, b, c, n, m, k, connection := uuid.NewString(), uuid.NewString(), uuid.NewString(), uuid.NewString(), uuid.NewString(), uuid.NewString(), uuid.NewString()
	const mib = 1 << 20
	w.apply(a, driver.Volume{Bytes: mib}, 0)
	w.stamp(a)
	w.apply(b, driver.Volume{Bytes: 2 * mib, Source: driver.Source{VolumeID: a}}, w.state[a].Stamp)
	x := w.state[b]
	x.Connection = connection
	w.do(step{Set: map[string]thing{b: x}}, func(ctx context.Context) error {
		_, err := w.Connect(ctx, driver.Connection{ID: connection, VolumeID: b, Host: drivertest.Host})
		return err
	})
	w.do(step{Set: map[string]thing{n: {VolumeID: a, Bytes: mib, Stamp: w.state[a].Stamp}, m: {VolumeID: b, Bytes: 2 * mib, Stamp: x.Stamp}, k: {VolumeID: a, Bytes: mib, Stamp: w.state[a].Stamp}}}, func(ctx context.Context) error {
		return w.ApplySnapshots(ctx, driver.Snapshot{ID: n, VolumeID: a}, driver.Snapshot{ID: m, VolumeID: b}, driver.Snapshot{ID: k, VolumeID: a})
	})
	x.Connection = ""
	w.do(step{Set: map[string]thing{b: x}}, func(ctx context.Context) error { return w.Disconnect(ctx, b, connection) })
	w.stamp(b)
	w.apply(a, driver.Volume{Bytes: 3 * mib}, w.state[a].Stamp)
	w.stamp(a)
	w.do(step{Set: map[string]thing{a: {Bytes: mib, Stamp: w.state[n].Stamp}}}, func(ctx context.Context) error { return w.Revert(ctx, a, n) })
	w.do(step{Del: []string{n}}, func(ctx context.Context) error { return w.RemoveSnapshot(ctx, n) })
	w.apply(c, driver.Volume{Bytes: 4 * mib, Source: driver.Source{SnapshotID: m}}, w.state[m].Stamp)
	w.do(step{Del: []string{b}}, func(ctx context.Context) error { return w.Remove(ctx, b) })
}

func (w *worker) apply(id string, want driver.Volume, stamp uint64) {
	want.ID = id
	w.do(step{Set: map[string]thing{id: {Bytes: want.Bytes, Stamp: stamp}}}, func(ctx context.Context) error { return w.Apply(ctx, want) })
}

// stamp writes to a volume.
func (w *worker) stamp(id string) {
	x := w.state[id]
	x.Stamp = rand.Uint64()
	w.do(step{Set: map[string]thing{id: x}}, func(ctx context.Context) error {
		d, err := w.Open(ctx, id, driver.ReadWrite)
		if err != nil {
			return err
		}
		_, err = d.WriteAt(binary.BigEndian.AppendUint64(nil, x.Stamp), 0)
		return errors.Join(err, d.Sync(), d.Close())
	})
}
