//go:build linux

package qcow2volume

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/kintoun/kintoun/volume/driver"
)

// merge makes the longest line of layers through this one shorter by one, if more than maxHidden of them are shown by nobody: the
// smallest of those with only one above is copied into that one. One removal hides one layer, and merges one.
func (d *Driver) merge(ctx context.Context, g *graph, name string) error {
	if name == "" {
		return nil
	}
	var hidden []layer
	above := map[string]string{}
	top := g.longest(name)
	for at := top; at != ""; at = g.layers[at].backing {
		below := g.layers[at].backing
		if below != "" && len(g.records[below]) == 0 && len(g.children[below]) == 1 {
			hidden = append(hidden, g.layers[below])
			above[below] = at
		}
	}
	if len(hidden) <= maxHidden {
		return nil
	}
	smallest := slices.MinFunc(hidden, func(a, b layer) int { return cmp.Compare(a.used, b.used) })
	into := above[smallest.name]
	active := slices.ContainsFunc(g.records[into], func(r record) bool { return r.kind == driver.KindVolume })
	if err := d.stream(ctx, into, smallest.backing, active); err != nil {
		return err
	}
	return d.discard(smallest.name)
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

// stream copies into a layer what it shows of those below it, down to but not of the base, and has it stand on that; on nothing if
// there is none. Its content is the same at any moment, whoever uses it or is killed.
func (d *Driver) stream(ctx context.Context, name, base string, writable bool) error {
	m, err := d.daemon(ctx)
	if err != nil {
		return err
	}
	defer m.close()
	if err := d.open(m, name, writable); err != nil {
		return errors.Join(err, d.rest(ctx, m))
	}
	job := "stream-" + nodeOf(name)
	arguments := map[string]any{"job-id": job, "device": nodeOf(name)}
	if base != "" {
		arguments["base-node"], arguments["backing-file"] = nodeOf(base), base
	}
	m.events = nil
	err = m.do("block-stream", arguments, nil)
	if err == nil {
		var ended answer
		ended, err = m.event(ctx, func(a answer) bool {
			return (a.Event == "BLOCK_JOB_COMPLETED" || a.Event == "BLOCK_JOB_CANCELLED") && a.Data.Device == job
		})
		if err == nil && (ended.Data.Error != "" || ended.Event == "BLOCK_JOB_CANCELLED") {
			err = &monitorError{command: "block-stream", Desc: ended.Data.Error}
		}
	}
	if err != nil {
		return fmt.Errorf("layer %s: %w", name, err)
	}
	return d.rest(ctx, m)
}
