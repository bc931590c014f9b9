package network

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/kintoun/kintoun/internal/record"
	"github.com/kintoun/kintoun/network/driver"
)

type portTarget struct{ *Agent }

// List names the ports that are bound to this host, and those that are on it.
func (a portTarget) List(ctx context.Context) ([]string, error) {
	ids, err := a.drivers.Fabric.Ports().List(ctx)
	if err != nil {
		return nil, err
	}
	bound, err := a.service.ports.List(a.service.store.Read(ctx), record.Query{Where: []record.Condition{record.Eq("host_id", a.host)}})
	return append(ids, idsOf(bound, func(p *Port) string { return p.ID })...), err
}

// Reconcile plugs the port, or takes it away when it is not bound to this host any more.
func (a portTarget) Reconcile(ctx context.Context, id string) error {
	unlock := a.portLock.lock(id)
	defer unlock()
	p, err := a.service.ports.Get(a.service.store.Read(ctx), id)
	if err != nil && !errors.Is(err, ErrNotFound) {
		return err
	}
	a.mu.Lock()
	if p != nil && (p.ofRouter() || p.DeviceOwner == OwnerDHCP) {
		a.infra[id] = true
	}
	infra := a.infra[id]
	if p == nil {
		delete(a.infra, id)
		delete(a.unplugged, id)
	}
	endpoint, known := a.endpoints[id]
	off := a.unplugged[id]
	a.mu.Unlock()
	switch {
	case infra: // its driver's to plug and to remove
		return nil
	case p == nil || p.HostID != a.host:
		return a.remove(ctx, id)
	case off:
		return nil
	case !known && strings.HasPrefix(p.DeviceOwner, ownerComputePrefix):
		endpoint = driver.Endpoint{Device: driver.TapName(id), Owner: a.options.TapOwner}
	case !known: // whoever needs it will plug it, and may have before this process was started
		return nil
	}
	_, err = a.apply(ctx, p, endpoint)
	return err
}

// remove takes the port's device away. The caller holds the port's lock.
func (a *Agent) remove(ctx context.Context, id string) error {
	if err := a.drivers.Fabric.Ports().Remove(ctx, id); err != nil {
		return err
	}
	a.mu.Lock()
	delete(a.endpoints, id)
	a.mu.Unlock()
	a.leave("port " + id)
	return nil
}

// apply makes the port's network and device match, and reports. The caller holds the port's lock.
func (a *Agent) apply(ctx context.Context, p *Port, endpoint driver.Endpoint) (*driver.Port, error) {
	want, err := a.service.portFor(ctx, p, endpoint)
	if err == nil {
		err = a.enter(ctx, p.NetworkID, "port "+p.ID)
	}
	if err == nil {
		err = a.drivers.Fabric.Ports().Apply(ctx, *want)
	}
	status := StatusActive
	if err != nil || !p.AdminStateUp {
		status = StatusDown
	}
	if p.Status != status {
		err = errors.Join(err, a.service.reportPort(ctx, p.ID, a.host, status))
	}
	return want, err
}

// Plug binds the port to this host and makes its device, with its network, be there. The endpoint is remembered
// until [Agent.Unplug] or the port's end, so that later changes of the port are applied. It is free when all is so. The
// port is returned as the fabric has it now.
func (a *Agent) Plug(ctx context.Context, portID string, endpoint driver.Endpoint) (*driver.Port, error) {
	unlock := a.portLock.lock(portID)
	defer unlock()
	p, err := a.service.bind(ctx, portID, a.host)
	if err != nil {
		return nil, err
	}
	a.mu.Lock()
	a.endpoints[portID] = endpoint
	delete(a.unplugged, portID)
	a.mu.Unlock()
	return a.apply(ctx, p, endpoint)
}

// Unplug takes the port's device away and binds the port to no host. That either is gone already is no error.
func (a *Agent) Unplug(ctx context.Context, portID string) error {
	unlock := a.portLock.lock(portID)
	defer unlock()
	a.mu.Lock()
	a.unplugged[portID] = true
	a.mu.Unlock()
	if err := a.remove(ctx, portID); err != nil {
		return err
	}
	err := a.service.unbindPort(ctx, portID, a.host)
	if errors.Is(err, ErrNotFound) {
		err = nil
	}
	if err == nil {
		a.mu.Lock()
		delete(a.unplugged, portID)
		a.mu.Unlock()
	}
	return err
}

// enqueueGroup looks again at the ports of a group whose rules changed.
func (a *Agent) enqueueGroup(ctx context.Context, groups ...string) {
	if len(groups) == 0 {
		return
	}
	// Among the ports of this host, not among all of the groups.
	ports, err := a.service.ports.Texts(a.service.store.Read(ctx), "id", append(contained("security_groups", groups), record.Eq("host_id", a.host))...)
	if err != nil {
		a.options.Log.Warn("cannot tell which ports a security group guards", "groups", groups, "error", err)
	}
	a.ports.Enqueue(ports...)
}

// enqueueReferring looks again at the ports whose rules name a group whose members changed.
func (a *Agent) enqueueReferring(ctx context.Context, group string) {
	groups, err := a.service.referring(a.service.store.Read(ctx), group)
	if err != nil {
		a.options.Log.Warn("cannot tell which rules name a security group", "group", group, "error", err)
	}
	a.enqueueGroup(ctx, groups...)
}

// bind says that the port is on the host.
func (s *Service) bind(ctx context.Context, id, host string) (*Port, error) {
	p, err := s.ports.Get(s.store.Read(ctx), id)
	if err != nil || p.HostID == host {
		return p, notFound(err, "PortNotFound", "Port %s", id)
	}
	if p, err = s.UpdatePort(ctx, System, id, PortSpec{HostID: &host}); err != nil {
		return nil, fmt.Errorf("bind port %q to host %q: %w", id, host, err)
	}
	return p, nil
}

func (s *Service) unbindPort(ctx context.Context, id, host string) error {
	return s.update(ctx, func(tx *record.Tx) error {
		p, err := s.ports.Get(tx, id)
		if err != nil || p.HostID != host {
			return err
		}
		return s.changePort(tx, p, PortSpec{HostID: new("")})
	})
}

// reportPort records what an agent observed of a port on its host.
func (s *Service) reportPort(ctx context.Context, id, host, status string) error {
	p, err := s.ports.Get(s.store.Read(ctx), id)
	if errors.Is(err, ErrNotFound) || err == nil && (p.Status == status || p.HostID != host) {
		return nil
	}
	if err != nil {
		return err
	}
	return ignoreGone(s.update(ctx, func(tx *record.Tx) error {
		p, err := s.ports.Get(tx, id)
		if err != nil || p.HostID != host || p.Status == status {
			return err
		}
		p.Status = status
		return s.ports.Report(tx, p)
	}))
}

// WaitPort returns the port once it has the status, by the database's feed, or ctx's error.
func (s *Service) WaitPort(ctx context.Context, id, status string) (*Port, error) {
	head, err := s.store.Head(ctx)
	if err != nil {
		return nil, err
	}
	p, err := s.Port(ctx, System, id)
	if err != nil || p.Status == status {
		return p, err
	}
	for change, err := range s.store.Watch(ctx, head) {
		if err != nil {
			return nil, err
		}
		if change.Kind != s.ports.Kind() || change.ID != id {
			continue
		}
		if p, err = s.Port(ctx, System, id); err != nil || p.Status == status {
			return p, err
		}
	}
	return nil, ctx.Err()
}
