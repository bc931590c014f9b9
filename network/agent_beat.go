package network

import (
	"context"
	"errors"
	"time"

	"github.com/kintoun/kintoun/internal/record"
)

// changedTunnels is announced with a host's name when its tunnels' address changed.
const changedTunnels = "tunnels"

// register makes the agents known that this process is.
func (a *Agent) register(ctx context.Context) error {
	fabric := AgentInfo{Type: AgentOpenVSwitch, Binary: "neutron-openvswitch-agent", Topic: "N/A", Host: a.host, Configurations: map[string]any{}}
	if a.drivers.Fabric.Kind() == "bridge" {
		fabric.Type, fabric.Binary = AgentBridge, "neutron-linuxbridge-agent"
	}
	if a.options.TunnelAddress.IsValid() {
		fabric.Configurations[configTunnel] = a.options.TunnelAddress.String()
		fabric.Configurations["tunnel_types"] = []string{a.service.options.TunnelType}
	}
	all := []AgentInfo{fabric}
	if a.drivers.DHCP != nil {
		all = append(all, AgentInfo{Type: AgentDHCP, Binary: "neutron-dhcp-agent", Topic: "dhcp_agent", Host: a.host, Configurations: map[string]any{"dhcp_lease_duration": int(a.options.Lease.Seconds())}})
	}
	if a.drivers.Routers != nil {
		all = append(all, AgentInfo{Type: AgentL3, Binary: "neutron-l3-agent", Topic: "l3_agent", Host: a.host, Configurations: map[string]any{"agent_mode": "legacy"}})
	}
	if a.options.Namespaces != nil {
		all = append(all, AgentInfo{Type: AgentMetadata, Binary: "neutron-metadata-agent", Topic: "N/A", Host: a.host, Configurations: map[string]any{}})
	}
	known, err := a.service.register(ctx, all, func(tx *record.Tx) error { return tx.Announce(changedTunnels, a.host) })
	if err != nil {
		return err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.ids = idsOf(known, func(k *AgentInfo) string { return k.ID })
	return nil
}

// introduce makes the agents known, once, and says whether they were.
func (a *Agent) introduce(ctx context.Context) (were bool, err error) {
	a.mu.Lock()
	were = len(a.ids) > 0
	a.mu.Unlock()
	if were {
		return true, nil
	}
	return false, a.register(ctx)
}

// Beat tells the service that the host's agents are alive, as of the given time. [Agent.Run] does it all the time; a
// program whose clock is about to jump ([Options].Now) says with the time to which it jumps that its hosts live then too.
func (a *Agent) Beat(ctx context.Context, at time.Time) error {
	were, err := a.introduce(ctx)
	if err != nil || !were && !at.After(a.service.now()) {
		return err
	}
	a.mu.Lock()
	ids := a.ids
	a.mu.Unlock()
	err = a.service.Heartbeat(ctx, at, ids...)
	if errors.Is(err, ErrNotFound) { // an operator deleted one that still runs
		err = a.register(ctx)
	}
	return err
}

// beat tells that the agents are alive, and looks after what dead ones left.
func (a *Agent) beat(ctx context.Context) {
	err := a.Beat(ctx, a.service.now())
	if err == nil && a.service.moving.Mine(a.service.now(), a.options.ReportInterval/2) {
		err = a.service.MoveFromDead(ctx)
	}
	if err != nil && ctx.Err() == nil {
		a.options.Log.Warn("heartbeat failed", "host", a.host, "error", err)
	}
}
