//go:build linux

package filevolume

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/kintoun/kintoun/internal/process"
	"github.com/kintoun/kintoun/volume/internal/connections"
	"golang.org/x/sys/unix"
)

// minBacking is the smallest file system that mkfs.xfs makes.
const minBacking = 300 << 20

const mountFlags = unix.MS_NOATIME | unix.MS_NODEV | unix.MS_NOSUID | unix.MS_NOEXEC

// mountBacking makes the pool's directory the file system in the backing file, which is made if it is not there and grows if it
// should be larger.
func (d *Driver) mountBacking(ctx context.Context) error {
	if err := d.makeBacking(ctx); err != nil {
		return err
	}
	loop, err := d.backed()
	if err != nil {
		return err
	}
	if loop == "" {
		if err := d.attach(); err != nil {
			return err
		}
		if loop, err = d.backed(); err != nil {
			return err
		}
	}
	return d.growBacking(ctx, loop)
}

// makeBacking makes a sparse file with a file system in it, if there is none.
func (d *Driver) makeBacking(ctx context.Context) error {
	if there, err := exists(d.o.BackingFile); err != nil || there {
		return err
	}
	if d.o.BackingBytes < minBacking {
		return fmt.Errorf("a backing file of %d bytes, less than %d: %w", d.o.BackingBytes, int64(minBacking), fs.ErrInvalid)
	}
	mkfs, err := process.Program("mkfs.xfs", "a pool in a backing file", "xfsprogs")
	if err != nil {
		return err
	}
	making := d.o.BackingFile + ".making"
	f, err := os.OpenFile(making, os.O_CREATE|os.O_TRUNC|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	if err := f.Truncate(d.o.BackingBytes &^ 4095); err != nil {
		return err
	}
	if out, err := exec.CommandContext(ctx, mkfs, "-q", "-f", "-m", "reflink=1", making).CombinedOutput(); err != nil {
		return errors.Join(fmt.Errorf("mkfs.xfs: %w: %s", err, strings.TrimSpace(string(out))), os.Remove(making))
	}
	return errors.Join(f.Sync(), os.Rename(making, d.o.BackingFile), connections.SyncDir(filepath.Dir(d.o.BackingFile)))
}

// backed is the loop device whose file system is mounted on the pool's directory; empty if none is. That of another file is an
// error.
func (d *Driver) backed() (string, error) {
	var dir, above, backing unix.Stat_t
	err := unix.Stat(d.dir, &dir)
	if errors.Is(err, unix.EIO) {
		return "", fmt.Errorf("the file system on %s has stopped, as it does when the disk below is full (see the kernel's log): unmount it (umount %[1]s) when nothing uses it: %w", d.dir, err)
	}
	if err := errors.Join(err, unix.Stat(filepath.Dir(d.dir), &above), unix.Stat(d.o.BackingFile, &backing)); err != nil {
		return "", err
	}
	if dir.Dev == above.Dev {
		return "", nil
	}
	loop := fmt.Sprintf("/dev/loop%d", unix.Minor(dir.Dev))
	f, err := os.OpenFile(loop, os.O_RDONLY, 0)
	if err != nil {
		return "", fmt.Errorf("something else is mounted on %s: %w", d.dir, err)
	}
	defer func() { _ = f.Close() }()
	info, err := unix.IoctlLoopGetStatus64(int(f.Fd()))
	if err != nil || unix.Major(dir.Dev) != loopMajor || info.Inode != backing.Ino || info.Device != backing.Dev {
		return "", errors.Join(fmt.Errorf("something else than %s is mounted on %s", d.o.BackingFile, d.dir), err)
	}
	return loop, nil
}

// loopMajor is the number of loop devices (Documentation/admin-guide/devices.txt).
const loopMajor = 7

// attach gives the backing file a loop device and mounts that. The device detaches itself when it is unmounted, or when we end
// before it is mounted.
func (d *Driver) attach() error {
	backing, err := os.OpenFile(d.o.BackingFile, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer func() { _ = backing.Close() }()
	loop, err := configure(backing)
	if err != nil {
		return fmt.Errorf("attach %s to a loop device: %w", d.o.BackingFile, err)
	}
	defer func() { _ = loop.Close() }()
	if err := unix.Mount(loop.Name(), d.dir, "xfs", mountFlags, ""); err != nil {
		return &os.PathError{Op: "mount " + loop.Name() + " on", Path: d.dir, Err: err}
	}
	return os.Chmod(d.dir, 0o700)
}

// configure takes a free loop device. Others take them too: whoever is first has it.
func configure(backing *os.File) (*os.File, error) {
	control, err := os.OpenFile("/dev/loop-control", os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	defer func() { _ = control.Close() }()
	for {
		number, err := unix.IoctlRetInt(int(control.Fd()), unix.LOOP_CTL_GET_FREE)
		if err != nil {
			return nil, err
		}
		loop, err := os.OpenFile("/dev/loop"+strconv.Itoa(number), os.O_RDWR, 0)
		if err != nil {
			return nil, err
		}
		config := unix.LoopConfig{Fd: uint32(backing.Fd())}
		config.Info.Flags = unix.LO_FLAGS_AUTOCLEAR | unix.LO_FLAGS_DIRECT_IO
		copy(config.Info.File_name[:len(config.Info.File_name)-1], backing.Name())
		err = unix.IoctlLoopConfigure(int(loop.Fd()), &config)
		if errors.Is(err, unix.EINVAL) {
			// The file system below cannot read and write past its cache.
			config.Info.Flags = unix.LO_FLAGS_AUTOCLEAR
			err = unix.IoctlLoopConfigure(int(loop.Fd()), &config)
		}
		if err == nil {
			return loop, nil
		}
		_ = loop.Close()
		if !errors.Is(err, unix.EBUSY) {
			return nil, err
		}
	}
}

// growBacking makes the backing file, the loop device and the file system as large as they should be.
func (d *Driver) growBacking(ctx context.Context, loop string) error {
	f, err := os.OpenFile(loop, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	info, err := os.Stat(d.o.BackingFile)
	if err != nil {
		return err
	}
	if want := d.o.BackingBytes &^ 4095; info.Size() < want {
		if err := os.Truncate(d.o.BackingFile, want); err != nil {
			return err
		}
	}
	if err := unix.IoctlSetInt(int(f.Fd()), unix.LOOP_SET_CAPACITY, 0); err != nil {
		return &os.PathError{Op: "set the capacity of", Path: loop, Err: err}
	}
	grow, err := process.Program("xfs_growfs", "a pool in a backing file", "xfsprogs")
	if err != nil {
		return err
	}
	// It does nothing where nothing is to be done, and mends what was interrupted.
	if out, err := exec.CommandContext(ctx, grow, "-d", d.dir).CombinedOutput(); err != nil {
		return fmt.Errorf("xfs_growfs: %w: %s", err, strings.TrimSpace(string(out)))
	}
	return nil
}

// Unmount gives the pool's directory back, where a backing file was mounted on it; volumes in use keep it (ErrBusy). The driver is
// of no use afterwards, another can be made.
func (d *Driver) Unmount(ctx context.Context) error {
	if err := ctx.Err(); err != nil || d.o.BackingFile == "" {
		return err
	}
	loop, err := d.backed()
	if err != nil || loop == "" {
		return err
	}
	if err := unix.Unmount(d.dir, 0); err != nil {
		if errors.Is(err, unix.EBUSY) {
			return fmt.Errorf("filevolume: unmount %s: %w: %w", d.dir, errBusy, err)
		}
		return &os.PathError{Op: "unmount", Path: d.dir, Err: err}
	}
	return nil
}
