package network_test

import (
	"context"
	"fmt"
	"net/netip"
	"sync"
	"testing"

	"github.com/kintoun/kintoun/internal/lab/postgres"
	"github.com/kintoun/kintoun/internal/sqlitedb"
	"github.com/kintoun/kintoun/network"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// TestTheLowestFreeAddressIsGiven compares the allocator with a model: whatever is made and deleted, a port gets the
// lowest address of the pools that no other has, until none is left.
func TestTheLowestFreeAddressIsGiven(t *testing.T) {
	s := open(t, &network.Options{Quotas: map[string]int{"network": -1, "subnet": -1, "port": -1}})
	rapid.Check(t, func(rt *rapid.T) {
		ctx := context.Background()
		n, err := s.CreateNetwork(ctx, demo, network.NetworkSpec{})
		require.NoError(t, err)
		spec := network.SubnetSpec{NetworkID: n.ID, CIDR: netip.MustParsePrefix("192.0.2.0/27"), EnableDHCP: new(false)}
		if rapid.Bool().Draw(rt, "pools") {
			spec.Pools = &[]network.Pool{pool("192.0.2.20", "192.0.2.25"), pool("192.0.2.5", "192.0.2.9")}
		}
		subnet, err := s.CreateSubnet(ctx, demo, spec)
		require.NoError(t, err)
		held := map[netip.Addr]string{}
		lowest := func() (a netip.Addr) {
			for _, p := range subnet.Pools {
				for a := p.Start; p.Contains(a); a = a.Next() {
					if held[a] == "" {
						return a
					}
				}
			}
			return netip.Addr{}
		}
		any := rapid.Custom(func(rt *rapid.T) netip.Addr {
			return netip.AddrFrom4([4]byte{192, 0, 2, byte(rapid.IntRange(2, 30).Draw(rt, "last byte"))})
		})
		rt.Repeat(map[string]func(*rapid.T){
			"create": func(rt *rapid.T) {
				want := lowest()
				p, err := s.CreatePort(ctx, demo, network.PortSpec{NetworkID: n.ID})
				if !want.IsValid() {
					require.ErrorIs(rt, err, network.ErrExhausted)
					return
				}
				require.NoError(rt, err)
				require.Equal(rt, want, p.FixedIPs[0].Address)
				held[want] = p.ID
			},
			"create exactly": func(rt *rapid.T) {
				want := any.Draw(rt, "address")
				p, err := s.CreatePort(ctx, demo, network.PortSpec{NetworkID: n.ID, FixedIPs: &[]network.FixedIPSpec{{Address: want}}})
				if held[want] != "" {
					require.ErrorIs(rt, err, network.ErrConflict)
					return
				}
				require.NoError(rt, err)
				held[want] = p.ID
			},
			"delete": func(rt *rapid.T) {
				want := any.Draw(rt, "address")
				if id := held[want]; id != "" {
					require.NoError(rt, s.DeletePort(ctx, demo, id))
					delete(held, want)
				}
			},
			"move": func(rt *rapid.T) {
				from, to := any.Draw(rt, "from"), any.Draw(rt, "to")
				id := held[from]
				if id == "" {
					return
				}
				_, err := s.UpdatePort(ctx, demo, id, network.PortSpec{FixedIPs: &[]network.FixedIPSpec{{Address: to}}})
				if held[to] != "" && to != from {
					require.ErrorIs(rt, err, network.ErrConflict)
					return
				}
				require.NoError(rt, err)
				delete(held, from)
				held[to] = id
			},
		})
		for _, id := range held {
			require.NoError(t, s.DeletePort(ctx, demo, id))
		}
		require.NoError(t, s.DeleteNetwork(ctx, demo, n.ID))
	})
}

func pool(start, end string) network.Pool {
	return network.Pool{Start: netip.MustParseAddr(start), End: netip.MustParseAddr(end)}
}

func TestTwoServicesOnOneDatabaseNeverGiveAnAddressTwice(t *testing.T) {
	db, err := postgres.Or(t.Context(), sqlitedb.Memory)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	var services []*network.Service
	for range 2 {
		s, err := network.New(t.Context(), db, nil)
		require.NoError(t, err)
		services = append(services, s)
	}
	n, subnet := private(t, services[0], demo)
	var wg sync.WaitGroup
	made := make(chan *network.Port, 100)
	for i := range 40 {
		wg.Go(func() {
			p, err := services[i%2].CreatePort(context.Background(), demo, network.PortSpec{NetworkID: n.ID})
			if err == nil {
				made <- p
			}
		})
	}
	wg.Wait()
	close(made)
	seen := map[string]bool{}
	for p := range made {
		require.False(t, seen[p.FixedIPs[0].Address.String()])
		seen[p.FixedIPs[0].Address.String()] = true
	}
	require.Len(t, seen, 40)
	for i := 2; i < 42; i++ {
		require.True(t, seen[fmt.Sprintf("172.24.17.%d", i)])
	}
	require.NotEmpty(t, subnet.ID)
}

func TestIPv6(t *testing.T) {
	s := open(t, nil)
	n, err := s.CreateNetwork(t.Context(), demo, network.NetworkSpec{})
	require.NoError(t, err)
	slaac, err := s.CreateSubnet(t.Context(), demo, network.SubnetSpec{NetworkID: n.ID, Version: 6, CIDR: netip.MustParsePrefix("2001:db8:1::/64"), RAMode: new("slaac"), AddressMode: new("slaac")})
	require.NoError(t, err)
	stateful, err := s.CreateSubnet(t.Context(), demo, network.SubnetSpec{NetworkID: n.ID, Version: 6, CIDR: netip.MustParsePrefix("2001:db8:2::/64"), RAMode: new("dhcpv6-stateful"), AddressMode: new("dhcpv6-stateful")})
	require.NoError(t, err)
	p, err := s.CreatePort(t.Context(), demo, network.PortSpec{NetworkID: n.ID, MAC: new("fa:16:3e:00:00:01")})
	require.NoError(t, err)
	require.Equal(t, []network.FixedIP{{SubnetID: stateful.ID, Address: netip.MustParseAddr("2001:db8:2::2")}, {SubnetID: slaac.ID, Address: netip.MustParseAddr("2001:db8:1:0:f816:3eff:fe00:1")}}, p.FixedIPs)
	require.NoError(t, s.DeleteSubnet(t.Context(), demo, slaac.ID), "addresses that hosts give themselves are in nobody's way")
	p, err = s.Port(t.Context(), demo, p.ID)
	require.NoError(t, err)
	require.Len(t, p.FixedIPs, 1)
	require.ErrorIs(t, s.DeleteSubnet(t.Context(), demo, stateful.ID), network.ErrInUse)
}

// BenchmarkCreatePort makes ports in a /16, which is what a server's creation waits for.
func BenchmarkCreatePort(b *testing.B) {
	s := open(b, &network.Options{Quotas: map[string]int{"port": -1}})
	n, err := s.CreateNetwork(b.Context(), demo, network.NetworkSpec{})
	require.NoError(b, err)
	_, err = s.CreateSubnet(b.Context(), demo, network.SubnetSpec{NetworkID: n.ID, CIDR: netip.MustParsePrefix("10.0.0.0/16")})
	require.NoError(b, err)
	for b.Loop() {
		_, err := s.CreatePort(b.Context(), demo, network.PortSpec{NetworkID: n.ID})
		require.NoError(b, err)
	}
}
