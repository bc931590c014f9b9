//go:build linux

package qemu

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/kintoun/kintoun/internal/process"
	"golang.org/x/sys/unix"
)

// trimInterval is how often logs are looked at.
const trimInterval = 10 * time.Second

// Watch calls changed whenever a server's process has ended, also one that runs since before, until ctx ends; and at the
// start for each that does not run, since it may have ended just now. Calls come from several goroutines. Meanwhile it
// keeps the logs within their bounds.
func (d *Driver) Watch(ctx context.Context, changed func(id string)) error {
	var watching sync.WaitGroup
	defer watching.Wait()
	watch := func(s started) {
		watching.Go(func() {
			if d.waitEnd(ctx, s.proc) == nil {
				changed(s.id)
			}
		})
	}
	news := make(chan started, 64)
	d.mu.Lock()
	d.watchers[news] = struct{}{}
	d.mu.Unlock()
	defer func() {
		d.mu.Lock()
		delete(d.watchers, news)
		d.mu.Unlock()
	}()
	running, ended, err := d.running(ctx)
	if err != nil {
		return err
	}
	for _, id := range ended {
		changed(id)
	}
	seen := map[process.Process]bool{}
	for _, s := range running {
		seen[*s.proc] = true
		watch(s)
	}
	ticker := time.NewTicker(trimInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case s := <-news:
			// One that started while we listed comes twice.
			if !seen[*s.proc] {
				watch(s)
			}
			clear(seen)
		case <-ticker.C:
			d.trimLogs(ctx)
		}
	}
}

// running finds the processes that exist, and the servers that have none.
func (d *Driver) running(ctx context.Context) (running []started, ended []string, err error) {
	all, err := d.List(ctx)
	if err != nil {
		return nil, nil, err
	}
	for _, one := range all {
		proc, err := process.Find(d.dir(one.ID))
		if err != nil {
			return nil, nil, err
		}
		if one.PID == 0 || proc == nil {
			ended = append(ended, one.ID)
			continue
		}
		running = append(running, started{one.ID, proc})
	}
	return running, ended, nil
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

// announce tells watchers of a new process; one that is busy with 64 others is waited for.
func (d *Driver) announce(s started) {
	d.mu.Lock()
	watchers := make([]chan<- started, 0, len(d.watchers))
	for w := range d.watchers {
		watchers = append(watchers, w)
	}
	d.mu.Unlock()
	for _, w := range watchers {
		select {
		case w <- s:
		case <-time.After(time.Second):
		}
	}
}

// waitEnd parks until the process has ended (pidfd_open(2)), without a thread or a timer.
func (*Driver) waitEnd(ctx context.Context, proc *process.Process) error {
	fd, err := unix.PidfdOpen(proc.PID, unix.PIDFD_NONBLOCK)
	if errors.Is(err, unix.ESRCH) {
		return nil
	}
	if err != nil {
		return err
	}
	file := os.NewFile(uintptr(fd), "pidfd")
	defer func() { _ = file.Close() }()
	// The number may have become another's before we opened it.
	if !proc.Alive() {
		return nil
	}
	conn, err := file.SyscallConn()
	if err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { _ = file.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	err = conn.Read(func(fd uintptr) bool {
		poll := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		n, err := unix.Poll(poll, 0)
		return err == nil && n > 0
	})
	if err != nil && ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}
