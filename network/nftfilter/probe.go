//go:build linux

package nftfilter

import (
	"context"
	"errors"

	"github.com/kintoun/kintoun/internal/netns"
	"github.com/kintoun/kintoun/probe"
	"golang.org/x/sys/unix"
)

// Probe says what this host lacks for filters, with a [probe.Missing] for each thing; nil if nothing. It makes the tables
// that all ports share in a network namespace that is thrown away, so it changes nothing. Options do not change what is
// needed.
func Probe(ctx context.Context, _ *Options) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return netns.Scratch(func() error { return errors.Join(bridgeNetfilter(), probeTables()) })
}

func probeTables() error {
	k, err := New(nil).open()
	if err != nil {
		return needs(err)
	}
	defer k.close()
	// The library's answers to writing can be unwrapped, those to reading cannot.
	k.conn.AddTable(k.bridge)
	if err := k.conn.Flush(); err != nil {
		return needs(err)
	}
	return k.ensureBase()
}

// needs tells what the kernel lacks from what else can go wrong.
func needs(err error) error {
	if errors.Is(err, unix.EPERM) {
		return netns.MissingCapability("CAP_NET_ADMIN", "the packet filter", err)
	}
	for _, missing := range []error{unix.EOPNOTSUPP, unix.EPROTONOSUPPORT, unix.EAFNOSUPPORT, unix.EPROTO, unix.ENOENT} {
		if errors.Is(err, missing) {
			return &probe.Missing{
				What: "the kernel's nf_tables with the families bridge and inet, and conntrack zones", Why: "guarding ports",
				How: "modprobe -a nf_tables nft_ct nf_conntrack_bridge, or a kernel with CONFIG_NF_TABLES_BRIDGE, _INET, NFT_CT and NF_CONNTRACK_ZONES", Err: err,
			}
		}
	}
	return err
}
