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
	peers := make([]netip.Addr, 0, len(r.tunnels))
	for _, t := range r.tunnels {
		if t.host != host && (len(peers) == 0 || peers[len(peers)-1] != t.address) {
			peers = append(peers, t.address)
		}
	}
	if len(peers) == 0 {
		return nil
	}
	return peers
}

// manyReaches bounds what is remembered.
const manyReaches = 4096

// reaches remembers what was read for one host for the others of the process, who are all told of a change at once. The
// hub forgets what a change is about before it tells of it. An answer is kept only if it was not to be forgotten since
// it was begun.
type reaches struct {
	mu    sync.Mutex
	known map[string]*reachSlot
	ends  map[string]netip.Addr // of all hosts' tunnels; nil is not known
	epoch uint64                // of ends
}

// reachSlot is read by one at a time; the others wait for its answer.
type reachSlot struct {
	reading sync.Mutex
	known   *reach
	epoch   uint64
}

func (c *reaches) slot(networkID string) *reachSlot {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.known == nil || len(c.known) >= manyReaches {
		c.known = map[string]*reachSlot{}
	}
	s := c.known[networkID]
	if s == nil {
		s = &reachSlot{}
		c.known[networkID] = s
	}
	return s
}

func (c *reaches) get(s *reachSlot) (*reach, uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return s.known, s.epoch
}

func (c *reaches) put(s *reachSlot, r *reach, epoch uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if epoch == s.epoch {
		s.known = r
	}
}

func (c *reaches) forget(networkID string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if s := c.known[networkID]; s != nil {
		s.known = nil
		s.epoch++
	}
}

func (c *reaches) forgetAll() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, s := range c.known {
		s.known = nil
		s.epoch++
	}
	c.ends = nil
	c.epoch++
}

// reach reads a network's, for a host that is asked to be in it; nil where there is no such network.
func (s *Service) reach(ctx context.Context, host, networkID string) (*reach, error) {
	slot := s.reaches.slot(networkID)
	slot.reading.Lock()
	defer slot.reading.Unlock()
	known, epoch := s.reaches.get(slot)
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
	if n.Physical == "" && len(r.hosts) > 1 {
		if r.tunnels, err = s.tunnelsOf(tx, r.hosts); err != nil {
			return nil, err
		}
	}
	s.reaches.put(slot, r, epoch)
	return r, nil
}

// tunnelsOf are the ends of the hosts' tunnels, by address.
func (s *Service) tunnelsOf(tx *record.Tx, hosts []string) ([]tunnel, error) {
	all, err := s.tunnelEnds(tx)
	if err != nil {
		return nil, err
	}
	var ends []tunnel
	for _, host := range hosts {
		if address, ok := all[host]; ok {
			ends = append(ends, tunnel{host: host, address: address})
		}
	}
	slices.SortFunc(ends, func(a, b tunnel) int { return a.address.Compare(b.address) })
	return ends, nil
}

// tunnelEnds are the addresses of all hosts' tunnels.
func (s *Service) tunnelEnds(tx *record.Tx) (map[string]netip.Addr, error) {
	c := &s.reaches
	c.mu.Lock()
	ends, epoch := c.ends, c.epoch
	c.mu.Unlock()
	if ends != nil {
		return ends, nil
	}
	fabrics, err := s.agents.List(tx, record.Query{Where: []record.Condition{record.In("agent_type", AgentOpenVSwitch, AgentBridge)}})
	if err != nil {
		return nil, err
	}
	ends = make(map[string]netip.Addr, len(fabrics))
	for i := range fabrics {
		t, _ := fabrics[i].Configurations[configTunnel].(string)
		if address, err := netip.ParseAddr(t); err == nil {
			ends[fabrics[i].Host] = address
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if epoch == c.epoch {
		c.ends = ends
	}
	return ends, nil
}

// forgetReach forgets what a change may have made wrong.
func (s *Service) forgetReach(c record.Change, networkID string) {
	switch c.Kind {
	case s.networks.Kind(), s.presence.Kind():
		s.reaches.forget(networkID)
	case s.agents.Kind(), changedTunnels:
		s.reaches.forgetAll()
	}
}
