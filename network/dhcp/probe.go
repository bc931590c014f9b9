//go:build linux

package dhcp

import (
	"context"
	"errors"
	"fmt"

	"github.com/kintoun/kintoun/internal/netns"
	"github.com/kintoun/kintoun/probe"
	"golang.org/x/sys/unix"
)

// Probe says what this host lacks for DHCP servers, with a [probe.Missing] for each thing; nil if nothing. It opens a
// server's socket on the loopback of a network namespace that is thrown away, so it changes nothing and nobody hears it.
// What the ports need, their fabric's own Probe says. Options do not change what is needed.
func Probe(ctx context.Context, _ *Options) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return probe.Join(netns.Probe(), netns.Scratch(probeSocket))
}

func probeSocket() error {
	conn, err := listen(place{device: "lo"})
	if err == nil {
		return conn.Close()
	}
	if errors.Is(err, unix.EACCES) {
		return netns.MissingCapability("CAP_NET_BIND_SERVICE", "ports below 1024", err)
	}
	if errors.Is(err, unix.EPERM) {
		return netns.MissingCapability("CAP_NET_RAW", "a socket bound to a device", err)
	}
	return fmt.Errorf("DHCP server's socket: %w", err)
}
