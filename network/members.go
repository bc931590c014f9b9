package network

import (
	"net/netip"
	"slices"
	"sync"

	"github.com/kintoun/kintoun/internal/record"
)

// groupMembers remembers the addresses of security groups' ports, which every port needs whose rules name the group: they are
// read once for a change of the group, and not once for each such port. The hub forgets what a change is about before it
// tells of it. An answer is kept only if nothing was to be forgotten since it was begun.
type groupMembers struct {
	mu    sync.Mutex
	known map[string][]netip.Prefix
	epoch uint64
}

func (c *groupMembers) get(group string) ([]netip.Prefix, uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.known[group], c.epoch
}

func (c *groupMembers) put(group string, list []netip.Prefix, epoch uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if epoch != c.epoch {
		return
	}
	if c.known == nil {
		c.known = map[string][]netip.Prefix{}
	}
	c.known[group] = list
}

func (c *groupMembers) forget(group string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.known, group)
	c.epoch++
}

func (c *groupMembers) forgetAll() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.known = nil
	c.epoch++
}

// forgetMembers forgets what a change may have made wrong. While no rule names a group its members change unannounced:
// with a rule, everything begins anew.
func (s *Service) forgetMembers(c record.Change) {
	switch c.Kind {
	case changedMembers:
		s.members.forget(c.ID)
	case s.groups.Kind(), s.rules.Kind():
		s.members.forgetAll()
	}
}

// memberAddresses are those of all ports in the group; never nil, and not to be changed.
func (s *Service) memberAddresses(tx *record.Tx, group string) ([]netip.Prefix, error) {
	known, epoch := s.members.get(group)
	if known != nil {
		return known, nil
	}
	ports, err := s.ports.List(tx, record.Query{Where: []record.Condition{record.Claiming(groupSpace(group))}})
	if err != nil {
		return nil, err
	}
	list := []netip.Prefix{}
	for i := range ports {
		list = append(list, ports[i].addresses()...)
	}
	slices.SortFunc(list, netip.Prefix.Compare)
	list = slices.Compact(list)
	s.members.put(group, list, epoch)
	return list, nil
}
