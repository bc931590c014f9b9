// Package driver is the contract between the network domain and one host: small interfaces, and the plain values that
// they take.
//
// A host is given what it should have, and every driver speaks the same three verbs: Apply makes the host match what is
// wanted and is free when it already does; Remove is happy when the thing is already gone; List says what exists, so
// that a restarted agent re-adopts what runs and finds leftovers:
//
//	fabric := memnet.NewFabric(machine, memnet.NewFilters(machine))
//	if err := fabric.Networks().Apply(ctx, driver.Network{ID: "private", Segment: 1, MTU: 1450}); err != nil {
//		fmt.Println(err)
//	}
//	port := driver.Port{ID: "vm1", NetworkID: "private", MAC: "fa:16:3e:00:00:01", MTU: 1450, Endpoint: driver.Endpoint{Device: driver.TapName("vm1")}}
//	if err := fabric.Ports().Apply(ctx, port); err != nil {
//		fmt.Println(err)
//	}
//	ports, err := fabric.Ports().List(ctx)
//
// Four kinds of driver exist. A [Fabric] ([Networks] and [Ports]) carries frames; [Filters] guard ports; [Routers] and
// [DHCPServers] serve networks from namespaces of their own, which they plug into the fabric through Ports. Packages
// bridge and ovsgre are fabrics, nftfilter filters, netnsrouter routers, dhcp servers, memnet all of them in memory;
// package drivertest has the suites. A whole driver: examples/customfabric, a fabric of one's own that passes its
// suite.
//
// The package needs nothing but the standard library, and does nothing but name things as operators know them:
// [TapName] and its like.
//
// Errors are the driver's own, wrapped with what and which; agents log them and try again. All methods are safe for
// concurrent use on different identifiers; calls for one identifier are made one after the other. No driver relies on
// its own memory: after a kill, a new value over the same host finds everything by List.
package driver

import (
	"context"
	"net/netip"
)

// A Fabric is the layer 2 of one host: it makes networks reach the other hosts and plugs ports into them.
type Fabric interface {
	// Kind names the technology for operators: "openvswitch" or "bridge".
	Kind() string
	// Networks makes networks exist on the host.
	Networks() Networks
	// Ports plugs ports into them.
	Ports() Ports
}

// Networks makes a network exist on this host.
type Networks interface {
	// Apply makes the network exist, and reach its peers and no others.
	Apply(ctx context.Context, want Network) error
	// Remove takes it away; its ports have been removed before. One that is not there is no error.
	Remove(ctx context.Context, id string) error
	// List names, in no order, every identifier that Remove has something to do for.
	List(ctx context.Context) ([]string, error)
}

// Ports creates the devices of ports and plugs them into their networks.
type Ports interface {
	// Apply creates the port's device, guards it and plugs it in. The port's network has been applied before.
	Apply(ctx context.Context, want Port) error
	// Remove unplugs the port and deletes its device. One that is not there is no error.
	Remove(ctx context.Context, id string) error
	// List names, in no order, every identifier that Remove has something to do for.
	List(ctx context.Context) ([]string, error)
}

// Filters guards ports: security groups, and no traffic under a false address.
type Filters interface {
	// Apply guards the port as wanted, in place of what guarded it before.
	Apply(ctx context.Context, want Filter) error
	// Remove lets everything pass again. A port that is not guarded is no error.
	Remove(ctx context.Context, portID string) error
	// List names, in no order, every identifier that Remove has something to do for.
	List(ctx context.Context) ([]string, error)
}

// Routers runs routers.
type Routers interface {
	// Apply makes the router exist as wanted, its legs plugged in.
	Apply(ctx context.Context, want Router) error
	// Remove takes it away, its legs unplugged. One that is not there is no error.
	Remove(ctx context.Context, id string) error
	// List names, in no order, every identifier that Remove has something to do for.
	List(ctx context.Context) ([]string, error)
}

// DHCPServers serves DHCP, one server per network.
type DHCPServers interface {
	// Apply makes the network's server exist and serve as wanted, its port plugged in.
	Apply(ctx context.Context, want DHCPServer) error
	// Remove ends it, its port unplugged. One that is not there is no error.
	Remove(ctx context.Context, networkID string) error
	// List names, in no order, every identifier that Remove has something to do for.
	List(ctx context.Context) ([]string, error)
}

// Network is a layer 2 broadcast domain as one host needs to know it. Drivers refuse one that has neither Segment nor
// Physical, and a Physical that the host does not have.
type Network struct {
	ID string
	// Segment tells networks apart between hosts: the VXLAN identifier or GRE key. Zero where Physical is set.
	Segment uint32
	// Physical names the physical network that this one is, for provider and external networks ("public").
	// Such a network is the host's bridge of that name (see the fabric's options); nothing is tunnelled.
	Physical string
	// MTU is the largest IP packet in bytes that ports of the network may send.
	MTU int
	// Peers are the tunnel addresses of the other hosts that have ports in the network.
	Peers []netip.Addr
}

// Port is a place in a network, with a device on this host at its end. Drivers refuse one whose network is not there, whose
// MAC is none, or whose device cannot have the name.
type Port struct {
	ID        string
	NetworkID string
	// MAC is in the colon form, "fa:16:3e:…".
	MAC string
	MTU int
	// Endpoint is where the port's device appears.
	Endpoint Endpoint
	// Security guards the port; nil lets everything pass (the ports of routers, DHCP servers and balancers).
	Security *Security
}

// Endpoint is what stands at a port's end: a tap device for a virtual machine (Namespace empty),
// or one end of a veth pair inside a namespace.
type Endpoint struct {
	// Namespace is the name of an existing network namespace ("qrouter-…"), or empty for a tap device.
	Namespace string
	// Device is the interface's name, at most 15 bytes: see [TapName], [RouterPortName], [GatewayPortName].
	Device string
	// Owner is the numeric user that may open the tap device.
	Owner int
}

// Security is what a guarded port may send and receive.
type Security struct {
	// Allowed are the addresses that the port may send from, with its own MAC or those of the pairs.
	// ARP, IPv4 and IPv6 from anything else is dropped, as are DHCP and router advertisements from the port.
	Allowed []AddressPair
	// Rules say what may pass. Replies to what passed may pass too (stateful). What no rule allows is dropped.
	Rules []Rule
}

// AddressPair is an address with the MAC that it may be used with.
type AddressPair struct {
	MAC     string
	Address netip.Prefix
}

// Direction is seen from the port: ingress is towards it.
type Direction string

// The two directions.
const (
	Ingress Direction = "ingress"
	Egress  Direction = "egress"
)

// Rule lets traffic pass.
type Rule struct {
	Direction Direction
	// IPv6 is the rule's ether type: false for IPv4.
	IPv6 bool
	// Protocol is an IP protocol number; zero is any.
	Protocol uint8
	// PortMin and PortMax bound the destination port for TCP, UDP, SCTP (both zero: any).
	PortMin, PortMax uint16
	// ICMPType and ICMPCode restrict ICMP and ICMPv6 rules; nil is any.
	ICMPType, ICMPCode *uint8
	// Remotes are the other side's addresses (a remote prefix, or the members of a remote group).
	// Nil is anybody; empty but not nil is nobody.
	Remotes []netip.Prefix
}

// Filter is a port's guard as a [Filters] driver sees it: the fabric says which device on which bridge.
type Filter struct {
	PortID string
	// Device is the port's interface in the host's namespace, a member of Bridge, a Linux bridge.
	Device string
	Bridge string
	// MAC is the port's own.
	MAC      string
	Security Security
}

// Router connects networks, and through its gateway the outside.
type Router struct {
	ID         string
	Interfaces []RouterInterface
	// Gateway leads to an external network; nil for none.
	Gateway     *Gateway
	FloatingIPs []FloatingIP
	Routes      []Route
	// MetadataPort is where, inside the router's namespace, connections to 169.254.169.254:80 are redirected; zero: nowhere.
	MetadataPort uint16
}

// RouterInterface is a router's leg in a network.
type RouterInterface struct {
	PortID    string
	NetworkID string
	MAC       string
	MTU       int
	// Addresses are the leg's own addresses with their subnets' prefix lengths.
	Addresses []netip.Prefix
}

// Gateway is a router's leg in an external network.
type Gateway struct {
	RouterInterface
	// NextHops are default gateways, at most one per address family.
	NextHops []netip.Addr
	// SNAT hides the inner networks behind the gateway's first IPv4 address.
	SNAT bool
}

// FloatingIP maps an external address one to one to an inner one.
type FloatingIP struct {
	ID       string
	External netip.Addr
	Internal netip.Addr
}

// Route is a static route.
type Route struct {
	Destination netip.Prefix
	NextHop     netip.Addr
}

// DHCPServer serves one network's addresses to its ports.
type DHCPServer struct {
	NetworkID string
	// PortID, MAC and Addresses are the server's own place in the network.
	PortID    string
	MAC       string
	MTU       int
	Addresses []netip.Prefix
	Subnets   []DHCPSubnet
	Leases    []Lease
	// MetadataAddress is served on the server's port too and given to clients as a host route; invalid for none.
	MetadataAddress netip.Addr
}

// DHCPSubnet is what a server tells the clients of one subnet.
type DHCPSubnet struct {
	Prefix netip.Prefix
	// Gateway is the default router; invalid for none.
	Gateway netip.Addr
	DNS     []netip.Addr
	Routes  []Route
	// LeaseSeconds is how long a client may keep an address without asking again.
	LeaseSeconds uint32
	Domain       string
}

// Lease is an address that belongs to a MAC.
type Lease struct {
	MAC      string
	Address  netip.Addr
	Hostname string
}
