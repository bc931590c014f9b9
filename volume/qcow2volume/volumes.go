//go:build linux

package qcow2volume

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"github.com/kintoun/kintoun/volume/driver"
	"github.com/kintoun/kintoun/volume/internal/luks"
)

// Apply creates a volume, or makes it larger.
func (d *Driver) Apply(ctx context.Context, want driver.Volume) error {
	if err := errors.Join(ctx.Err(), want.Check()); err != nil {
		return fmt.Errorf("qcow2volume: %w", err)
	}
	container, err := newContainer(want)
	if err != nil {
		return fmt.Errorf("qcow2volume: volume %s: %w", want.ID, err)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	r, err := d.record(driver.KindVolume, want.ID)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		err = d.create(ctx, want, container)
	case err == nil:
		err = d.grow(ctx, r, want.Bytes)
	}
	if err != nil {
		return fmt.Errorf("qcow2volume: volume %s: %w", want.ID, roomed(err))
	}
	return nil
}

// buffer is memory that is written to.
type buffer []byte

func (b buffer) WriteAt(data []byte, offset int64) (int, error) { return copy(b[offset:], data), nil }

// newContainer is what an encrypted volume begins with.
func newContainer(want driver.Volume) ([]byte, error) {
	if len(want.Passphrase) == 0 || want.Source != (driver.Source{}) {
		return nil, nil
	}
	b := make(buffer, luks.HeaderBytes)
	return b, luks.Format(b, want.Passphrase, nil)
}

func (d *Driver) create(ctx context.Context, want driver.Volume, container []byte) error {
	r := record{kind: driver.KindVolume, id: want.ID, Outside: int64(len(container))}
	on, err := d.source(ctx, want, &r)
	if err != nil {
		return err
	}
	if r.Layer, err = d.newLayer(r.Outside+want.Bytes, on, container); err != nil {
		return err
	}
	if err := d.keep(r); err != nil {
		return errors.Join(err, d.discard(r.Layer))
	}
	return nil
}

// source is the layer that a new volume stands on.
func (d *Driver) source(ctx context.Context, want driver.Volume, r *record) (string, error) {
	s := record{kind: driver.KindVolume, id: want.Source.VolumeID}
	if want.Source.SnapshotID != "" {
		s.kind, s.id = driver.KindSnapshot, want.Source.SnapshotID
	}
	if s.id == "" {
		return "", nil
	}
	s, err := d.record(s.kind, s.id)
	if err != nil {
		return "", fmt.Errorf("source: %w", err)
	}
	x, err := d.layer(s.Layer)
	if err == nil && x.bytes-s.Outside > want.Bytes {
		err = fmt.Errorf("source %s %s of %d bytes is larger than %d: %w", s.kind, s.id, x.bytes-s.Outside, want.Bytes, fs.ErrInvalid)
	}
	if err != nil {
		return "", err
	}
	r.Outside = s.Outside
	if s.kind == driver.KindSnapshot {
		return s.Layer, nil
	}
	frozen, err := d.freeze(ctx, s)
	if err != nil {
		return "", err
	}
	return frozen[0].Layer, nil
}

// grow makes a volume larger: the daemon does, also if it is connected; then its clients' connections break off, and they connect
// again. A client that does not learns nothing of the new size.
func (d *Driver) grow(ctx context.Context, r record, bytes int64) error {
	x, err := d.layer(r.Layer)
	switch now := x.bytes - r.Outside; {
	case err != nil:
		return err
	case bytes < now:
		return fmt.Errorf("%d bytes never become %d: %w", now, bytes, fs.ErrInvalid)
	case bytes == now:
		return nil
	case r.Outside+bytes > maxBytes:
		return fmt.Errorf("%d bytes are more than a qcow2 file holds: %w", bytes, fs.ErrInvalid)
	}
	m, err := d.daemon(ctx)
	if err != nil {
		return err
	}
	defer m.close()
	return errors.Join(d.resize(ctx, m, r, r.Outside+bytes), d.serveVolume(ctx, m, r), d.rest(ctx, m, nodeOf(r.Layer)))
}

func (d *Driver) resize(ctx context.Context, m *monitor, r record, bytes int64) error {
	if err := d.advance(ctx, m, r); err != nil {
		return err
	}
	if err := d.open(m, r.Layer, true); err != nil {
		return err
	}
	exports, err := m.exports()
	if err != nil {
		return err
	}
	for _, e := range exports {
		switch {
		case !e.ofVolume(r.id):
		case strings.HasPrefix(e.ID, devicePrefix):
			return fmt.Errorf("it is open: %w", driver.ErrBusy)
		default:
			if err := m.remove(ctx, e.ID); err != nil {
				return err
			}
		}
	}
	return m.do("block_resize", map[string]any{"node-name": nodeOf(r.Layer), "size": bytes}, nil)
}

// Remove deletes a volume.
func (d *Driver) Remove(ctx context.Context, id string) error {
	if err := errors.Join(ctx.Err(), driver.CheckID(id)); err != nil {
		return fmt.Errorf("qcow2volume: volume %w", err)
	}
	if err := d.remove(ctx, driver.KindVolume, id); err != nil {
		return fmt.Errorf("qcow2volume: volume %s: %w", id, err)
	}
	return nil
}

// remove deletes what shows a layer; the layer stays while others stand on it. What cannot be merged then is some other time: it is
// removed, and whoever asks again is told so.
func (d *Driver) remove(ctx context.Context, kind driver.Kind, id string) error {
	work, err := d.removed(ctx, kind, id)
	if err == nil && work != nil {
		_ = d.merged(ctx, work)
	}
	return err
}

func (d *Driver) removed(ctx context.Context, kind driver.Kind, id string) (*merging, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if kind == driver.KindVolume {
		if err := d.connections().None(id); err != nil {
			return nil, err
		}
		if err := os.RemoveAll(d.path(connectionsDir, id)); err != nil {
			return nil, err
		}
	}
	r, err := d.record(kind, id)
	if err != nil {
		return nil, unlessMissing(err)
	}
	if err := d.forget(r); err != nil {
		return nil, err
	}
	g, err := d.graph()
	if err != nil {
		return nil, err
	}
	if err := d.collect(g, r.Layer); err != nil {
		return nil, err
	}
	work, err := d.merge(ctx, g, g.lowest(r.Layer))
	if err != nil {
		work = nil
	}
	return work, nil
}
