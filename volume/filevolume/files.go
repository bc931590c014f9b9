//go:build linux

package filevolume

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/kintoun/kintoun/volume/driver"
	"github.com/kintoun/kintoun/volume/internal/connections"
	"github.com/kintoun/kintoun/volume/internal/luks"
	"golang.org/x/sys/unix"
)

// The attributes of files that tell what their names do not.
const (
	attrVolume    = "user.kintoun.volume"    // of a snapshot: its volume
	attrEncrypted = "user.kintoun.encrypted" // of an encrypted volume or snapshot
)

func (d *Driver) path(parts ...string) string {
	return filepath.Join(append([]string{d.dir}, parts...)...)
}

func (d *Driver) volumePath(id string) string   { return d.path("volume-" + id) }
func (d *Driver) snapshotPath(id string) string { return d.path("snapshot-" + id) }

// roomed makes the errors of a full file system the contract's.
func roomed(err error) error {
	if errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) {
		return fmt.Errorf("%w: %w", driver.ErrFull, err)
	}
	return err
}

// nameless makes a file that is gone when it is closed, or the process ends, before it has a name.
func (d *Driver) nameless() (*os.File, error) {
	fd, err := unix.Open(d.dir, unix.O_TMPFILE|unix.O_RDWR|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return nil, &os.PathError{Op: "open a nameless file in", Path: d.dir, Err: err}
	}
	return os.NewFile(uintptr(fd), procPath(fd)), nil
}

// procPath is a name for an open file, by which this process, and those that have it as the same descriptor, can open it again.
func procPath(fd int) string { return fmt.Sprintf("/proc/self/fd/%d", fd) }

// publish makes the content durable, then gives it its name, then makes that durable.
func (d *Driver) publish(f *os.File, path string) error {
	if err := f.Sync(); err != nil {
		return err
	}
	// Through /proc, as open(2) advises: only root may link a descriptor itself.
	if err := unix.Linkat(unix.AT_FDCWD, procPath(int(f.Fd())), unix.AT_FDCWD, path, unix.AT_SYMLINK_FOLLOW); err != nil {
		return &os.LinkError{Op: "link", Old: "a nameless file", New: path, Err: err}
	}
	return connections.SyncDir(filepath.Dir(path))
}

// clone makes to share from's content, as it is at one moment of the call, whoever writes to it meanwhile (FICLONE, see
// ioctl_ficlone(2)). The manual does not promise that; the kernel does it. XFS (fs/xfs/xfs_reflink.c, xfs_reflink_remap_prep)
// takes the file's I/O and mapping locks alone, waits for direct I/O under way, writes back its pages, and has writers wait until
// all extents are shared, also where it lets readers in (XFS_IREMAPPING, Linux 6.8). btrfs (fs/btrfs/reflink.c,
// btrfs_remap_file_range) holds the inode's lock and its mapping lock likewise. The conformance suite writes while it clones.
func clone(to, from *os.File) error {
	if err := unix.IoctlFileClone(int(to.Fd()), int(from.Fd())); err != nil {
		return &os.PathError{Op: "clone", Path: from.Name(), Err: err}
	}
	return nil
}

// attribute reads one; nothing is none.
func attribute(f *os.File, name string) (string, error) {
	value := make([]byte, 256)
	n, err := unix.Fgetxattr(int(f.Fd()), name, value)
	if errors.Is(err, unix.ENODATA) {
		return "", nil
	}
	if err != nil {
		return "", &os.PathError{Op: "read attribute " + name + " of", Path: f.Name(), Err: err}
	}
	return string(value[:n]), nil
}

func setAttribute(f *os.File, name, value string) error {
	if value == "" {
		return nil
	}
	if err := unix.Fsetxattr(int(f.Fd()), name, []byte(value), 0); err != nil {
		return &os.PathError{Op: "set attribute " + name + " of", Path: f.Name(), Err: err}
	}
	return nil
}

// open opens a file of the pool's. A link is none: whoever may write into the directory must not lead us out of it.
func open(path string, flags int) (*os.File, error) {
	f, err := os.OpenFile(path, flags|unix.O_NOFOLLOW, 0)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = &os.PathError{Op: "open", Path: path, Err: errors.New("not a regular file")}
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// described is what a file of the pool's is.
type described struct {
	volumeID  string // of a snapshot
	encrypted bool
	// bytes is the size that a guest sees, outside how many bytes come before that in the file.
	bytes, outside int64
	used           int64
}

// describe reads it off the open file.
func describe(f *os.File) (x described, err error) {
	var stat unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &stat); err != nil {
		return x, &os.PathError{Op: "stat", Path: f.Name(), Err: err}
	}
	x.bytes, x.used = stat.Size, stat.Blocks*512
	if x.volumeID, err = attribute(f, attrVolume); err != nil {
		return x, err
	}
	encrypted, err := attribute(f, attrEncrypted)
	if err != nil || encrypted == "" {
		return x, err
	}
	x.encrypted = true
	if x.outside, err = luks.PayloadOffset(f); err != nil {
		return x, err
	}
	x.bytes -= x.outside
	return x, nil
}

// describePath is describe of a file with a name.
func describePath(path string) (described, error) {
	f, err := open(path, os.O_RDONLY)
	if err != nil {
		return described{}, err
	}
	x, err := describe(f)
	return x, errors.Join(err, f.Close())
}

func exists(path string) (bool, error) {
	_, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

func unlessMissing(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
