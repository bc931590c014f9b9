//go:build linux

package dhcp

import (
	"net"
	"net/netip"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/insomniacslk/dhcp/iana"
)

// answer is a message to send, and how.
type answer struct {
	message *dhcpv4.DHCPv4
	// from is the server's address that it comes from.
	from netip.Addr
	// to is the client's address, or invalid to broadcast.
	to netip.Addr
	// unknown is set where the client does not answer ARP for its address yet.
	unknown bool
}

// answer says what to reply to a packet (RFC 2131 section 4.3); false is nothing.
//
// Packets from relays are not answered: a network's clients are all on its link. Nor are DECLINE and RELEASE: an
// address is its port's for as long as the port has it.
func (c *config) answer(packet []byte) (answer, bool) {
	request, err := dhcpv4.FromBytes(packet)
	if err != nil || request.OpCode != dhcpv4.OpcodeBootRequest || request.HWType != iana.HWTypeEthernet ||
		len(request.ClientHWAddr) != 6 || !request.GatewayIPAddr.IsUnspecified() {
		return answer{}, false
	}
	leases := c.leases[mac(request.ClientHWAddr)]
	if len(leases) == 0 {
		return answer{}, false
	}
	switch request.MessageType() {
	case dhcpv4.MessageTypeDiscover:
		return offer(request, leases)
	case dhcpv4.MessageTypeRequest:
		return grant(request, leases)
	case dhcpv4.MessageTypeInform:
		return inform(request, leases)
	}
	return answer{}, false
}

// find is the lease of an address; where the client names none, or one that is not its, its first.
func find(leases []lease, ip net.IP) (lease, bool) {
	address, _ := netip.AddrFromSlice(ip)
	for _, l := range leases {
		if l.address == address.Unmap() {
			return l, true
		}
	}
	return leases[0], false
}

func offer(request *dhcpv4.DHCPv4, leases []lease) (answer, bool) {
	l, _ := find(leases, request.RequestedIPAddress())
	return l.answer(request, dhcpv4.MessageTypeOffer)
}

// grant answers the four kinds of REQUEST: selecting, rebooting, renewing, rebinding.
func grant(request *dhcpv4.DHCPv4, leases []lease) (answer, bool) {
	address := request.RequestedIPAddress()
	if set(request.ClientIPAddr) {
		address = request.ClientIPAddr
	}
	l, ours := find(leases, address)
	// A client that has selected another server is told nothing.
	if server := request.ServerIdentifier(); set(server) && !serves(leases, server) {
		return answer{}, false
	}
	if !ours {
		return l.refuse(request)
	}
	return l.answer(request, dhcpv4.MessageTypeAck)
}

func serves(leases []lease, server net.IP) bool {
	for _, l := range leases {
		if l.subnet.server.Equal(server) {
			return true
		}
	}
	return false
}

// inform tells a client that has its address by other means the rest.
func inform(request *dhcpv4.DHCPv4, leases []lease) (answer, bool) {
	l, ours := find(leases, request.ClientIPAddr)
	if !ours {
		return answer{}, false
	}
	return l.answer(request, dhcpv4.MessageTypeAck)
}

func set(ip net.IP) bool {
	return len(ip) == 4 && !ip.IsUnspecified() || len(ip) == 16 && !ip.IsUnspecified()
}

func (l lease) answer(request *dhcpv4.DHCPv4, kind dhcpv4.MessageType) (answer, bool) {
	reply, err := dhcpv4.NewReplyFromRequest(request,
		dhcpv4.WithMessageType(kind), dhcpv4.WithOption(dhcpv4.OptServerIdentifier(l.subnet.server)))
	if err != nil {
		return answer{}, false
	}
	for _, option := range l.subnet.options {
		reply.UpdateOption(option)
	}
	if l.hostname != "" {
		reply.UpdateOption(dhcpv4.OptHostName(l.hostname))
	}
	reply.ServerIPAddr = l.subnet.server
	if request.MessageType() != dhcpv4.MessageTypeInform {
		reply.YourIPAddr = l.address.AsSlice()
		for _, option := range l.subnet.timing {
			reply.UpdateOption(option)
		}
	}
	a := answer{message: reply, from: l.server()}
	switch {
	case set(request.ClientIPAddr):
		reply.ClientIPAddr = request.ClientIPAddr
		a.to = l.address
	case !request.IsBroadcast():
		a.to, a.unknown = l.address, true
	}
	return a, true
}

// refuse tells the client to start over. It may believe in an address of elsewhere, so everyone on the link hears it.
func (l lease) refuse(request *dhcpv4.DHCPv4) (answer, bool) {
	reply, err := dhcpv4.NewReplyFromRequest(request, dhcpv4.WithMessageType(dhcpv4.MessageTypeNak),
		dhcpv4.WithOption(dhcpv4.OptServerIdentifier(l.subnet.server)), dhcpv4.WithOption(dhcpv4.OptMessage("this address is not yours")))
	if err != nil {
		return answer{}, false
	}
	return answer{message: reply, from: l.server()}, true
}

func (l lease) server() netip.Addr {
	address, _ := netip.AddrFromSlice(l.subnet.server)
	return address.Unmap()
}
