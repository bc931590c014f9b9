package compute

import (
	"context"
	"errors"
	"time"

	"github.com/google/uuid"
	"github.com/kintoun/kintoun/internal/fault"
	"github.com/kintoun/kintoun/internal/record"
)

// Host is a machine with an [Agent]: what Nova shows as a service and as a hypervisor.
type Host struct {
	Name string
	// ID is the hypervisor's, ServiceID the service's; Number is both where the API wants small numbers.
	ID, ServiceID string
	Number        int64
	Resources     Resources
	// Used is what its servers were promised.
	Used Used
	// Disabled hosts get no new servers.
	Disabled       bool
	DisabledReason *string
	// ForcedDown hosts count as down whatever they say.
	ForcedDown           bool
	StartedAt, LastSeen  time.Time
	CreatedAt, UpdatedAt time.Time
	Revision             int64
}

// Resources are what a host has and is.
type Resources struct {
	VCPUs, MemoryMiB, DiskGiB int
	// Address is where other hosts reach it; may be empty.
	Address string
	// Type and Version name the hypervisor: "QEMU", 7002000.
	Type    string
	Version int
}

// Used is what a host has promised to servers.
type Used struct{ Servers, VCPUs, MemoryMiB, DiskGiB int }

var hostSpec = record.Spec[Host]{
	Key:      func(h *Host) string { return h.Name },
	Revision: func(h *Host) *int64 { return &h.Revision },
	Event:    func(h *Host) record.Event { return record.Event{Type: "hypervisor", ID: h.ID} },
	// As the scheduler reads them. Many have the same free memory: with the name in the index nothing is left to sort.
	Indexes:   [][]string{{"crowding", "id"}},
	Unindexed: []string{"crowding"},
	Columns: []record.Column[Host]{
		{Name: "number", Value: func(h *Host) any { return h.Number }},
		{Name: "hypervisor", Value: func(h *Host) any { return h.ID }},
		{Name: "service", Value: func(h *Host) any { return h.ServiceID }},
		{Name: "crowding", Value: func(h *Host) any { return farFromZero - int64(free(h)) }},
	},
}

// farFromZero keeps crowding, which grows as free memory shrinks, from being negative in the database, where numbers may
// be sorted as texts.
const farFromZero = 1 << 40

// Up says whether the host was heard of lately.
func (s *Service) Up(h *Host) bool {
	return !h.ForcedDown && s.now().Sub(h.LastSeen) < s.options.DownAfter
}

// Hosts lists the hosts in the order in which they came.
func (s *Service) Hosts(ctx context.Context) ([]Host, error) {
	return s.hosts.List(s.store.Read(ctx), record.Query{Order: []record.Order{{Column: "number"}}})
}

// Host returns the host of that name.
func (s *Service) Host(ctx context.Context, name string) (*Host, error) {
	h, err := s.hosts.Get(s.store.Read(ctx), name)
	if err != nil {
		return nil, notFound(err, "Compute host %s could not be found.", name)
	}
	return h, nil
}

// HostChange is what an operator may change about a host; nil leaves it.
type HostChange struct {
	Disabled, ForcedDown *bool
	DisabledReason       *string
}

// ChangeHost lets an operator take a host out of service, or back in.
func (s *Service) ChangeHost(ctx context.Context, name string, change HostChange) (h *Host, err error) {
	err = s.store.Update(ctx, func(tx *record.Tx) error {
		h, err = s.hosts.Modify(tx, name, func(h *Host) error {
			if change.Disabled != nil {
				h.Disabled = *change.Disabled
				h.DisabledReason = nil
			}
			if change.DisabledReason != nil {
				h.DisabledReason = change.DisabledReason
			}
			if change.ForcedDown != nil {
				h.ForcedDown = *change.ForcedDown
			}
			h.UpdatedAt = s.now()
			return nil
		})
		return err
	})
	return h, notFound(err, "Host %s could not be found.", name)
}

// DeleteHost forgets a host, which must have no servers. An agent that still runs there registers it again.
func (s *Service) DeleteHost(ctx context.Context, name string) error {
	err := s.store.Update(ctx, func(tx *record.Tx) error {
		n, err := s.servers.Count(tx, record.Eq("host", name), record.Eq("deleted", false))
		if err != nil {
			return err
		}
		if n > 0 {
			return fault.Wrap(ErrConflict, "Unable to delete compute service that is hosting instances. Migrate or delete the instances first.")
		}
		return s.hosts.Delete(tx, name)
	})
	return notFound(err, "Host %s could not be found.", name)
}

// register makes the host known, as an agent starts.
func (s *Service) register(ctx context.Context, name string, r Resources) error {
	return s.store.Update(ctx, func(tx *record.Tx) error {
		h, err := s.hosts.Get(tx, name)
		if err != nil && !errors.Is(err, ErrNotFound) {
			return err
		}
		t := s.now()
		if err == nil {
			h.Resources, h.LastSeen, h.StartedAt = r, t, t
			return s.hosts.Update(tx, h)
		}
		h = &Host{Name: name, ID: uuid.NewString(), ServiceID: uuid.NewString(), Resources: r, StartedAt: t, LastSeen: t, CreatedAt: t, UpdatedAt: t}
		if h.Number, err = s.next(tx, "host"); err != nil {
			return err
		}
		return s.hosts.Insert(tx, h)
	})
}

// beat says that the host is alive.
func (s *Service) beat(ctx context.Context, name string, at time.Time) error {
	return s.store.Update(ctx, func(tx *record.Tx) error {
		_, err := s.hosts.Touch(tx, name, func(h *Host) error { h.LastSeen = at; return nil })
		return err
	})
}

// claim takes what the flavor needs from a host, or with a negative count gives it back.
func (s *Service) claim(tx *record.Tx, name string, f *Flavor, count int) error {
	_, err := s.hosts.Touch(tx, name, func(h *Host) error {
		h.Used.Servers += count
		h.Used.VCPUs += count * f.VCPUs
		h.Used.MemoryMiB += count * f.MemoryMiB
		h.Used.DiskGiB += count * (f.DiskGiB + f.EphemeralGiB)
		return nil
	})
	if errors.Is(err, ErrNotFound) && count < 0 {
		return nil
	}
	return err
}
