//go:build linux

package qcow2volume

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/kintoun/kintoun/volume/driver"
	"github.com/kintoun/kintoun/volume/internal/nbdserver"
)

// merging is a layer that nobody sees, and the one into which it is copied.
type merging struct{ hidden, into layer }

// merge begins to make the longest line of layers through this one shorter by one, if more than maxHidden of them are shown by
// nobody: the smallest of those with only one above is copied into that one. One removal hides one layer, and merges one.
func (d *Driver) merge(ctx context.Context, g *graph, name string) (*merging, error) {
	if name == "" {
		return nil, nil //nolint:nilnil // nothing to do
	}
	var all []merging
	for at := g.layers[g.longest(name)]; at.name != ""; at = g.layers[at.backing] {
		if below := at.backing; below != "" && len(g.records[below]) == 0 && len(g.children[below]) == 1 {
			all = append(all, merging{hidden: g.layers[below], into: at})
		}
	}
	if len(all) <= maxHidden {
		return nil, nil //nolint:nilnil // nothing to do
	}
	smallest := slices.MinFunc(all, func(a, b merging) int { return cmp.Compare(a.hidden.used, b.hidden.used) })
	active := slices.ContainsFunc(g.records[smallest.into.name], func(r record) bool { return r.kind == driver.KindVolume })
	return &smallest, d.stream(ctx, smallest.into.name, smallest.hidden.backing, active)
}

// merged waits until the layer is copied, and removes it.
func (d *Driver) merged(ctx context.Context, m *merging) error {
	if err := d.streamed(ctx, m.into.name, m.hidden.backing); err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.discard(m.hidden.name)
}

// longest is the top of the longest line of layers that goes through this one.
func (g *graph) longest(name string) string {
	top, depth := name, map[string]int{name: 1}
	for line := []string{name}; len(line) > 0; line = line[1:] {
		at := line[0]
		if depth[at] > depth[top] {
			top = at
		}
		for _, child := range g.children[at] {
			if depth[child] == 0 {
				depth[child] = depth[at] + 1
				line = append(line, child)
			}
		}
	}
	return top
}

// stream begins to copy into a layer what it shows of those below it, down to but not of the base, after which it stands on that; on
// nothing if there is none. Its content is the same at any moment, whoever uses it or is killed. d.mu is held.
func (d *Driver) stream(ctx context.Context, name, base string, writable bool) error {
	m, err := d.daemon(ctx)
	if err != nil {
		return err
	}
	defer m.close()
	arguments := map[string]any{"job-id": jobOf(name), "device": nodeOf(name)}
	if base != "" {
		arguments["base-node"], arguments["backing-file"] = nodeOf(base), base
	}
	if err = d.open(m, name, writable); err == nil {
		err = m.do("block-stream", arguments, nil)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("layer %s: %w", name, err), d.rest(ctx, m))
	}
	return nil
}

// streamed waits until a layer stands on the base, and nobody works on it any more.
func (d *Driver) streamed(ctx context.Context, name, base string) error {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		if working, err := d.streaming(ctx, name); err != nil || !working {
			x, layerErr := d.layer(name)
			if err = errors.Join(err, layerErr); err == nil && x.backing != base {
				err = fmt.Errorf("layer %s could not be made to stand on %q: %s", name, base, nbdserver.Said(d.path(daemonDir, daemonLog)))
			}
			return err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (d *Driver) streaming(ctx context.Context, name string) (bool, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	m, err := d.running(ctx)
	if m == nil {
		return false, err
	}
	defer m.close()
	working, err := m.works(name)
	if err == nil && !working {
		err = d.rest(ctx, m)
	}
	return working, err
}

// finish waits until nobody copies into a layer: meanwhile nothing can be put above it.
func (m *monitor) finish(ctx context.Context, layer string) error {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		if working, err := m.works(layer); err != nil || !working {
			return err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// lookEvery is how often we look whether a layer is copied.
const lookEvery = 20 * time.Millisecond

func jobOf(layer string) string { return "stream-" + nodeOf(layer) }

// works says whether a layer is being copied into.
func (m *monitor) works(layer string) (bool, error) {
	var jobs []struct{ ID string }
	err := m.do("query-jobs", nil, &jobs)
	for _, j := range jobs {
		if j.ID == jobOf(layer) {
			return true, err
		}
	}
	return false, err
}
