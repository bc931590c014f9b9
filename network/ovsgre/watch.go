//go:build linux

package ovsgre

import (
	"context"
	"net"
	"time"
)

// Pauses between attempts to bring the switch back.
const firstPause, longestPause = 50 * time.Millisecond, 5 * time.Second

// watch notices when ovs-vswitchd ends, by a connection to it that closes, and puts everything right when it is back.
func (f *Fabric) watch(ctx context.Context) {
	defer close(f.done)
	pause := firstPause
	for ctx.Err() == nil {
		if f.untilSwitchEnds(ctx) {
			pause = firstPause
		}
		if ctx.Err() != nil {
			return
		}
		if f.revive(ctx) == nil {
			continue
		}
		timer := time.NewTimer(pause)
		select {
		case <-ctx.Done():
			timer.Stop()
		case <-timer.C:
		}
		pause = min(2*pause, longestPause)
	}
}

// untilSwitchEnds says whether it was there at all.
func (f *Fabric) untilSwitchEnds(ctx context.Context) bool {
	path, err := f.daemons.control()
	if err != nil {
		return false
	}
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "unix", path)
	if err != nil {
		return false
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	// It says nothing unless asked: Read returns when it is gone.
	_, _ = conn.Read(make([]byte, 1))
	_ = conn.Close()
	return true
}

// revive starts our own daemons again if they ended, and pushes what a new ovs-vswitchd has forgotten.
func (f *Fabric) revive(ctx context.Context) error {
	if err := f.daemons.ensure(ctx); err != nil {
		return err
	}
	return f.prepare(ctx)
}
