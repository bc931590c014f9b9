package network

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"sync"

	"github.com/kintoun/kintoun/internal/record"
)

// reach is on which hosts a network is, and how they reach one another.
type reach struct {
	network *Network
	hosts   []string
	tunnels []tunnel // of the hosts, by address
}

type tunnel struct {
	host    string
	address netip.Addr
}

// peers are the tunnels of the other hosts.
func (r *reach) peers(host string) []netip.Addr {
	var peers []netip.Addr
	for _, t := range r.tunnels {
		if t.host != host && (len(peers) == 0 || peers[len(peers)-1] != t.address) {
			peers = append(peers, t.address)
		}
	}
	return peers
}

// manyReaches bounds what is remembered.
const manyReaches = 4096

// reaches remembers what was read for one host for the others of the process, who are all told of a change at once. The
// hub forgets what a change is about before it tells of it. An answer is kept only if nothing was forgotten since it
// was begun.
type reaches struct {
	mu    sync.Mutex
	epoch uint64
	known map[string]*reach
}

func (c *reaches) get(networkID string) (*reach, uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.known[networkID], c.epoch
}

func (c *reaches) put(networkID string, r *reach, epoch uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if epoch != c.epoch {
		return
	}
	if c.known == nil || len(c.known) >= manyReaches {
		c.known = map[string]*reach{}
	}
	c.known[networkID] = r
}

// forget forgets the networks; none named is all.
func (c *reaches) forget(networkIDs ...string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.epoch++
	for _, id := range networkIDs {
		delete(c.known, id)
	}
	if len(networkIDs) == 0 {
		c.known = nil
	}
}

// reach reads a network's, for a host that is asked to be in it; nil where there is no such network.
func (s *Service) reach(ctx context.Context, host, networkID string) (*reach, error) {
	known, epoch := s.reaches.get(networkID)
	if known != nil && slices.Contains(known.hosts, host) {
		return known, nil
	}
	tx := s.store.Read(ctx)
	n, err := s.networks.Get(tx, networkID)
	if errors.Is(err, ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	r := &reach{network: n}
	if r.hosts, err = s.hostsIn(tx, networkID); err != nil {
		return nil, err
	}
	if n.Physical == "" && len(r.hosts) > 1 && slices.Contains(r.hosts, host) {
		if r.tunnels, err = s.tunnels(tx, r.hosts); err != nil {
			return nil, err
		}
	}
	if slices.Contains(r.hosts, host) {
		s.reaches.put(networkID, r, epoch)
	}
	return r, nil
}

// forgetReach forgets what a change may have made wrong.
func (s *Service) forgetReach(c record.Change, networkID string) {
	switch c.Kind {
	case s.networks.Kind(), s.presence.Kind():
		s.reaches.forget(networkID)
	case s.agents.Kind(), changedTunnels:
		s.reaches.forget()
	}
}
