//go:build linux

package bridge

import (
	"context"

	"github.com/kintoun/kintoun/network/internal/link"
)

// Probe says what this machine lacks for the fabric, and how to get it; nil if nothing. It makes one device of each
// kind in a network namespace that it throws away, so it changes nothing.
func Probe(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return link.Probe("bridge", "veth", "vxlan", "tun")
}
