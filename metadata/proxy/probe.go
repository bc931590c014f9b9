//go:build linux

package proxy

import (
	"context"
	"errors"
	"fmt"
	"net"

	"github.com/kintoun/kintoun/internal/netns"
	"github.com/kintoun/kintoun/probe"
	"golang.org/x/sys/unix"
)

// Probe says what this host lacks for a proxy in the namespaces of networks and routers, with a [probe.Missing] for each
// thing; nil if nothing. It listens for an instant in a network namespace that is thrown away, so it changes nothing. A
// proxy that only listens in the process's own namespace, on a port of 1024 or above, needs none of it. Options do not
// change what is needed.
func Probe(ctx context.Context, _ *Options) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return probe.Join(netns.Probe(), netns.Scratch(func() error {
		socket, err := (&net.ListenConfig{Control: early}).Listen(ctx, "tcp4", NetworkListen().String())
		switch {
		case err == nil:
			return socket.Close()
		case errors.Is(err, unix.EACCES):
			return netns.MissingCapability("CAP_NET_BIND_SERVICE", "ports below 1024", err)
		}
		return fmt.Errorf("listen for metadata requests: %w", err)
	}))
}
