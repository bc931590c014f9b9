package memcloud

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/kintoun/kintoun/compute"
	"github.com/kintoun/kintoun/compute/memcompute"
	"github.com/kintoun/kintoun/examples/allinone/cloud"
	"github.com/kintoun/kintoun/internal/fault"
	lbaasdriver "github.com/kintoun/kintoun/lbaas/driver"
	"github.com/kintoun/kintoun/lbaas/memlb"
	"github.com/kintoun/kintoun/network"
	"github.com/kintoun/kintoun/network/memnet"
	volumedriver "github.com/kintoun/kintoun/volume/driver"
	"github.com/kintoun/kintoun/volume/memvolume"
)

// The kinds of error that this package makes itself.
var (
	ErrNotFound = fault.ErrNotFound
	ErrConflict = fault.ErrConflict
)

// Host is a machine that exists only as data.
type Host struct {
	// Name is the host's.
	Name string

	cloud     *Cloud
	resources compute.Resources
	address   netip.Addr
	pools     map[string]*memvolume.Pool // what is on its disks outlives a loss of power

	mu        sync.Mutex
	agents    *cloud.Agents // nil while the cloud does not reach the host
	servers   *memcompute.Host
	balancers *memlb.Driver
	network   network.Drivers
}

// poolBytes is how much a host's pool of volumes holds; it takes memory as they are written to.
const poolBytes = 10 << 40

// poolName is the first volume back end of every host; others are called memory2, memory3, …
const poolName = "memory"

func newPools(n int) map[string]*memvolume.Pool {
	pools := map[string]*memvolume.Pool{poolName: memvolume.NewPool(poolBytes)}
	for i := 2; i <= n; i++ {
		pools[fmt.Sprintf("%s%d", poolName, i)] = memvolume.NewPool(poolBytes)
	}
	return pools
}

// defaultResources are those of a large machine.
func defaultResources() compute.Resources {
	return compute.Resources{VCPUs: 64, MemoryMiB: 256 << 10, DiskGiB: 10 << 10, Address: "127.0.0.1", Type: "QEMU"}
}

// AddHost adds a host; nil resources are those of a large machine. When it returns, the host takes servers.
func (c *Cloud) AddHost(name string, resources *compute.Resources) (*Host, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.hosts[name] != nil {
		return nil, fmt.Errorf("host %q is there already: %w", name, ErrConflict)
	}
	n := len(c.hosts) + 1
	h := &Host{Name: name, cloud: c, pools: newPools(c.options.VolumeBackends), resources: defaultResources(), address: netip.AddrFrom4([4]byte{198, 18, byte(n >> 8), byte(n)})}
	if resources != nil {
		h.resources = *resources
	}
	h.reset()
	if err := h.Join(); err != nil {
		return nil, err
	}
	c.hosts[name] = h
	return h, nil
}

// Hosts are all hosts, in the order of their names.
func (c *Cloud) Hosts() []*Host {
	c.mu.Lock()
	defer c.mu.Unlock()
	var all []*Host
	for _, name := range slices.Sorted(maps.Keys(c.hosts)) {
		all = append(all, c.hosts[name])
	}
	return all
}

// Host is the host of that name, or nil.
func (c *Cloud) Host(name string) *Host {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.hosts[name]
}

// reset empties the host, as the loss of its power does.
func (h *Host) reset() {
	faults := h.cloud.Faults
	machine := memnet.NewMachine(&memnet.MachineOptions{
		Underlay: h.cloud.underlay, Address: h.address, Physical: []string{cloud.PhysicalNetwork}, Faults: faults, Host: h.Name,
	})
	fabric := memnet.NewFabric(machine, memnet.NewFilters(machine))
	h.network = network.Drivers{
		Fabric: fabric, Routers: memnet.NewRouters(fabric.Ports(), &memnet.RouterOptions{Faults: faults, Host: h.Name}),
		DHCP: memnet.NewDHCPServers(fabric.Ports(), &memnet.DHCPOptions{Faults: faults, Host: h.Name}),
	}
	h.servers = memcompute.NewHost()
	h.balancers = memlb.New(&memlb.Options{Faults: faults, Host: h.Name})
}

// Join has the cloud reach the host, after [Host.CutOff] or [Host.Kill]. What runs on it is adopted as it is.
func (h *Host) Join() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.agents != nil {
		return fmt.Errorf("host %q is reached: %w", h.Name, ErrConflict)
	}
	servers := memcompute.New(h.servers, &memcompute.Options{Faults: h.cloud.Faults, Host: h.Name, Delay: h.cloud.options.BuildTime})
	volumes := map[string]volumedriver.Volumes{}
	for name, pool := range h.pools {
		volumes[name] = memvolume.New(pool, &memvolume.Options{Faults: h.cloud.Faults, Host: h.Name})
	}
	var err error
	h.agents, err = h.cloud.Cloud.AddHost(context.Background(), cloud.Host{
		Name: h.Name, Resources: h.resources, Network: h.network, Servers: servers, Images: noFiles{}, TunnelAddress: h.address,
		Volumes:   volumes,
		Balancers: func(lbaasdriver.Plugger) (lbaasdriver.Balancers, error) { return h.balancers, nil },
	})
	return err
}

// noFiles are the images of servers that exist only as data.
type noFiles struct{}

func (noFiles) ImageFile(_ context.Context, imageID string) (string, error) {
	return "memory:" + imageID, nil
}

// downAfter is how long hosts may be silent before they count as down, with something to spare.
const downAfter = 76 * time.Second

// CutOff has the cloud reach the host no more, while everything on it goes on, and moves the clock on until the cloud
// has noticed: the host is down, and what can be moved from it (routers, DHCP, balancers) is moved to others.
func (h *Host) CutOff() error {
	h.mu.Lock()
	agents := h.agents
	h.agents = nil
	h.mu.Unlock()
	if agents == nil {
		return fmt.Errorf("host %q is not reached: %w", h.Name, ErrConflict)
	}
	return errors.Join(agents.Stop(), h.cloud.Advance(downAfter))
}

// Kill takes the host's power away: it is cut off, and what ran on it runs no more. Its servers are ACTIVE in the API as
// before, as in Nova, since nobody can say otherwise. After [Host.Join] the host is empty: what is still wanted of networks and
// balancers is made again, and servers are SHUTOFF until somebody starts them.
func (h *Host) Kill() error {
	if err := h.CutOff(); err != nil {
		return err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.reset()
	return nil
}

func (h *Host) reached() *cloud.Agents {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.agents
}

func (h *Host) settle(ctx context.Context) error {
	if a := h.reached(); a != nil {
		return a.Settle(ctx)
	}
	return nil
}

func (h *Host) beat(ctx context.Context, at time.Time) error {
	if a := h.reached(); a != nil {
		return a.Beat(ctx, at)
	}
	return nil
}

// Crash ends a server by a fault of its own, as when QEMU dies: the cloud finds it in the power state "crashed".
func (c *Cloud) Crash(serverID, reason string) error {
	return c.onHost(func(h *memcompute.Host) error { return h.Crash(serverID, reason) })
}

// PowerOff ends a server as its guest's own power off does: the cloud finds it SHUTOFF.
func (c *Cloud) PowerOff(serverID string) error {
	return c.onHost(func(h *memcompute.Host) error { return h.PowerOff(serverID) })
}

// Print makes a server print text on its console.
func (c *Cloud) Print(serverID, text string) error {
	return c.onHost(func(h *memcompute.Host) error { return h.Print(serverID, text) })
}

// onHost does something on the host that has the server.
func (c *Cloud) onHost(do func(*memcompute.Host) error) error {
	err := ErrNotFound
	for _, h := range c.Hosts() {
		h.mu.Lock()
		servers := h.servers
		h.mu.Unlock()
		if err = do(servers); !errors.Is(err, ErrNotFound) {
			return err
		}
	}
	return err
}

// SetMember has a balancer's member answer its monitors, or not.
func (c *Cloud) SetMember(memberID string, up bool) {
	for _, h := range c.Hosts() {
		h.mu.Lock()
		h.balancers.SetMember(memberID, up)
		h.mu.Unlock()
	}
}
