//go:build linux

package qemu

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/kintoun/kintoun/compute/driver"
	"github.com/kintoun/kintoun/compute/qemu/qmp"
	"github.com/kintoun/kintoun/internal/fault"
	"github.com/kintoun/kintoun/internal/process"
)

// captureName names a copy's directory in its server's, and everything of the copy in QEMU.
const captureName = "capture"

func (d *Driver) captureDir(id string) string  { return filepath.Join(d.dir(id), captureName) }
func (d *Driver) capturePath(id string) string { return filepath.Join(d.run(id), "copy") }

// Capture copies the server's disk with QEMU's mirror job, in the server's own QEMU if it runs, else in one without a machine.
// The job copies the disk, then what the guest has written meanwhile, and ends at a moment when nothing is left to copy. A guest's
// write never waits for the copy and never fails with it, and the server's disk stays its disk: a kill at any moment leaves
// at most a copy that the next Capture, Discard or Remove finds and ends. The copy takes as much room beside the server's disk
// as the server sees data, until it is closed. While Capture copies, other calls for the server wait.
func (d *Driver) Capture(ctx context.Context, id string, root driver.Disk, format string) (*driver.Capture, error) {
	if err := validID(id); err != nil {
		return nil, err
	}
	if format != "qcow2" && format != "raw" {
		return nil, fault.Wrap(ErrInvalid, "qemu: server %s: format %q of a copy", id, format)
	}
	lock := d.lock(id)
	lock.Lock()
	defer lock.Unlock()
	file, err := d.capture(ctx, id, root, format)
	if err != nil {
		return nil, fmt.Errorf("qemu: server %s: copy of its disk: %w", id, err)
	}
	info, err := file.Stat()
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return &driver.Capture{ReadCloser: file, Bytes: info.Size()}, nil
}

func (d *Driver) capture(ctx context.Context, id string, root driver.Disk, format string) (file *os.File, err error) {
	rec, err := d.load(id)
	if errors.Is(err, os.ErrNotExist) {
		return nil, fault.Wrap(ErrNotFound, "it does not exist here")
	}
	if err != nil {
		return nil, err
	}
	if _, err := os.Stat(filepath.Join(d.dir(id), diskFile)); err != nil {
		return nil, fault.Wrap(ErrInvalid, "it has no disk of its own")
	}
	running, err := d.discard(ctx, id, rec)
	if err != nil {
		return nil, err
	}
	dir := d.captureDir(id)
	if err := os.Mkdir(dir, 0o700); err != nil {
		return nil, err
	}
	target := filepath.Join(dir, "disk")
	copied := func(client *qmp.Client) error { return d.copyOut(ctx, client, target, format) }
	if running {
		err = converse(ctx, d.qmpPath(id), copied)
	} else {
		err = d.withoutMachine(ctx, id, root, copied)
	}
	if err == nil {
		file, err = os.Open(target)
	}
	// The file has no name any more: it goes with its last reader.
	if gone := os.RemoveAll(dir); gone != nil && file != nil {
		err = errors.Join(gone, file.Close())
	}
	return file, err
}

// converse has a conversation with a QEMU that may be long.
func converse(ctx context.Context, path string, talk func(*qmp.Client) error) error {
	dialing, cancel := context.WithTimeout(ctx, controlDeadline)
	defer cancel()
	client, err := qmp.Dial(dialing, path)
	if err != nil {
		return err
	}
	return errors.Join(talk(client), client.Disconnect())
}

// Discard ends a copy that was cut short.
func (d *Driver) Discard(ctx context.Context, id string) error {
	if err := validID(id); err != nil {
		return err
	}
	lock := d.lock(id)
	lock.Lock()
	defer lock.Unlock()
	rec, err := d.load(id)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err == nil {
		_, err = d.discard(ctx, id, rec)
	}
	if err != nil {
		return fmt.Errorf("qemu: server %s: what is left of a copy: %w", id, err)
	}
	return nil
}

// discard removes what is left of a copy, and says whether the server runs.
func (d *Driver) discard(ctx context.Context, id string, rec record) (running bool, err error) {
	if rec.mayRun() {
		proc, err := d.find(ctx, id, rec)
		if err != nil {
			return false, err
		}
		running = proc != nil
	}
	if _, err := os.Stat(d.captureDir(id)); errors.Is(err, os.ErrNotExist) {
		return running, nil
	}
	if running {
		err := converse(ctx, d.qmpPath(id), func(client *qmp.Client) error { return copying{client}.clear(ctx) })
		if err != nil {
			return running, err
		}
	}
	return running, d.endCapture(ctx, id)
}

// endCapture ends the QEMU that copies the disk of a server that does not run, and removes the copy.
func (d *Driver) endCapture(ctx context.Context, id string) error {
	dir := d.captureDir(id)
	if _, err := os.Stat(dir); errors.Is(err, os.ErrNotExist) {
		return nil
	}
	proc, err := findForked(ctx, dir)
	if err == nil && proc != nil {
		err = kill(ctx, proc)
	}
	if err != nil {
		return err
	}
	// Its socket's directory stays if the server itself has it.
	_ = os.Remove(d.capturePath(id))
	_ = os.Remove(d.run(id))
	return os.RemoveAll(dir)
}

// withoutMachine starts a QEMU that has the server's disk, to be read only, and no machine, and ends it after the talk.
func (d *Driver) withoutMachine(ctx context.Context, id string, root driver.Disk, talk func(*qmp.Client) error) (err error) {
	var f files
	defer f.close()
	lock, err := lockProcess(ctx, d.captureDir(id))
	if err != nil {
		return err
	}
	f.add(lock)
	m := &machine{server: driver.Server{Root: root}}
	if m.disk, err = f.open(filepath.Join(d.dir(id), diskFile), os.O_RDONLY, 0); err != nil {
		return err
	}
	if root.Base != "" {
		if m.base, err = f.open(root.Base, os.O_RDONLY, 0); err != nil {
			return fault.Wrap(ErrUnavailable, "image: %v", err)
		}
	}
	if err := os.MkdirAll(d.run(id), 0o700); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(d.run(id))) }()
	path := d.capturePath(id)
	if m.qmp, err = f.listen(path); err != nil {
		return err
	}
	args := append([]string{
		"-name", "guest=" + id + "-" + captureName, "-machine", "none", "-nodefaults", "-no-user-config", "-display", "none",
		"-sandbox", sandbox, "-chardev", fmt.Sprintf("socket,id=qmp,fd=%d,server=on,wait=off", m.qmp), "-mon", "chardev=qmp,mode=control",
	}, m.diskNodes(true)...)
	dir := d.captureDir(id)
	output := filepath.Join(dir, outputFile)
	proc, err := process.Start(process.Spec{
		Dir: dir, Path: d.o.Binary, Args: args, Credential: d.credential, Output: output, Files: f.all,
	})
	f.close()
	if err != nil {
		return err
	}
	err = converse(ctx, path, talk)
	if err != nil {
		if _, complaint := readOutput(output); complaint != "" {
			err = errors.Join(fault.Wrap(ErrUnavailable, "QEMU: %s", complaint), err)
		}
	}
	ending, cancel := context.WithTimeout(context.WithoutCancel(ctx), killDeadline)
	defer cancel()
	return errors.Join(err, kill(ending, proc))
}

// copyOut copies the disk of a QEMU to a new file.
func (d *Driver) copyOut(ctx context.Context, client *qmp.Client, target, format string) error {
	c := copying{client}
	size, err := c.size(ctx)
	if err != nil {
		return err
	}
	if err := d.makeTarget(ctx, target, format, size); err != nil {
		return err
	}
	err = c.mirror(ctx, target, format)
	ending, cancel := context.WithTimeout(context.WithoutCancel(ctx), controlDeadline)
	defer cancel()
	// The copy is whole when QEMU has let go of it.
	if undone := c.clear(ending); err == nil || !errors.Is(undone, qmp.ErrClosed) {
		err = errors.Join(err, undone)
	}
	return err
}

func (d *Driver) makeTarget(ctx context.Context, path, format string, size int64) error {
	if format == "qcow2" {
		return d.makeQCOW2(ctx, path, size)
	}
	file, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	return errors.Join(file.Truncate(size), file.Close())
}
