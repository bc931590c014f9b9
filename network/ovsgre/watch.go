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
	for ctx.Err() == nil {
		f.untilSwitchEnds(ctx)
		for pause := firstPause; ctx.Err() == nil && f.revive(ctx) != nil; pause = min(2*pause, longestPause) {
			timer := time.NewTimer(pause)
			select {
			case <-ctx.Done():
				timer.Stop()
			case <-timer.C:
			}
		}
	}
}

// untilSwitchEnds returns at once when it is not there.
func (f *Fabric) untilSwitchEnds(ctx context.Context) {
	path, err := f.daemons.control()
	if err != nil {
		return
	}
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "unix", path)
	if err != nil {
		return
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	// It says nothing unless asked: Read returns when it is gone.
	_, _ = conn.Read(make([]byte, 1))
	_ = conn.Close()
}

// revive starts our own daemons again if they ended, and pushes what a new ovs-vswitchd has forgotten.
func (f *Fabric) revive(ctx context.Context) error {
	if err := f.daemons.ensure(ctx); err != nil {
		return err
	}
	return f.prepare(ctx)
}
