package fernet

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"time"
)

// DefaultMaxActive is how many keys a set keeps unless told otherwise, as Keystone's max_active_keys: staged,
// primary, and one secondary. A token lives as long as its key: (max active - 2) rotations at least.
const DefaultMaxActive = 3

// Keys is a rotating set of keys, in memory or in a directory of files named 0 (staged), 1, 2, …, of which the
// highest is primary: the layout of Keystone's key repository.
type Keys struct {
	directory string
	maxActive int

	mu   sync.RWMutex
	keys map[int]Key
}

// Options of a set of keys.
type Options struct {
	// MaxActive is how many keys are kept; below 2 is [DefaultMaxActive].
	MaxActive int
}

func (o *Options) maxActive() int {
	if o == nil || o.MaxActive < 2 {
		return DefaultMaxActive
	}
	return o.MaxActive
}

// New makes a set with new keys that lives in memory alone: its tokens end with the process.
func New(options *Options) *Keys {
	return &Keys{maxActive: options.maxActive(), keys: map[int]Key{0: NewKey(), 1: NewKey()}}
}

// Open reads the set in the directory, and makes directory (0700) and keys (0600) where there are none. A key file
// that others than the owner can read is refused.
func Open(directory string, options *Options) (*Keys, error) {
	k := &Keys{directory: directory, maxActive: options.maxActive()}
	if err := os.MkdirAll(directory, 0o700); err != nil {
		return nil, fmt.Errorf("key directory: %w", err)
	}
	if err := k.Reload(); err != nil {
		return nil, err
	}
	if len(k.keys) > 0 {
		return k, nil
	}
	k.keys = map[int]Key{0: NewKey(), 1: NewKey()}
	for _, number := range []int{1, 0} {
		if err := k.write(number, k.keys[number]); err != nil {
			return nil, err
		}
	}
	return k, nil
}

// Reload reads the directory again, after another process rotated its keys. In memory it does nothing.
func (k *Keys) Reload() error {
	if k.directory == "" {
		return nil
	}
	entries, err := os.ReadDir(k.directory)
	if err != nil {
		return fmt.Errorf("key directory: %w", err)
	}
	keys := map[int]Key{}
	for _, entry := range entries {
		number, err := strconv.Atoi(entry.Name())
		if err != nil || number < 0 {
			continue
		}
		if keys[number], err = k.read(entry.Name()); err != nil {
			return err
		}
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.keys = keys
	return nil
}

func (k *Keys) read(name string) (Key, error) {
	path := filepath.Join(k.directory, name)
	info, err := os.Stat(path)
	if err != nil {
		return Key{}, fmt.Errorf("key: %w", err)
	}
	if info.Mode().Perm()&0o077 != 0 {
		return Key{}, fmt.Errorf("key %s: others than its owner may read it (mode %s, want 0600)", path, info.Mode().Perm())
	}
	text, err := os.ReadFile(path) //nolint:gosec // a number in the configured directory
	if err != nil {
		return Key{}, fmt.Errorf("key: %w", err)
	}
	key, err := ParseKey(string(text))
	if err != nil {
		return Key{}, fmt.Errorf("key %s: %w", path, err)
	}
	return key, nil
}

// write puts a key file in place as a whole or not at all.
func (k *Keys) write(number int, key Key) error {
	if k.directory == "" {
		return nil
	}
	file, err := os.CreateTemp(k.directory, ".key-*") // 0600
	if err != nil {
		return fmt.Errorf("key: %w", err)
	}
	defer func() { _ = os.Remove(file.Name()) }()
	_, err = file.WriteString(key.encode())
	if err = errors.Join(err, file.Sync(), file.Close()); err != nil {
		return fmt.Errorf("key: %w", err)
	}
	if err := os.Rename(file.Name(), filepath.Join(k.directory, strconv.Itoa(number))); err != nil {
		return fmt.Errorf("key: %w", err)
	}
	return nil
}

// Rotate makes the staged key primary, the primary secondary, stages a new one, and drops the oldest secondary keys
// over the limit. Tokens sealed by a dropped key are no longer valid.
func (k *Keys) Rotate() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	next := k.primary() + 1
	staged, found := k.keys[0]
	if !found {
		staged = NewKey()
	}
	fresh := NewKey()
	if err := k.write(next, staged); err != nil {
		return err
	}
	if err := k.write(0, fresh); err != nil {
		return err
	}
	k.keys[next], k.keys[0] = staged, fresh
	for len(k.keys) > k.maxActive {
		oldest := k.numbers()[1]
		if k.directory != "" {
			if err := os.Remove(filepath.Join(k.directory, strconv.Itoa(oldest))); err != nil && !errors.Is(err, os.ErrNotExist) {
				return fmt.Errorf("key: %w", err)
			}
		}
		delete(k.keys, oldest)
	}
	return nil
}

func (k *Keys) numbers() []int {
	numbers := make([]int, 0, len(k.keys))
	for n := range k.keys {
		numbers = append(numbers, n)
	}
	slices.Sort(numbers)
	return numbers
}

func (k *Keys) primary() int {
	highest := 0
	for n := range k.keys {
		highest = max(highest, n)
	}
	return highest
}

// Seal makes a token of the message with the primary key.
func (k *Keys) Seal(message []byte, at time.Time) (string, error) {
	k.mu.RLock()
	defer k.mu.RUnlock()
	return k.keys[k.primary()].Seal(message, at)
}

// Open returns the message of a token that one of the keys sealed, and when it was sealed.
func (k *Keys) Open(token string) (message []byte, sealedAt time.Time, err error) {
	raw, err := decode(token)
	if err != nil {
		return nil, time.Time{}, err
	}
	k.mu.RLock()
	defer k.mu.RUnlock()
	numbers := k.numbers()
	for i := len(numbers) - 1; i >= 0; i-- {
		message, sealedAt, err = k.keys[numbers[i]].open(raw)
		if err == nil {
			return message, sealedAt, nil
		}
	}
	return nil, time.Time{}, ErrToken
}
