//go:build linux

package qcow2volume

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/kintoun/kintoun/volume/driver"
	"github.com/kintoun/kintoun/volume/internal/connections"
	"golang.org/x/sys/unix"
)

// record is what the file volume-ID.json or snapshot-ID.json holds: the volume or snapshot is there when its file is.
type record struct {
	kind driver.Kind
	id   string
	// Layer is the file, in the directory of layers, whose content it shows. A volume writes to it, and nobody else refers to it.
	Layer string
	// VolumeID is a snapshot's volume.
	VolumeID string `json:",omitempty"`
	// Outside is how many bytes of a LUKS container come before what a guest sees; 0 if it is not encrypted.
	Outside int64 `json:",omitempty"`
}

func (r record) file() string { return string(r.kind) + "-" + r.id + ".json" }

// named tells what a file of records is of.
func named(file string) (driver.Kind, string) {
	name, json := strings.CutSuffix(file, ".json")
	prefix, id, _ := strings.Cut(name, "-")
	kind := driver.Kind(prefix)
	if !json || kind != driver.KindVolume && kind != driver.KindSnapshot || driver.CheckID(id) != nil {
		return "", ""
	}
	return kind, id
}

func (d *Driver) record(kind driver.Kind, id string) (record, error) {
	r := record{kind: kind, id: id}
	data, err := os.ReadFile(d.path(r.file()))
	if errors.Is(err, fs.ErrNotExist) {
		return r, fmt.Errorf("%s %s: %w", kind, id, fs.ErrNotExist)
	}
	if err == nil {
		err = json.Unmarshal(data, &r)
	}
	if err == nil {
		err = checkName(r.Layer)
	}
	if err != nil {
		return r, fmt.Errorf("%s %s: %w", kind, id, err)
	}
	return r, nil
}

// records reads all.
func (d *Driver) records() ([]record, error) {
	entries, err := os.ReadDir(d.dir)
	if err != nil {
		return nil, err
	}
	var all []record
	for _, e := range entries {
		kind, id := named(e.Name())
		if kind == "" {
			continue
		}
		r, err := d.record(kind, id)
		if errors.Is(err, fs.ErrNotExist) {
			continue // removed meanwhile
		}
		if err != nil {
			return nil, err
		}
		all = append(all, r)
	}
	return all, nil
}

// keep writes one, wholly or not at all.
func (d *Driver) keep(r record) error {
	data, err := json.Marshal(r)
	if err != nil {
		return err
	}
	return connections.Replace(d.path(r.file()), data)
}

// Several records are first made in a directory makingGroup…; renamed to doneGroup… they all exist, and move to their places one by
// one.
const (
	makingGroup = ".making-"
	doneGroup   = ".made-"
)

// keepAll writes several, all or none.
func (d *Driver) keepAll(records []record) error {
	switch len(records) {
	case 0:
		return nil
	case 1:
		return d.keep(records[0])
	}
	making, done := d.path(makingGroup+records[0].id), d.path(doneGroup+records[0].id)
	if err := errors.Join(os.RemoveAll(making), os.Mkdir(making, 0o700)); err != nil {
		return err
	}
	for _, r := range records {
		data, err := json.Marshal(r)
		if err == nil {
			err = connections.Replace(filepath.Join(making, r.file()), data)
		}
		if err != nil {
			return errors.Join(err, os.RemoveAll(making))
		}
	}
	if err := os.Rename(making, done); err != nil {
		return errors.Join(err, os.RemoveAll(making))
	}
	return errors.Join(connections.SyncDir(d.dir), d.place(done))
}

// place moves the records of a group that is done to their places.
func (d *Driver) place(group string) error {
	entries, err := os.ReadDir(group)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if err := os.Rename(filepath.Join(group, e.Name()), d.path(e.Name())); err != nil {
			return err
		}
	}
	return errors.Join(connections.SyncDir(d.dir), os.Remove(group))
}

// forget removes a record; it may be gone.
func (d *Driver) forget(r record) error {
	return errors.Join(unlessMissing(os.Remove(d.path(r.file()))), connections.SyncDir(d.dir))
}

func (d *Driver) path(parts ...string) string {
	return filepath.Join(append([]string{d.dir}, parts...)...)
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

func unlessMissing(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// roomed makes the errors of a full file system the contract's: our own calls', the storage daemon's over NBD, and those that it
// only has words for.
func roomed(err error) error {
	if err == nil || errors.Is(err, driver.ErrFull) {
		return err
	}
	full := errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT)
	var said *monitorError
	if errors.As(err, &said) {
		full = full || strings.Contains(said.Desc, unix.ENOSPC.Error()) || strings.Contains(strings.ToLower(said.Desc), "no space left") || strings.Contains(said.Desc, "quota exceeded")
	}
	if full {
		return fmt.Errorf("%w: %w", driver.ErrFull, err)
	}
	return err
}
