package meshfabric

import (
	"fmt"
	"net/netip"
	"testing"

	"github.com/kintoun/kintoun/network/driver"
	"github.com/kintoun/kintoun/network/drivertest"
	"github.com/kintoun/kintoun/network/memnet"
)

type lab struct {
	hosts   []*Host
	fabrics []*Fabric
	spaces  int
}

func newLab(_ testing.TB, hosts int) drivertest.FabricLab {
	l := &lab{}
	wire := &Wire{}
	for i := range hosts {
		h := NewHost(wire, netip.MustParseAddr(fmt.Sprintf("192.0.2.%d", i+1)))
		l.hosts, l.fabrics = append(l.hosts, h), append(l.fabrics, New(h))
	}
	return l
}

func (l *lab) Fabric(host int) driver.Fabric { return l.fabrics[host] }

func (l *lab) Restart(_ testing.TB, host int) driver.Fabric {
	l.fabrics[host] = New(l.hosts[host])
	return l.fabrics[host]
}

func (l *lab) Address(host int) netip.Addr { return l.hosts[host].Address }

func (l *lab) Namespace(testing.TB, int) string {
	l.spaces++
	return fmt.Sprint("space", l.spaces)
}

func (l *lab) Attach(_ testing.TB, host int, port driver.Port, addresses ...netip.Prefix) drivertest.TalkingGuest {
	h, device := l.hosts[host], memnet.DeviceName(port)
	guest := drivertest.NewFrameGuest(port.MAC, addresses, func(frame []byte) { h.Machine.Send(device, frame) })
	h.Listen(device, guest.Deliver)
	return guest
}

func (l *lab) MTU() int { return 1500 - Overhead }

func (l *lab) Damage(_ testing.TB, host int, port driver.Port) {
	h := l.hosts[host]
	h.mu.Lock()
	defer h.mu.Unlock()
	h.ports[port.ID] = plugged{port, memnet.DeviceName(port), false}
}

func TestConformance(t *testing.T) { drivertest.TestFabric(t, newLab) }
