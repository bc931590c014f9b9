package drivertest

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"sync"

	"github.com/kintoun/kintoun/volume/driver"
)

// Work has workers do things to volumes of their own, of a pool, and write what to out, for [TestKills]. It never ends by itself, but
// for an error.
func Work(ctx context.Context, volumes driver.Volumes, workers int, out io.Writer) error {
	var mu sync.Mutex
	failed := make(chan error, workers)
	for n := range workers {
		w := &worker{Volumes: volumes, ctx: ctx, number: n, mu: &mu, out: out, state: things{}}
		go func() {
			var err error
			for err == nil {
				err = w.round()
			}
			failed <- err
		}()
	}
	return <-failed
}

// worker does things to volumes of its own, which state has, and says so.
type worker struct {
	driver.Volumes
	ctx    context.Context //nolint:containedctx // of one call
	number int
	mu     *sync.Mutex
	out    io.Writer
	state  things
}

func (w *worker) say(s step) error {
	s.Worker = w.number
	line, err := json.Marshal(s)
	if err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	_, err = w.out.Write(append(line, '\n'))
	return err
}

// do does what the step says.
func (w *worker) do(s step, work func() error) error {
	if err := w.say(s); err != nil {
		return err
	}
	if err := work(); err != nil {
		if errors.Is(err, errors.ErrUnsupported) {
			return errors.Join(err, w.say(step{Refused: true}))
		}
		return fmt.Errorf("%+v: %w", s, err)
	}
	w.state = s.on(w.state)
	return w.say(step{})
}

// round is a life of two volumes, and what is made of them.
func (w *worker) round() error {
	a, b, c, connection := id(), id(), id(), driver.Connection{ID: id(), Host: Host}
	connection.VolumeID = b
	n, m, k := driver.Snapshot{ID: id(), VolumeID: a}, driver.Snapshot{ID: id(), VolumeID: b}, driver.Snapshot{ID: id(), VolumeID: a}
	for _, next := range []func() error{
		func() error { return w.apply(driver.Volume{ID: a, Bytes: mib}, 0) },
		func() error { return w.stamp(a) },
		func() error {
			return w.apply(driver.Volume{ID: b, Bytes: 2 * mib, Source: driver.Source{VolumeID: a}}, w.state[a].Stamp)
		},
		func() error { return w.connect(connection) },
		func() error { return w.snapshots(n, m, k) },
		func() error { return w.disconnect(connection) },
		func() error { return w.stamp(b) },
		func() error { return w.apply(driver.Volume{ID: a, Bytes: 3 * mib}, w.state[a].Stamp) },
		func() error { return w.stamp(a) },
		func() error { return w.revert(n) },
		func() error {
			return w.do(step{Del: []string{n.ID}}, func() error { return w.RemoveSnapshot(w.ctx, n.ID) })
		},
		func() error {
			return w.apply(driver.Volume{ID: c, Bytes: 4 * mib, Source: driver.Source{SnapshotID: m.ID}}, w.state[m.ID].Stamp)
		},
		func() error { return w.do(step{Del: []string{b}}, func() error { return w.Remove(w.ctx, b) }) },
	} {
		if err := next(); err != nil {
			return err
		}
	}
	return nil
}

func (w *worker) apply(want driver.Volume, stamp uint64) error {
	return w.do(step{Set: things{want.ID: {Bytes: want.Bytes, Stamp: stamp}}}, func() error { return w.Apply(w.ctx, want) })
}

// stamp writes to a volume.
func (w *worker) stamp(volume string) error {
	x := w.state[volume]
	x.Stamp = rand.Uint64()
	return w.do(step{Set: things{volume: x}}, func() error {
		d, err := w.Open(w.ctx, volume, driver.ReadWrite)
		if err != nil {
			return err
		}
		_, err = d.WriteAt(binary.BigEndian.AppendUint64(nil, x.Stamp), 0)
		return errors.Join(err, d.Sync(), d.Close())
	})
}

func (w *worker) connect(c driver.Connection) error {
	x := w.state[c.VolumeID]
	x.Connection = c.ID
	return w.do(step{Set: things{c.VolumeID: x}}, func() error {
		_, err := w.Connect(w.ctx, c)
		return err
	})
}

func (w *worker) disconnect(c driver.Connection) error {
	x := w.state[c.VolumeID]
	x.Connection = ""
	return w.do(step{Set: things{c.VolumeID: x}}, func() error { return w.Disconnect(w.ctx, c.VolumeID, c.ID) })
}

// snapshots takes several at once, or one after the other where the driver cannot.
func (w *worker) snapshots(all ...driver.Snapshot) error {
	set := things{}
	for _, s := range all {
		v := w.state[s.VolumeID]
		set[s.ID] = thing{VolumeID: s.VolumeID, Bytes: v.Bytes, Stamp: v.Stamp}
	}
	err := w.do(step{Set: set}, func() error { return w.ApplySnapshots(w.ctx, all...) })
	if len(all) == 1 || !errors.Is(err, errors.ErrUnsupported) {
		return err
	}
	for _, s := range all {
		if err := w.snapshots(s); err != nil {
			return err
		}
	}
	return nil
}

// revert goes back to a snapshot, if the driver does that.
func (w *worker) revert(s driver.Snapshot) error {
	r, ok := w.Volumes.(driver.Reverter)
	if !ok {
		return nil
	}
	x := w.state[s.ID]
	x.VolumeID = ""
	return w.do(step{Set: things{s.VolumeID: x}}, func() error { return r.Revert(w.ctx, s.VolumeID, s.ID) })
}
