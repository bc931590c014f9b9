package lbaas

import (
	"context"
	"errors"
	"net/netip"

	"github.com/kintoun/kintoun/internal/record"
)

var vipFields = map[string]fieldKind{
	"id": textField, "tenant_id": textField, "name": textField, "description": textField, "subnet_id": textField,
	"address": textField, "port_id": textField, "protocol_port": numberField, "protocol": textField, "pool_id": textField,
	"connection_limit": numberField, "admin_state_up": booleanField, "status": textField,
}

// VIPSpec is a wish for a virtual address.
type VIPSpec struct {
	// ProjectID is the caller's when empty; only an administrator may wish for another.
	ProjectID         string
	Name, Description string
	SubnetID          string
	// Address is invalid for any of the subnet's.
	Address      netip.Addr
	ProtocolPort int
	Protocol     Protocol
	PoolID       string
	Persistence  *Persistence
	// ConnectionLimit is -1 for none.
	ConnectionLimit int
	// AdminStateUp is true when nil, as in the API.
	AdminStateUp *bool
}

// VIPChange changes what is not nil.
type VIPChange struct {
	Name, Description *string
	PoolID            *string
	// Persistence may point to nil, which takes it away.
	Persistence     **Persistence
	ConnectionLimit *int
	AdminStateUp    *bool
}

// CreateVIP gives a pool its virtual address, on a port of its own.
func (s *Service) CreateVIP(ctx context.Context, scope Scope, spec VIPSpec) (*VIP, error) {
	project, err := owner(scope, spec.ProjectID)
	if err != nil {
		return nil, err
	}
	if err := errors.Join(checkPort(spec.ProtocolPort), checkProtocol(spec.Protocol)); err != nil {
		return nil, err
	}
	vip := VIP{
		ID: newID(), ProjectID: project, Name: spec.Name, Description: spec.Description, SubnetID: spec.SubnetID,
		ProtocolPort: uint16(spec.ProtocolPort), Protocol: spec.Protocol, PoolID: spec.PoolID, Persistence: spec.Persistence,
		ConnectionLimit: spec.ConnectionLimit, AdminStateUp: up(spec.AdminStateUp), Status: PendingCreate,
	}
	if err := checkVIP(&vip); err != nil {
		return nil, err
	}
	quota, err := s.options.Quota(ctx, project)
	if err != nil {
		return nil, err
	}
	// What can be known is refused before there is a port.
	reader := s.store.Read(ctx)
	if _, err := s.freePool(reader, scope, &vip); err != nil {
		return nil, err
	}
	if err := checkQuota(reader, s.vips, project, "vip", quota.VIPs); err != nil {
		return nil, err
	}
	port, err := s.ports.CreateVIPPort(ctx, scope, VIPPort{
		ProjectID: project, SubnetID: spec.SubnetID, Address: spec.Address, Name: "vip-" + vip.ID, VIPID: vip.ID,
	})
	if err != nil {
		return nil, err
	}
	vip.PortID, vip.Address = port.ID, port.Address.Addr()
	err = s.store.Update(ctx, func(tx *record.Tx) error {
		if err := checkQuota(tx, s.vips, project, "vip", quota.VIPs); err != nil {
			return err
		}
		pool, err := s.freePool(tx, scope, &vip)
		if err != nil {
			return err
		}
		if err := s.vips.Insert(tx, &vip); err != nil {
			return vipExists(&vip, err)
		}
		pool.VIPID = vip.ID
		return s.pools.Update(tx, pool)
	})
	if err != nil {
		return nil, errors.Join(err, s.ports.DeleteVIPPort(context.WithoutCancel(ctx), port.ID))
	}
	return &vip, nil
}

// freePool returns the pool that the address is to stand before, if it may.
func (s *Service) freePool(tx *record.Tx, scope Scope, vip *VIP) (*Pool, error) {
	pool, err := s.pool(tx, scope, vip.PoolID)
	if err != nil {
		return nil, err
	}
	if pool.Protocol != vip.Protocol {
		return nil, named(ErrInvalid, "ProtocolMismatch", "Protocol %s does not match pool protocol %s", vip.Protocol, pool.Protocol)
	}
	if pool.VIPID != "" && pool.VIPID != vip.ID {
		return nil, vipExists(vip, record.ErrDuplicate)
	}
	return pool, nil
}

func vipExists(vip *VIP, err error) error {
	if errors.Is(err, record.ErrDuplicate) {
		return named(ErrConflict, "VipExists", "Another Vip already exists for pool %s", vip.PoolID)
	}
	return err
}

// VIPs lists virtual addresses.
func (s *Service) VIPs(ctx context.Context, scope Scope, q Query) ([]VIP, error) {
	return list(s.store.Read(ctx), s.vips, scope, q, vipFields)
}

// VIP returns one virtual address.
func (s *Service) VIP(ctx context.Context, scope Scope, id string) (*VIP, error) {
	return s.vip(s.store.Read(ctx), scope, id)
}

func (s *Service) vip(tx *record.Tx, scope Scope, id string) (*VIP, error) {
	return get(tx, s.vips, scope, id, "VipNotFound", "Vip")
}

// UpdateVIP changes a virtual address; it may move before another pool.
func (s *Service) UpdateVIP(ctx context.Context, scope Scope, id string, change VIPChange) (vip *VIP, err error) {
	err = s.store.Update(ctx, func(tx *record.Tx) error {
		if vip, err = s.vip(tx, scope, id); err != nil {
			return err
		}
		old := vip.PoolID
		set(&vip.Name, change.Name)
		set(&vip.Description, change.Description)
		set(&vip.PoolID, change.PoolID)
		set(&vip.Persistence, change.Persistence)
		set(&vip.ConnectionLimit, change.ConnectionLimit)
		set(&vip.AdminStateUp, change.AdminStateUp)
		if err := checkVIP(vip); err != nil {
			return err
		}
		if vip.PoolID != old {
			if err := s.moveVIP(tx, scope, vip, old); err != nil {
				return err
			}
		}
		vip.Status = vip.Status.changed()
		return vipExists(vip, s.vips.Update(tx, vip))
	})
	return vip, err
}

func (s *Service) moveVIP(tx *record.Tx, scope Scope, vip *VIP, old string) error {
	pool, err := s.freePool(tx, scope, vip)
	if err != nil {
		return err
	}
	pool.VIPID = vip.ID
	if err := s.pools.Update(tx, pool); err != nil {
		return err
	}
	_, err = s.pools.Modify(tx, old, func(p *Pool) error { p.VIPID = ""; return nil })
	return err
}

// DeleteVIP takes a pool's virtual address away, and with it the port and the balancer.
func (s *Service) DeleteVIP(ctx context.Context, scope Scope, id string) error {
	vip, err := s.VIP(ctx, scope, id)
	if err != nil {
		return err
	}
	// The port first: if that fails, or we are stopped here, the same call finishes the work later.
	if err := s.ports.DeleteVIPPort(ctx, vip.PortID); err != nil {
		return err
	}
	return s.store.Update(ctx, func(tx *record.Tx) error {
		vip, err := s.vip(tx, scope, id)
		if err != nil {
			return err
		}
		if err := s.vips.Delete(tx, id); err != nil {
			return err
		}
		_, err = s.pools.Modify(tx, vip.PoolID, func(p *Pool) error { p.VIPID = ""; return nil })
		return err
	})
}
