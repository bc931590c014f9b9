//go:build linux

package qcow2volume

import (
	"context"
	"fmt"
	"strings"

	"github.com/kintoun/kintoun/volume/driver"
)

const nodePrefix = "l-"

// nodeOf is the name of a layer's node in the daemon, which has at most 31 bytes.
func nodeOf(layer string) string {
	id, _, _ := strings.Cut(layer, ".")
	return nodePrefix + strings.ReplaceAll(id, "-", "")[:28]
}

// node is how the daemon opens a layer: what it stands on is said here, and not believed from the file.
func (d *Driver) node(name string, writable bool, backing any) map[string]any {
	cache := map[string]any{"direct": d.direct}
	node := map[string]any{
		"driver": formatOf(name), "node-name": nodeOf(name), "read-only": !writable, "discard": "unmap", "cache": cache,
		"file": map[string]any{"driver": "file", "filename": "/proc/self/fd/3/" + name, "discard": "unmap", "cache": cache},
	}
	if formatOf(name) == formatQCOW2 {
		node["backing"] = backing
	}
	return node
}

// open has the daemon open a layer and what is below it. The top is writable if it is a volume's own; others may have some of
// the lower ones open already.
func (d *Driver) open(m *monitor, name string, writable bool) error {
	chain, err := d.chain(name)
	if err != nil {
		return err
	}
	nodes, err := m.nodes()
	if err != nil {
		return err
	}
	var below any
	for i := len(chain) - 1; i >= 0; i-- {
		node := nodeOf(chain[i].name)
		if !nodes[node] {
			if err := m.do("blockdev-add", d.node(chain[i].name, writable && i == 0, below), nil); err != nil {
				return err
			}
		}
		below = node
	}
	return nil
}

// The names of exports: a connection's, which its host knows; one that this process reads or writes through, of a volume or of a
// snapshot.
const (
	connectionPrefix = "connection."
	devicePrefix     = "device."
)

func connectionExport(c driver.Connection) string { return connectionPrefix + c.VolumeID + "." + c.ID }

// ofVolume says whether the export is of the volume's moving top.
func (e export) ofVolume(id string) bool {
	return strings.HasPrefix(e.ID, connectionPrefix+id+".") || strings.HasPrefix(e.ID, devicePrefix+string(driver.KindVolume)+"."+id+".")
}

// add exports a layer that is open, under the identifier's name.
func (m *monitor) add(id, layer string, writable bool) error {
	return m.do("block-export-add", map[string]any{"type": "nbd", "id": id, "name": id, "node-name": nodeOf(layer), "writable": writable}, nil)
}

// remove ends an export; its clients' connections break off, and what they have under way is over when it returns.
func (m *monitor) remove(ctx context.Context, id string) error {
	m.events = nil
	if err := m.do("block-export-del", map[string]any{"id": id, "mode": "hard"}, nil); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), monitorTime)
	defer cancel()
	_, err := m.event(ctx, func(a answer) bool { return a.Event == "BLOCK_EXPORT_DELETED" && a.Data.ID == id })
	return err
}

// behind is the layer that the daemon writes to in place of the volume's own; empty if it does not.
func (d *Driver) behind(m *monitor, r record) (string, error) {
	exports, err := m.exports()
	if err != nil {
		return "", err
	}
	x, err := d.layer(r.Layer)
	if err != nil || x.backing == "" {
		return "", err
	}
	for _, e := range exports {
		if e.ofVolume(r.id) && e.Node == nodeOf(x.backing) {
			return x.backing, nil
		}
	}
	return "", nil
}

// advance has the daemon go on in the layers that the volumes' records say, all at one moment: one transaction stops the writes to
// all of them before it lets any go on. A process that was killed while it took a snapshot, or a daemon that could not, may have
// left one behind.
func (d *Driver) advance(ctx context.Context, m *monitor, volumes ...record) error {
	var actions []map[string]any
	for _, r := range volumes {
		below, err := d.behind(m, r)
		if err != nil {
			return err
		}
		if below == "" {
			continue
		}
		if err := d.finish(ctx, m, below); err != nil {
			return err
		}
		if nodes, err := m.nodes(); err != nil {
			return err
		} else if nodes[nodeOf(r.Layer)] {
			if err := m.do("blockdev-del", map[string]any{"node-name": nodeOf(r.Layer)}, nil); err != nil {
				return err
			}
		}
		if err := m.do("blockdev-add", d.node(r.Layer, true, nil), nil); err != nil {
			return err
		}
		actions = append(actions, map[string]any{"type": "blockdev-snapshot", "data": map[string]any{"node": nodeOf(below), "overlay": nodeOf(r.Layer)}})
	}
	if len(actions) == 0 {
		return nil
	}
	if err := m.do("transaction", map[string]any{"actions": actions}, nil); err != nil {
		return fmt.Errorf("new layers of %d volumes in use: %w", len(actions), err)
	}
	return nil
}
