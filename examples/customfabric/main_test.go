package main

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/kintoun/kintoun/inject"
	"github.com/kintoun/kintoun/network/driver"
	"github.com/kintoun/kintoun/network/drivertest"
	"github.com/kintoun/kintoun/network/memnet"
	"github.com/stretchr/testify/require"
)

func TestAFrameArrives(t *testing.T) {
	var out strings.Builder
	require.NoError(t, run(t.Context(), &out))
	require.Equal(t, "vm2 hears: hello from vm1\n", out.String())
}

func TestConformance(t *testing.T) { drivertest.TestFabric(t, newLab) }

func BenchmarkFabric(b *testing.B) { drivertest.BenchmarkFabric(b, newLab) }

// lab is some hosts of one mesh.
type lab struct {
	mesh       Mesh
	faults     *inject.Set
	machines   []*memnet.Machine
	fabrics    []Fabric
	namespaces int
}

func newLab(t testing.TB, hosts int) drivertest.FabricLab {
	l := &lab{faults: inject.New(1), fabrics: make([]Fabric, hosts)}
	for n := range hosts {
		l.machines = append(l.machines, memnet.NewMachine(&memnet.MachineOptions{Physical: []string{drivertest.PhysicalNetwork}, Faults: l.faults}))
		l.Restart(t, n)
	}
	return l
}

func (l *lab) Fabric(host int) driver.Fabric { return l.fabrics[host] }
func (l *lab) Address(host int) netip.Addr   { return netip.AddrFrom4([4]byte{192, 0, 2, byte(host)}) }
func (l *lab) MTU() int                      { return 1500 }

func (l *lab) Restart(_ testing.TB, host int) driver.Fabric {
	machine := l.machines[host]
	l.fabrics[host] = Fabric{memnet.NewFabric(machine, memnet.NewFilters(machine)), machine, l.Address(host), &l.mesh}
	return l.fabrics[host]
}

func (l *lab) Namespace(testing.TB, int) string {
	l.namespaces++
	return fmt.Sprint("space", l.namespaces)
}

func (l *lab) Attach(t testing.TB, host int, p driver.Port, addresses ...netip.Prefix) drivertest.TalkingGuest {
	machine, device := l.machines[host], memnet.DeviceName(p)
	guest := drivertest.NewFrameGuest(p.MAC, addresses, func(frame []byte) { machine.Send(device, frame) })
	require.NoError(t, machine.Listen(device, guest.Deliver))
	return guest
}

// Damage has the driver fail in the middle of Apply.
func (l *lab) Damage(t testing.TB, host int, p driver.Port) {
	killed := errors.New("killed")
	l.faults.Add(inject.Fault{Step: "port guard", Resource: p.ID, Err: killed, Times: 1})
	require.ErrorIs(t, l.fabrics[host].Ports().Apply(t.Context(), p), killed)
}
