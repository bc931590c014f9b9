package volume

import (
	"context"
	"errors"
	"sync"
	"testing"

	"github.com/kintoun/kintoun/inject"
	"github.com/kintoun/kintoun/internal/record"
	"github.com/kintoun/kintoun/volume/driver"
	"github.com/kintoun/kintoun/volume/memvolume"
	"github.com/stretchr/testify/require"
)

// roads are the ways by which pools in memory are reached as those of other processes: what is connected has a path.
type roads struct {
	w  *workshop
	mu sync.Mutex
	// open are the connections, by what they reach.
	open map[string]driver.Connection
	// broken is the error of who goes there.
	broken error
}

// apart has the workshop's agents be of two processes, each with such a pool; they know of each other by the records alone.
func apart(w *workshop) *roads {
	r := &roads{w: w, open: map[string]driver.Connection{}}
	for _, name := range []string{"one", "two"} {
		r.restart(name)
	}
	return r
}

func (r *roads) restart(name string) {
	far := &farPool{Driver: r.w.driver(name), roads: r, name: name}
	a := NewAgent(r.w.service, Backend{Host: "host1", Name: name}, far, &AgentOptions{Attempts: 3, Reach: r.reach})
	r.w.runners[name] = a.jobs
}

// reach opens what another pool has connected: like a server of its, past the pool's own account of who uses what.
func (r *roads) reach(ctx context.Context, target driver.Target) (driver.Device, error) {
	r.mu.Lock()
	c, broken := r.open[target.Path], r.broken
	r.mu.Unlock()
	if broken != nil || c.ID == "" {
		return nil, errors.Join(broken, errors.New("nobody answers"))
	}
	for name := range r.w.pools {
		if d, err := r.w.driver(name).Open(ctx, c.VolumeID, driver.ReadWrite); err == nil {
			return d, nil
		}
	}
	return nil, errors.New("nothing is there")
}

type farPool struct {
	*memvolume.Driver
	roads *roads
	name  string
}

func (p *farPool) Connect(ctx context.Context, c driver.Connection) (driver.Target, error) {
	if err := p.roads.w.faults.Meet(ctx, inject.Step{Name: "volume connect", ID: c.VolumeID, Host: p.name}); err != nil {
		return driver.Target{}, err
	}
	p.roads.mu.Lock()
	defer p.roads.mu.Unlock()
	path := p.name + "/" + c.VolumeID
	p.roads.open[path] = c
	return driver.Target{Path: path, Format: "raw"}, nil
}

func (p *farPool) Disconnect(ctx context.Context, volumeID, _ string) error {
	if err := p.roads.w.faults.Meet(ctx, inject.Step{Name: "volume disconnect", ID: volumeID, Host: p.name}); err != nil {
		return err
	}
	p.roads.mu.Lock()
	defer p.roads.mu.Unlock()
	delete(p.roads.open, p.name+"/"+volumeID)
	return nil
}

func (p *farPool) Remove(ctx context.Context, id string) error {
	p.roads.mu.Lock()
	_, open := p.roads.open[p.name+"/"+id]
	p.roads.mu.Unlock()
	if open {
		return driver.ErrBusy
	}
	return p.Driver.Remove(ctx, id)
}

func (r *roads) nothingLeft() {
	r.w.t.Helper()
	r.w.nothingLeft()
	require.Empty(r.w.t, r.open)
}

func TestAVolumeMovesToAnotherProcess(t *testing.T) {
	w := newWorkshop(t)
	r := apart(w)
	v, twin := w.volume(nil), w.volume(nil)
	w.scribble(v.ID, 1, 30)
	w.scribble(twin.ID, 1, 30)
	for _, name := range []string{"two", "one"} {
		require.NoError(t, w.service.MigrateVolume(t.Context(), w.admin, v.ID, w.host(name), "", false, false))
		kills := 0
		for w.get(v.ID).Status == Maintenance {
			w.work(mortalAfter(t.Context(), 40))
			r.restart("one")
			r.restart("two")
			kills++
		}
		w.work(t.Context())
		require.Greater(t, kills, 2)
		got := w.get(v.ID)
		require.Equal(t, []string{string(Available), "success", w.host(name)}, []string{string(got.Status), got.MigrationStatus, got.Host})
		w.same(twin.ID, v.ID)
		r.nothingLeft()
	}
}

func TestAMoveToAnotherProcessThatFails(t *testing.T) {
	w := newWorkshop(t)
	r := apart(w)
	v, twin := w.volume(nil), w.volume(nil)
	w.scribble(v.ID, 1, 10)
	w.scribble(twin.ID, 1, 10)
	fails := func(what string) {
		t.Helper()
		require.NoError(t, w.service.MigrateVolume(t.Context(), w.admin, v.ID, w.host("two"), "", false, false))
		w.work(t.Context())
		got := w.get(v.ID)
		require.Equal(t, []string{string(Available), "error", w.host("one")}, []string{string(got.Status), got.MigrationStatus, got.Host}, what)
		w.same(twin.ID, v.ID)
		r.nothingLeft()
	}
	for _, step := range []string{"volume apply", "volume connect"} {
		heal := w.faults.Add(inject.Fault{Step: step, Host: "two", Err: errors.New("no")})
		fails(step)
		heal()
	}
	r.broken = errors.New("no road")
	fails("reach")
	r.broken = nil
	heal := w.faults.Add(inject.Fault{Step: "volume disconnect", Host: "two", Times: 5})
	fails("disconnect") // the copy is whole, and cannot be had; it goes when that ends
	heal()

	require.NoError(t, w.service.MigrateVolume(t.Context(), w.admin, v.ID, w.host("two"), "", false, false))
	w.work(t.Context())
	require.Equal(t, w.host("two"), w.get(v.ID).Host)
	w.same(twin.ID, v.ID)
	r.nothingLeft()
}

func TestAPoolThatCannotBeReached(t *testing.T) {
	w := newWorkshop(t) // pools in memory cannot
	v := w.volume(nil)
	require.NoError(t, w.service.MigrateVolume(t.Context(), w.admin, v.ID, w.host("two"), "", false, false))
	w.work(t.Context())
	got := w.get(v.ID)
	require.Equal(t, []string{string(Available), "error", w.host("one")}, []string{string(got.Status), got.MigrationStatus, got.Host})
	w.nothingLeft()
}

func TestNoOtherJobTakesTheHandOfAMigration(t *testing.T) {
	w := newWorkshop(t)
	w.service.options.Images = &gallery{images: map[string]*picture{}}
	r := apart(w)
	v := w.volume(nil)
	require.NoError(t, w.service.MigrateVolume(t.Context(), w.admin, v.ID, w.host("two"), "", false, false))
	require.NoError(t, w.runners["one"].Reconcile(t.Context(), v.ID)) // the other agent has it now
	require.NoError(t, w.service.store.Update(t.Context(), func(tx *record.Tx) error {
		_, err := w.service.volumes.Touch(tx, v.ID, func(v *Volume) error {
			v.Status, v.MigrationStatus = Available, "" // as an administrator may set it
			return nil
		})
		return err
	}))
	_, err := w.service.UploadToImage(t.Context(), w.demo, v.ID, UploadSpec{ImageName: "i"})
	require.ErrorContains(t, err, "which has to end first")
	w.work(t.Context())
	require.Equal(t, w.host("two"), w.get(v.ID).Host)
	r.nothingLeft()
}
