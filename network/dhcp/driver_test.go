//go:build linux

package dhcp_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/insomniacslk/dhcp/dhcpv4/nclient4"
	"github.com/kintoun/kintoun/internal/lab"
	"github.com/kintoun/kintoun/internal/lab/labtest"
	"github.com/kintoun/kintoun/internal/netns"
	"github.com/kintoun/kintoun/network/dhcp"
	"github.com/kintoun/kintoun/network/driver"
	"github.com/kintoun/kintoun/network/drivertest"
	"github.com/kintoun/kintoun/network/internal/labnet"
	"github.com/stretchr/testify/require"
	"github.com/vishvananda/netlink"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	os.Exit(lab.Main(func() int {
		code := m.Run()
		if err := goleak.Find(); err != nil && code == 0 {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		return code
	}))
}

func host(t testing.TB) drivertest.DHCPHost {
	labtest.Require(t)
	t.Cleanup(func() { require.NoError(t, labnet.Clear()) })
	fabric := labnet.New()
	running := dhcp.New(fabric, nil)
	t.Cleanup(func() { require.NoError(t, running.Close()) })
	return drivertest.DHCPHost{
		Servers: running,
		Restarted: func(t testing.TB) driver.DHCPServers {
			require.NoError(t, running.Close())
			running = dhcp.New(fabric, nil)
			return running
		},
		Interrupted: func(testing.TB) driver.DHCPServers { return dhcp.New(labnet.Interrupted(0), nil) },
		Client: func(t testing.TB, name, networkID, mac string) drivertest.DHCPClient {
			s, err := labnet.JoinAs(t.Context(), fabric, name, networkID, mac, netip.Prefix{}, netip.Addr{})
			require.NoError(t, err)
			return client{s}
		},
		Plugged: func(t testing.TB) []string {
			ids, err := fabric.List(t.Context())
			require.NoError(t, err)
			var servers []string
			for _, id := range ids {
				if !strings.HasPrefix(id, "station-") {
					servers = append(servers, id)
				}
			}
			return servers
		},
	}
}

func TestConformance(t *testing.T) {
	labtest.Require(t)
	drivertest.TestDHCPServers(t, host)
}

func TestTheServerIsReachedByItsAddressesAndTheMetadatas(t *testing.T) {
	h := host(t)
	require.NoError(t, h.Servers.Apply(t.Context(), driver.DHCPServer{
		NetworkID: "net", PortID: "port", MAC: "fa:16:3e:00:00:01", MTU: 1450, MetadataAddress: netip.MustParseAddr("169.254.169.254"),
		Addresses: []netip.Prefix{netip.MustParsePrefix("172.24.17.1/24")},
	}))
	s, err := labnet.Join(t.Context(), labnet.New(), "a", "net", netip.MustParsePrefix("172.24.17.2/24"), netip.MustParseAddr("172.24.17.1"))
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for _, address := range []string{"172.24.17.1", "169.254.169.254"} {
		require.NoError(t, s.Ping(ctx, netip.MustParseAddr(address)))
	}
}

// A lease from a server beside many others, and what each of them costs in memory.
func BenchmarkLease(b *testing.B) {
	h := host(b)
	const networks = 50
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	for n := range networks {
		want := driver.DHCPServer{
			NetworkID: fmt.Sprintf("net-%d", n), PortID: fmt.Sprintf("%03d-port", n), MAC: labnet.MAC(fmt.Sprint(n)), MTU: 1450,
			Addresses: []netip.Prefix{netip.MustParsePrefix("172.24.17.1/24")},
			Subnets:   []driver.DHCPSubnet{{Prefix: netip.MustParsePrefix("172.24.17.0/24"), Gateway: netip.MustParseAddr("172.24.17.254")}},
			Leases:    []driver.Lease{{MAC: "fa:16:3e:00:00:0a", Address: netip.MustParseAddr("172.24.17.2")}},
		}
		require.NoError(b, h.Servers.Apply(b.Context(), want))
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	s, err := labnet.JoinAs(b.Context(), labnet.New(), "a", "net-0", "fa:16:3e:00:00:0a", netip.Prefix{}, netip.Addr{})
	require.NoError(b, err)
	conn, err := client{s}.open(netip.Addr{})
	require.NoError(b, err)
	hardware, err := net.ParseMAC(s.MAC)
	require.NoError(b, err)
	speaker, err := nclient4.NewWithConn(conn, hardware, nclient4.WithTimeout(500*time.Millisecond), nclient4.WithRetry(100))
	require.NoError(b, err)
	defer func() { require.NoError(b, speaker.Close()) }()
	for b.Loop() {
		_, err := speaker.Request(b.Context())
		require.NoError(b, err)
	}
	b.ReportMetric(float64(after.HeapInuse+after.StackInuse-before.HeapInuse-before.StackInuse)/networks, "B/network")
}

// client speaks DHCP from a station with insomniacslk/dhcp's client: as raw frames while it has no address,
// through its kernel when it has one.
type client struct{ station *labnet.Station }

var types = map[string]dhcpv4.MessageType{
	"DISCOVER": dhcpv4.MessageTypeDiscover, "REQUEST": dhcpv4.MessageTypeRequest, "INFORM": dhcpv4.MessageTypeInform,
	"RELEASE": dhcpv4.MessageTypeRelease, "DECLINE": dhcpv4.MessageTypeDecline,
}

func (c client) Send(ctx context.Context, m drivertest.DHCPMessage) (drivertest.DHCPAnswer, error) {
	hardware, err := net.ParseMAC(c.station.MAC)
	if err != nil {
		return drivertest.DHCPAnswer{}, err
	}
	packet, err := dhcpv4.New(dhcpv4.WithHwAddr(hardware), dhcpv4.WithMessageType(types[m.Type]), dhcpv4.WithBroadcast(m.Broadcast))
	if err != nil {
		return drivertest.DHCPAnswer{}, err
	}
	if m.Requested.IsValid() {
		packet.UpdateOption(dhcpv4.OptRequestedIPAddress(m.Requested.AsSlice()))
	}
	if m.Server.IsValid() {
		packet.UpdateOption(dhcpv4.OptServerIdentifier(m.Server.AsSlice()))
	}
	if m.Relay.IsValid() {
		packet.GatewayIPAddr = m.Relay.AsSlice()
	}
	destination := &net.UDPAddr{IP: net.IPv4bcast, Port: dhcpv4.ServerPort}
	if m.Client.IsValid() {
		packet.ClientIPAddr = m.Client.AsSlice()
	}
	conn, err := c.open(m.Client)
	if err != nil {
		return drivertest.DHCPAnswer{}, err
	}
	// A bridge may lose a new station's first packets; clients repeat themselves.
	speaker, err := nclient4.NewWithConn(conn, hardware, nclient4.WithTimeout(500*time.Millisecond), nclient4.WithRetry(100))
	if err != nil {
		return drivertest.DHCPAnswer{}, errors.Join(err, conn.Close())
	}
	defer func() { _ = speaker.Close() }()
	reply, err := speaker.SendAndRead(ctx, destination, packet, nil)
	if err != nil {
		return drivertest.DHCPAnswer{}, fmt.Errorf("%s: %w", m.Type, err)
	}
	return read(reply), nil
}

// open returns a raw socket, or an ordinary one where the client has an address.
func (c client) open(address netip.Addr) (conn net.PacketConn, err error) {
	err = netns.Do(c.station.Namespace, func() error {
		if !address.IsValid() {
			conn, err = nclient4.NewRawUDPConn("eth0", dhcpv4.ClientPort)
			return err
		}
		link, err := netlink.LinkByName("eth0")
		if err != nil {
			return err
		}
		ip := &net.IPNet{IP: address.AsSlice(), Mask: net.CIDRMask(24, 32)}
		if err := netlink.AddrReplace(link, &netlink.Addr{IPNet: ip}); err != nil {
			return err
		}
		everywhere := &net.IPNet{IP: net.IPv4zero, Mask: net.CIDRMask(0, 32)}
		if err := netlink.RouteReplace(&netlink.Route{LinkIndex: link.Attrs().Index, Dst: everywhere}); err != nil {
			return err
		}
		conn, err = net.ListenPacket("udp4", "0.0.0.0:68")
		return err
	})
	return conn, err
}

func read(reply *dhcpv4.DHCPv4) drivertest.DHCPAnswer {
	a := drivertest.DHCPAnswer{
		Type: reply.MessageType().String(), Domain: reply.DomainName(), Hostname: reply.HostName(),
		LeaseSeconds: uint32(reply.IPAddressLeaseTime(0) / time.Second),
		Routers:      all(reply.Router()), DNS: all(reply.DNS()),
		Server: one(reply.ServerIdentifier()), Address: one(reply.YourIPAddr),
	}
	a.PrefixLength, _ = reply.SubnetMask().Size()
	if mtu := reply.Options.Get(dhcpv4.OptionInterfaceMTU); len(mtu) == 2 {
		a.MTU = int(mtu[0])<<8 | int(mtu[1])
	}
	for _, r := range reply.ClasslessStaticRoute() {
		ones, _ := r.Dest.Mask.Size()
		a.Routes = append(a.Routes, driver.Route{Destination: netip.PrefixFrom(one(r.Dest.IP), ones), NextHop: one(r.Router)})
	}
	return a
}

func one(ip net.IP) netip.Addr {
	address, _ := netip.AddrFromSlice(ip)
	return address.Unmap()
}

func all(ips []net.IP) []netip.Addr {
	var addresses []netip.Addr
	for _, ip := range ips {
		addresses = append(addresses, one(ip))
	}
	return addresses
}
