//go:build linux

package qcow2volume

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/google/uuid"
	"github.com/kintoun/kintoun/volume/driver"
	"github.com/kintoun/kintoun/volume/internal/luks"
	"github.com/kintoun/kintoun/volume/internal/nbd"
)

// device is a content that the storage daemon exports to this process.
type device struct {
	*nbd.Client
	d      *Driver
	export string
}

var (
	_ driver.Device = (*device)(nil)
	_ driver.Sparse = (*device)(nil)
)

func (v *device) WriteAt(b []byte, offset int64) (int, error) {
	n, err := v.Client.WriteAt(b, offset)
	return n, roomed(err)
}

func (v *device) Sync() error { return roomed(v.Client.Sync()) }

func (v *device) Zero(offset, length int64) error { return roomed(v.Client.Zero(offset, length)) }

// Close ends the export too.
func (v *device) Close() error {
	if err := v.Client.Close(); errors.Is(err, fs.ErrClosed) {
		return err
	}
	v.d.mu.Lock()
	defer v.d.mu.Unlock()
	ctx := context.Background()
	m, err := v.d.running(ctx)
	if m == nil {
		return err
	}
	defer m.close()
	node, err := v.d.removeExport(ctx, m, v.export)
	return errors.Join(err, v.d.rest(ctx, m, node))
}

// Open opens a volume's or a snapshot's content; of an encrypted one, the container.
func (d *Driver) Open(ctx context.Context, id string, access driver.Access) (driver.Device, error) {
	v, _, err := d.openContent(ctx, id, access)
	if err != nil {
		return nil, fmt.Errorf("qcow2volume: %w", err)
	}
	return v, nil
}

// Unlock opens what is inside an encrypted volume or snapshot.
func (d *Driver) Unlock(ctx context.Context, id string, access driver.Access, passphrase []byte) (driver.Device, error) {
	v, r, err := d.openContent(ctx, id, access)
	if err != nil {
		return nil, fmt.Errorf("qcow2volume: %w", err)
	}
	if r.Outside == 0 {
		return nil, errors.Join(fmt.Errorf("qcow2volume: unlock %s: not encrypted: %w", id, fs.ErrInvalid), v.Close())
	}
	inside, err := luks.NewDevice(v, passphrase)
	if err != nil {
		return nil, fmt.Errorf("qcow2volume: unlock %s: %w", id, err)
	}
	return inside, nil
}

func (d *Driver) openContent(ctx context.Context, id string, access driver.Access) (*device, record, error) {
	if err := errors.Join(ctx.Err(), driver.CheckID(id)); err != nil {
		return nil, record{}, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	r, err := d.openable(id, access)
	if err != nil {
		return nil, r, err
	}
	m, err := d.daemon(ctx)
	if err != nil {
		return nil, r, err
	}
	defer m.close()
	v, err := d.exported(ctx, m, r, access)
	if err != nil {
		err = errors.Join(err, d.rest(ctx, m, nodeOf(r.Layer)))
	}
	return v, r, roomed(err)
}

// openable finds what has the identifier, if it may be opened so.
func (d *Driver) openable(id string, access driver.Access) (record, error) {
	r, err := d.record(driver.KindVolume, id)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err == nil && access == driver.ReadWrite:
		return r, d.connections().None(id)
	default:
		return r, err
	}
	r, err = d.record(driver.KindSnapshot, id)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		err = fmt.Errorf("volume or snapshot %s: %w", id, fs.ErrNotExist)
	case err == nil && access == driver.ReadWrite:
		err = fmt.Errorf("snapshot %s is only read: %w", id, fs.ErrInvalid)
	}
	return r, err
}

// exported has the daemon export a content to this process.
func (d *Driver) exported(ctx context.Context, m *monitor, r record, access driver.Access) (*device, error) {
	if r.kind == driver.KindVolume {
		if err := d.advance(ctx, m, r); err != nil {
			return nil, err
		}
	}
	if err := d.open(m, r.Layer, r.kind == driver.KindVolume); err != nil {
		return nil, err
	}
	v := &device{d: d, export: devicePrefix + string(r.kind) + "." + r.id + "." + uuid.NewString()}
	if err := m.add(v.export, r.Layer, access == driver.ReadWrite); err != nil {
		return nil, err
	}
	conn, err := dialUnix(ctx, d.path(socketsDir, exportSocket))
	if err == nil {
		v.Client, err = nbd.New(ctx, conn, &nbd.Options{Export: v.export})
	}
	if err != nil {
		return nil, errors.Join(err, m.remove(ctx, v.export))
	}
	return v, nil
}
