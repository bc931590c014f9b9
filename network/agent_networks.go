package network

import (
	"context"
	"slices"

	"github.com/kintoun/kintoun/internal/record"
	"github.com/kintoun/kintoun/network/driver"
)

type networkTarget struct{ *Agent }

// List names the networks that have ports on this host, and those that are on it.
func (a networkTarget) List(ctx context.Context) ([]string, error) {
	ids, err := a.drivers.Fabric.Networks().List(ctx)
	if err != nil {
		return nil, err
	}
	here, err := a.service.presence.List(a.service.store.Read(ctx), record.Query{Where: []record.Condition{record.Eq("host", a.host)}})
	return append(ids, idsOf(here, func(p *presence) string { return p.NetworkID })...), err
}

// Reconcile applies the network, or removes it once nothing stands in it.
func (a networkTarget) Reconcile(ctx context.Context, id string) error {
	unlock := a.networkLock.lock(id)
	defer unlock()
	want, err := a.service.networkFor(ctx, a.host, id)
	if err != nil {
		return err
	}
	if want != nil {
		return a.drivers.Fabric.Networks().Apply(ctx, *want)
	}
	a.mu.Lock()
	used := len(a.users[id]) > 0
	a.mu.Unlock()
	if used {
		return nil // leave looks again
	}
	return a.drivers.Fabric.Networks().Remove(ctx, id)
}

// enter makes the network be on this host and notes who needs it.
func (a *Agent) enter(ctx context.Context, networkID, user string) error {
	a.mu.Lock()
	if a.users[networkID] == nil {
		a.users[networkID] = map[string]bool{}
	}
	there := a.users[networkID][user]
	a.users[networkID][user] = true
	a.mu.Unlock()
	unlock := a.networkLock.lock(networkID)
	defer unlock()
	want, err := a.service.networkFor(ctx, a.host, networkID)
	if err != nil {
		return err
	}
	if want == nil {
		if !there {
			a.leaveOne(networkID, user)
		}
		return refuse(ErrNotFound, "NetworkNotFound", "Network %s is not wanted on host %s.", networkID, a.host)
	}
	return a.drivers.Fabric.Networks().Apply(ctx, *want)
}

// leave forgets that the user needs any network but those to keep.
func (a *Agent) leave(user string, keep ...string) {
	a.mu.Lock()
	var left []string
	for id, users := range a.users {
		if users[user] && !slices.Contains(keep, id) {
			delete(users, user)
			left = append(left, id)
			if len(users) == 0 {
				delete(a.users, id)
			}
		}
	}
	a.mu.Unlock()
	a.networks.Enqueue(left...)
}

// leaveOne forgets that the user needs the network.
func (a *Agent) leaveOne(networkID, user string) {
	a.mu.Lock()
	delete(a.users[networkID], user)
	if len(a.users[networkID]) == 0 {
		delete(a.users, networkID)
	}
	a.mu.Unlock()
	a.networks.Enqueue(networkID)
}

// enqueueShared looks again at the networks that a host is in, and this one.
func (a *Agent) enqueueShared(ctx context.Context, host string) {
	there, err := a.service.presence.List(a.service.store.Read(ctx), record.Query{Where: []record.Condition{record.Eq("host", host)}})
	if err != nil {
		a.options.Log.Warn("cannot tell which networks a host is in", "host", host, "error", err)
	}
	a.networks.Enqueue(idsOf(there, func(p *presence) string { return p.NetworkID })...)
}

// networkFor is the network as the host needs to know it, or nil if it has no port there.
func (s *Service) networkFor(ctx context.Context, host, id string) (*driver.Network, error) {
	r, err := s.reach(ctx, host, id)
	if err != nil || r == nil || !slices.Contains(r.hosts, host) {
		return nil, err
	}
	want := &driver.Network{ID: id, Segment: r.network.Segment, Physical: r.network.Physical, MTU: r.network.MTU}
	if r.network.Physical == "" {
		want.Peers = r.peers(host)
	}
	return want, nil
}
