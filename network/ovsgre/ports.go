//go:build linux

package ovsgre

import (
	"context"
	"fmt"
	"slices"

	"github.com/kintoun/kintoun/network/driver"
	"github.com/kintoun/kintoun/network/internal/link"
)

type ports struct{ *Fabric }

func (p ports) Apply(ctx context.Context, want driver.Port) error {
	if err := p.apply(ctx, want); err != nil {
		return fmt.Errorf("port %s: %w", want.ID, err)
	}
	return nil
}

func (p ports) apply(ctx context.Context, want driver.Port) error {
	records, _, err := p.records(ctx)
	if err != nil {
		return err
	}
	record, ok := records[want.NetworkID]
	if !ok {
		return p.plugPhysical(ctx, want)
	}
	if err := p.host.EnsureDevice(want); err != nil {
		return err
	}
	device := link.HostDevice(want)
	if want.Endpoint.Namespace == "" || want.Security != nil {
		device, err = p.hybrid(ctx, want)
	} else {
		err = p.direct(ctx, want)
	}
	if err != nil {
		return err
	}
	return p.ensureSwitchPort(ctx, want, device, record.Tag)
}

func (p ports) plugPhysical(ctx context.Context, want driver.Port) error {
	bridge, err := p.host.NetworkBridge("", want.NetworkID)
	if err != nil {
		return err
	}
	if bridge == "" {
		return fmt.Errorf("network %s is not on this host: %w", want.NetworkID, ErrNotFound)
	}
	return p.host.PlugPort(ctx, p.filters, want, bridge)
}

// The parts of a port with a Linux bridge of its own.
func bridgeName(portID string) string { return link.DeviceName("qbr", portID) }
func innerName(portID string) string  { return link.DeviceName("qvb", portID) }
func outerName(portID string) string  { return link.DeviceName("qvo", portID) }

// hybrid puts the port's device on a bridge of its own, guarded, and returns the device that leads to the switch.
func (p ports) hybrid(ctx context.Context, want driver.Port) (string, error) {
	bridge, inner, outer := bridgeName(want.ID), innerName(want.ID), outerName(want.ID)
	alias := link.PortAlias(want.ID)
	if err := p.host.EnsureBridge(bridge, alias, want.MTU); err != nil {
		return "", err
	}
	if err := p.host.EnsurePair(inner, outer, alias, want.MTU); err != nil {
		return "", err
	}
	if p.userspace {
		if err := p.host.FinishChecksums(inner); err != nil {
			return "", err
		}
	}
	if err := link.Guard(ctx, p.filters, want, bridge); err != nil {
		return "", err
	}
	if err := p.host.Plug(link.HostDevice(want), bridge); err != nil {
		return "", err
	}
	return outer, p.host.Plug(inner, bridge)
}

// direct readies the port's device to be on the switch itself.
func (p ports) direct(ctx context.Context, want driver.Port) error {
	if err := p.host.RemoveOwned(link.PortAlias(want.ID), innerName(want.ID), bridgeName(want.ID)); err != nil {
		return err
	}
	if p.userspace {
		if err := (link.Host{Namespace: want.Endpoint.Namespace}).FinishChecksums(want.Endpoint.Device); err != nil {
			return err
		}
	}
	return link.Guard(ctx, p.filters, want, "")
}

// ensureSwitchPort puts the device on br-int with the network's tag.
func (p ports) ensureSwitchPort(ctx context.Context, want driver.Port, device string, tag int) error {
	has, err := p.switchPorts(ctx, want.ID)
	if err != nil {
		return err
	}
	var stale []any
	for _, row := range has {
		number, _ := row["tag"].(float64)
		if row["name"] == device && int(number) == tag {
			return nil
		}
		stale = append(stale, row["_uuid"])
	}
	var operations []operation
	if len(stale) > 0 {
		operations = append(operations, takeOff(stale))
	}
	port := switchPort{
		name: device, tag: tag, ids: map[string]string{portKey: want.ID},
		interfaces: map[string]string{"iface-id": want.ID, "attached-mac": want.MAC, "iface-status": "active"},
	}
	return configure(ctx, p.daemons.socket(), append(operations, port.insert(integrationBridge)...)...)
}

func takeOff(ports []any) operation {
	return operation{"op": "mutate", "table": "Bridge", "where": equals("name", integrationBridge), "mutations": []any{[]any{"ports", "delete", set(ports...)}}}
}

// switchPorts are the rows of a port, or of all that are ours if id is empty.
func (p ports) switchPorts(ctx context.Context, id string) (rows, error) {
	where := []any{}
	if id != "" {
		where = []any{[]any{"external_ids", "includes", pairs(map[string]string{portKey: id})}}
	}
	results, err := transact(ctx, p.daemons.socket(), operation{"op": "select", "table": "Port", "where": where, "columns": []any{"_uuid", "name", "tag", "external_ids"}})
	if err != nil {
		return nil, err
	}
	return results[0], nil
}

func (p ports) Remove(ctx context.Context, id string) error {
	if err := p.remove(ctx, id); err != nil {
		return fmt.Errorf("remove port %s: %w", id, err)
	}
	return nil
}

func (p ports) remove(ctx context.Context, id string) error {
	has, err := p.switchPorts(ctx, id)
	if err != nil {
		return err
	}
	if len(has) > 0 {
		var all []any
		for _, row := range has {
			all = append(all, row["_uuid"])
		}
		if err := configure(ctx, p.daemons.socket(), takeOff(all)); err != nil {
			return err
		}
	}
	return p.host.UnplugPort(ctx, p.filters, id)
}

func (p ports) List(ctx context.Context) ([]string, error) {
	ids, err := p.host.Ports()
	if err != nil {
		return nil, err
	}
	has, err := p.switchPorts(ctx, "")
	if err != nil {
		return nil, err
	}
	for _, row := range has {
		if id := stringMap(row["external_ids"])[portKey]; id != "" && !slices.Contains(ids, id) {
			ids = append(ids, id)
		}
	}
	return ids, nil
}
