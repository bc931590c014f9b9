//go:build linux

package bridge

import (
	"context"

	"github.com/kintoun/kintoun/network/internal/link"
)

// Probe says what this host lacks for the fabric that the options describe, with a probe.Missing for each thing; nil if
// nothing. It makes one device of each kind in a network namespace that is thrown away, so it changes nothing. VXLAN is
// asked for where tunnels are: with a LocalAddress, and without options.
func Probe(ctx context.Context, opts *Options) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	kinds := []string{"bridge", "veth", "tun"}
	if opts == nil || opts.LocalAddress.IsValid() {
		kinds = append(kinds, "vxlan")
	}
	return link.Probe(kinds...)
}
