//go:build unix

// Package fileobjects keeps the contents of objects in a directory of this host, and an index of them in SQLite: the embedded
// store of package objectstore/driver.
//
//	s, err := fileobjects.New(ctx, dir, db, nil)
//	content, err := s.Put(ctx, "0197-1", strings.NewReader("a song"), 6)
//	r, err := s.Open(ctx, "0197-1", 2, 4)
//	err = s.Remove(ctx, "0197-1")
//	err = s.Close()
//
// # How contents are kept
//
// A content of up to [Options.PackLimit] bytes is a row of the index, so that a million small objects are one file and not a
// million. A larger one is a file, files/XX/NUMBER, which the kernel can send by itself ([driver.FileReader]). The index says of
// each content how large it is and what its MD5 is; both are computed while it comes in, on a second processor where it is large.
// Memory does not depend on the size.
//
// What several goroutines put or remove at the same time is one transaction, and one fsync, of the database. A file is written
// without a name (O_TMPFILE, see open(2)), gets its name, and is forced to disk with its directory; only then does the row say
// that it exists. Before a file gets its name, its number is durable in the table of what is pending: [New] looks at those
// numbers, of which there are some hundreds at most, and not at all files, to remove what a killed process left.
//
// [Store.Check] reads all contents, at a bounded rate, and says which are damaged; it removes files that no row knows, which only
// a broken disk or a restored backup leaves. Open only looks at the size.
//
// # What it needs
//
// A directory on a local file system with hard links, which [Probe] tries, and a database of its own: SQLite, which commits
// durably (PRAGMA synchronous=FULL). It makes the tables fileobjects_contents and fileobjects_pending there. Directory and
// database belong together: back them up together, the database first.
//
// It does not compress or encrypt (package sealedobjects does, around any store), does not keep equal contents once, and knows no
// quota. One process at a time has the directory: a second [New] is [ErrInUse].
//
// # Errors
//
// Errors wrap fs.ErrNotExist, fs.ErrExist and fs.ErrInvalid as the contract says. A full disk is syscall.ENOSPC, of files and of
// the index, and leaves nothing behind; if the disk of the index is full to the last byte, SQLite cannot write down a removal
// either: somebody has to make some MiB of room first. [ErrDamaged] is a content that is not what was put.
//
// # Concurrency
//
// A [Store] is safe for concurrent use; nothing runs between calls. When the process is killed, at any moment, every content whose
// Put has returned is whole and listed, every removed one is gone, and the next New frees what was half done. Close it after the
// last call.
package fileobjects

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"sync"

	"github.com/kintoun/kintoun/objectstore/driver"
	"golang.org/x/sys/unix"
)

// ErrDamaged is a content that is not what was put: bytes have changed, or its file is gone.
var ErrDamaged = errors.New("damaged")

// ErrInUse is a directory that another store has.
var ErrInUse = errors.New("the directory is in use")

// DefaultPackLimit is the largest content in bytes that is a row and not a file, if [Options] say nothing else.
const DefaultPackLimit = 64 << 10

// Options of a [Store]; nil and zero values are fine.
type Options struct {
	// PackLimit is the largest content in bytes that is a row of the index; zero is [DefaultPackLimit], and less than zero makes
	// every content a file. It can be another one each time: contents stay as they are.
	PackLimit int64
}

// Store is a [driver.Store] and a [driver.Checker] in a directory. Create it with [New].
type Store struct {
	dir       string
	packLimit int64
	index     *index
	lock      *os.File
	nameless  bool // files can be written before they have a name
	buffers   sync.Pool

	mu      sync.Mutex
	spare   []int64 // pending numbers that have no file
	retired []int64 // pending numbers whose file was removed, perhaps not durably
}

var (
	_ driver.Store   = (*Store)(nil)
	_ driver.Checker = (*Store)(nil)
	_ driver.Small   = (*Store)(nil)
)

const (
	files = "files"
	tmp   = "tmp"
)

// smallBytes is what is cheaper as a row beside the object's own than as one here.
const smallBytes = 16 << 10

// SmallBytes is how large the contents are that who has a database of objects better keeps in it: 16 KiB, or less where
// packing is limited to less.
func (s *Store) SmallBytes() int64 { return min(smallBytes, s.packLimit) }

// New opens the store in dir, which it creates if it is not there, with its index in db, and removes leftovers.
func New(ctx context.Context, dir string, db *sql.DB, options *Options) (*Store, error) {
	s, err := open(ctx, dir, db, options)
	if err != nil {
		return nil, fmt.Errorf("object store %s: %w", dir, err)
	}
	return s, nil
}

func open(ctx context.Context, dir string, db *sql.DB, options *Options) (_ *Store, err error) {
	if dir, err = filepath.Abs(dir); err != nil {
		return nil, err
	}
	s := &Store{dir: dir, packLimit: DefaultPackLimit}
	if options != nil && options.PackLimit != 0 {
		s.packLimit = options.PackLimit
	}
	s.buffers.New = func() any { return new([block]byte) }
	for _, d := range []string{dir, s.path(files), s.path(tmp)} {
		if err := os.MkdirAll(d, 0o750); err != nil {
			return nil, err
		}
	}
	if err := errors.Join(syncDir(dir), syncDir(filepath.Dir(dir))); err != nil {
		return nil, err
	}
	if s.lock, err = takeLock(s.path("lock")); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			_ = s.lock.Close()
		}
	}()
	if s.index, err = openIndex(ctx, db); err != nil {
		return nil, err
	}
	if err := errors.Join(s.emptyTmp(), s.repair(ctx)); err != nil {
		return nil, errors.Join(err, s.index.close())
	}
	s.nameless = s.canBeNameless()
	return s, nil
}

// takeLock keeps other stores out for as long as the file is open, which ends with the process.
func takeLock(name string) (*os.File, error) {
	f, err := os.OpenFile(name, os.O_CREATE|os.O_RDWR, 0o640)
	if err != nil {
		return nil, err
	}
	err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		err = ErrInUse
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// Close forgets what is no longer pending and frees the directory for another store. It does not close the database.
func (s *Store) Close() error {
	s.mu.Lock()
	retired := append(s.retired, s.spare...)
	s.retired, s.spare = nil, nil
	s.mu.Unlock()
	return errors.Join(s.settle(retired), s.index.close(), s.lock.Close())
}

// Kind is "file".
func (s *Store) Kind() string { return "file" }

func (s *Store) path(parts ...string) string {
	return filepath.Join(append([]string{s.dir}, parts...)...)
}

// file is the place of the file with the number.
func (s *Store) file(number int64) string {
	return s.path(files, fan(number), strconv.FormatInt(number, 16))
}

// fan is the directory of the file with the number: one of 256, so that none gets too large.
func fan(number int64) string { return fmt.Sprintf("%02x", number&0xff) }

// numberOf is the number of the file with the name; false if no file of a content is called so.
func numberOf(dir, name string) (int64, bool) {
	number, err := strconv.ParseInt(name, 16, 64)
	return number, err == nil && number >= 0 && strconv.FormatInt(number, 16) == name && fan(number) == dir
}

func syncDir(name string) error {
	d, err := os.Open(name)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

func unlessMissing(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
