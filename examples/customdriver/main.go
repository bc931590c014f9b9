// Command customdriver has a store of images of its own, which main_test.go puts through the suite of all stores: files that
// are encrypted with AES-256 in counter mode, so that a disk that is thrown away or stolen tells nothing. It needs a directory
// that it may write to. CONTRIBUTING.md ("Write a driver in half an hour") tells how it was written.
package main

import (
	"bytes"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/bits"
	"os"
	"path/filepath"
	"strings"

	"github.com/kintoun/kintoun/image/driver"
)

func main() {
	if err := run(context.Background(), os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "customdriver:", err)
		os.Exit(1)
	}
}

// Store is a [driver.Store] in a directory, of which one process at a time makes use. It hides contents and does not seal
// them: who can write to the directory can change them, which their SHA-512 tells.
type Store struct {
	dir   string
	block cipher.Block
}

var _ driver.Store = (*Store)(nil)

// unfinished begins the names of contents that are still being written; no reference begins with a dot.
const unfinished = ".put-"

// New opens the store in dir, with a key of 32 bytes, and removes what a killed Put left.
func New(dir string, key []byte) (*Store, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	left, err := filepath.Glob(filepath.Join(dir, unfinished+"*"))
	for _, name := range left {
		err = errors.Join(err, os.Remove(name))
	}
	return &Store{dir, block}, err
}

// Kind is "encrypted".
func (s *Store) Kind() string { return "encrypted" }

// Put writes to a file that nobody looks for, and links that to its place: the content is there completely or not at all.
func (s *Store) Put(ctx context.Context, ref string, r io.Reader) (driver.Content, error) {
	if err := driver.CheckRef(ref); err != nil {
		return driver.Content{}, err
	}
	file, err := os.CreateTemp(s.dir, unfinished)
	if err != nil {
		return driver.Content{}, err
	}
	content, err := s.write(file, untilDone{ctx, r})
	err = errors.Join(err, file.Close())
	if err == nil {
		err = os.Link(file.Name(), filepath.Join(s.dir, ref)) // refused if the reference has a content
	}
	if err := errors.Join(err, os.Remove(file.Name()), s.sync()); err != nil {
		return driver.Content{}, fmt.Errorf("put %q: %w", ref, err)
	}
	return content, nil
}

// write puts a random start of the counter first, and the encrypted content behind it.
func (s *Store) write(file *os.File, r io.Reader) (driver.Content, error) {
	start := make([]byte, aes.BlockSize)
	_, _ = rand.Read(start) // which never fails
	if _, err := file.Write(start); err != nil {
		return driver.Content{}, err
	}
	digest := driver.NewDigest()
	encrypted := cipher.StreamWriter{S: cipher.NewCTR(s.block, start), W: file}
	if _, err := io.Copy(io.MultiWriter(digest, encrypted), r); err != nil {
		return driver.Content{}, err
	}
	return digest.Content(), file.Sync()
}

// untilDone reads until the context is done.
type untilDone struct {
	ctx context.Context
	io.Reader
}

func (u untilDone) Read(p []byte) (int, error) {
	if err := u.ctx.Err(); err != nil {
		return 0, err
	}
	return u.Reader.Read(p)
}

// sync makes names last that were made or removed.
func (s *Store) sync() error {
	dir, err := os.Open(s.dir)
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

// Open decrypts what is read. The open file goes on when its name is removed.
func (s *Store) Open(_ context.Context, ref string) (driver.File, error) {
	if driver.CheckRef(ref) != nil {
		return nil, fmt.Errorf("open %q: %w", ref, fs.ErrNotExist)
	}
	file, err := os.Open(filepath.Join(s.dir, ref))
	if err != nil {
		return nil, err
	}
	d := decrypter{file: file, block: s.block}
	info, err := file.Stat()
	if err == nil {
		_, err = io.ReadFull(file, d.start[:])
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open %q: %w", ref, err), file.Close())
	}
	return content{io.NewSectionReader(d, 0, info.Size()-aes.BlockSize), file}, nil
}

type content struct {
	*io.SectionReader
	io.Closer
}

// decrypter reads at any place: counter mode needs nothing of what comes before.
type decrypter struct {
	file  *os.File
	block cipher.Block
	start [aes.BlockSize]byte
}

func (d decrypter) ReadAt(p []byte, offset int64) (int, error) {
	n, err := d.file.ReadAt(p, offset+aes.BlockSize)
	counter := make([]byte, aes.BlockSize)
	low, carry := bits.Add64(binary.BigEndian.Uint64(d.start[8:]), uint64(offset)/aes.BlockSize, 0)
	binary.BigEndian.PutUint64(counter[8:], low)
	binary.BigEndian.PutUint64(counter, binary.BigEndian.Uint64(d.start[:])+carry)
	stream := cipher.NewCTR(d.block, counter)
	var skip [aes.BlockSize]byte
	stream.XORKeyStream(skip[:offset%aes.BlockSize], skip[:offset%aes.BlockSize])
	stream.XORKeyStream(p[:n], p[:n])
	return n, err
}

// Remove is happy when there is nothing.
func (s *Store) Remove(_ context.Context, ref string) error {
	if driver.CheckRef(ref) != nil {
		return nil //nolint:nilerr // nothing can be there under such a name
	}
	if err := os.Remove(filepath.Join(s.dir, ref)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return s.sync()
}

// List names all contents.
func (s *Store) List(context.Context) ([]string, error) {
	entries, err := os.ReadDir(s.dir)
	var refs []string
	for _, entry := range entries {
		if !strings.HasPrefix(entry.Name(), ".") {
			refs = append(refs, entry.Name())
		}
	}
	return refs, err
}

func run(ctx context.Context, out io.Writer) error {
	dir, err := os.MkdirTemp("", "customdriver")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	store, err := New(dir, bytes.Repeat([]byte("k"), 32))
	if err != nil {
		return err
	}
	kept, err := store.Put(ctx, "image-1", strings.NewReader("a disk"))
	if err != nil {
		return err
	}
	onDisk, err := os.ReadFile(filepath.Join(dir, "image-1"))
	if err != nil {
		return err
	}
	file, err := store.Open(ctx, "image-1")
	if err != nil {
		return err
	}
	text, err := io.ReadAll(file)
	fmt.Fprintf(out, "kept %d bytes; readable on disk: %t; read back: %s\n", kept.Size, bytes.Contains(onDisk, []byte("disk")), text)
	return errors.Join(err, file.Close())
}
