// Package network is layer 2 and 3 for a cloud's servers: networks, subnets, ports, routers, floating IPs, security
// groups, quotas, and the agents that make hosts match them, with the meaning that OpenStack's Networking API v2.0
// gives them.
//
// A [Service] records what is wanted; it never touches a host. An [Agent], one per host, follows the database and calls
// the host's drivers (see package network/driver), then reports what it observed:
//
//	service, err := network.New(ctx, db, nil)
//	agent := network.NewAgent(service, "one", network.Drivers{
//		Fabric: fabric, Routers: memnet.NewRouters(fabric.Ports(), nil), DHCP: memnet.NewDHCPServers(fabric.Ports(), nil),
//	}, nil)
//	go func() { done <- agent.Run(ctx) }()
//	private, err := service.CreateNetwork(ctx, demo, network.NetworkSpec{Name: new("private")})
//	port, err = service.WaitPort(ctx, port.ID, network.StatusActive)
//
// A whole program: examples/controlplane, a control plane of one's own with this package and lbaas alone.
//
// # What it needs
//
// A *sql.DB of SQLite or PostgreSQL, opened as [New] says, whose tables with names in "network_" it makes and migrates.
// Of the host it needs nothing itself; what drivers need, the Probe of each says.
//
// # What it does not do
//
// It asks nobody who the caller is: a [Scope] is believed. It keeps IPv6 subnets and their modes, but sends no router
// advertisements and has no DHCPv6. There are no trunks, no QoS, no VPN, and no VLAN or VXLAN numbers that projects
// choose. Routers are on one host each, and move when it dies.
//
// # Errors
//
// Errors are of the kinds below, found with errors.Is; a refusal is an [*Error], which also bears the name that
// OpenStack's Networking API has for it. What goes wrong on a host is no error of a call: the port, router or network
// stays DOWN or becomes ERROR.
//
// # Concurrency
//
// Services and agents are safe for concurrent use. Several of them, in one process or many, may share one database:
// whatever must be unique (an address in a subnet, a MAC in a network, a segment) is unique by a constraint there.
//
// # When the process ends
//
// Frames, routes and leases go on as the drivers say. What was wanted is in the database, and an agent that starts
// again adopts what runs and takes away what should not be there.
package network

import (
	"fmt"
	"net/netip"
	"time"

	"github.com/kintoun/kintoun/internal/fault"
)

// The kinds of error.
var (
	ErrNotFound    = fault.ErrNotFound
	ErrConflict    = fault.ErrConflict
	ErrInvalid     = fault.ErrInvalid
	ErrQuota       = fault.ErrQuota
	ErrForbidden   = fault.ErrForbidden
	ErrUnavailable = fault.ErrUnavailable
	ErrInUse       = fault.ErrInUse
	ErrExhausted   = fault.ErrExhausted
)

// Error is a refusal.
type Error struct {
	// Kind is one of the kinds above.
	Kind error
	// Name is what OpenStack calls it: "IpAddressGenerationFailure".
	Name string
	Text string
}

func (e *Error) Error() string { return e.Text }
func (e *Error) Unwrap() error { return e.Kind }

func refuse(kind error, name, format string, args ...any) error {
	return &Error{Kind: kind, Name: name, Text: fmt.Sprintf(format, args...)}
}

func invalid(format string, args ...any) error {
	return refuse(ErrInvalid, "InvalidInput", "Invalid input for operation: "+format+".", args...)
}

func badRequest(resource, format string, args ...any) error {
	return refuse(ErrInvalid, "BadRequest", "Bad "+resource+" request: "+format+".", args...)
}

func forbidden(rule string) error {
	return refuse(ErrForbidden, "PolicyNotAuthorized", "rule:%s is disallowed by policy", rule)
}

// Scope is in whose name a call is made. Other projects' things do not exist for it, unless they are shared.
type Scope struct {
	ProjectID string
	// Admin sees and may do everything.
	Admin bool
}

// System is the scope of the cloud's own parts.
var System = Scope{Admin: true}

// Statuses of networks, ports, routers and floating IPs.
const (
	StatusActive = "ACTIVE"
	StatusDown   = "DOWN"
	StatusBuild  = "BUILD"
	StatusError  = "ERROR"
)

// Device owners that this package gives to its own ports.
const (
	OwnerDHCP            = "network:dhcp"
	OwnerRouterInterface = "network:router_interface"
	OwnerRouterGateway   = "network:router_gateway"
	OwnerFloatingIP      = "network:floatingip"
	ownerComputePrefix   = "compute:"
	reservedDHCPDevice   = "reserved_dhcp_port"
)

// Meta is what all resources have.
type Meta struct {
	ID          string
	ProjectID   string
	Name        string
	Description string
	Tags        []string
	CreatedAt   time.Time
	UpdatedAt   time.Time
	// Revision counts changes, from 1.
	Revision int64
}

// Network is a layer 2 broadcast domain.
type Network struct {
	Meta
	AdminStateUp bool
	// Shared says that every project may use it.
	Shared bool
	// SharedWith are projects that may use it besides its own.
	SharedWith []string
	// External says that routers may have gateways in it, and floating IPs come from it.
	External            bool
	Default             bool
	PortSecurityEnabled bool
	MTU                 int
	// Type is "gre", "vxlan" or "flat"; Physical names the physical network of a flat one; Segment tells the others apart.
	Type      string
	Physical  string
	Segment   uint32
	Status    string
	ZoneHints []string
	DNSDomain string
}

// Subnet is a range of addresses in a network.
type Subnet struct {
	Meta
	NetworkID string
	CIDR      netip.Prefix
	// Gateway is the default router's address; invalid for none.
	Gateway netip.Addr
	// Pools are where addresses are taken from when none is asked for.
	Pools      []Pool
	DNS        []netip.Addr
	HostRoutes []Route
	EnableDHCP bool
	// RAMode and AddressMode are "slaac", "dhcpv6-stateful", "dhcpv6-stateless" or empty, for IPv6.
	RAMode, AddressMode string
	// ServiceTypes are the device owners that addresses are given to; empty is all.
	ServiceTypes []string
	SubnetPoolID string
}

// Pool is an inclusive range of addresses.
type Pool struct {
	Start, End netip.Addr
}

// Route is a static route.
type Route struct {
	Destination netip.Prefix
	NextHop     netip.Addr
}

// Port is a place in a network.
type Port struct {
	Meta
	NetworkID           string
	MAC                 string
	FixedIPs            []FixedIP
	DeviceID            string
	DeviceOwner         string
	AdminStateUp        bool
	Status              string
	SecurityGroups      []string
	PortSecurityEnabled bool
	AllowedAddressPairs []AddressPair
	// HostID is the host that the port is on; empty while it is on none.
	HostID      string
	VIFType     string
	VNICType    string
	Profile     map[string]any
	DNSName     string
	DHCPOptions []DHCPOption
}

// FixedIP is an address in a subnet.
type FixedIP struct {
	SubnetID string
	Address  netip.Addr
}

// AddressPair is a further address that a port may use; an empty MAC is the port's own.
type AddressPair struct {
	Address netip.Prefix
	MAC     string
}

// DHCPOption is a further option for a port's DHCP answers.
type DHCPOption struct {
	Name, Value string
	Version     int
}

// Router connects networks.
type Router struct {
	Meta
	AdminStateUp bool
	Status       string
	Gateway      *Gateway
	Routes       []Route
	ZoneHints    []string
}

// Gateway is a router's way to an external network.
type Gateway struct {
	NetworkID string
	PortID    string
	// FixedIPs are the gateway port's.
	FixedIPs []FixedIP
	SNAT     bool
}

// FloatingIP is an external address that can be given to a port.
type FloatingIP struct {
	Meta
	NetworkID string
	Address   netip.Addr
	// ExternalPortID is the port that holds the address in the external network.
	ExternalPortID string
	// PortID, FixedAddress and RouterID are set while the address is associated.
	PortID             string
	FixedAddress       netip.Addr
	RouterID           string
	Status             string
	DNSName, DNSDomain string
}

// SecurityGroup is a set of rules for ports.
type SecurityGroup struct {
	Meta
	Stateful bool
	// Rules are filled in on reading.
	Rules []SecurityGroupRule `json:"-"`
}

// SecurityGroupRule lets traffic pass.
type SecurityGroupRule struct {
	Meta
	GroupID string
	// Direction is "ingress" or "egress".
	Direction string
	// EtherType is "IPv4" or "IPv6".
	EtherType string
	// Protocol is a name or number, as it was given; empty is any.
	Protocol string
	// PortMin and PortMax are ports, or an ICMP type and code.
	PortMin, PortMax *int
	RemoteGroupID    string
	RemotePrefix     netip.Prefix
}
