//go:build linux

package rbdvolume

import (
	"context"
	"errors"
	"fmt"

	"io/fs"
	"os"
	"os/exec"
	"strconv"
	"strings"

	"github.com/kintoun/kintoun/internal/process"
	"github.com/kintoun/kintoun/volume/driver"
)

// format makes an image that is a LUKS container, with room for that many bytes.
func (d *Driver) format(ctx context.Context, name string, bytes int64, passphrase []byte) error {
	qemuImg, err := process.Program("qemu-img", "encrypted volumes", "qemu-utils")
	if err != nil {
		return err
	}
	secret, err := piped(passphrase)
	if err != nil {
		return err
	}
	defer func() { _ = secret.Close() }()
	cmd := exec.CommandContext(ctx, qemuImg, "create", "-q", "-f", "luks", "--object", "secret,id=passphrase,file=/dev/fd/3",
		// Passphrases are keys of full length out of a key manager: iterations over them add nothing.
		"-o", "key-secret=passphrase,iter-time=10",
		d.qemuName(name), strconv.FormatInt(bytes, 10))
	cmd.ExtraFiles = []*os.File{secret}
	if _, err := command(ctx, cmd); err != nil {
		return err
	}
	i, err := d.info(ctx, name)
	if err != nil {
		return err
	}
	return d.setKey(ctx, luksKey(i.ID, i.Bytes-bytes))
}

// qemuName is an image as QEMU's tools take it.
func (d *Driver) qemuName(name string) string {
	return "rbd:" + d.spec(name) + ":id=" + d.o.User + ":conf=" + strings.ReplaceAll(d.o.Config, ":", `\:`)
}

// markEncrypted says of a clone of an encrypted image that it is so too.
func (d *Driver) markEncrypted(ctx context.Context, name string, offset int64) error {
	i, err := d.info(ctx, name)
	if err != nil {
		return err
	}
	return d.setKey(ctx, luksKey(i.ID, offset))
}

// piped is a file from which a secret can be read once; nobody else sees it. Secrets are smaller than a pipe.
func piped(secret []byte) (*os.File, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	if _, err := w.Write(secret); err != nil {
		return nil, errors.Join(err, r.Close(), w.Close())
	}
	return r, w.Close()
}

// Unlock opens what is inside an encrypted volume or snapshot.
func (d *Driver) Unlock(ctx context.Context, id string, access driver.Access, passphrase []byte) (driver.Device, error) {
	found, err := d.openable(ctx, id, access)
	if err != nil {
		return nil, err
	}
	if found.luks == 0 {
		return nil, fmt.Errorf("rbdvolume: %s is not encrypted: %w", id, fs.ErrInvalid)
	}
	return d.open(ctx, found, access, secret{id: passphraseID, value: passphrase, format: "raw"})
}

// wrongPassphrase is how QEMU says that none of a container's keys is opened by it (crypto/block-luks.c).
const wrongPassphrase = "Invalid password, cannot unlock any keyslot"
