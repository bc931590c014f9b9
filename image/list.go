package image

import (
	"context"
	"errors"
	"time"

	"github.com/kintoun/kintoun/internal/fault"
	"github.com/kintoun/kintoun/internal/record"
)

// Field is an attribute to filter or sort images by.
type Field string

// The fields.
const (
	ByID              Field = "id"
	ByName            Field = "name"
	ByOwner           Field = "owner"
	ByStatus          Field = "status"
	ByVisibility      Field = "visibility"
	ByDiskFormat      Field = "disk_format"
	ByContainerFormat Field = "container_format"
	BySize            Field = "size"
	ByCreatedAt       Field = "created_at"
	ByUpdatedAt       Field = "updated_at"
	ByChecksum        Field = "checksum"
	ByHashAlgorithm   Field = "os_hash_algo"
	ByHashValue       Field = "os_hash_value"
	ByMinDisk         Field = "min_disk"
	ByMinRAM          Field = "min_ram"
)

// Filter says which images to list. The zero Filter is all that the scope is shown without asking: its own, public
// ones, and those shared with it that it accepted; hidden ones are left out.
type Filter struct {
	// Texts are fields that have one of the values.
	Texts map[Field][]string
	// Numbers are fields (the size, the minima) that have the value.
	Numbers map[Field]int64
	// Times bound when images were created or last updated.
	Times []TimeBound
	// Visibility shows images of that kind only; Community ones are shown then.
	Visibility Visibility
	// AnyVisibility shows community images too.
	AnyVisibility bool
	// MemberStatus shows images shared with the scope that it has this status for; empty is Accepted.
	MemberStatus MemberStatus
	// AnyMemberStatus shows all images shared with the scope.
	AnyMemberStatus bool
	// Hidden shows the hidden images instead.
	Hidden bool
	// Protected shows images that are protected, or that are not; nil both.
	Protected *bool
	// Tags and Properties are what an image must have, all of them.
	Tags       []string
	Properties map[string]string
	// SizeMin and SizeMax bound the content's size, both included; nil is no bound.
	SizeMin, SizeMax *int64

	// Sort orders; newest first by default.
	Sort []Sort
	// Marker is the identifier of the last image of the page before.
	Marker string
	// Limit bounds the number of images; zero is no limit.
	Limit int
}

// TimeBound compares a time: with "gt", "gte", "lt", "lte", "eq" or "neq".
type TimeBound struct {
	Field    Field
	Operator string
	Time     time.Time
}

// Sort is a field to sort by.
type Sort struct {
	Field      Field
	Descending bool
}

// List returns the images that the scope may see and the filter asks for.
func (s *Service) List(ctx context.Context, scope Scope, f Filter) ([]Image, error) {
	tx := s.records.Read(ctx)
	q := record.Query{After: f.Marker, Limit: f.Limit}
	if f.Marker != "" {
		if _, err := s.visible(tx, scope, f.Marker); errors.Is(err, ErrNotFound) {
			return nil, fault.Wrap(ErrInvalid, "marker %.40q names no image", f.Marker)
		} else if err != nil {
			return nil, err
		}
	}
	seen, err := s.seen(tx, scope, &f)
	if err != nil {
		return nil, err
	}
	wanted, err := f.conditions()
	if err != nil {
		return nil, err
	}
	q.Where = append(seen, wanted...)
	for _, by := range f.Sort {
		q.Order = append(q.Order, record.Order{Column: string(by.Field), Descending: by.Descending})
	}
	if len(q.Order) == 0 {
		q.Order = []record.Order{{Column: string(ByCreatedAt), Descending: true}, {Column: "id", Descending: true}}
	}
	for name := range f.Properties {
		if !s.permits(scope, name, mayRead) {
			return nil, nil // who may not read it learns nothing of it
		}
	}
	list, err := s.images.List(tx, q)
	for i := range list {
		s.hide(scope, &list[i])
	}
	return list, err
}

// seen are the conditions of what the scope is shown.
func (s *Service) seen(tx *record.Tx, scope Scope, f *Filter) ([]record.Condition, error) {
	if scope.Admin {
		return nil, nil
	}
	shown := []record.Condition{record.Eq(string(ByVisibility), string(Public))}
	if f.AnyVisibility || f.Visibility == Community {
		shown = append(shown, record.Eq(string(ByVisibility), string(Community)))
	}
	if scope.ProjectID != "" {
		shared, err := s.sharedWith(tx, scope.ProjectID, f)
		if err != nil {
			return nil, err
		}
		shown = append(shown, record.Eq(string(ByOwner), scope.ProjectID), record.In("shared_id", shared...))
	}
	return []record.Condition{record.Any(shown...)}, nil
}

func (s *Service) sharedWith(tx *record.Tx, project string, f *Filter) ([]string, error) {
	q := record.Query{Where: []record.Condition{record.Eq("project", project)}}
	if !f.AnyMemberStatus {
		status := f.MemberStatus
		if status == "" {
			status = Accepted
		}
		q.Where = append(q.Where, record.Eq("status", string(status)))
	}
	members, err := s.members.List(tx, q)
	if err != nil {
		return nil, err
	}
	ids := make([]string, len(members))
	for i := range members {
		ids[i] = members[i].ImageID
	}
	return ids, nil
}

func (f *Filter) conditions() ([]record.Condition, error) {
	where := []record.Condition{record.Eq("hidden", f.Hidden)}
	for field, values := range f.Texts {
		where = append(where, record.In(string(field), values...))
	}
	for field, value := range f.Numbers {
		where = append(where, record.Eq(string(field), value))
	}
	if f.Visibility != "" {
		where = append(where, record.Eq(string(ByVisibility), string(f.Visibility)))
	}
	if f.Protected != nil {
		where = append(where, record.Eq("protected", *f.Protected))
	}
	for _, tag := range f.Tags {
		where = append(where, record.Contains("labels", tagLabel(tag)))
	}
	for name, value := range f.Properties {
		where = append(where, record.Contains("labels", propertyLabel(name, value)))
	}
	if f.SizeMin != nil {
		where = append(where, record.Ge(string(BySize), *f.SizeMin))
	}
	if f.SizeMax != nil {
		where = append(where, record.Lt(string(BySize), *f.SizeMax+1))
	}
	for _, bound := range f.Times {
		condition, err := bound.condition()
		if err != nil {
			return nil, err
		}
		where = append(where, condition...)
	}
	return where, nil
}

// condition compares whole seconds, as the API shows them.
func (b TimeBound) condition() ([]record.Condition, error) {
	column := string(b.Field)
	second := b.Time.Truncate(time.Second)
	from, to := stamp(second), stamp(second.Add(time.Second))
	switch b.Operator {
	case "gt":
		return []record.Condition{record.Ge(column, to)}, nil
	case "gte":
		return []record.Condition{record.Ge(column, from)}, nil
	case "lt":
		return []record.Condition{record.Lt(column, from)}, nil
	case "lte":
		return []record.Condition{record.Lt(column, to)}, nil
	case "eq":
		return []record.Condition{record.Ge(column, from), record.Lt(column, to)}, nil
	case "neq":
		return []record.Condition{record.Any(record.Lt(column, from), record.Ge(column, to))}, nil
	}
	return nil, fault.Wrap(ErrInvalid, "unable to filter by operator %.40q", b.Operator)
}
