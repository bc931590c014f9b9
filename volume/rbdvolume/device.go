//go:build linux

package rbdvolume

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/kintoun/kintoun/internal/process"
	"github.com/kintoun/kintoun/volume/driver"
	"github.com/kintoun/kintoun/volume/internal/nbd"
)

// found is what an identifier stands for.
type found struct {
	image, snapshot string
	luks            int64
}

// Open opens a volume's or a snapshot's content; of an encrypted one, the container.
func (d *Driver) Open(ctx context.Context, id string, access driver.Access) (driver.Device, error) {
	found, err := d.openable(ctx, id, access)
	if err != nil {
		return nil, err
	}
	return d.open(ctx, found, access)
}

// openable finds what may be opened so.
func (d *Driver) openable(ctx context.Context, id string, access driver.Access) (f found, err error) {
	if err := errors.Join(ctx.Err(), driver.CheckID(id)); err != nil {
		return f, fmt.Errorf("rbdvolume: %w", err)
	}
	x, err := d.index(ctx)
	if err != nil {
		return f, fmt.Errorf("rbdvolume: %w", err)
	}
	i, err := d.info(ctx, volumePrefix+id)
	if is(err, syscall.ENOENT) {
		i, _, err = d.locate(ctx, id, x)
		f.snapshot = snapshotPrefix + id
	}
	if err != nil {
		return f, fmt.Errorf("rbdvolume: volume or snapshot %s: %w", id, err)
	}
	switch list := x.connections[id]; {
	case access == driver.ReadOnly:
	case f.snapshot != "":
		return f, fmt.Errorf("rbdvolume: snapshot %s is only read: %w", id, fs.ErrInvalid)
	case len(list) > 0:
		return f, fmt.Errorf("rbdvolume: volume %s has connection %s: %w", id, list[0].ID, driver.ErrBusy)
	}
	f.image, f.luks = i.Name, x.luks[i.ID]
	return f, nil
}

// device is an image that a qemu-storage-daemon of its own has opened.
type device struct {
	*nbd.Client
	daemon *daemon
}

// Close ends the daemon too. What was written and not made durable may be lost, as the contract has it.
func (d *device) Close() error { return errors.Join(d.Client.Close(), d.daemon.stop()) }

func (d *Driver) open(ctx context.Context, f found, access driver.Access, secrets ...secret) (driver.Device, error) {
	image := map[string]any{
		"driver": "rbd", "node-name": "image", "pool": d.pool, "image": f.image, "user": d.o.User, "conf": d.o.Config,
		"read-only": access == driver.ReadOnly, "discard": "unmap",
	}
	if d.o.Namespace != "" {
		image["namespace"] = d.o.Namespace
	}
	if f.snapshot != "" {
		image["snapshot"] = f.snapshot
	}
	dev, err := export(ctx, image, access, secrets...)
	if err != nil {
		return nil, fmt.Errorf("rbdvolume: open %s: %w", f.image, err)
	}
	return dev, nil
}

// daemon is a running qemu-storage-daemon.
type daemon struct {
	cmd   *exec.Cmd
	out   bytes.Buffer
	ended <-chan error
}

// stop ends it and takes its answer.
func (d *daemon) stop() error {
	_ = d.cmd.Process.Signal(syscall.SIGTERM)
	var exit *exec.ExitError
	if err := <-d.ended; err != nil && !errors.As(err, &exit) {
		return err
	}
	return nil
}

// secret is handed to the daemon without anybody else seeing it.
type secret struct {
	id    string
	value []byte
	// format is the secret object's: "raw" or "base64".
	format string
}

// export has a qemu-storage-daemon open the image, and inside it a container if one of the secrets is a passphrase. The daemon
// serves this process alone: it gets a socket that listens already, whose name is gone when it has been connected to.
func export(ctx context.Context, image map[string]any, access driver.Access, secrets ...secret) (_ *device, err error) {
	program, err := process.Program("qemu-storage-daemon", "reading and writing volumes in Ceph", "qemu-system-common")
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "rbd-")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	socket := filepath.Join(dir, "nbd")
	listener, err := listen(socket)
	if err != nil {
		return nil, err
	}
	d := &daemon{cmd: exec.Command(program)} //nolint:noctx // it lives until Close
	d.cmd.ExtraFiles = []*os.File{listener}
	defer func() {
		for _, f := range d.cmd.ExtraFiles {
			_ = f.Close()
		}
	}()
	for _, s := range secrets {
		f, err := piped(s.value)
		if err != nil {
			return nil, err
		}
		d.cmd.ExtraFiles = append(d.cmd.ExtraFiles, f)
		d.cmd.Args = append(d.cmd.Args, "--object", fmt.Sprintf("secret,id=%s,format=%s,file=/dev/fd/%d", s.id, s.format, 2+len(d.cmd.ExtraFiles)))
	}
	top := image
	for _, s := range secrets {
		if s.id == passphraseID {
			// In one tree: a daemon that gives up because of the passphrase closes the image. Otherwise the cluster would wait for it.
			top = map[string]any{
				"driver": "luks", "node-name": "inside", "file": image, "key-secret": s.id, "discard": "unmap", "read-only": access == driver.ReadOnly,
			}
		}
	}
	blockdev, err := json.Marshal(top)
	if err != nil {
		return nil, err
	}
	writable := "off"
	if access == driver.ReadWrite {
		writable = "on"
	}
	d.cmd.Args = append(d.cmd.Args, "--blockdev", string(blockdev))
	d.cmd.Args = append(d.cmd.Args, "--nbd-server", "addr.type=fd,addr.str=3", "--export", fmt.Sprintf("type=nbd,id=export,name=image,node-name=%s,writable=%s", top["node-name"], writable))
	d.cmd.Stdout, d.cmd.Stderr = &d.out, &d.out
	return d.start(ctx, socket, listener)
}

// passphraseID is the secret that opens a container.
const passphraseID = "passphrase"

// start runs the daemon and connects to it.
func (d *daemon) start(ctx context.Context, socket string, listener *os.File) (_ *device, err error) {
	if d.ended, err = start(d.cmd); err != nil {
		return nil, err
	}
	// Only the daemon listens from here on: when it ends, the connection does.
	client, err := (&net.Dialer{}).DialContext(ctx, "unix", socket)
	_ = listener.Close()
	if err == nil {
		var c *nbd.Client
		if c, err = nbd.New(ctx, client, &nbd.Options{Export: "image"}); err == nil {
			return &device{Client: c, daemon: d}, nil
		}
	}
	err = errors.Join(err, d.stop())
	said := strings.TrimSpace(d.out.String())
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if strings.Contains(said, wrongPassphrase) {
		return nil, fmt.Errorf("%s: %w", said, fs.ErrPermission)
	}
	return nil, fmt.Errorf("qemu-storage-daemon: %s: %w", said, err)
}

// listen makes a socket that listens, and keeps its name.
func listen(path string) (*os.File, error) {
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		return nil, err
	}
	l.SetUnlinkOnClose(false)
	f, err := l.File()
	return f, errors.Join(err, l.Close())
}
