package compute

import (
	"cmp"

	"github.com/kintoun/kintoun/internal/fault"
	"github.com/kintoun/kintoun/internal/record"
)

// scheduler chooses hosts for the servers of one request, within one transaction.
type scheduler struct {
	options Options
	hosts   []Host
	// more reads more of the hosts with the most free memory than are in hosts; nil where they are all.
	more func() error
	// floor is the most free memory that the others may have.
	floor int
	zones map[string]string
	want  ServerSpec
	group *ServerGroup
	// groupOn counts the group's servers by host; with and apart are the hosts of the hinted servers.
	groupOn     map[string]int
	with, apart map[string]bool
}

func (s *Service) scheduler(tx *record.Tx, scope Scope, p *plan) (*scheduler, error) {
	c := &scheduler{options: s.options, want: p.spec, groupOn: map[string]int{}}
	var err error
	if err := s.candidates(tx, c); err != nil {
		return nil, err
	}
	if c.zones, err = s.zonesElsewhere(tx); err != nil {
		return nil, err
	}
	if err := c.checkDestination(); err != nil {
		return nil, err
	}
	if id := p.spec.Hints.GroupID; id != "" {
		if err := s.joinGroup(tx, scope, c, id); err != nil {
			return nil, err
		}
	}
	if c.with, err = s.hostsOf(tx, scope, p.spec.Hints.SameHost); err != nil {
		return nil, err
	}
	c.apart, err = s.hostsOf(tx, scope, p.spec.Hints.DifferentHost)
	return c, err
}

// candidatesFirst is how many hosts are looked at first: with the most free memory first, one of them is nearly always
// the one. Where it is not, candidatesMore times as many are.
const (
	candidatesFirst = 4
	candidatesMore  = 8
)

// candidates reads the hosts that a server may come to.
func (s *Service) candidates(tx *record.Tx, c *scheduler) (err error) {
	q := record.Query{Order: []record.Order{{Column: "crowding"}}}
	switch {
	case c.want.Host != "":
		q.Where = []record.Condition{record.Eq("id", c.want.Host)}
	case c.want.Hints.GroupID == "" && c.want.Hints.SameHost == nil:
		return s.roomiest(tx, c, candidatesFirst)
	}
	c.hosts, err = s.hosts.List(tx, q)
	return err
}

// roomiest reads the hosts with the most free memory.
func (s *Service) roomiest(tx *record.Tx, c *scheduler, limit int) (err error) {
	c.hosts, err = s.hosts.List(tx, record.Query{Order: []record.Order{{Column: "crowding"}}, Limit: limit})
	c.more = nil
	if len(c.hosts) == limit {
		c.floor = free(&c.hosts[limit-1])
		c.more = func() error { return s.roomiest(tx, c, candidatesMore*limit) }
	}
	return err
}

// checkDestination refuses a zone or a host that does not exist.
func (c *scheduler) checkDestination() error {
	if h := c.want.Host; h != "" && len(c.hosts) == 0 {
		return fault.Wrap(ErrInvalid, "Compute host %s could not be found.", h)
	}
	if c.want.Zone == "" || c.want.Zone == DefaultZone {
		return nil
	}
	for _, zone := range c.zones {
		if zone == c.want.Zone {
			return nil
		}
	}
	return fault.Wrap(ErrInvalid, "The requested availability zone is not available")
}

func (s *Service) joinGroup(tx *record.Tx, scope Scope, c *scheduler, id string) error {
	group, err := s.group(tx, scope, id)
	if err != nil {
		return asInvalid(err)
	}
	members, err := s.members(tx, id)
	if err != nil {
		return err
	}
	quota, err := s.quota(tx, group.ProjectID)
	if err != nil {
		return err
	}
	if quota.ServerGroupMembers >= 0 && len(members)+c.want.MinCount > quota.ServerGroupMembers {
		return fault.Wrap(ErrQuota, "Quota exceeded, too many servers in group")
	}
	c.group = group
	for _, m := range members {
		if m.Host != "" {
			c.groupOn[m.Host]++
		}
	}
	return nil
}

func (s *Service) hostsOf(tx *record.Tx, scope Scope, serverIDs []string) (map[string]bool, error) {
	if len(serverIDs) == 0 {
		return nil, nil
	}
	hosts := map[string]bool{}
	for _, id := range serverIDs {
		v, err := s.server(tx, scope, id)
		if err != nil {
			return nil, asInvalid(err)
		}
		hosts[v.Host] = true
	}
	return hosts, nil
}

// pick returns the host with the most free memory among those that can take the server, and counts the server in;
// empty if there is none.
func (c *scheduler) pick(v *Server) (string, error) {
	need := v.footprint()
	best := c.best(need)
	for c.more != nil && (best == nil || free(best) < c.floor) {
		if err := c.more(); err != nil {
			return "", err
		}
		best = c.best(need)
	}
	if best == nil {
		return "", nil
	}
	best.Used.Servers++
	best.Used.VCPUs += v.Flavor.VCPUs
	best.Used.MemoryMiB += v.Flavor.MemoryMiB
	best.Used.DiskGiB += need.DiskGiB + need.EphemeralGiB
	c.groupOn[best.Name]++
	return best.Name, nil
}

func (c *scheduler) best(f *Flavor) *Host {
	var best *Host
	for i := range c.hosts {
		h := &c.hosts[i]
		if c.fits(h, f) && (best == nil || c.better(h, best)) {
			best = h
		}
	}
	return best
}

func (c *scheduler) fits(h *Host, f *Flavor) bool {
	used := h.Used
	return !h.Disabled && !h.ForcedDown && c.options.Now().Sub(h.LastSeen) < c.options.DownAfter &&
		(c.want.Host == "" || c.want.Host == h.Name) &&
		(c.want.Zone == "" || c.want.Zone == cmp.Or(c.zones[h.Name], DefaultZone)) &&
		(c.with == nil || c.with[h.Name]) && !c.apart[h.Name] &&
		float64(used.VCPUs+f.VCPUs) <= float64(h.Resources.VCPUs)*c.options.CPURatio &&
		float64(used.MemoryMiB+f.MemoryMiB) <= float64(h.Resources.MemoryMiB)*c.options.RAMRatio &&
		float64(used.DiskGiB+f.DiskGiB+f.EphemeralGiB) <= float64(h.Resources.DiskGiB)*c.options.DiskRatio &&
		c.groupAllows(h)
}

func (c *scheduler) groupAllows(h *Host) bool {
	if c.group == nil {
		return true
	}
	switch c.group.Policy {
	case Affinity:
		return len(c.groupOn) == 0 || c.groupOn[h.Name] > 0
	case AntiAffinity:
		return c.groupOn[h.Name] < max(c.group.MaxPerHost, 1)
	}
	return true
}

// better weighs two hosts that both fit: the wishes of a soft policy first, then free memory.
func (c *scheduler) better(h, than *Host) bool {
	if c.group != nil {
		switch a, b := c.groupOn[h.Name], c.groupOn[than.Name]; {
		case c.group.Policy == SoftAffinity && a != b:
			return a > b
		case c.group.Policy == SoftAntiAffinity && a != b:
			return a < b
		}
	}
	return free(h) > free(than)
}

func free(h *Host) int { return h.Resources.MemoryMiB - h.Used.MemoryMiB }
