package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/kintoun/kintoun/lbaas"
	"github.com/kintoun/kintoun/network"
	"github.com/kintoun/kintoun/network/driver"
)

// shops are what this control plane is about. Each is a project of the domains', and a row of its own table.
type shops struct {
	db        *sql.DB
	networks  *network.Service
	balancers *lbaas.Service
	host      *network.Agent
	subnet    *network.Subnet
}

const schema = "CREATE TABLE IF NOT EXISTS shops (name TEXT PRIMARY KEY, pool TEXT NOT NULL, vip TEXT NOT NULL)"

func (s *shops) create(ctx context.Context, name string) (any, error) {
	scope := lbaas.Scope{ProjectID: name}
	pool, err := s.balancers.CreatePool(ctx, scope, lbaas.PoolSpec{Name: name, SubnetID: s.subnet.ID, Protocol: "HTTP", Method: "ROUND_ROBIN"})
	if err != nil {
		return nil, err
	}
	vip, err := s.balancers.CreateVIP(ctx, scope, lbaas.VIPSpec{Name: name, SubnetID: s.subnet.ID, PoolID: pool.ID, Protocol: "HTTP", ProtocolPort: 80})
	if err != nil {
		return nil, errors.Join(err, s.balancers.DeletePool(ctx, scope, pool.ID))
	}
	if _, err := s.db.ExecContext(ctx, "INSERT INTO shops VALUES ($1, $2, $3)", name, pool.ID, vip.ID); err != nil {
		undone := errors.Join(s.balancers.DeleteVIP(ctx, scope, vip.ID), s.balancers.DeletePool(ctx, scope, pool.ID))
		return nil, errors.Join(fmt.Errorf("shop %s: %w: %w", name, network.ErrConflict, err), undone)
	}
	return map[string]any{"address": vip.Address}, nil
}

// addServer gives a shop a server's place: the address to have, and the tap device of this host to run it on.
func (s *shops) addServer(ctx context.Context, name string) (any, error) {
	poolID, _, err := s.find(ctx, name)
	if err != nil {
		return nil, err
	}
	port, err := s.networks.CreatePort(ctx, network.System, network.PortSpec{ProjectID: name, NetworkID: s.subnet.NetworkID})
	if err != nil {
		return nil, err
	}
	device, address := driver.TapName(port.ID), port.FixedIPs[0].Address
	if _, err = s.host.Plug(ctx, port.ID, driver.Endpoint{Device: device}); err == nil {
		_, err = s.balancers.CreateMember(ctx, lbaas.Scope{ProjectID: name}, lbaas.MemberSpec{PoolID: poolID, Address: address, Port: 8080, Weight: 1})
	}
	if err != nil {
		return nil, errors.Join(err, s.networks.DeletePort(ctx, network.System, port.ID))
	}
	return map[string]any{"address": address, "device": device}, nil
}

func (s *shops) show(ctx context.Context, name string) (any, error) {
	poolID, vipID, err := s.find(ctx, name)
	if err != nil {
		return nil, err
	}
	scope := lbaas.Scope{ProjectID: name}
	vip, err := s.balancers.VIP(ctx, scope, vipID)
	if err != nil {
		return nil, err
	}
	members, err := s.balancers.Members(ctx, scope, lbaas.Query{Filters: map[string][]string{"pool_id": {poolID}}})
	servers := map[string]any{}
	for _, m := range members {
		servers[m.Address.String()] = m.Status
	}
	return map[string]any{"address": vip.Address, "status": vip.Status, "servers": servers}, err
}

func (s *shops) find(ctx context.Context, name string) (pool, vip string, err error) {
	err = s.db.QueryRowContext(ctx, "SELECT pool, vip FROM shops WHERE name = $1", name).Scan(&pool, &vip)
	if errors.Is(err, sql.ErrNoRows) {
		err = fmt.Errorf("shop %s: %w", name, network.ErrNotFound)
	}
	return pool, vip, err
}
