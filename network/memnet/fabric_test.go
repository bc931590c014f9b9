package memnet_test

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kintoun/kintoun/inject"
	"github.com/kintoun/kintoun/network/driver"
	"github.com/kintoun/kintoun/network/drivertest"
	"github.com/kintoun/kintoun/network/memnet"
	"github.com/stretchr/testify/require"
)

func TestFabricConformance(t *testing.T)  { drivertest.TestFabric(t, newFabricLab) }
func TestFiltersConformance(t *testing.T) { drivertest.TestFilters(t, newFilterLab) }

func BenchmarkFabricMemory(b *testing.B) { drivertest.BenchmarkFabric(b, newFabricLab) }

// fabricLab is some machines on one underlay.
type fabricLab struct {
	machines []*memnet.Machine
	fabrics  []*memnet.Fabric
	faults   *inject.Set
	spaces   int
}

func newFabricLab(t testing.TB, hosts int) drivertest.FabricLab {
	lab := &fabricLab{faults: inject.New(1), fabrics: make([]*memnet.Fabric, hosts)}
	underlay := memnet.NewUnderlay()
	for host := range hosts {
		lab.machines = append(lab.machines, memnet.NewMachine(&memnet.MachineOptions{
			Underlay: underlay, Address: lab.Address(host), Physical: []string{drivertest.PhysicalNetwork}, Faults: lab.faults, Host: strconv.Itoa(host),
		}))
		lab.Restart(t, host)
	}
	return lab
}

func (l *fabricLab) Fabric(host int) driver.Fabric { return l.fabrics[host] }

func (l *fabricLab) Restart(_ testing.TB, host int) driver.Fabric {
	l.fabrics[host] = memnet.NewFabric(l.machines[host], memnet.NewFilters(l.machines[host]))
	return l.fabrics[host]
}

func (l *fabricLab) Address(host int) netip.Addr {
	return netip.AddrFrom4([4]byte{10, 99, 0, byte(host)})
}
func (l *fabricLab) MTU() int { return 1450 }

func (l *fabricLab) Namespace(testing.TB, int) string {
	l.spaces++
	return fmt.Sprintf("space%d", l.spaces)
}

func (l *fabricLab) Damage(t testing.TB, host int, port driver.Port) {
	broken := errors.New("killed")
	l.faults.Add(inject.Fault{Step: "port guard", Resource: port.ID, Host: strconv.Itoa(host), Err: broken, Times: 1})
	require.ErrorIs(t, l.fabrics[host].Ports().Apply(t.Context(), port), broken)
}

func (l *fabricLab) Attach(t testing.TB, host int, port driver.Port, addresses ...netip.Prefix) drivertest.TalkingGuest {
	return attach(t, l.machines[host], memnet.DeviceName(port), port.MAC, addresses)
}

type filterLab struct {
	machine *memnet.Machine
	filters *memnet.Filters
}

func newFilterLab(*testing.T) drivertest.FilterLab {
	lab := &filterLab{machine: memnet.NewMachine(nil)}
	lab.Restart()
	return lab
}

func (l *filterLab) Filters() driver.Filters { return l.filters }

func (l *filterLab) Restart() driver.Filters {
	l.filters = memnet.NewFilters(l.machine)
	return l.filters
}

func (l *filterLab) Plug(_ testing.TB, bridge, device string) drivertest.Guest {
	g := drivertest.NewFrameGuest("", nil, func(frame []byte) { l.machine.Send(device, frame) })
	l.machine.AddDevice(bridge, device, g.Deliver)
	return g
}

// attach puts a guest behind a port's device.
func attach(t testing.TB, machine *memnet.Machine, device, mac string, addresses []netip.Prefix) *drivertest.FrameGuest {
	g := drivertest.NewFrameGuest(mac, addresses, func(frame []byte) { machine.Send(device, frame) })
	require.NoError(t, machine.Listen(device, g.Deliver))
	return g
}

func TestFaultsStrikeAsTheDataSays(t *testing.T) {
	broken := errors.New("the disk is full")
	faults := inject.New(1, inject.Fault{Step: "network apply", Resource: "one", Err: broken, Times: 2})
	f := memnet.NewFabric(memnet.NewMachine(&memnet.MachineOptions{Faults: faults}), nil)
	one, two := driver.Network{ID: "one", Segment: 1}, driver.Network{ID: "two", Segment: 2}
	for range 2 {
		require.ErrorIs(t, f.Networks().Apply(t.Context(), one), broken)
		require.NoError(t, f.Networks().Apply(t.Context(), two))
	}
	require.NoError(t, f.Networks().Apply(t.Context(), one))
	faults.Add(inject.Fault{Step: "port list", Err: broken})
	for range 3 {
		_, err := f.Ports().List(t.Context())
		require.ErrorIs(t, err, broken)
	}
}

func TestADelayPassesOnAFakeClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slow := inject.New(1, inject.Fault{Step: "network apply", Delay: time.Hour})
		f := memnet.NewFabric(memnet.NewMachine(&memnet.MachineOptions{Faults: slow}), nil)
		start := time.Now()
		require.NoError(t, f.Networks().Apply(t.Context(), driver.Network{ID: "one", Segment: 1}))
		require.Equal(t, time.Hour, time.Since(start))
		ctx := t.Context()
		ids, err := f.Networks().List(ctx)
		require.NoError(t, err)
		require.True(t, slices.Equal([]string{"one"}, ids))
	})
}
