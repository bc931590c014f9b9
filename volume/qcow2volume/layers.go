//go:build linux

package qcow2volume

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/google/uuid"
	"github.com/kintoun/kintoun/volume/driver"
	"github.com/kintoun/kintoun/volume/internal/connections"
	"golang.org/x/sys/unix"
)

// The formats of layers are their names' ends: nobody guesses a format by a content that a guest has written.
const (
	formatQCOW2 = "qcow2"
	formatRaw   = "raw" // only of what was adopted so; nothing is below it
)

// layer is a file of the pool's, by its name in the directory of layers.
type layer struct {
	name string
	// bytes is the size that is seen through it, used what the file takes.
	bytes, used int64
	// backing is the name of the layer that it stands on; empty if none.
	backing string
}

func formatOf(name string) string { return strings.TrimPrefix(filepath.Ext(name), ".") }

// checkName returns an error for what is no layer's name: names come from files.
func checkName(name string) error {
	id, format, _ := strings.Cut(name, ".")
	if driver.CheckID(id) != nil || format != formatQCOW2 && format != formatRaw {
		return fmt.Errorf("%q is no layer: %w", name, fs.ErrInvalid)
	}
	return nil
}

func (d *Driver) layerPath(name string) string { return d.path(layersDir, name) }

// layer reads one.
func (d *Driver) layer(name string) (x layer, err error) {
	if err := checkName(name); err != nil {
		return x, err
	}
	f, err := open(d.layerPath(name), os.O_RDONLY)
	if err != nil {
		return x, err
	}
	defer func() { _ = f.Close() }()
	var stat unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &stat); err != nil {
		return x, &os.PathError{Op: "stat", Path: f.Name(), Err: err}
	}
	x = layer{name: name, bytes: stat.Size, used: stat.Blocks * 512}
	if formatOf(name) == formatRaw {
		return x, nil
	}
	h, err := readHeader(f)
	if err != nil {
		return x, fmt.Errorf("layer %s: %w", name, err)
	}
	x.bytes, x.backing = h.bytes, h.backing
	if x.backing != "" {
		err = checkName(x.backing)
	}
	return x, err
}

// chain is the layer and everything below it, from the top.
func (d *Driver) chain(name string) ([]layer, error) {
	var all []layer
	for name != "" {
		x, err := d.layer(name)
		if err != nil {
			return nil, err
		}
		if len(all) > 2*maxDepth {
			return nil, fmt.Errorf("layer %s stands on more than %d others: %w", all[0].name, len(all), fs.ErrInvalid)
		}
		all = append(all, x)
		name = x.backing
	}
	return all, nil
}

// newLayer makes a durable file, under a name that nobody refers to yet.
func (d *Driver) newLayer(bytes int64, on string, content []byte) (string, error) {
	b := base{}
	if on != "" {
		chain, err := d.chain(on)
		if err != nil {
			return "", err
		}
		if len(chain) >= maxDepth {
			return "", fmt.Errorf("layer %s stands on %d others already, which is the most (removing snapshots makes them fewer): %w", on, len(chain)-1, driver.ErrBusy)
		}
		b = base{name: on, format: formatOf(on)}
	}
	name := uuid.NewString() + "." + formatQCOW2
	making := d.layerPath(newPrefix + name)
	f, err := os.OpenFile(making, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	if err != nil {
		return "", err
	}
	err = writeNew(f, bytes, b, content)
	if d.account != nil {
		err = errors.Join(err, f.Chown(int(d.account.Uid), int(d.account.Gid)))
	}
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(making, d.layerPath(name))
	}
	if err != nil {
		return "", errors.Join(err, os.Remove(making))
	}
	return name, connections.SyncDir(d.path(layersDir))
}

// graph is everything that the pool holds.
type graph struct {
	layers map[string]layer
	// children are the layers that stand on one, records the volumes and snapshots that show it.
	children map[string][]string
	records  map[string][]record
	removed  map[string]string // what removed layers stood on
}

func (d *Driver) graph() (*graph, error) {
	entries, err := os.ReadDir(d.path(layersDir))
	if err != nil {
		return nil, err
	}
	g := &graph{layers: map[string]layer{}, children: map[string][]string{}, records: map[string][]record{}, removed: map[string]string{}}
	for _, e := range entries {
		if checkName(e.Name()) != nil {
			continue
		}
		x, err := d.layer(e.Name())
		if err != nil {
			return nil, err
		}
		g.layers[x.name] = x
		g.children[x.backing] = append(g.children[x.backing], x.name)
	}
	records, err := d.records()
	for _, r := range records {
		g.records[r.Layer] = append(g.records[r.Layer], r)
	}
	return g, err
}

// discard is collect of what the pool holds now.
func (d *Driver) discard(names ...string) error {
	g, err := d.graph()
	if err != nil {
		return err
	}
	return d.collect(g, names...)
}

// collect removes the layers from these down that nothing refers to any more.
func (d *Driver) collect(g *graph, names ...string) error {
	removed := false
	for _, name := range names {
		for name != "" && len(g.children[name]) == 0 && len(g.records[name]) == 0 {
			x, there := g.layers[name]
			if !there {
				break
			}
			if err := unlessMissing(os.Remove(d.layerPath(name))); err != nil {
				return err
			}
			removed = true
			g.forget(x)
			name = x.backing
		}
	}
	if !removed {
		return nil
	}
	return connections.SyncDir(d.path(layersDir))
}

func (g *graph) forget(x layer) {
	g.children[x.backing] = slices.DeleteFunc(g.children[x.backing], func(child string) bool { return child == x.name })
	g.removed[x.name] = x.backing
	delete(g.layers, x.name)
}

// lowest is the layer, or, if it was removed, the first one below it that was not; empty if none is left.
func (g *graph) lowest(name string) string {
	for g.removed[name] != "" {
		name = g.removed[name]
	}
	if _, there := g.layers[name]; !there {
		return ""
	}
	return name
}
