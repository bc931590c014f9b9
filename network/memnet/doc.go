// Package memnet holds network drivers that live in memory: a fabric and filters that carry and judge real Ethernet
// frames, and with them routers and DHCP servers, for tests, simulations and fakes.
//
//	machine := memnet.NewMachine(nil)
//	fabric := memnet.NewFabric(machine, memnet.NewFilters(machine))
//	if err := fabric.Networks().Apply(ctx, driver.Network{ID: "private", Segment: 1, MTU: 1450}); err != nil {
//		fmt.Println(err)
//	}
//	if err := fabric.Ports().Apply(ctx, port); err != nil {
//		fmt.Println(err)
//	}
//
// They are full implementations of the contract in package network/driver and pass the same conformance suites as the
// drivers of a real host. A [Machine] is what a host's kernel is to real drivers: it goes on when the driver value over
// it is thrown away, and a new one finds everything there. Machines on one [Underlay] reach each other's networks by
// segment. [Routers.Trace] says where a packet would go.
//
// What goes wrong is data, see package inject. The steps that faults may name are "network apply", "network remove" and
// "network list", the same of "port", "filter", "router" and "dhcp", and "port guard": a port's device exists, and is
// neither guarded nor plugged in yet.
//
// It needs nothing from the host, so it has no Probe. It does not forward packets through routers (Trace computes), and
// nothing of it outlives the process. Errors are those of the contract, [ErrInvalid], [ErrNotFound] and so on, and
// whatever a fault says. Everything is safe for concurrent use, and starts no goroutine.
package memnet
