package compute

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/google/uuid"
	"github.com/kintoun/kintoun/internal/fault"
	"github.com/kintoun/kintoun/internal/record"
)

// Aggregate is a named set of hosts. One with a zone places its hosts in that availability zone.
type Aggregate struct {
	Number    int64
	ID, Name  string
	Zone      *string
	Hosts     []string
	Metadata  map[string]string
	CreatedAt time.Time
	UpdatedAt *time.Time
	Revision  int64
}

var aggregateSpec = record.Spec[Aggregate]{
	Key:      func(a *Aggregate) string { return strconv.FormatInt(a.Number, 10) },
	Revision: func(a *Aggregate) *int64 { return &a.Revision },
	Event:    func(*Aggregate) record.Event { return record.Event{Type: "aggregate"} },
	Columns:  []record.Column[Aggregate]{{Name: "number", Value: func(a *Aggregate) any { return a.Number }}},
	Claims:   func(a *Aggregate) []record.Claim { return []record.Claim{{Space: "aggregate", Value: a.Name}} },
}

// CreateAggregate adds an empty aggregate; zone may be nil.
func (s *Service) CreateAggregate(ctx context.Context, name string, zone *string) (*Aggregate, error) {
	a := &Aggregate{ID: uuid.NewString(), Name: name, Zone: zone, Metadata: map[string]string{}, CreatedAt: s.now()}
	err := s.store.Update(ctx, func(tx *record.Tx) (err error) {
		if a.Number, err = s.next(tx, "aggregate"); err != nil {
			return err
		}
		return s.aggregates.Insert(tx, a)
	})
	if errors.Is(err, record.ErrDuplicate) {
		return nil, fault.Wrap(ErrConflict, "Aggregate %s already exists.", name)
	}
	return a, err
}

// Aggregates lists all aggregates.
func (s *Service) Aggregates(ctx context.Context) ([]Aggregate, error) {
	return s.aggregates.List(s.store.Read(ctx), record.Query{Order: []record.Order{{Column: "number"}}})
}

// Aggregate returns one aggregate by its number.
func (s *Service) Aggregate(ctx context.Context, number string) (*Aggregate, error) {
	a, err := s.aggregates.Get(s.store.Read(ctx), number)
	if err != nil {
		return nil, notFound(err, "Aggregate %s could not be found.", number)
	}
	return a, nil
}

// ChangeAggregate changes an aggregate.
func (s *Service) ChangeAggregate(ctx context.Context, number string, change func(a *Aggregate) error) (a *Aggregate, err error) {
	found := false
	err = s.store.Update(ctx, func(tx *record.Tx) error {
		a, err = s.aggregates.Modify(tx, number, func(a *Aggregate) error {
			found = true
			t := s.now()
			a.UpdatedAt = &t
			return change(a)
		})
		return err
	})
	if !found {
		return nil, notFound(err, "Aggregate %s could not be found.", number)
	}
	if errors.Is(err, record.ErrDuplicate) {
		return nil, fault.Wrap(ErrConflict, "Aggregate already exists.")
	}
	return a, err
}

// AddHost places a host in an aggregate.
func (s *Service) AddHost(ctx context.Context, number, host string) (*Aggregate, error) {
	if _, err := s.Host(ctx, host); err != nil {
		return nil, err
	}
	return s.ChangeAggregate(ctx, number, func(a *Aggregate) error {
		if slices.Contains(a.Hosts, host) {
			return fault.Wrap(ErrConflict, "Aggregate %s already has host %s.", number, host)
		}
		a.Hosts = append(a.Hosts, host)
		return nil
	})
}

// RemoveHost takes a host out of an aggregate.
func (s *Service) RemoveHost(ctx context.Context, number, host string) (*Aggregate, error) {
	return s.ChangeAggregate(ctx, number, func(a *Aggregate) error {
		i := slices.Index(a.Hosts, host)
		if i < 0 {
			return fault.Wrap(ErrNotFound, "Aggregate %s has no host %s.", number, host)
		}
		a.Hosts = slices.Delete(a.Hosts, i, i+1)
		return nil
	})
}

// DeleteAggregate deletes an aggregate, which must be empty.
func (s *Service) DeleteAggregate(ctx context.Context, number string) error {
	err := s.store.Update(ctx, func(tx *record.Tx) error {
		a, err := s.aggregates.Get(tx, number)
		if err != nil {
			return err
		}
		if len(a.Hosts) > 0 {
			return fault.Wrap(ErrInvalid, "Cannot remove host from aggregate %s: aggregate is not empty", number)
		}
		return s.aggregates.Delete(tx, number)
	})
	return notFound(err, "Aggregate %s could not be found.", number)
}

// Zones returns each host's availability zone.
func (s *Service) Zones(ctx context.Context) (map[string]string, error) {
	return s.zones(s.store.Read(ctx))
}

func (s *Service) zones(tx *record.Tx) (map[string]string, error) {
	hosts, err := s.hosts.List(tx, record.Query{})
	if err != nil {
		return nil, err
	}
	zones := map[string]string{}
	for _, h := range hosts {
		zones[h.Name] = DefaultZone
	}
	elsewhere, err := s.zonesElsewhere(tx)
	maps.Copy(zones, elsewhere)
	return zones, err
}

// zonesElsewhere are the zones of the hosts that are not in the default one.
func (s *Service) zonesElsewhere(tx *record.Tx) (map[string]string, error) {
	aggregates, err := s.aggregates.List(tx, record.Query{})
	if err != nil {
		return nil, err
	}
	zones := map[string]string{}
	for _, a := range aggregates {
		if a.Zone == nil {
			continue
		}
		for _, h := range a.Hosts {
			zones[h] = *a.Zone
		}
	}
	return zones, nil
}
