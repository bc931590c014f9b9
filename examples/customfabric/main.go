// Command customfabric has a fabric driver of its own, which main_test.go puts through the suite of all fabrics: on a host,
// networks and ports are another driver's, between hosts it carries frames its own way. The hosts are simulated, so it needs
// nothing; over package bridge the same is done with a device on bridge.Name(network.ID).
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"sync"

	"github.com/kintoun/kintoun/network/driver"
	"github.com/kintoun/kintoun/network/memnet"
)

func main() {
	if err := run(context.Background(), os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "customfabric:", err)
		os.Exit(1)
	}
}

// Mesh carries frames between hosts: in place of a map, put sockets or a message bus of yours.
type Mesh struct{ tunnels sync.Map } // host's address + network's identifier → func(frame []byte)

// Fabric is a [driver.Fabric]. What it makes is on the machine, where a driver that starts anew finds it.
type Fabric struct {
	*memnet.Fabric
	machine *memnet.Machine
	address netip.Addr
	mesh    *Mesh
}

func (f Fabric) Networks() driver.Networks { return networks{f.Fabric.Networks(), f} }

type networks struct {
	driver.Networks
	Fabric
}

func (n networks) Apply(ctx context.Context, want driver.Network) error {
	peers := want.Peers
	want.Peers = nil
	if err := n.Networks.Apply(ctx, want); err != nil || want.Physical != "" {
		return err
	}
	n.machine.AddDevice(want.ID, "mesh-"+want.ID, func(frame []byte) {
		for _, peer := range peers {
			if deliver, ok := n.mesh.tunnels.Load(peer.String() + want.ID); ok && peer != n.address {
				deliver.(func([]byte))(frame)
			}
		}
	})
	n.mesh.tunnels.Store(n.address.String()+want.ID, func(frame []byte) { n.machine.Send("mesh-"+want.ID, frame) })
	return nil
}

func (n networks) Remove(ctx context.Context, id string) error {
	n.mesh.tunnels.Delete(n.address.String() + id)
	n.machine.RemoveDevice("mesh-" + id)
	return n.Networks.Remove(ctx, id)
}

func run(ctx context.Context, out io.Writer) error {
	mesh, one, two := &Mesh{}, memnet.NewMachine(nil), memnet.NewMachine(nil)
	network := driver.Network{ID: "private", Segment: 7, MTU: 1500, Peers: []netip.Addr{netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")}}
	for i, machine := range []*memnet.Machine{one, two} {
		fabric := Fabric{memnet.NewFabric(machine, memnet.NewFilters(machine)), machine, network.Peers[i], mesh}
		vm := driver.Port{ID: fmt.Sprint("vm", i+1), NetworkID: network.ID, MAC: fmt.Sprint("fa:16:3e:00:00:0", i+1), MTU: network.MTU, Endpoint: driver.Endpoint{Device: fmt.Sprint("tap", i+1)}}
		if err := errors.Join(fabric.Networks().Apply(ctx, network), fabric.Ports().Apply(ctx, vm)); err != nil {
			return err
		}
	}
	const header = "\xfa\x16\x3e\x00\x00\x02" + "\xfa\x16\x3e\x00\x00\x01" + "\x88\xb5" // to, from, the EtherType for experiments
	err := two.Listen("tap2", func(frame []byte) { fmt.Fprintf(out, "vm2 hears: %s\n", frame[len(header):]) })
	one.Send("tap1", []byte(header+"hello from vm1"))
	return err
}
