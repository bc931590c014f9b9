//go:build linux

package nftfilter

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/kintoun/kintoun/network/driver"
	"github.com/mdlayher/netlink"
	vnetns "github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// Messages and attributes of the kernel's connection tracking (linux/netfilter/nfnetlink_conntrack.h).
const (
	conntrackNew    = unix.NFNL_SUBSYS_CTNETLINK << 8
	conntrackGet    = unix.NFNL_SUBSYS_CTNETLINK<<8 | 1
	conntrackDelete = unix.NFNL_SUBSYS_CTNETLINK<<8 | 2

	attrTupleOriginal = 1
	attrMark          = 8
	attrZone          = 18
	attrMarkMask      = 21

	attrTupleIP       = 1
	attrTupleProtocol = 2

	attrIPv4Source, attrIPv4Destination = 1, 2
	attrIPv6Source, attrIPv6Destination = 3, 4

	attrProtocolNumber             = 1
	attrPortDestination            = 3
	attrICMPType, attrICMPCode     = 5, 6
	attrICMPv6Type, attrICMPv6Code = 8, 9
	netfilterHeaderSize            = 4
)

// A flow is a connection as its first packet was.
type flow struct {
	family uint8
	// tuple is the original direction as the kernel wrote it.
	tuple               []byte
	mark                uint32
	zone                uint16
	source, destination netip.Addr
	protocol            uint8
	port                uint16
	icmpType, icmpCode  uint8
}

// conntrack dials the connection tracking of the namespace.
func (f *Filters) conntrack() (*netlink.Conn, error) {
	config := &netlink.Config{}
	if f.namespace != "" {
		ns, err := vnetns.GetFromName(f.namespace)
		if err != nil {
			return nil, fmt.Errorf("network namespace %s: %w", f.namespace, err)
		}
		defer func() { _ = ns.Close() }()
		config.NetNS = int(ns)
	}
	return netlink.Dial(unix.NETLINK_NETFILTER, config)
}

// judgeConnections marks the port's connections that its rules do not allow, and unmarks those that they do.
func (f *Filters) judgeConnections(zone uint16, want driver.Filter) error {
	return f.eachFlow(zone, func(conn *netlink.Conn, fl flow) error {
		allowed, concerned := judge(fl, want)
		if !concerned || allowed == (fl.mark&markCut == 0) {
			return nil
		}
		mark := uint32(markCut)
		if allowed {
			mark = 0
		}
		return fl.change(conn, conntrackNew, netlink.Replace, mark)
	})
}

// releaseZones forgets the zones of bridges on which no port is guarded any more, and the connections in them.
func (f *Filters) releaseZones(k *kernel) error {
	used, err := k.guardedBridges()
	if err != nil {
		return err
	}
	zones, err := k.usedZones()
	if err != nil {
		return err
	}
	for bridge, zone := range zones {
		if used[bridge] {
			continue
		}
		if err := f.eachFlow(zone, func(conn *netlink.Conn, fl flow) error { return fl.change(conn, conntrackDelete, 0, 0) }); err != nil {
			return err
		}
		if err := k.dropZone(bridge, zone); err != nil {
			return err
		}
	}
	return k.conn.Flush()
}

// eachFlow calls fn with every connection of a zone.
func (f *Filters) eachFlow(zone uint16, fn func(*netlink.Conn, flow) error) error {
	conn, err := f.conntrack()
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	if err := enlarge(conn); err != nil {
		return err
	}
	// Newer kernels send only that zone; older ones all of them.
	attributes, err := netlink.MarshalAttributes([]netlink.Attribute{{Type: attrZone, Data: binary.BigEndian.AppendUint16(nil, zone)}})
	if err != nil {
		return err
	}
	messages, err := conn.Execute(netlink.Message{
		Header: netlink.Header{Type: conntrackGet, Flags: netlink.Request | netlink.Dump},
		Data:   append(make([]byte, netfilterHeaderSize), attributes...),
	})
	if err != nil {
		return fmt.Errorf("list connections: %w", err)
	}
	for _, message := range messages {
		fl, err := parseFlow(message.Data)
		if err != nil {
			return fmt.Errorf("list connections: %w", err)
		}
		if fl.zone != zone {
			continue
		}
		if err := fn(conn, fl); err != nil && !errors.Is(err, unix.ENOENT) {
			return fmt.Errorf("connection %s → %s: %w", fl.source, fl.destination, err)
		}
	}
	return nil
}

// change sends a message about the connection.
func (fl flow) change(conn *netlink.Conn, kind netlink.HeaderType, flags netlink.HeaderFlags, mark uint32) error {
	attributes := []netlink.Attribute{
		{Type: attrTupleOriginal | netlink.Nested, Data: fl.tuple},
		{Type: attrZone, Data: binary.BigEndian.AppendUint16(nil, fl.zone)},
	}
	if kind == conntrackNew {
		attributes = append(attributes,
			netlink.Attribute{Type: attrMark, Data: binary.BigEndian.AppendUint32(nil, mark)},
			netlink.Attribute{Type: attrMarkMask, Data: binary.BigEndian.AppendUint32(nil, markCut)})
	}
	data, err := netlink.MarshalAttributes(attributes)
	if err != nil {
		return err
	}
	_, err = conn.Execute(netlink.Message{
		Header: netlink.Header{Type: kind, Flags: netlink.Request | netlink.Acknowledge | flags},
		Data:   append([]byte{fl.family, 0, 0, 0}, data...),
	})
	return err
}

// parseFlow reads a conntrack message: a netfilter header and attributes.
func parseFlow(data []byte) (flow, error) {
	if len(data) < netfilterHeaderSize {
		return flow{}, fmt.Errorf("a message of %d bytes", len(data))
	}
	fl := flow{family: data[0]}
	ad, err := netlink.NewAttributeDecoder(data[netfilterHeaderSize:])
	if err != nil {
		return flow{}, err
	}
	ad.ByteOrder = binary.BigEndian
	for ad.Next() {
		switch ad.Type() {
		case attrTupleOriginal:
			fl.tuple = ad.Bytes()
			ad.Nested(fl.parseTuple)
		case attrMark:
			fl.mark = ad.Uint32()
		case attrZone:
			fl.zone = ad.Uint16()
		}
	}
	return fl, ad.Err()
}

func (fl *flow) parseTuple(ad *netlink.AttributeDecoder) error {
	for ad.Next() {
		switch ad.Type() {
		case attrTupleIP:
			ad.Nested(fl.parseAddresses)
		case attrTupleProtocol:
			ad.Nested(fl.parseProtocol)
		}
	}
	return nil
}

func (fl *flow) parseAddresses(ad *netlink.AttributeDecoder) error {
	for ad.Next() {
		address, _ := netip.AddrFromSlice(ad.Bytes())
		switch ad.Type() {
		case attrIPv4Source, attrIPv6Source:
			fl.source = address
		case attrIPv4Destination, attrIPv6Destination:
			fl.destination = address
		}
	}
	return nil
}

func (fl *flow) parseProtocol(ad *netlink.AttributeDecoder) error {
	for ad.Next() {
		switch ad.Type() {
		case attrProtocolNumber:
			fl.protocol = ad.Uint8()
		case attrPortDestination:
			fl.port = ad.Uint16()
		case attrICMPType, attrICMPv6Type:
			fl.icmpType = ad.Uint8()
		case attrICMPCode, attrICMPv6Code:
			fl.icmpCode = ad.Uint8()
		}
	}
	return nil
}

// judge says whether the port's rules allow the connection, and whether it is one of the port's at all.
func judge(fl flow, want driver.Filter) (allowed, concerned bool) {
	allowed = true
	if own(want, fl.source) {
		concerned = true
		allowed = allows(want.Security.Rules, driver.Egress, fl.destination, fl)
	}
	if own(want, fl.destination) {
		concerned = true
		allowed = allowed && allows(want.Security.Rules, driver.Ingress, fl.source, fl)
	}
	return allowed, concerned
}

// own says whether the address is one of the port's, its link-local one among them.
func own(want driver.Filter, address netip.Addr) bool {
	for _, pair := range want.Security.Allowed {
		// A pair as wide as a subnet lets the port forward for others: those connections are not its own.
		if pair.Address.IsSingleIP() && pair.Address.Addr() == address {
			return true
		}
	}
	mac, err := net.ParseMAC(want.MAC)
	return err == nil && len(mac) == 6 && linkLocal(mac).Addr() == address
}

func allows(rules []driver.Rule, direction driver.Direction, remote netip.Addr, fl flow) bool {
	for _, r := range rules {
		proto := ruleProtocol(r)
		switch {
		case r.Direction != direction, r.IPv6 != remote.Is6():
		case proto != 0 && proto != fl.protocol:
		case (r.PortMin != 0 || r.PortMax != 0) && (fl.port < r.PortMin || fl.port > r.PortMax):
		case r.ICMPType != nil && *r.ICMPType != fl.icmpType:
		case r.ICMPCode != nil && *r.ICMPCode != fl.icmpCode:
		case r.Remotes != nil && !contains(r.Remotes, remote):
		default:
			return true
		}
	}
	return false
}

func contains(prefixes []netip.Prefix, address netip.Addr) bool {
	for _, p := range prefixes {
		if p.Contains(address) {
			return true
		}
	}
	return false
}
