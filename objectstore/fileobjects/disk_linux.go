package fileobjects

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// openNameless opens a new file without a name in the file system of the directory.
func openNameless(dir string) (*os.File, error) {
	fd, err := unix.Open(dir, unix.O_TMPFILE|unix.O_RDWR|unix.O_CLOEXEC, 0o640)
	if err != nil {
		return nil, &os.PathError{Op: "open a temporary file", Path: dir, Err: err}
	}
	return os.NewFile(uintptr(fd), dir), nil
}

// linkNameless goes through /proc, as open(2) advises, because only root may link a descriptor itself.
func linkNameless(f *os.File, name string) error {
	err := unix.Linkat(unix.AT_FDCWD, fmt.Sprintf("/proc/self/fd/%d", f.Fd()), unix.AT_FDCWD, name, unix.AT_SYMLINK_FOLLOW)
	if err != nil {
		return &os.LinkError{Op: "link", Old: "a temporary file", New: name, Err: err}
	}
	return nil
}

// large is from how many bytes on the disk is told early what will come.
const large = 1 << 20

// preallocate makes room for a large file at once: a disk that is too full says so before the content has been sent, and the file
// lies in one piece.
func preallocate(f *os.File, size int64) error {
	if size < large {
		return nil
	}
	err := unix.Fallocate(int(f.Fd()), 0, 0, size)
	if errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.ENOSYS) {
		return nil
	}
	return err
}

// stretch is how many bytes are written to disk at once while more come in: fewer wait for the sync at the end.
const stretch = 8 << 20

// writeBack begins to write to disk when another stretch is full. Length is how far the file is written, n of it by the last
// write. An error shows itself in the sync.
func writeBack(f *os.File, length int64, n int) {
	if end := length - length%stretch; end > length-int64(n) {
		_ = unix.SyncFileRange(int(f.Fd()), end-stretch, stretch, unix.SYNC_FILE_RANGE_WRITE)
	}
}

// uncache has the next read come from the disk.
func uncache(f *os.File) { _ = unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED) }
