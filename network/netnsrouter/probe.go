//go:build linux

package netnsrouter

import (
	"context"
	"errors"
	"net/netip"
	"os"

	"github.com/kintoun/kintoun/internal/netns"
	"github.com/kintoun/kintoun/network/driver"
	"github.com/kintoun/kintoun/probe"
	"golang.org/x/sys/unix"
)

// Probe says what this host lacks for routers, with a [probe.Missing] for each thing; nil if nothing. It makes a router
// without legs, its sysctls and its whole translation, in namespaces that are thrown away, so it changes nothing. What the
// ports need, their fabric's own Probe says. Options do not change what is needed.
func Probe(ctx context.Context, _ *Options) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	p, err := newPlan(trial())
	if err != nil {
		return err
	}
	return probe.Join(netns.Probe(), netns.Scratch(func() error { return errors.Join(missingSysctls(p.setSysctls()), missingTables(p)) }))
}

// trial is a router that uses everything: translation to and from, hiding, and metadata.
func trial() driver.Router {
	leg := func(port, address string) driver.RouterInterface {
		return driver.RouterInterface{PortID: port, NetworkID: port, MAC: "fa:16:3e:00:00:01", Addresses: []netip.Prefix{netip.MustParsePrefix(address)}}
	}
	return driver.Router{
		ID: "probe", MetadataPort: 9697, Interfaces: []driver.RouterInterface{leg("in", "192.0.2.1/28")},
		Gateway:     &driver.Gateway{RouterInterface: leg("out", "192.0.2.17/28"), SNAT: true},
		FloatingIPs: []driver.FloatingIP{{ID: "probe", External: netip.MustParseAddr("192.0.2.18"), Internal: netip.MustParseAddr("192.0.2.2")}},
	}
}

func missingSysctls(err error) error {
	if err == nil {
		return nil
	}
	how := "run as root"
	if errors.Is(err, unix.EROFS) {
		how = "mount /proc/sys writable; a container has it read-only unless it is privileged"
	} else if errors.Is(err, os.ErrNotExist) {
		how = "mount /proc, on a kernel with CONFIG_SYSCTL"
	}
	return &probe.Missing{What: "writable sysctls below /proc/sys/net", Why: "forwarding between networks", How: how, Err: err}
}

func missingTables(p *plan) error {
	_, err := p.translate()
	if err == nil {
		return nil
	}
	if errors.Is(err, unix.EPERM) {
		return netns.MissingCapability("CAP_NET_ADMIN", "address translation", err)
	}
	return &probe.Missing{
		What: "the kernel's nf_tables with NAT", Why: "address translation",
		How: "modprobe -a nf_tables nft_chain_nat nft_ct, or a kernel (5.7 or later) with CONFIG_NF_TABLES_IPV4, NFT_NAT, NFT_REDIR and NF_CONNTRACK", Err: err,
	}
}
