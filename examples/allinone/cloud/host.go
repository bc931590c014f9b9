package cloud

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"runtime"

	"github.com/kintoun/kintoun/compute"
	"github.com/kintoun/kintoun/compute/qemu"
	"github.com/kintoun/kintoun/lbaas"
	"github.com/kintoun/kintoun/lbaas/haproxy"
	"github.com/kintoun/kintoun/metadata/proxy"
	"github.com/kintoun/kintoun/network"
	"github.com/kintoun/kintoun/network/dhcp"
	"github.com/kintoun/kintoun/network/netnsrouter"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"
)

// host is this machine's part of the cloud: its drivers and the agents over them.
type host struct {
	fabric    fabric
	dhcp      *dhcp.Driver
	routers   *netnsrouter.Driver
	servers   *qemu.Driver
	balancers *haproxy.Driver
	proxy     *proxy.Proxy

	network *network.Agent
	compute *compute.Agent
	lbaas   *lbaas.Agent
}

// newHost prepares this machine, and says clearly what it lacks.
func (c *Cloud) newHost(ctx context.Context) (*host, error) {
	o := &c.options
	h := &host{}
	var err error
	if h.servers, err = qemu.New(ctx, &qemu.Options{Dir: o.DataDir, RunDir: o.RunDir, Accelerator: o.Accelerator}); err != nil {
		return h, err
	}
	if h.fabric, err = newFabric(ctx, o); err != nil {
		return h, err
	}
	h.routers = netnsrouter.New(h.fabric.Ports(), nil)
	h.dhcp = dhcp.New(h.fabric.Ports(), nil)
	if h.proxy, err = c.newMetadata(); err != nil {
		return h, err
	}
	h.network = network.NewAgent(c.network, o.Host, network.Drivers{Fabric: h.fabric, Routers: h.routers, DHCP: h.dhcp}, &network.AgentOptions{
		TunnelAddress: o.TunnelAddress, TapOwner: h.servers.UID(), MetadataPort: routerMetadataPort,
		MetadataAddress: proxy.NetworkListen().Addr(), Namespaces: metadataNamespaces{h.proxy}, Log: o.Log,
	})
	plugger := computePlugger{network: c.network, agent: h.network, owner: h.servers.UID()}
	h.compute = compute.NewAgent(c.compute, o.Host, h.servers, plugger, computeImages{c.image}, &compute.AgentOptions{Resources: resources(o), Log: o.Log})
	if h.balancers, err = haproxy.New(balancerPlugger{h.network}, &haproxy.Options{Dir: o.RunDir}); err != nil {
		return h, err
	}
	h.lbaas = lbaas.NewAgent(c.lbaas, o.Host, h.balancers, &lbaas.AgentOptions{Log: o.Log})
	return h, nil
}

// run keeps the agents at work until ctx ends.
func (h *host) run(ctx context.Context, group *errgroup.Group) {
	group.Go(func() error { return ended(ctx, h.network.Run(ctx)) })
	group.Go(func() error { return ended(ctx, h.compute.Run(ctx)) })
	group.Go(func() error { h.lbaas.Run(ctx); return nil })
}

// ended says that an agent which was told to end did nothing wrong.
func ended(ctx context.Context, err error) error {
	if ctx.Err() != nil && errors.Is(err, ctx.Err()) {
		return nil
	}
	return err
}

// close lets go of the host without undoing anything on it.
func (h *host) close() error {
	var failures []error
	if h.dhcp != nil {
		failures = append(failures, h.dhcp.Close())
	}
	if h.proxy != nil {
		failures = append(failures, h.proxy.Close())
	}
	if h.fabric != nil {
		failures = append(failures, h.fabric.Close())
	}
	return errors.Join(failures...)
}

// resources are what this machine can give to servers.
func resources(o *Options) compute.Resources {
	r := compute.Resources{VCPUs: runtime.NumCPU(), Address: o.Listen, Type: "QEMU"}
	var memory unix.Sysinfo_t
	if unix.Sysinfo(&memory) == nil {
		r.MemoryMiB = int(memory.Totalram * uint64(memory.Unit) >> 20)
	}
	var disk unix.Statfs_t
	if unix.Statfs(o.DataDir, &disk) == nil {
		r.DiskGiB = int(disk.Blocks * uint64(disk.Bsize) >> 30)
	}
	return r
}

// Purge removes everything that earlier processes left on this host: servers, balancers, routers, networks. The
// database and the images stay.
func Purge(ctx context.Context, o Options) error {
	if _, err := os.Stat(o.DataDir); err != nil {
		return err
	}
	h, err := purgeable(ctx, &o)
	if err != nil {
		return errors.Join(err, h.close())
	}
	var failures []error
	servers, err := h.servers.List(ctx)
	failures = append(failures, err)
	for _, s := range servers {
		failures = append(failures, h.servers.Remove(ctx, s.ID))
	}
	for _, d := range []remover{h.balancers, h.routers, h.dhcp, h.fabric.Ports(), h.fabric.Networks()} {
		failures = append(failures, removeAll(ctx, d))
	}
	failures = append(failures, h.fabric.purge(ctx), deleteBridge(o.ExternalBridge))
	return errors.Join(append(failures, h.close())...)
}

type remover interface {
	List(ctx context.Context) ([]string, error)
	Remove(ctx context.Context, id string) error
}

func removeAll(ctx context.Context, d remover) error {
	ids, err := d.List(ctx)
	failures := []error{err}
	for _, id := range ids {
		failures = append(failures, d.Remove(ctx, id))
	}
	return errors.Join(failures...)
}

// purgeable is a host without a control plane over it.
func purgeable(ctx context.Context, o *Options) (*host, error) {
	h := &host{}
	var err error
	if h.servers, err = qemu.New(ctx, &qemu.Options{Dir: o.DataDir, RunDir: o.RunDir, Accelerator: "tcg"}); err != nil {
		return h, err
	}
	o.ExternalAddress = netip.Prefix{}
	if h.fabric, err = newFabric(ctx, o); err != nil {
		return h, err
	}
	h.routers, h.dhcp = netnsrouter.New(h.fabric.Ports(), nil), dhcp.New(h.fabric.Ports(), nil)
	h.balancers, err = haproxy.New(portsPlugger{h.fabric.Ports()}, &haproxy.Options{Dir: o.RunDir})
	if err != nil {
		return h, fmt.Errorf("balancers: %w", err)
	}
	return h, nil
}
