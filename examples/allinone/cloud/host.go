package cloud

import (
	"context"
	"errors"
	"maps"
	"net/netip"
	"slices"
	"time"

	"github.com/kintoun/kintoun/compute"
	computedriver "github.com/kintoun/kintoun/compute/driver"
	"github.com/kintoun/kintoun/lbaas"
	lbaasdriver "github.com/kintoun/kintoun/lbaas/driver"
	"github.com/kintoun/kintoun/metadata"
	"github.com/kintoun/kintoun/network"
	"github.com/kintoun/kintoun/volume"
	volumedriver "github.com/kintoun/kintoun/volume/driver"
	"golang.org/x/sync/errgroup"
)

// Host is a machine as a cloud sees it: the drivers that make it match what is wanted of it.
type Host struct {
	// Name is the machine's among the cloud's hosts.
	Name string
	// Resources are what it can give to servers.
	Resources compute.Resources
	Network   network.Drivers
	Servers   computedriver.Servers
	// Volumes are the host's pools of volumes, by the names of their back ends.
	Volumes map[string]volumedriver.Volumes
	// VolumePools say more of those pools, by the same names; Log is not looked at.
	VolumePools map[string]volume.AgentOptions
	// Images finds the files that servers boot from; by default those of the cloud's image store, which must be on this
	// machine then.
	Images compute.ImageFiles
	// Balancers makes the driver of load balancers, which plugs the ports of their addresses with the plugger; nil has
	// the host take no balancers.
	Balancers func(lbaasdriver.Plugger) (lbaasdriver.Balancers, error)
	// Metadata makes what listens in the namespaces of networks and routers for servers that ask 169.254.169.254; nil is
	// nobody.
	Metadata func(service *metadata.Service, secret []byte) (network.Namespaces, error)
	// MetadataAddress is where it listens in a network's namespace, MetadataPort where routers redirect requests to.
	MetadataAddress netip.Addr
	MetadataPort    uint16
	// TunnelAddress is where other hosts reach this one; invalid for a host that stands alone.
	TunnelAddress netip.Addr
	// TapOwner is the numeric user that servers run as.
	TapOwner int
}

// Agents are at work on a host. Create them with [Cloud.AddHost].
type Agents struct {
	network *network.Agent
	compute *compute.Agent
	lbaas   *lbaas.Agent
	volumes []*volume.Agent

	running errgroup.Group
	stop    context.CancelFunc
}

// AddHost puts agents to work on a host until [Agents.Stop] or the end of the cloud. Whatever runs on it already, from
// an earlier process, is adopted as it is. When it returns, the host is known and takes servers.
func (c *Cloud) AddHost(ctx context.Context, h Host) (*Agents, error) {
	a, err := c.agents(h)
	if err != nil {
		return nil, err
	}
	if err := a.Beat(ctx, c.options.Now()); err != nil {
		return nil, err
	}
	ctx, a.stop = context.WithCancel(c.ctx)
	a.run(ctx, a.network.Run)
	a.run(ctx, a.compute.Run)
	if a.lbaas != nil {
		a.run(ctx, func(ctx context.Context) error { a.lbaas.Run(ctx); return nil })
	}
	for _, agent := range a.volumes {
		a.run(ctx, agent.Run)
	}
	c.running.Go(a.running.Wait)
	if err := a.started(ctx); err != nil {
		return nil, errors.Join(err, a.Stop())
	}
	return a, nil
}

// run has an agent work until ctx ends. When it fails, the others of the host end too.
func (a *Agents) run(ctx context.Context, agent func(context.Context) error) {
	a.running.Go(func() error {
		defer a.stop()
		return ended(ctx, agent(ctx))
	})
}

func (a *Agents) started(ctx context.Context) error {
	err := errors.Join(a.network.Started(ctx), a.compute.Started(ctx))
	if a.lbaas != nil {
		err = errors.Join(err, a.lbaas.Started(ctx))
	}
	for _, agent := range a.volumes {
		err = errors.Join(err, agent.Started(ctx))
	}
	return err
}

func (c *Cloud) agents(h Host) (*Agents, error) {
	o := &c.options
	options := network.AgentOptions{
		TunnelAddress: h.TunnelAddress, TapOwner: h.TapOwner, MetadataAddress: h.MetadataAddress, MetadataPort: h.MetadataPort, Log: o.Log,
	}
	var err error
	if h.Metadata != nil {
		if options.Namespaces, err = h.Metadata(c.Metadata, o.MetadataSecret); err != nil {
			return nil, err
		}
	}
	a := &Agents{network: network.NewAgent(c.Network, h.Name, h.Network, &options)}
	if h.Images == nil {
		h.Images = computeImages{c.Image}
	}
	plugger := computePlugger{agent: a.network, owner: h.TapOwner}
	a.compute = compute.NewAgent(c.Compute, h.Name, h.Servers, plugger, h.Images, &compute.AgentOptions{
		Resources: h.Resources, Connector: computeVolumes{c.Volumes}, Log: o.Log,
	})
	for _, name := range slices.Sorted(maps.Keys(h.Volumes)) {
		pool := h.VolumePools[name]
		pool.Log = o.Log
		a.volumes = append(a.volumes, volume.NewAgent(c.Volumes, volume.Backend{Host: h.Name, Name: name}, h.Volumes[name], &pool))
	}
	if h.Balancers == nil {
		return a, nil
	}
	balancers, err := h.Balancers(balancerPlugger{a.network})
	if err != nil {
		return nil, err
	}
	a.lbaas = lbaas.NewAgent(c.LBaaS, h.Name, balancers, &lbaas.AgentOptions{PollEvery: o.PollBalancers, Log: o.Log})
	return a, nil
}

// Beat says that the host lives, as of the given time; the agents do it by themselves all the time. See
// [compute.Agent.Beat] for why else.
func (a *Agents) Beat(ctx context.Context, at time.Time) error {
	var all errgroup.Group
	all.Go(func() error { return a.network.Beat(ctx, at) })
	all.Go(func() error { return a.compute.Beat(ctx, at) })
	if a.lbaas != nil {
		all.Go(func() error { return a.lbaas.Beat(ctx, at) })
	}
	for _, agent := range a.volumes {
		all.Go(func() error { return agent.Beat(ctx, at) })
	}
	return all.Wait()
}

// Settle returns when the host is as it was wanted when it was called, or with ctx's error.
func (a *Agents) Settle(ctx context.Context) error {
	settle := []func(context.Context) error{a.compute.Settle, a.network.Settle}
	for _, agent := range a.volumes {
		settle = append(settle, agent.Settle)
	}
	if a.lbaas != nil {
		settle = append(settle, a.lbaas.Settle)
	}
	for _, one := range settle {
		if err := one(ctx); err != nil {
			return err
		}
	}
	return nil
}

// Settle returns when every host is as it was wanted when it was called, or with ctx's error.
func (c *Cloud) Settle(ctx context.Context) error {
	for _, settle := range []func(context.Context) error{c.Volumes.Settle, c.Compute.Settle, c.Network.Settle, c.LBaaS.Settle} {
		if err := settle(ctx); err != nil {
			return err
		}
	}
	return nil
}

// Stop ends the agents, and nothing else of the host: what runs there goes on, and others take the host for dead after
// a while.
func (a *Agents) Stop() error {
	a.stop()
	return a.running.Wait()
}

// ended says that an agent which was told to end did nothing wrong.
func ended(ctx context.Context, err error) error {
	if ctx.Err() != nil && errors.Is(err, ctx.Err()) {
		return nil
	}
	return err
}
