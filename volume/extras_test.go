package volume

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/kintoun/kintoun/inject"
	"github.com/kintoun/kintoun/internal/lab/postgres"
	"github.com/kintoun/kintoun/internal/record"
	"github.com/kintoun/kintoun/internal/sqlitedb"
	"github.com/kintoun/kintoun/volume/driver"
	"github.com/kintoun/kintoun/volume/memvolume"
	"github.com/stretchr/testify/require"
)

// workshop is a service whose agents work step by step: jobs are done when a test says so, and can be cut off anywhere.
type workshop struct {
	t       *testing.T
	service *Service
	store   *objects
	secrets *secrets
	pools   map[string]*memvolume.Pool
	faults  *inject.Set
	runners map[string]*jobRunner
	admin   Scope
	demo    Scope
	typeID  string
}

func newWorkshop(t *testing.T) *workshop {
	t.Helper()
	db, err := postgres.Or(t.Context(), sqlitedb.Memory)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	w := &workshop{
		t: t, store: newObjects(), secrets: &secrets{values: map[string][]byte{}}, faults: inject.New(1),
		pools: map[string]*memvolume.Pool{}, runners: map[string]*jobRunner{},
		admin: Scope{ProjectID: "admin", UserID: "root", Admin: true}, demo: Scope{ProjectID: "demo", UserID: "alice"},
	}
	// Its agents give no sign of life while they work, and that may take long.
	w.service, err = New(t.Context(), db, &Options{Backups: w.store, Keys: w.secrets, DownAfter: time.Hour})
	require.NoError(t, err)
	for _, name := range []string{"one", "two"} {
		w.pools[name] = memvolume.NewPool(1 << 40)
		w.restart(name)
		_, err = w.runners[name].agent.introduce(t.Context())
		require.NoError(t, err)
	}
	types, err := w.service.types.List(w.tx(), record.Query{})
	require.NoError(t, err)
	w.typeID = types[0].ID
	return w
}

func (w *workshop) tx() *record.Tx { return w.service.store.Read(w.t.Context()) }

func (w *workshop) host(name string) string { return Backend{Host: "host1", Name: name}.String() }

func (w *workshop) driver(name string) *memvolume.Driver {
	return memvolume.New(w.pools[name], &memvolume.Options{Faults: w.faults, Host: name})
}

// restart replaces the agent of a pool, as if its process had been killed.
func (w *workshop) restart(name string) {
	a := NewAgent(w.service, Backend{Host: "host1", Name: name}, w.driver(name), &AgentOptions{Attempts: 3, Log: slog.New(slog.DiscardHandler)})
	w.runners[name] = a.jobs
}

// work does all jobs until none is left or ctx ends.
func (w *workshop) work(ctx context.Context) {
	w.t.Helper()
	for range 50 {
		left := 0
		for _, r := range w.runners {
			ids, err := r.List(context.WithoutCancel(ctx))
			require.NoError(w.t, err)
			for _, id := range ids {
				_ = r.Reconcile(ctx, id)
				left++
			}
		}
		if left == 0 || ctx.Err() != nil {
			return
		}
	}
	w.t.Fatal("the jobs never end")
}

// volume makes a volume that is there, in pool "one".
func (w *workshop) volume(change func(v *Volume)) *Volume {
	w.t.Helper()
	v := &Volume{
		ID: uuid.NewString(), ProjectID: "demo", UserID: "alice", Name: "v", SizeGiB: 1, Status: Available, AttachStatus: Detached,
		Zone: DefaultZone, TypeID: w.typeID, Host: w.host("one"), CreatedAt: w.service.now(), UpdatedAt: w.service.now(),
	}
	if change != nil {
		change(v)
	}
	passphrase, err := w.service.passphrase(w.t.Context(), v.EncryptionKeyID)
	require.NoError(w.t, err)
	require.NoError(w.t, w.driver("one").Apply(w.t.Context(), driver.Volume{ID: v.ID, Bytes: int64(v.SizeGiB) * gib, Passphrase: passphrase}))
	require.NoError(w.t, w.service.store.Update(w.t.Context(), func(tx *record.Tx) error { return w.service.volumes.Insert(tx, v) }))
	return v
}

func (w *workshop) get(id string) *Volume {
	w.t.Helper()
	v, err := w.service.volumes.Get(w.tx(), id)
	require.NoError(w.t, err)
	return v
}

func (w *workshop) open(id string, access driver.Access) driver.Device {
	w.t.Helper()
	v := w.get(id)
	name := "one"
	if v.Host == w.host("two") {
		name = "two"
	}
	a := w.runners[name].agent
	d, err := a.openPlain(w.t.Context(), v.key(), access, v.EncryptionKeyID)
	require.NoError(w.t, err)
	return d
}

// scribble writes to places all over the volume and returns what it wrote by offset.
func (w *workshop) scribble(id string, seed uint64, writes int) {
	w.t.Helper()
	d := w.open(id, driver.ReadWrite)
	r := rand.New(rand.NewPCG(seed, seed))
	block := make([]byte, 40<<10)
	for range writes {
		for i := range block {
			block[i] = byte(r.Uint32() % 7)
		}
		_, err := d.WriteAt(block, r.Int64N((d.Size()-int64(len(block)))/512)*512)
		require.NoError(w.t, err)
	}
	require.NoError(w.t, d.Sync())
	require.NoError(w.t, d.Close())
}

// same says that two volumes hold the same as far as the first goes.
func (w *workshop) same(a, b string) {
	w.t.Helper()
	x, y := w.open(a, driver.ReadOnly), w.open(b, driver.ReadOnly)
	defer func() { require.NoError(w.t, errors.Join(x.Close(), y.Close())) }()
	one, two := make([]byte, 16<<20), make([]byte, 16<<20)
	for at := int64(0); at < x.Size(); at += int64(len(one)) {
		n := min(int64(len(one)), x.Size()-at)
		empty, err := isHole(x, at, n)
		require.NoError(w.t, err)
		if also, err := isHole(y, at, n); empty && also && err == nil {
			continue
		}
		require.NoError(w.t, readSparse(w.t.Context(), x, one[:n], at))
		require.NoError(w.t, readSparse(w.t.Context(), y, two[:n], at))
		if !bytes.Equal(one[:n], two[:n]) {
			w.t.Fatalf("the volumes differ within %d MiB after %d", n>>20, at>>20)
		}
	}
}

// nothingLeft says that no job is open and the pools hold exactly the recorded volumes and snapshots.
func (w *workshop) nothingLeft() {
	w.t.Helper()
	jobs, err := w.service.jobs.Count(w.tx())
	require.NoError(w.t, err)
	require.Zero(w.t, jobs)
	for name := range w.pools {
		var want, have []string
		volumes, err := w.service.volumes.List(w.tx(), record.Query{Where: []record.Condition{record.Eq("host", w.host(name))}})
		require.NoError(w.t, err)
		for i := range volumes {
			if volumes[i].Status != Errored {
				want = append(want, volumes[i].key())
			}
		}
		snapshots, err := w.service.snapshots.List(w.tx(), record.Query{Where: []record.Condition{record.Eq("host", w.host(name))}})
		require.NoError(w.t, err)
		for i := range snapshots {
			want = append(want, snapshots[i].ID)
		}
		observed, err := w.driver(name).List(w.t.Context())
		require.NoError(w.t, err)
		for _, o := range observed {
			have = append(have, o.ID)
		}
		require.ElementsMatch(w.t, want, have, "pool %s", name)
	}
}

// mortal is a context that ends, as a process does that is killed, when it has been asked so many times whether it has. The
// database asks from goroutines of its own.
type mortal struct {
	context.Context //nolint:containedctx // it is one
	left            atomic.Int64
}

// mortalAfter is a context that ends when it has been asked n times.
func mortalAfter(ctx context.Context, n int64) *mortal {
	m := &mortal{Context: ctx}
	m.left.Store(n)
	return m
}

func (m *mortal) Err() error {
	if m.left.Add(-1) < 0 {
		return context.Canceled
	}
	return m.Context.Err()
}

// secrets is a SecretSource in memory.
type secrets struct {
	mu     sync.Mutex
	values map[string][]byte
}

func (s *secrets) CreateSecret(_ context.Context, _ string, value []byte) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	id := uuid.NewString()
	s.values[id] = bytes.Clone(value)
	return id, nil
}

func (s *secrets) Secret(_ context.Context, id string) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	value, ok := s.values[id]
	if !ok {
		return nil, fmt.Errorf("secret %s: %w", id, ErrNotFound)
	}
	return value, nil
}

func (s *secrets) DeleteSecret(_ context.Context, id string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.values, id)
	return nil
}
