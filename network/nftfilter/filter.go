//go:build linux

// Package nftfilter guards ports with the kernel's packet filter (nf_tables): security groups, with memory of
// connections, and no traffic under a false address. It is a [driver.Filters].
//
//	err := nftfilter.New(nil).Apply(context.Background(), driver.Filter{
//		PortID: "vm1", Device: "tap0", Bridge: "br0", MAC: "fa:16:3e:00:00:02",
//		Security: driver.Security{
//			Allowed: []driver.AddressPair{{Address: netip.MustParsePrefix("172.24.17.2/32")}},
//			Rules:   []driver.Rule{{Direction: driver.Egress}, {Direction: driver.Ingress, Protocol: 1}},
//		},
//	})
//
// A port is a member of a Linux bridge. `table bridge kintoun` judges each frame by the bridge port that it came from
// and the one it leaves by: who may claim to be whom (before the bridge learns from the frame), and which rule allows
// it; what no rule allows it only marks. `table inet kintoun` then sees the same packet through br_netfilter, with its
// connection: a marked packet passes as a reply or as part of a connection that was allowed before, and is dropped
// otherwise. Connections are kept apart by bridge (a conntrack zone for each), so that two projects may use the same
// addresses.
//
// Apply replaces a port's guard in one netlink transaction: no packet ever meets half of it, other ports are not
// touched, and connections that are still allowed do not notice. Connections of the port that the new rules do not
// allow are cut: their conntrack entries are marked, and packets of a marked connection are dropped in both directions.
// (Merely forgetting such a connection would let the guest's next packet open it again from within.)
//
// # What it needs
//
// Root (CAP_NET_ADMIN), the kernel's nf_tables with the bridge family, nf_conntrack with zones, and br_netfilter, which
// Apply switches on for the port's own bridge alone; [Probe] makes the tables and names what is missing. No program is
// run.
//
// # What it does not do
//
// Ports without a filter, those of routers and DHCP servers, pass freely; so does what the host itself sends or routes
// to a port. A bridge with addresses of the host's should have a MAC that stays (ours have): by it, packets for the
// host are known. Frames other than ARP, IPv4 and IPv6, those with a VLAN tag too, do not pass a guarded port. It logs
// and counts nothing.
//
// # Errors
//
// [ErrInvalid] for a filter that makes no sense, [ErrUnavailable] where the kernel lacks something (a [probe.Missing],
// found with errors.As), [ErrExhausted] for one bridge too many; anything else is the kernel's own answer.
//
// # Concurrency
//
// A [Filters] is safe for concurrent use, and starts no goroutines. Several processes must not change one namespace's
// at once.
//
// # When the process ends
//
// Ports stay guarded: everything, a digest of what was applied too, is in the kernel, where another process finds it
// again. An Apply that was killed is finished by the next.
package nftfilter

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/kintoun/kintoun/internal/fault"
	"github.com/kintoun/kintoun/network/driver"
)

// The kinds of error.
var (
	// ErrInvalid is a filter that makes no sense: an address that is none, ports of a protocol that has no ports, a device
	// that is no bridge.
	ErrInvalid = fault.ErrInvalid
	// ErrUnavailable is what [Probe] finds missing, and a kernel that lacks something when a port is to be guarded.
	ErrUnavailable = fault.ErrUnavailable
	// ErrExhausted is a host with more guarded bridges than conntrack has zones, about 45,000.
	ErrExhausted = fault.ErrExhausted
)

// Options of a [Filters].
type Options struct {
	// Namespace is the network namespace whose ports are guarded; empty is the process's own.
	Namespace string
}

// Filters guards the ports of one network namespace.
type Filters struct {
	namespace string
	// mu keeps changes apart; the kernel would only make one of two that overlap begin again.
	mu sync.Mutex
}

var _ driver.Filters = (*Filters)(nil)

// New returns the filters of a namespace. It changes nothing yet.
func New(opts *Options) *Filters {
	if opts == nil {
		opts = &Options{}
	}
	return &Filters{namespace: opts.Namespace}
}

// Apply guards the port as wanted. See the package's description for what happens to its connections.
func (f *Filters) Apply(ctx context.Context, want driver.Filter) error {
	rules, err := compile(want)
	if err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := f.apply(want, rules); err != nil {
		return fmt.Errorf("filter of port %s: %w", want.PortID, err)
	}
	return nil
}

func (f *Filters) apply(want driver.Filter, rules *plan) error {
	k, err := f.open()
	if err != nil {
		return err
	}
	defer k.close()
	next := record{device: want.Device, bridge: want.Bridge, digest: digest(want)}
	last, err := k.record(want.PortID)
	if err != nil {
		return err
	}
	mac, err := f.callBridge(want.Bridge)
	if err != nil || (last != nil && *last == next) {
		return err
	}
	if err := k.ensureBase(); err != nil {
		return err
	}
	zone, fresh, err := k.ensureZone(want.Bridge, mac)
	if err != nil {
		return err
	}
	// Killed between the two, the next Apply finds "pending" and goes on.
	pending := next
	pending.digest = "pending"
	if fresh {
		pending = next
	}
	if err := k.replace(want.PortID, last, pending, rules); err != nil {
		return err
	}
	if last != nil && last.bridge != next.bridge {
		if err := f.releaseZones(k); err != nil {
			return err
		}
	}
	if fresh {
		return nil
	}
	if err := f.judgeConnections(zone, want); err != nil {
		return err
	}
	k.writeRecord(want.PortID, next)
	return k.conn.Flush()
}

// Remove takes the guard away; what it had let through is forgotten. The port's device should be gone by then,
// or everything passes.
func (f *Filters) Remove(ctx context.Context, portID string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return err
	}
	k, err := f.open()
	if err != nil {
		return err
	}
	defer k.close()
	last, err := k.record(portID)
	if err != nil || last == nil {
		return err
	}
	if err := k.drop(portID, last); err != nil {
		return fmt.Errorf("remove the filter of port %s: %w", portID, err)
	}
	if err := f.releaseZones(k); err != nil {
		return fmt.Errorf("release the connections of bridge %s: %w", last.bridge, err)
	}
	return nil
}

// List returns the ports that are guarded.
func (f *Filters) List(ctx context.Context) ([]string, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	k, err := f.open()
	if err != nil {
		return nil, err
	}
	defer k.close()
	chains, err := k.conn.ListChainsOfTableFamily(nftables.TableFamilyBridge)
	if err != nil {
		return nil, fmt.Errorf("list chains: %w", err)
	}
	var ids []string
	for _, chain := range chains {
		if id, ok := strings.CutPrefix(chain.Name, "record-"); ok && chain.Table.Name == tableName {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return ids, nil
}

// replace is the transaction that gives a port its rules.
func (k *kernel) replace(portID string, last *record, next record, rules *plan) error {
	if last != nil && (last.device != next.device || last.bridge != next.bridge) {
		if err := k.disconnect(last); err != nil {
			return err
		}
	}
	moved := last == nil || last.device != next.device || last.bridge != next.bridge
	for _, part := range []struct {
		prefix   string
		rules    []rule
		dispatch *nftables.Set
	}{{"source-", rules.source, k.sources}, {"egress-", rules.egress, k.senders}, {"ingress-", rules.ingress, k.receivers}} {
		chain := k.conn.AddChain(&nftables.Chain{Table: k.bridge, Name: part.prefix + portID})
		k.conn.FlushChain(chain)
		if err := add(k.conn, chain, part.rules); err != nil {
			return err
		}
		if !moved {
			continue
		}
		element := nftables.SetElement{Key: interfaceName(next.device), VerdictData: verdict(expr.VerdictJump, chain.Name), Comment: next.bridge}
		if err := k.conn.SetAddElements(part.dispatch, []nftables.SetElement{element}); err != nil {
			return err
		}
	}
	k.writeRecord(portID, next)
	return k.conn.Flush()
}

func (k *kernel) disconnect(last *record) error {
	element := []nftables.SetElement{{Key: interfaceName(last.device)}}
	for _, dispatch := range []*nftables.Set{k.sources, k.senders, k.receivers} {
		if err := k.conn.SetDeleteElements(dispatch, element); err != nil {
			return err
		}
	}
	return nil
}

// drop is the transaction that takes a port's rules away.
func (k *kernel) drop(portID string, last *record) error {
	if err := k.disconnect(last); err != nil {
		return err
	}
	for _, prefix := range []string{"source-", "egress-", "ingress-", "record-"} {
		chain := &nftables.Chain{Table: k.bridge, Name: prefix + portID}
		k.conn.FlushChain(chain)
		k.conn.DelChain(chain)
	}
	return k.conn.Flush()
}
