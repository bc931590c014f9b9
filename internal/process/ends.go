//go:build linux

package process

import (
	"context"
	"errors"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Wait returns when the process has ended or ctx is done. Waiting takes no thread and no timer (pidfd_open(2)).
func (p *Process) Wait(ctx context.Context) error {
	fd, err := unix.PidfdOpen(p.PID, unix.PIDFD_NONBLOCK)
	if errors.Is(err, unix.ESRCH) {
		return nil
	}
	if err != nil {
		return err
	}
	file := os.NewFile(uintptr(fd), "pidfd")
	defer func() { _ = file.Close() }()
	// The number may have become another's before we opened it.
	if !p.Alive() {
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

// Ends tells of processes that have ended. The zero value is ready, and safe for concurrent use.
type Ends struct {
	mu       sync.Mutex
	watchers map[chan<- named]struct{}
}

type named struct {
	name string
	*Process
}

// Started has those who watch hear of the process's end, under that name. A watcher that is busy with 64 others is waited for.
func (e *Ends) Started(name string, p *Process) {
	e.mu.Lock()
	watchers := make([]chan<- named, 0, len(e.watchers))
	for w := range e.watchers {
		watchers = append(watchers, w)
	}
	e.mu.Unlock()
	for _, w := range watchers {
		select {
		case w <- named{name, p}:
		case <-time.After(time.Second):
		}
	}
}

// Watch calls ended with the name of each process that has ended, until ctx ends: of those that existing returns, nil for what
// should have a process and has none, and of those that start meanwhile. Calls come from several goroutines.
func (e *Ends) Watch(ctx context.Context, existing func(context.Context) (map[string]*Process, error), ended func(name string)) error {
	var watching sync.WaitGroup
	defer watching.Wait()
	watch := func(name string, p *Process) {
		watching.Go(func() {
			if p.Wait(ctx) == nil {
				ended(name)
			}
		})
	}
	news := make(chan named, 64)
	e.join(news)
	defer e.leave(news)
	there, err := existing(ctx)
	if err != nil {
		return err
	}
	seen := map[Process]bool{}
	for name, p := range there {
		if p == nil {
			ended(name)
			continue
		}
		seen[*p] = true
		watch(name, p)
	}
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case p := <-news:
			if seen[*p.Process] {
				delete(seen, *p.Process) // it started while we looked
				continue
			}
			watch(p.name, p.Process)
		}
	}
}

func (e *Ends) join(w chan<- named) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.watchers == nil {
		e.watchers = map[chan<- named]struct{}{}
	}
	e.watchers[w] = struct{}{}
}

func (e *Ends) leave(w chan<- named) {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.watchers, w)
}
