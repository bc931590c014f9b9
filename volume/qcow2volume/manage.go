//go:build linux

package qcow2volume

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"github.com/google/uuid"
	"github.com/kintoun/kintoun/volume/driver"
	"github.com/kintoun/kintoun/volume/internal/connections"
	"github.com/kintoun/kintoun/volume/internal/luks"
)

// What a released volume's file is called; one that is encrypted says so by its end.
const (
	releasedPrefix  = "released-"
	encryptedSuffix = ".luks"
)

// Unmanaged lists the files in the pool's directory that are not the driver's.
func (d *Driver) Unmanaged(ctx context.Context) ([]driver.Unmanaged, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	entries, err := os.ReadDir(d.dir)
	if err != nil {
		return nil, fmt.Errorf("qcow2volume: %w", err)
	}
	var all []driver.Unmanaged
	for _, e := range entries {
		if !e.Type().IsRegular() || foreign(e.Name()) != nil {
			continue
		}
		if x, err := d.inspect(e.Name()); err == nil {
			all = append(all, driver.Unmanaged{Name: e.Name(), Bytes: x.bytes, Safe: x.unfit == "", Reason: x.unfit})
		}
	}
	return all, nil
}

// foreign returns an fs.ErrInvalid for names that no file of somebody else has.
func foreign(name string) error {
	if kind, _ := named(name); kind != "" || name == "" || strings.HasPrefix(name, ".") || strings.Contains(name, "/") || strings.HasSuffix(name, ".json.new") {
		return fmt.Errorf("%q cannot be adopted: %w", name, fs.ErrInvalid)
	}
	return nil
}

// inspected is what somebody's file is.
type inspected struct {
	format string
	bytes  int64
	unfit  string // why it cannot become a volume
}

func (d *Driver) inspect(name string) (x inspected, err error) {
	f, err := open(d.path(name), os.O_RDONLY)
	if err != nil {
		return x, err
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err != nil {
		return x, err
	}
	start := make([]byte, len(magic))
	if _, err := f.ReadAt(start, 0); err != nil || string(start) != magic {
		x = inspected{format: formatRaw, bytes: info.Size()}
		if x.bytes <= 0 || x.bytes%512 != 0 {
			x.unfit = "its size is not a multiple of 512 bytes"
		}
		return x, nil
	}
	h, err := readHeader(f)
	x = inspected{format: formatQCOW2, bytes: h.bytes, unfit: h.unfit()}
	if err != nil {
		x.unfit = err.Error()
	}
	return x, nil
}

// Adopt makes a file in the pool's directory a volume. It has both names until the volume is there.
func (d *Driver) Adopt(ctx context.Context, name, id string) error {
	if err := errors.Join(ctx.Err(), driver.CheckID(id), foreign(name)); err != nil {
		return fmt.Errorf("qcow2volume: adopt: %w", err)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.adopt(name, id); err != nil {
		return fmt.Errorf("qcow2volume: adopt %q as volume %s: %w", name, id, roomed(err))
	}
	return nil
}

func (d *Driver) adopt(name, id string) error {
	r, err := d.record(driver.KindVolume, id)
	if err == nil {
		if _, err := os.Lstat(d.path(name)); errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if same, err := sameFile(d.path(name), d.layerPath(r.Layer)); err != nil || !same {
			return errors.Join(err, fmt.Errorf("another has that identifier: %w", fs.ErrInvalid))
		}
		return errors.Join(os.Remove(d.path(name)), connections.SyncDir(d.dir))
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	x, err := d.inspect(name)
	if err == nil && x.unfit != "" {
		err = fmt.Errorf("%s: %w", x.unfit, fs.ErrInvalid)
	}
	if err != nil {
		return err
	}
	r.Layer = uuid.NewString() + "." + x.format
	if strings.HasPrefix(name, releasedPrefix) && strings.HasSuffix(name, encryptedSuffix) && x.bytes > luks.HeaderBytes {
		r.Outside = luks.HeaderBytes
	}
	if err := d.shareName(d.path(name), d.layerPath(r.Layer), true); err != nil {
		return err
	}
	if err := d.keep(r); err != nil {
		return errors.Join(err, d.discard(r.Layer))
	}
	return errors.Join(os.Remove(d.path(name)), connections.SyncDir(d.dir))
}

// shareName gives a file a second name, durably, and to the daemon's account or back.
func (d *Driver) shareName(from, to string, adopted bool) error {
	if err := os.Link(from, to); err != nil {
		return err
	}
	var err error
	switch {
	case d.account == nil:
	case adopted:
		err = os.Lchown(to, int(d.account.Uid), int(d.account.Gid))
	default:
		err = os.Lchown(to, os.Geteuid(), os.Getegid())
	}
	f, openErr := open(to, os.O_RDONLY)
	if openErr == nil {
		err = errors.Join(err, f.Sync(), f.Close())
	}
	return errors.Join(err, openErr, connections.SyncDir(d.dir), connections.SyncDir(d.path(layersDir)))
}

func sameFile(a, b string) (bool, error) {
	x, err := os.Lstat(a)
	if err != nil {
		return false, err
	}
	y, err := os.Lstat(b)
	return err == nil && os.SameFile(x, y), unlessMissing(err)
}

// mendNames takes the second names of layers away, which are left when Adopt or Release is killed: what is a volume's file is nobody
// else's.
func (d *Driver) mendNames() error {
	g, err := d.graph()
	if err != nil {
		return err
	}
	entries, err := os.ReadDir(d.dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		info, err := e.Info()
		if err != nil || !info.Mode().IsRegular() || foreign(e.Name()) != nil {
			continue
		}
		if stat, ok := statOf(info); !ok || stat.Nlink < 2 {
			continue
		}
		for name := range g.layers {
			if same, err := sameFile(d.path(e.Name()), d.layerPath(name)); err != nil || !same {
				continue
			}
			if err := os.Remove(d.path(e.Name())); err != nil {
				return err
			}
			break
		}
	}
	return nil
}

// Release gives a volume up as the file released-ID. One that stands on others, because it has snapshots or was made from something,
// is made whole first, which copies what is below.
func (d *Driver) Release(ctx context.Context, id string) (string, error) {
	if err := errors.Join(ctx.Err(), driver.CheckID(id)); err != nil {
		return "", fmt.Errorf("qcow2volume: volume %w", err)
	}
	name, err := d.release(ctx, id)
	if err != nil {
		return "", fmt.Errorf("qcow2volume: release volume %s: %w", id, roomed(err))
	}
	return name, nil
}

func (d *Driver) release(ctx context.Context, id string) (string, error) {
	x, err := d.whole(ctx, id)
	if err != nil {
		return "", err
	}
	if x.backing != "" {
		if err := d.streamed(ctx, x, ""); err != nil {
			return "", err
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	r, err := d.record(driver.KindVolume, id)
	if err != nil {
		return "", err
	}
	if r.Layer != x.name {
		return "", fmt.Errorf("something was made of it meanwhile: %w", driver.ErrBusy)
	}
	name := releasedPrefix + id + "." + formatOf(x.name)
	if r.Outside > 0 {
		name += encryptedSuffix
	}
	if err := d.shareName(d.layerPath(x.name), d.path(name), false); err != nil {
		return "", err
	}
	return name, errors.Join(d.forget(r), d.discard(x.name, x.backing))
}

// whole begins to make a volume's layer one that stands on no other, if it stands on one, and returns what it was.
func (d *Driver) whole(ctx context.Context, id string) (x layer, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.connections().None(id); err != nil {
		return x, err
	}
	r, err := d.record(driver.KindVolume, id)
	if err != nil {
		return x, err
	}
	if x, err = d.layer(r.Layer); err == nil && x.backing != "" {
		err = d.stream(ctx, r.Layer, "", true)
	}
	return x, err
}
