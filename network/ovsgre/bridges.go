//go:build linux

package ovsgre

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
)

const (
	integrationBridge = "br-int"
	tunnelBridge      = "br-tun"
	physicalBridge    = "br-phy"

	// Keys in the bridges' external_ids.
	networkKey  = "kintoun-network-"
	epochKey    = "kintoun-flows-of"
	underlayKey = "kintoun-underlay"
	// portKey is in those of ports.
	portKey = "kintoun-port"
)

// A switchPort is a port of an Open vSwitch bridge with its only interface.
type switchPort struct {
	name, kind string
	number     int
	tag        int
	options    map[string]string
	ids        map[string]string
	interfaces map[string]string
}

// insert makes the port and puts it on the bridge.
func (p switchPort) insert(bridge string) []operation {
	return append(p.rows(), operation{
		"op": "mutate", "table": "Bridge", "where": equals("name", bridge),
		"mutations": []any{[]any{"ports", "insert", set(named(p.id("port")))}},
	})
}

func (p switchPort) rows() []operation {
	row := map[string]any{"name": p.name, "type": p.kind, "options": pairs(p.options), "external_ids": pairs(p.interfaces)}
	if p.number != 0 {
		row["ofport_request"] = p.number
	}
	port := map[string]any{"name": p.name, "interfaces": set(named(p.id("interface"))), "external_ids": pairs(p.ids)}
	if p.tag != 0 {
		port["tag"] = p.tag
	}
	return []operation{
		{"op": "insert", "table": "Interface", "row": row, "uuid-name": p.id("interface")},
		{"op": "insert", "table": "Port", "row": port, "uuid-name": p.id("port")},
	}
}

// id names the port's rows inside a transaction.
func (p switchPort) id(kind string) string { return kind + "_" + strings.ReplaceAll(p.name, "-", "_") }

// insertBridge makes a bridge with its own port and others.
func (f *Fabric) insertBridge(name, failMode string, others ...switchPort) []operation {
	datapath := "system"
	if f.userspace {
		datapath = "netdev"
	}
	all := append([]switchPort{{name: name, kind: "internal"}}, others...)
	var operations []operation
	var members []any
	for _, p := range all {
		operations = append(operations, p.rows()...)
		members = append(members, named(p.id("port")))
	}
	id := "bridge_" + strings.ReplaceAll(name, "-", "_")
	return append(operations,
		operation{"op": "insert", "table": "Bridge", "uuid-name": id, "row": map[string]any{
			"name": name, "datapath_type": datapath, "fail_mode": failMode, "ports": set(members...),
		}},
		operation{"op": "mutate", "table": "Open_vSwitch", "where": []any{}, "mutations": []any{[]any{"bridges", "insert", set(named(id))}}})
}

// ensureBridges makes br-int, a plain learning switch, and br-tun, which does what its flows say, joined by a patch.
func (f *Fabric) ensureBridges(ctx context.Context) error {
	has, err := f.bridges(ctx)
	if err != nil {
		return err
	}
	var operations []operation
	if _, ok := has[integrationBridge]; !ok {
		operations = append(operations, f.insertBridge(integrationBridge, "standalone",
			switchPort{name: "patch-tun", kind: "patch", options: map[string]string{"peer": "patch-int"}})...)
	}
	if _, ok := has[tunnelBridge]; !ok {
		operations = append(operations, f.insertBridge(tunnelBridge, "secure",
			switchPort{name: "patch-int", kind: "patch", number: patchPort, options: map[string]string{"peer": "patch-tun"}})...)
	}
	if len(operations) > 0 {
		if err := configure(ctx, f.daemons.socket(), operations...); err != nil {
			return err
		}
	}
	return f.ensureTunnelPort(ctx)
}

// ensureTunnelPort makes the one GRE port, whose remote address and key come from each flow.
func (f *Fabric) ensureTunnelPort(ctx context.Context) error {
	if !f.opts.LocalAddress.IsValid() {
		return nil
	}
	const name = "gre-kintoun"
	options := map[string]string{"remote_ip": "flow", "key": "flow", "local_ip": f.opts.LocalAddress.String()}
	results, err := transact(ctx, f.daemons.socket(), operation{"op": "select", "table": "Interface", "where": equals("name", name), "columns": []any{"options"}})
	if err != nil {
		return err
	}
	if len(results[0]) == 0 {
		p := switchPort{name: name, kind: "gre", number: tunnelPort, options: options}
		return configure(ctx, f.daemons.socket(), p.insert(tunnelBridge)...)
	}
	if stringMap(results[0][0]["options"])["local_ip"] == options["local_ip"] {
		return nil
	}
	return configure(ctx, f.daemons.socket(), operation{"op": "update", "table": "Interface", "where": equals("name", name), "row": map[string]any{"options": pairs(options)}})
}

// bridges returns the external identifiers of each bridge.
func (f *Fabric) bridges(ctx context.Context) (map[string]map[string]string, error) {
	results, err := transact(ctx, f.daemons.socket(), operation{"op": "select", "table": "Bridge", "where": []any{}, "columns": []any{"name", "external_ids"}})
	if err != nil {
		return nil, err
	}
	all := map[string]map[string]string{}
	for _, row := range results[0] {
		name, _ := row["name"].(string)
		all[name] = stringMap(row["external_ids"])
	}
	return all, nil
}

// records returns the networks of this host, and the run of ovs-vswitchd that has their flows.
func (f *Fabric) records(ctx context.Context) (map[string]networkRecord, string, error) {
	all, err := f.bridges(ctx)
	if err != nil {
		return nil, "", err
	}
	networks := map[string]networkRecord{}
	for key, value := range all[integrationBridge] {
		id, ok := strings.CutPrefix(key, networkKey)
		if !ok {
			continue
		}
		var record networkRecord
		if err := json.Unmarshal([]byte(value), &record); err != nil {
			return nil, "", fmt.Errorf("record of network %s: %w", id, err)
		}
		networks[id] = record
	}
	return networks, all[tunnelBridge][epochKey], nil
}

// settle returns when this run of ovs-vswitchd has made what is in the database.
func (f *Fabric) settle(ctx context.Context) error {
	now, err := f.daemons.epoch()
	if err != nil {
		return err
	}
	if _, last, err := f.records(ctx); err != nil || last == now {
		return err
	}
	return configure(ctx, f.daemons.socket())
}

// ensureFlows pushes all flows if this run of ovs-vswitchd does not have them yet. The caller holds f.mu.
func (f *Fabric) ensureFlows(ctx context.Context) error {
	now, err := f.daemons.epoch()
	if err != nil {
		return err
	}
	records, last, err := f.records(ctx)
	if err != nil || last == now {
		return err
	}
	flows := baseFlows()
	for _, record := range records {
		flows.append(record.flows())
	}
	if err := f.daemons.push(ctx, flows); err != nil {
		return err
	}
	_, err = transact(ctx, f.daemons.socket(), setKey("Bridge", tunnelBridge, "external_ids", epochKey, now))
	return err
}

// removeBridges takes away what ensureBridges and ensureUnderlay made.
func (f *Fabric) removeBridges(ctx context.Context) error {
	results, err := transact(ctx, f.daemons.socket(), operation{"op": "select", "table": "Bridge", "where": []any{}, "columns": []any{"name", "_uuid"}})
	if err != nil {
		return err
	}
	var ours []any
	for _, row := range results[0] {
		switch row["name"] {
		case integrationBridge, tunnelBridge, physicalBridge:
			ours = append(ours, row["_uuid"])
		}
	}
	return configure(ctx, f.daemons.socket(), operation{"op": "mutate", "table": "Open_vSwitch", "where": []any{}, "mutations": []any{[]any{"bridges", "delete", set(ours...)}}})
}
