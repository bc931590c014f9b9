//go:build linux

package filevolume

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/kintoun/kintoun/volume/driver"
	"github.com/kintoun/kintoun/volume/internal/luks"
)

// format makes the new file a container with so many bytes inside.
func format(f *os.File, bytes int64, passphrase []byte) error {
	return errors.Join(f.Truncate(luks.HeaderBytes+bytes), luks.Format(f, passphrase, nil), setAttribute(f, attrEncrypted, "luks1"))
}

// Unlock opens what is inside an encrypted volume or snapshot.
func (d *Driver) Unlock(ctx context.Context, id string, access driver.Access, passphrase []byte) (driver.Device, error) {
	path, err := d.openable(ctx, id, access)
	if err != nil {
		return nil, err
	}
	f, err := openFor(path, access)
	if err != nil {
		return nil, fmt.Errorf("filevolume: %w", err)
	}
	x, err := describe(f)
	if err == nil && !x.encrypted {
		err = fmt.Errorf("not encrypted: %w", fs.ErrInvalid)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("filevolume: unlock %s: %w", id, err), f.Close())
	}
	inside, err := luks.NewDevice(newDevice(f, access), passphrase)
	if err != nil {
		return nil, fmt.Errorf("filevolume: unlock %s: %w", id, err)
	}
	return inside, nil
}
