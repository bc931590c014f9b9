//go:build linux

package qcow2volume

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/google/uuid"
	"github.com/kintoun/kintoun/volume/driver"
)

// nodeOf is the name of a layer's node in the daemon: names have at most 31 bytes.
func nodeOf(layer string) string {
	id, format, _ := strings.Cut(layer, ".")
	parsed, _ := uuid.Parse(id)
	return format + "-" + base64.RawURLEncoding.EncodeToString(parsed[:])
}

// layerOf is the layer of a node's name; empty for other nodes.
func layerOf(node string) string {
	format, encoded, _ := strings.Cut(node, "-")
	id, err := base64.RawURLEncoding.DecodeString(encoded)
	if err != nil || len(id) != len(uuid.UUID{}) {
		return ""
	}
	if name := uuid.UUID(id).String() + "." + format; checkName(name) == nil {
		return name
	}
	return ""
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
	var below any
	for i, x := range slices.Backward(chain) {
		if err := m.do("blockdev-add", d.node(x.name, writable && i == 0, below), nil); err != nil && !isThere(err) {
			return err
		}
		below = nodeOf(x.name)
	}
	return nil
}

// isThere says whether a node could not be made because there is one of that name.
func isThere(err error) bool {
	var said *monitorError
	return errors.As(err, &said) && strings.Contains(said.Desc, "Duplicate node")
}

// uses says whether somebody uses a node; it is closed if nobody does.
func (m *monitor) uses(node string) (bool, error) {
	err := m.do("blockdev-del", map[string]any{"node-name": node}, nil)
	var said *monitorError
	if errors.As(err, &said) {
		return !strings.Contains(said.Desc, "Failed to find node"), nil
	}
	return false, err
}

// close closes the layer of a node, and what is below it, as far as nobody else uses them.
func (d *Driver) close(m *monitor, node string) error {
	for node != "" {
		if used, err := m.uses(node); err != nil || used {
			return err
		}
		x, err := d.layer(layerOf(node))
		if err != nil {
			return unlessMissing(err) // it was removed; the daemon ends with the last use anyway
		}
		if node = ""; x.backing != "" {
			node = nodeOf(x.backing)
		}
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

// writtenTo are the nodes that clients of the volume's top write to and read.
func (m *monitor) writtenTo(volumeID string) ([]string, error) {
	exports, err := m.exports()
	var nodes []string
	for _, e := range exports {
		if e.ofVolume(volumeID) {
			nodes = append(nodes, e.Node)
		}
	}
	return nodes, err
}

// advance has the daemon go on in the layers that the volumes' records say, all at one moment: one transaction stops the writes to
// all of them before it lets any go on. A process that was killed while it took a snapshot, or a daemon that could not, may have
// left one behind. When it returns without an error, nobody writes to what those layers stand on.
func (d *Driver) advance(ctx context.Context, m *monitor, volumes ...record) error {
	if jobs, err := m.jobs(); err != nil {
		return err
	} else if len(jobs) > 0 {
		if err := d.finish(ctx, m, volumes); err != nil {
			return err
		}
	}
	var actions []map[string]any
	for _, r := range volumes {
		action, err := d.advancing(m, r)
		if err != nil {
			return fmt.Errorf("volume %s: %w", r.id, err)
		}
		if action != nil {
			actions = append(actions, action)
		}
	}
	if len(actions) > 0 {
		if err := m.do("transaction", map[string]any{"actions": actions}, nil); err != nil {
			return fmt.Errorf("new layers of %d volumes in use: %w", len(actions), err)
		}
	}
	for _, r := range volumes {
		nodes, err := m.writtenTo(r.id)
		if err != nil {
			return err
		}
		for _, node := range nodes {
			if node != nodeOf(r.Layer) {
				return fmt.Errorf("volume %s: %s is in use, not %s: %w", r.id, node, nodeOf(r.Layer), driver.ErrBusy)
			}
		}
	}
	return nil
}

// advancing is the action that has the daemon go on in the volume's layer, if it is at the one below.
func (d *Driver) advancing(m *monitor, r record) (map[string]any, error) {
	x, err := d.layer(r.Layer)
	if err != nil || x.backing == "" {
		return nil, err
	}
	nodes, err := m.writtenTo(r.id)
	if err != nil || !slices.Contains(nodes, nodeOf(x.backing)) {
		return nil, err
	}
	err = m.do("blockdev-add", d.node(r.Layer, true, nil), nil)
	if isThere(err) {
		if err = m.do("blockdev-del", map[string]any{"node-name": nodeOf(r.Layer)}, nil); err == nil {
			err = m.do("blockdev-add", d.node(r.Layer, true, nil), nil)
		}
	}
	if err != nil {
		return nil, err
	}
	return map[string]any{"type": "blockdev-snapshot", "data": map[string]any{"node": nodeOf(x.backing), "overlay": nodeOf(r.Layer)}}, nil
}
