//go:build linux

package qcow2volume

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/kintoun/kintoun/volume/driver"
	"github.com/kintoun/kintoun/volume/internal/nbd"
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
	if err := d.streamed(ctx, m.into, m.hidden.backing); err != nil {
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
	arguments := map[string]any{"job-id": jobOf(name), "device": nodeOf(name), "auto-finalize": false}
	if base != "" {
		arguments["base-node"], arguments["backing-file"] = nodeOf(base), base
	}
	if err = d.open(m, name, writable); err == nil {
		err = m.do("block-stream", arguments, nil)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("layer %s: %w", name, err), d.rest(ctx, m, nodeOf(name)))
	}
	return nil
}

// streamed waits until a layer durably stands on the base, and not on what it stood on before, and nobody works on it any more.
func (d *Driver) streamed(ctx context.Context, before layer, base string) error {
	name := before.name
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		if working, err := d.streaming(ctx, before); err != nil {
			return err
		} else if !working {
			break
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	if err := syncFile(d.layerPath(name)); err != nil {
		return err
	}
	x, err := d.layer(name)
	if err == nil && x.backing != base {
		err = fmt.Errorf("layer %s could not be made to stand on %q: %s", name, base, nbdserver.Said(d.path(daemonDir, daemonLog)))
	}
	return err
}

func syncFile(path string) error {
	f, err := open(path, os.O_RDONLY)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

func (d *Driver) streaming(ctx context.Context, before layer) (bool, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	m, err := d.running(ctx)
	if m == nil {
		return false, err
	}
	defer m.close()
	working, err := d.attend(ctx, m, before.name)
	if err == nil && !working {
		err = d.rest(ctx, m, nodeOf(before.name), nodeOf(before.backing))
	}
	return working, err
}

// finish waits until nobody copies into the volumes' layers, or those that these stand on: meanwhile nothing can be put above them,
// and their clients are at a node between. d.mu is held.
func (d *Driver) finish(ctx context.Context, m *monitor, volumes []record) error {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		working := false
		for _, r := range volumes {
			x, err := d.layer(r.Layer)
			if err != nil {
				return err
			}
			for _, name := range []string{x.name, x.backing} {
				one, err := d.attend(ctx, m, name)
				if err != nil {
					return err
				}
				working = working || one
			}
		}
		if !working {
			return nil
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

// attend says whether a layer is being copied into. When everything is copied, that is made durable before the layer's header says
// that it does without the one below: the daemon would write the one before the other.
func (d *Driver) attend(ctx context.Context, m *monitor, name string) (working bool, err error) {
	jobs, err := m.jobs()
	status, working := jobs[jobOf(name)]
	if status != "pending" {
		return working, err
	}
	export := devicePrefix + "flush." + nodeOf(name)
	if err := m.add(export, name, false); err != nil {
		return true, err
	}
	conn, err := dialUnix(ctx, d.path(socketsDir, exportSocket))
	if err == nil {
		var client *nbd.Client
		if client, err = nbd.New(ctx, conn, &nbd.Options{Export: export}); err == nil {
			err = errors.Join(client.Sync(), client.Close())
		}
	}
	if err = errors.Join(err, m.remove(ctx, export)); err == nil {
		err = m.do("job-finalize", map[string]any{"id": jobOf(name)}, nil)
	}
	return true, err
}

const jobPrefix = "stream-"

func jobOf(layer string) string { return jobPrefix + nodeOf(layer) }

// jobs are the daemon's, and how they are.
func (m *monitor) jobs() (map[string]string, error) {
	var all []struct{ ID, Status string }
	err := m.do("query-jobs", nil, &all)
	jobs := map[string]string{}
	for _, j := range all {
		jobs[j.ID] = j.Status
	}
	return jobs, err
}

// cancelJobs ends the jobs of a process that was killed: what they copied is no harm.
func (d *Driver) cancelJobs(ctx context.Context, m *monitor) error {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		jobs, err := m.jobs()
		if err != nil || len(jobs) == 0 {
			return err
		}
		for id, status := range jobs {
			if status != "aborting" && status != "concluded" && status != "null" {
				_ = m.do("job-cancel", map[string]any{"id": id}, nil) // it may have ended
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
