//go:build linux

package ovsgre

import (
	"context"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"slices"

	"github.com/kintoun/kintoun/internal/fault"
	"github.com/kintoun/kintoun/internal/netns"
	"github.com/kintoun/kintoun/network/driver"
)

// maxTag is the last VLAN tag (IEEE 802.1Q).
const maxTag = 4094

type networks struct{ *Fabric }

func (n networks) Apply(ctx context.Context, want driver.Network) error {
	if err := n.apply(ctx, want); err != nil {
		return fmt.Errorf("network %s: %w", want.ID, err)
	}
	return nil
}

func (n networks) apply(ctx context.Context, want driver.Network) error {
	if want.Physical != "" {
		device, ok := n.opts.Physical[want.Physical]
		if !ok {
			return fault.Wrap(ErrUnsupported, "this host has no physical network %q", want.Physical)
		}
		return n.host.EnsurePhysical(device, want.ID)
	}
	peers, err := n.peers(want)
	if err != nil {
		return err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if err := n.ensureFlows(ctx); err != nil {
		return err
	}
	records, _, err := n.records(ctx)
	if err != nil {
		return err
	}
	last, known := records[want.ID]
	next := networkRecord{Tag: last.Tag, Segment: want.Segment, Peers: peers}
	if !known {
		if next.Tag = freeTag(records); next.Tag == 0 {
			return fault.Wrap(ErrExhausted, "all %d VLAN tags of this host are taken", maxTag)
		}
	}
	n.acquaint(peers)
	if known && next.equal(last) {
		return nil
	}
	// Flows first: a process killed in between leaves flows of a tag that nobody has, until somebody gets it.
	if err := n.daemons.push(ctx, next.flows()); err != nil {
		return err
	}
	_, err = transact(ctx, n.daemons.socket(), setKey("Bridge", integrationBridge, "external_ids", networkKey+want.ID, next.String()))
	return err
}

func (n networks) peers(want driver.Network) ([]netip.Addr, error) {
	if want.Segment == 0 {
		return nil, fault.Wrap(ErrInvalid, "it has neither a segment nor a physical network")
	}
	if len(want.Peers) > 0 && !n.opts.LocalAddress.IsValid() {
		return nil, fault.Wrap(ErrInvalid, "it has peers, and this host no local address for tunnels (Options.LocalAddress)")
	}
	peers := []netip.Addr{}
	for _, peer := range want.Peers {
		if !peer.Is4() {
			return nil, fault.Wrap(ErrInvalid, "peer %s: GRE tunnels run over IPv4 here", peer)
		}
		if peer != n.opts.LocalAddress {
			peers = append(peers, peer)
		}
	}
	slices.SortFunc(peers, netip.Addr.Compare)
	return slices.Compact(peers), nil
}

func freeTag(records map[string]networkRecord) int {
	taken := map[int]bool{}
	for _, r := range records {
		taken[r.Tag] = true
	}
	for tag := 1; tag <= maxTag; tag++ {
		if !taken[tag] {
			return tag
		}
	}
	return 0
}

// acquaint has the kernel ask for the peers' MACs, from whose answers the datapath in user space learns them: it would
// lose each tunnel's first packet otherwise. Nobody listens at the discard port, and no answer is waited for.
func (n networks) acquaint(peers []netip.Addr) {
	if !n.userspace || len(peers) == 0 {
		return
	}
	_ = netns.Do(n.opts.Namespace, func() error {
		socket, err := net.ListenUDP("udp4", &net.UDPAddr{IP: n.opts.LocalAddress.AsSlice()})
		if err != nil {
			return err
		}
		defer func() { _ = socket.Close() }()
		for _, peer := range peers {
			_, _ = socket.WriteToUDPAddrPort([]byte{0}, netip.AddrPortFrom(peer, 9))
		}
		return nil
	})
}

func (n networks) Remove(ctx context.Context, id string) error {
	if err := n.remove(ctx, id); err != nil {
		return fmt.Errorf("remove network %s: %w", id, err)
	}
	return nil
}

func (n networks) remove(ctx context.Context, id string) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	records, _, err := n.records(ctx)
	if err != nil {
		return err
	}
	record, ok := records[id]
	if !ok {
		return n.host.RemovePhysical(id)
	}
	if err := n.daemons.push(ctx, record.withdrawal()); err != nil {
		return err
	}
	_, err = transact(ctx, n.daemons.socket(), delKey("Bridge", integrationBridge, "external_ids", networkKey+id))
	return err
}

func (n networks) List(ctx context.Context) ([]string, error) {
	records, _, err := n.records(ctx)
	if err != nil {
		return nil, err
	}
	physical, err := n.host.Networks()
	if err != nil {
		return nil, err
	}
	return append(slices.Sorted(maps.Keys(records)), physical...), nil
}
