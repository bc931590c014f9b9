package compute

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"

	"github.com/google/uuid"
	"github.com/kintoun/kintoun/internal/fault"
	"github.com/kintoun/kintoun/internal/record"
)

// Flavor is a size of server.
type Flavor struct {
	// ID is whatever its maker chose; a UUID if nothing was chosen.
	ID, Name    string
	Description *string
	VCPUs       int
	MemoryMiB   int
	// DiskGiB is the root disk's size; zero is the image's own.
	DiskGiB      int
	EphemeralGiB int
	SwapMiB      int
	RxTxFactor   float64
	// Public flavors are everybody's; the others belong to the projects in Access.
	Public     bool
	Access     []string          `json:",omitempty"`
	ExtraSpecs map[string]string `json:",omitempty"`
	Revision   int64
}

var flavorSpec = record.Spec[Flavor]{
	Key:       func(f *Flavor) string { return f.ID },
	Revision:  func(f *Flavor) *int64 { return &f.Revision },
	Event:     func(*Flavor) record.Event { return record.Event{Type: "flavor"} },
	Unindexed: []string{"access", "disk", "memory", "public", "vcpus"},
	Columns: []record.Column[Flavor]{
		{Name: "name", Value: func(f *Flavor) any { return f.Name }},
		{Name: "public", Value: func(f *Flavor) any { return f.Public }},
		{Name: "access", Value: func(f *Flavor) any { return "," + strings.Join(f.Access, ",") + "," }},
		{Name: "memory", Value: func(f *Flavor) any { return f.MemoryMiB }},
		{Name: "disk", Value: func(f *Flavor) any { return f.DiskGiB }},
		{Name: "vcpus", Value: func(f *Flavor) any { return f.VCPUs }},
	},
	Claims: func(f *Flavor) []record.Claim { return []record.Claim{{Space: "flavor name", Value: f.Name}} },
}

// DefaultFlavors are Nova's classic ones, with the memory that small guests really need.
func DefaultFlavors() []Flavor {
	public := func(id, name string, vcpus, memory, disk int) Flavor {
		return Flavor{ID: id, Name: name, VCPUs: vcpus, MemoryMiB: memory, DiskGiB: disk, RxTxFactor: 1, Public: true}
	}
	return []Flavor{
		public("1", "m1.tiny", 1, 128, 1),
		public("2", "m1.small", 1, 256, 2),
		public("3", "m1.medium", 1, 512, 10),
		public("4", "m1.large", 2, 1024, 20),
		public("5", "m1.xlarge", 4, 2048, 40),
	}
}

// EnsureFlavors creates those of the flavors whose identifier and name are both free, and leaves the others alone.
func (s *Service) EnsureFlavors(ctx context.Context, flavors ...Flavor) error {
	known, err := s.flavors.Texts(s.store.Read(ctx), "id")
	if err != nil {
		return err
	}
	for _, f := range flavors {
		if slices.Contains(known, f.ID) {
			continue
		}
		if _, err := s.CreateFlavor(ctx, f); err != nil && !errors.Is(err, ErrConflict) {
			return err
		}
	}
	return nil
}

// CreateFlavor adds a flavor. Its identifier and its name are unique.
func (s *Service) CreateFlavor(ctx context.Context, f Flavor) (*Flavor, error) {
	if f.ID == "" {
		f.ID = uuid.NewString()
	}
	if f.RxTxFactor == 0 {
		f.RxTxFactor = 1
	}
	if f.Name == "" || f.VCPUs < 1 || f.MemoryMiB < 1 || f.DiskGiB < 0 || f.EphemeralGiB < 0 || f.SwapMiB < 0 {
		return nil, fault.Wrap(ErrInvalid, "A flavor has a name, at least one VCPU and 1 MiB of memory, and no negative sizes.")
	}
	err := s.store.Update(ctx, func(tx *record.Tx) error {
		if _, err := s.flavors.Get(tx, f.ID); err == nil {
			return fault.Wrap(ErrConflict, "Flavor with ID %s already exists.", f.ID)
		}
		return s.flavors.Insert(tx, &f)
	})
	if errors.Is(err, record.ErrDuplicate) {
		return nil, fault.Wrap(ErrConflict, "Flavor with name %s already exists.", f.Name)
	}
	return &f, err
}

// Flavor returns a flavor that the scope may use.
func (s *Service) Flavor(ctx context.Context, scope Scope, id string) (*Flavor, error) {
	f, err := s.flavors.Get(s.store.Read(ctx), id)
	if err == nil && !f.Public && !scope.Admin && !slices.Contains(f.Access, scope.ProjectID) {
		err = ErrNotFound
	}
	if err != nil {
		return nil, notFound(err, "Flavor %s could not be found.", id)
	}
	return f, nil
}

// FlavorFilter narrows a list of flavors. The zero value lists the public ones and those that the project has access to.
type FlavorFilter struct {
	// Public lists only public (true) or only private (false) ones. Only admins may ask for it, or for All.
	Public *bool
	// All lists private ones too, whoever they belong to.
	All                   bool
	MinMemoryMiB, MinDisk int
	SortKey               string // "flavorid" (by default), "name", "memory_mb", "root_gb" or "vcpus"
	Descending            bool
	Marker                string
	Limit                 int
}

var flavorSortColumns = map[string]string{
	"": "id", "flavorid": "id", "id": "id", "name": "name", "memory_mb": "memory", "root_gb": "disk", "vcpus": "vcpus",
	"created_at": "id", "updated_at": "id", "ephemeral_gb": "disk", "swap": "memory", "rxtx_factor": "id", "is_public": "public", "disabled": "id",
	"vcpu_weight": "id", "deleted_at": "id", "deleted": "id",
}

// Flavors lists flavors.
func (s *Service) Flavors(ctx context.Context, scope Scope, filter FlavorFilter) ([]Flavor, error) {
	column, ok := flavorSortColumns[filter.SortKey]
	if !ok {
		return nil, fault.Wrap(ErrInvalid, "Sort key supplied was not valid.")
	}
	q := record.Query{Order: []record.Order{{Column: column, Descending: filter.Descending}}, After: filter.Marker, Limit: filter.Limit}
	if filter.MinMemoryMiB > 0 {
		q.Where = append(q.Where, record.Ge("memory", filter.MinMemoryMiB))
	}
	if filter.MinDisk > 0 {
		q.Where = append(q.Where, record.Ge("disk", filter.MinDisk))
	}
	switch {
	case scope.Admin && filter.All:
	case scope.Admin && filter.Public != nil:
		q.Where = append(q.Where, record.Eq("public", *filter.Public))
	default:
		q.Where = append(q.Where, record.Any(record.Eq("public", true), record.Contains("access", ","+scope.ProjectID+",")))
	}
	list, err := s.flavors.List(s.store.Read(ctx), q)
	if errors.Is(err, ErrInvalid) {
		return nil, fault.Wrap(ErrInvalid, "marker [%s] not found", filter.Marker)
	}
	return list, err
}

// DeleteFlavor deletes a flavor. Servers keep what they were made with.
func (s *Service) DeleteFlavor(ctx context.Context, id string) error {
	err := s.store.Update(ctx, func(tx *record.Tx) error { return s.flavors.Delete(tx, id) })
	return notFound(err, "Flavor %s could not be found.", id)
}

func (s *Service) modifyFlavor(ctx context.Context, id string, fn func(f *Flavor) error) (f *Flavor, err error) {
	found := false
	err = s.store.Update(ctx, func(tx *record.Tx) error {
		f, err = s.flavors.Modify(tx, id, func(f *Flavor) error {
			found = true
			if f.ExtraSpecs == nil {
				f.ExtraSpecs = map[string]string{}
			}
			return fn(f)
		})
		return err
	})
	if !found {
		return nil, notFound(err, "Flavor %s could not be found.", id)
	}
	return f, err
}

// DescribeFlavor changes a flavor's description, the only thing about it that may change; nil takes it away.
func (s *Service) DescribeFlavor(ctx context.Context, id string, description *string) (*Flavor, error) {
	return s.modifyFlavor(ctx, id, func(f *Flavor) error { f.Description = description; return nil })
}

// SetExtraSpecs adds or replaces extra specs of a flavor.
func (s *Service) SetExtraSpecs(ctx context.Context, id string, specs map[string]string) (*Flavor, error) {
	return s.modifyFlavor(ctx, id, func(f *Flavor) error { maps.Copy(f.ExtraSpecs, specs); return nil })
}

// DeleteExtraSpec takes one extra spec away.
func (s *Service) DeleteExtraSpec(ctx context.Context, id, key string) error {
	_, err := s.modifyFlavor(ctx, id, func(f *Flavor) error {
		if _, ok := f.ExtraSpecs[key]; !ok {
			return fault.Wrap(ErrNotFound, "Flavor %s has no extra specs with key %s.", id, key)
		}
		delete(f.ExtraSpecs, key)
		return nil
	})
	return err
}

// AddFlavorAccess lets a project use a private flavor.
func (s *Service) AddFlavorAccess(ctx context.Context, id, projectID string) (*Flavor, error) {
	return s.modifyFlavor(ctx, id, func(f *Flavor) error {
		if slices.Contains(f.Access, projectID) {
			return fault.Wrap(ErrConflict, "Flavor access already exists for flavor %s and project %s combination.", id, projectID)
		}
		f.Access = append(f.Access, projectID)
		return nil
	})
}

// RemoveFlavorAccess takes a project's access to a private flavor away.
func (s *Service) RemoveFlavorAccess(ctx context.Context, id, projectID string) (*Flavor, error) {
	return s.modifyFlavor(ctx, id, func(f *Flavor) error {
		i := slices.Index(f.Access, projectID)
		if i < 0 {
			return fault.Wrap(ErrNotFound, "Flavor access not found for %s / %s combination.", id, projectID)
		}
		f.Access = slices.Delete(f.Access, i, i+1)
		return nil
	})
}
