package lbaas

import (
	"context"
	"net/netip"
)

// Ports is what load balancing needs of networks. An identifier that does not exist, or is another project's, is
// [ErrNotFound].
type Ports interface {
	// Subnet says that the project may use the subnet.
	Subnet(ctx context.Context, scope Scope, subnetID string) error
	// CreateVIPPort reserves an address. One that is taken, or not of the subnet, is refused.
	CreateVIPPort(ctx context.Context, scope Scope, want VIPPort) (Port, error)
	// DeleteVIPPort gives the address back; that it is already gone is no error.
	DeleteVIPPort(ctx context.Context, portID string) error
	// BindVIPPort has the port be on a host, and tells the port as it now is.
	BindVIPPort(ctx context.Context, portID, host string) (Port, error)
}

// VIPPort is a wish for a port.
type VIPPort struct {
	ProjectID string
	SubnetID  string
	// Address is the one wished for; invalid for any of the subnet's.
	Address netip.Addr
	// Name is for operators to know the port by: vip-ID.
	Name string
	// VIPID is what the port is made for.
	VIPID string
}

// Port is a place in a network.
type Port struct {
	ID  string
	MAC string
	// Address has the prefix length of its subnet.
	Address netip.Prefix
	// Gateway is the subnet's; invalid for none.
	Gateway netip.Addr
	// MTU in bytes; zero is whatever the device has.
	MTU int
}
