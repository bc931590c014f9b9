//go:build linux

package qemu

import (
	"context"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/kintoun/kintoun/internal/process"
)

// trimInterval is how often logs are looked at.
const trimInterval = 10 * time.Second

// Watch calls changed whenever a server's process has ended, also one that runs since before, until ctx ends; and at the
// start for each that does not run, since it may have ended just now. Calls come from several goroutines. Meanwhile it
// keeps the logs within their bounds.
func (d *Driver) Watch(ctx context.Context, changed func(id string)) error {
	var trimming sync.WaitGroup
	defer trimming.Wait()
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	trimming.Go(func() {
		ticker := time.NewTicker(trimInterval)
		defer ticker.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-ticker.C:
				d.trimLogs(ctx)
			}
		}
	})
	return d.ends.Watch(ctx, d.processes, changed)
}

// processes are those of all servers; nil where a server has none.
func (d *Driver) processes(ctx context.Context) (map[string]*process.Process, error) {
	all, err := d.List(ctx)
	if err != nil {
		return nil, err
	}
	found := map[string]*process.Process{}
	for _, one := range all {
		found[one.ID] = nil
		if one.PID == 0 {
			continue
		}
		if found[one.ID], err = process.Find(d.dir(one.ID)); err != nil {
			return nil, err
		}
	}
	return found, nil
}

func (d *Driver) trimLogs(ctx context.Context) {
	entries, _ := os.ReadDir(d.instances())
	for _, entry := range entries {
		if ctx.Err() != nil {
			return
		}
		// A server without logs has nothing to trim.
		for _, log := range []string{consoleFile, outputFile} {
			_ = trim(filepath.Join(d.dir(entry.Name()), log), d.o.ConsoleBytes)
		}
	}
}
