//go:build linux

// Package connections keeps the connections of a pool's volumes as files: each has a directory of its own, DIR/VOLUME/CONNECTION,
// with the file connection.json in it, and is a connection when it has. What serves the connection keeps its files there too.
//
// It needs a directory, and knows no technology. Nothing is in memory: what one process keeps, the next one finds; one that is
// killed leaves a connection, or a directory that is none. Errors are the file system's, and those of the drivers' contract.
// Calls for different volumes may be made at once.
package connections

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/kintoun/kintoun/internal/process"
	"github.com/kintoun/kintoun/volume/driver"
)

const file = "connection.json"

// Connection is what is kept of one.
type Connection struct {
	driver.Connection
	// Address is where a server of block devices listens for it; empty if none does.
	Address string `json:",omitempty"`
}

// Store is a directory of connections, which need not be there while there are none.
type Store string

// Dir is the connection's directory.
func (s Store) Dir(c driver.Connection) string {
	return filepath.Join(string(s), c.VolumeID, c.ID)
}

// Volumes are the identifiers of those that may have connections.
func (s Store) Volumes() ([]string, error) {
	entries, err := os.ReadDir(string(s))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var all []string
	for _, e := range entries {
		if driver.CheckID(e.Name()) == nil {
			all = append(all, e.Name())
		}
	}
	return all, err
}

// Of reads a volume's connections, in the order of identifiers.
func (s Store) Of(volumeID string) ([]Connection, error) {
	entries, err := os.ReadDir(filepath.Join(string(s), volumeID))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	var list []Connection
	for _, e := range entries {
		data, err := os.ReadFile(filepath.Join(string(s), volumeID, e.Name(), file))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		var c Connection
		if err == nil {
			err = json.Unmarshal(data, &c)
		}
		if err != nil {
			return nil, fmt.Errorf("connection %s of volume %s: %w", e.Name(), volumeID, err)
		}
		list = append(list, c)
	}
	return list, nil
}

// All reads those of all volumes: with an error, those that can be read.
func (s Store) All() (all []Connection, err error) {
	volumes, err := s.Volumes()
	for _, v := range volumes {
		list, listErr := s.Of(v)
		all, err = append(all, list...), errors.Join(err, listErr)
	}
	return all, err
}

// Servers finds the processes that serve connections from other hosts, by the connections' identifiers: nil for one that should run
// and does not.
func (s Store) Servers() (map[string]*process.Process, error) {
	all, err := s.All()
	if err != nil {
		return nil, err
	}
	servers := map[string]*process.Process{}
	for _, c := range all {
		if c.Address == "" {
			continue
		}
		if servers[c.ID], err = process.Find(s.Dir(c.Connection)); err != nil {
			return nil, err
		}
	}
	return servers, nil
}

// None returns an [driver.ErrBusy] if the volume has connections.
func (s Store) None(volumeID string) error {
	list, err := s.Of(volumeID)
	if err == nil && len(list) > 0 {
		err = fmt.Errorf("volume %s has connection %s: %w", volumeID, list[0].ID, driver.ErrBusy)
	}
	return err
}

// Begin keeps the connection, unless the volume has one that excludes it (driver.ErrBusy). Fresh says that it is a new one.
func (s Store) Begin(want driver.Connection) (c Connection, fresh bool, err error) {
	list, err := s.Of(want.VolumeID)
	if err != nil {
		return c, false, err
	}
	fresh = true
	for _, other := range list {
		if other.ID == want.ID {
			c, fresh = other, false
		} else if !want.Beside(other.Connection) {
			return c, false, fmt.Errorf("it has connection %s: %w", other.ID, driver.ErrBusy)
		}
	}
	if c.Connection != want {
		c.Connection = want
		err = s.Keep(c)
	}
	return c, fresh, err
}

// Keep writes the connection's file.
func (s Store) Keep(c Connection) error {
	dir := s.Dir(c.Connection)
	data, err := json.Marshal(c)
	if err == nil {
		err = os.MkdirAll(dir, 0o700)
	}
	if err == nil {
		err = Replace(filepath.Join(dir, file), data)
	}
	return errors.Join(err, SyncDir(filepath.Dir(dir)), SyncDir(string(s)))
}

// End removes the connection and everything in its directory. Without its file it is none any more, whatever is left.
func (s Store) End(c driver.Connection) error {
	dir := s.Dir(c)
	err := os.Remove(filepath.Join(dir, file))
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	return errors.Join(err, os.RemoveAll(dir), SyncDir(filepath.Dir(dir)))
}

// Replace makes data the file's content, wholly or not at all, durably.
func Replace(path string, data []byte) error {
	f, err := os.OpenFile(path+".new", os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	return errors.Join(os.Rename(path+".new", path), SyncDir(filepath.Dir(path)))
}

// SyncDir makes names in a directory durable.
func SyncDir(path string) error {
	dir, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
