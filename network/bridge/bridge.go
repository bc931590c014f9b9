//go:build linux

// Package bridge is a fabric of the kernel's own parts: one bridge per network, brqXXXXXXXX-XX, joined to the other
// hosts' by a VXLAN device (RFC 7348) that sends what is for everybody, or for an unknown MAC, to each peer (head-end
// replication, no multicast needed) and learns the rest. It is a [driver.Fabric].
//
//	fabric, err := bridge.New(nftfilter.New(nil), &bridge.Options{LocalAddress: netip.MustParseAddr("10.0.0.1")})
//	network := driver.Network{ID: "3f2504e0-4f89-11d3-9a0c-0305e82c3301", Segment: 7, MTU: 1450, Peers: []netip.Addr{netip.MustParseAddr("10.0.0.2")}}
//	if err := fabric.Networks().Apply(ctx, network); err != nil {
//		fmt.Println(err)
//		return
//	}
//	if err := fabric.Ports().Apply(ctx, port); err != nil {
//		fmt.Println(err)
//	}
//
// A virtual machine's port is a tap device that persists, open to the endpoint's owner, with virtio headers
// (IFF_TAP|IFF_NO_PI|IFF_VNET_HDR): QEMU opens it by name or is given a descriptor. A namespace's port is a veth pair.
// A physical network is a bridge of the host's. A whole program: examples/twotenants.
//
// # What it needs
//
// Root (CAP_NET_ADMIN; CAP_SYS_ADMIN where [Options.Namespace] or an endpoint's namespace is another than the
// process's), the kernel's bridge, veth, tun and, between hosts, VXLAN; [Probe] makes one of each and names what is
// missing. The path between hosts must carry the networks' MTU and 50 bytes more (IPv4; 70 for IPv6). No program is
// run.
//
// # What it does not do
//
// It guards no ports itself: a [driver.Filters] does, and without one a port that wants to be guarded is refused. It
// encrypts nothing between hosts. It makes no VLANs. It gives the physical networks' bridges no addresses and no
// devices.
//
// # Errors
//
// [ErrInvalid], [ErrConflict] (a device of that name is somebody else's), [ErrNotFound] (a port of a network that was
// not applied), [ErrUnavailable] (the kernel lacks something; what Probe finds is a *probe.Missing), [ErrUnsupported]
// (a physical network that the host has not, or a guarded port without filters).
//
// # Concurrency
//
// A [Fabric] is safe for concurrent use, and starts no goroutines. Several processes must not change one host's fabric
// at once.
//
// # When the process ends
//
// Frames pass without any process. What exists is read from the kernel, where device aliases hold full identifiers, so
// another process finds it again; what a killed Apply left half made is completed or removed by the next.
package bridge

import (
	"context"
	"fmt"
	"net/netip"
	"slices"

	"github.com/kintoun/kintoun/internal/fault"
	"github.com/kintoun/kintoun/network/driver"
	"github.com/kintoun/kintoun/network/internal/link"
)

// The kinds of error that this package returns.
var (
	ErrInvalid     = fault.ErrInvalid
	ErrConflict    = fault.ErrConflict
	ErrNotFound    = fault.ErrNotFound
	ErrUnavailable = fault.ErrUnavailable
	ErrUnsupported = fault.ErrUnsupported
)

// DefaultPort is VXLAN's UDP port (RFC 7348).
const DefaultPort = 4789

// Options of a [Fabric].
type Options struct {
	// Namespace is the network namespace that plays the host; empty is the process's own.
	Namespace string
	// LocalAddress is where the other hosts send this one's tunnelled frames. Without it there are no tunnels:
	// networks stay on this host, and one with peers is refused.
	LocalAddress netip.Addr
	// Port is the UDP port of the tunnels, the same on all hosts; zero is [DefaultPort].
	Port uint16
	// Physical maps the names of physical networks to the host's bridges. A bridge that does not exist is made.
	Physical map[string]string
}

// Fabric is the layer 2 of one host.
type Fabric struct {
	host     link.Host
	filters  driver.Filters
	local    netip.Addr
	port     uint16
	physical map[string]string
}

var _ driver.Fabric = (*Fabric)(nil)

// New returns the fabric of a host. Filters guard its ports; nil, and ports that want to be guarded are refused.
// It changes nothing yet.
func New(filters driver.Filters, opts *Options) (*Fabric, error) {
	if opts == nil {
		opts = &Options{}
	}
	for name, device := range opts.Physical {
		if name == "" || device == "" || len(device) > 15 {
			return nil, fault.Wrap(ErrInvalid, "physical network %q: bridge name %q must have 1 to 15 bytes", name, device)
		}
	}
	f := &Fabric{host: link.Host{Namespace: opts.Namespace}, filters: filters, local: opts.LocalAddress, port: opts.Port, physical: opts.Physical}
	if f.port == 0 {
		f.port = DefaultPort
	}
	return f, nil
}

// Kind is "bridge".
func (f *Fabric) Kind() string { return "bridge" }

// Networks makes networks exist on the host.
func (f *Fabric) Networks() driver.Networks { return networks{f} }

// Ports plugs ports into them.
func (f *Fabric) Ports() driver.Ports { return ports{f} }

// Name is the bridge of a tunnelled network: brqXXXXXXXX-XX.
func Name(networkID string) string { return link.DeviceName("brq", networkID) }

type networks struct{ *Fabric }

func (n networks) Apply(ctx context.Context, want driver.Network) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := n.apply(want); err != nil {
		return fmt.Errorf("network %s: %w", want.ID, err)
	}
	return nil
}

func (n networks) apply(want driver.Network) error {
	if want.Physical != "" {
		device, ok := n.physical[want.Physical]
		if !ok {
			return fault.Wrap(ErrUnsupported, "this host has no physical network %q", want.Physical)
		}
		return n.host.EnsurePhysical(device, want.ID)
	}
	tunnel, err := n.tunnel(want)
	if err != nil {
		return err
	}
	if err := n.host.EnsureBridge(Name(want.ID), link.NetworkAlias(want.ID), want.MTU); err != nil {
		return err
	}
	if tunnel == nil {
		return nil
	}
	return n.host.EnsureVXLAN(*tunnel)
}

// tunnel says which VXLAN device the network needs; nil for none.
func (n networks) tunnel(want driver.Network) (*link.VXLAN, error) {
	if want.Segment == 0 || want.Segment >= 1<<24 {
		return nil, fault.Wrap(ErrInvalid, "segment %d is not one of VXLAN's 1 to 16777215", want.Segment)
	}
	if !n.local.IsValid() {
		if len(want.Peers) > 0 {
			return nil, fault.Wrap(ErrInvalid, "it has peers, and this host no local address for tunnels (Options.LocalAddress)")
		}
		return nil, nil
	}
	peers := make([]netip.Addr, 0, len(want.Peers))
	for _, peer := range want.Peers {
		if peer.Is4() != n.local.Is4() {
			return nil, fault.Wrap(ErrInvalid, "peer %s and local address %s are of different families", peer, n.local)
		}
		if peer != n.local && !slices.Contains(peers, peer) {
			peers = append(peers, peer)
		}
	}
	return &link.VXLAN{
		Name: tunnelName(want.ID), Alias: tunnelAlias(want.ID), Bridge: Name(want.ID),
		Identifier: want.Segment, Local: n.local, Port: n.port, MTU: want.MTU, Peers: peers,
	}, nil
}

func tunnelName(networkID string) string { return link.DeviceName("vx-", networkID) }

// The bridge alone names the network; its tunnel goes with it.
func tunnelAlias(networkID string) string { return "kintoun:tunnel-of:" + networkID }

func (n networks) Remove(ctx context.Context, id string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	// The tunnel first: as long as the bridge is there, the network is listed.
	err := n.host.RemoveOwned(tunnelAlias(id), tunnelName(id))
	if err == nil {
		err = n.host.RemoveOwned(link.NetworkAlias(id), Name(id))
	}
	if err == nil {
		err = n.host.RemovePhysical(id)
	}
	if err != nil {
		return fmt.Errorf("remove network %s: %w", id, err)
	}
	return nil
}

func (n networks) List(ctx context.Context) ([]string, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return n.host.Networks()
}

type ports struct{ *Fabric }

func (p ports) Apply(ctx context.Context, want driver.Port) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	bridge, err := p.host.NetworkBridge(Name(want.NetworkID), want.NetworkID)
	if err != nil {
		return fmt.Errorf("port %s: %w", want.ID, err)
	}
	if bridge == "" {
		return fmt.Errorf("port %s: network %s is not on this host: %w", want.ID, want.NetworkID, ErrNotFound)
	}
	if err := p.host.PlugPort(ctx, p.filters, want, bridge); err != nil {
		return fmt.Errorf("port %s: %w", want.ID, err)
	}
	return nil
}

func (p ports) Remove(ctx context.Context, id string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := p.host.UnplugPort(ctx, p.filters, id); err != nil {
		return fmt.Errorf("remove port %s: %w", id, err)
	}
	return nil
}

func (p ports) List(ctx context.Context) ([]string, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return p.host.Ports()
}
