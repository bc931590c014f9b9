//go:build linux

package dhcp

import (
	"net"
	"net/netip"
	"testing"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/kintoun/kintoun/network/driver"
	"github.com/stretchr/testify/require"
)

var clientMAC = net.HardwareAddr{0xfa, 0x16, 0x3e, 0, 0, 0x0a}

func testConfig(t testing.TB) *config {
	c, err := newConfig(driver.DHCPServer{
		NetworkID: "net", PortID: "port", MAC: "fa:16:3e:00:00:01", MTU: 1450,
		Addresses: []netip.Prefix{netip.MustParsePrefix("172.24.17.1/24"), netip.MustParsePrefix("fd00::1/64")},
		Subnets: []driver.DHCPSubnet{
			{Prefix: netip.MustParsePrefix("fd00::/64")},
			{Prefix: netip.MustParsePrefix("172.24.17.0/24"), LeaseSeconds: 0xffffffff},
		},
		Leases: []driver.Lease{
			{MAC: clientMAC.String(), Address: netip.MustParseAddr("fd00::2")},
			{MAC: clientMAC.String(), Address: netip.MustParseAddr("172.24.17.2")},
		},
	})
	require.NoError(t, err)
	return c
}

func message(t testing.TB, kind dhcpv4.MessageType, modifiers ...dhcpv4.Modifier) []byte {
	m, err := dhcpv4.New(append([]dhcpv4.Modifier{dhcpv4.WithHwAddr(clientMAC), dhcpv4.WithMessageType(kind)}, modifiers...)...)
	require.NoError(t, err)
	return m.ToBytes()
}

// Where an answer goes: RFC 2131 section 4.1.
func TestWhereAnswersGo(t *testing.T) {
	c := testConfig(t)
	client := netip.MustParseAddr("172.24.17.2")
	for name, test := range map[string]struct {
		packet  []byte
		to      netip.Addr
		unknown bool
	}{
		"to the offered address": {message(t, dhcpv4.MessageTypeDiscover), client, true},
		"to all, for a client that needs it": {
			message(t, dhcpv4.MessageTypeDiscover, dhcpv4.WithBroadcast(true)), netip.Addr{}, false,
		},
		"to the address that is renewed": {
			message(t, dhcpv4.MessageTypeRequest, dhcpv4.WithClientIP(client.AsSlice()), dhcpv4.WithBroadcast(true)), client, false,
		},
		"a refusal to all": {
			message(t, dhcpv4.MessageTypeRequest, dhcpv4.WithOption(dhcpv4.OptRequestedIPAddress(net.IPv4(10, 0, 0, 1)))), netip.Addr{}, false,
		},
	} {
		t.Run(name, func(t *testing.T) {
			a, ok := c.answer(test.packet)
			require.True(t, ok)
			require.Equal(t, test.to, a.to)
			require.Equal(t, test.unknown, a.unknown)
			require.Equal(t, "172.24.17.1", a.from.String())
		})
	}
}

func TestALeaseForEver(t *testing.T) {
	a, ok := testConfig(t).answer(message(t, dhcpv4.MessageTypeDiscover))
	require.True(t, ok)
	require.Equal(t, []byte{0xff, 0xff, 0xff, 0xff}, a.message.Options.Get(dhcpv4.OptionIPAddressLeaseTime))
	require.Empty(t, a.message.Options.Get(dhcpv4.OptionRenewTimeValue))
}

func FuzzAnswer(f *testing.F) {
	f.Add(message(f, dhcpv4.MessageTypeDiscover))
	f.Add(message(f, dhcpv4.MessageTypeRequest, dhcpv4.WithOption(dhcpv4.OptRequestedIPAddress(net.IPv4(172, 24, 17, 2)))))
	f.Add(message(f, dhcpv4.MessageTypeInform, dhcpv4.WithClientIP(net.IPv4(172, 24, 17, 2))))
	f.Add([]byte{1, 1, 6, 0})
	c := testConfig(f)
	f.Fuzz(func(t *testing.T, packet []byte) {
		a, ok := c.answer(packet)
		if !ok {
			return
		}
		reply, err := dhcpv4.FromBytes(a.message.ToBytes())
		require.NoError(t, err)
		require.Equal(t, clientMAC.String(), reply.ClientHWAddr.String())
		if reply.MessageType() != dhcpv4.MessageTypeNak && !reply.YourIPAddr.IsUnspecified() {
			require.Equal(t, "172.24.17.2", reply.YourIPAddr.String())
		}
	})
}

func BenchmarkAnswer(b *testing.B) {
	c, packet := testConfig(b), message(b, dhcpv4.MessageTypeDiscover)
	for b.Loop() {
		a, ok := c.answer(packet)
		require.True(b, ok)
		_ = a.message.ToBytes()
	}
}
