package image

import (
	"context"
	"errors"
	"maps"
	"slices"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"
	"github.com/kintoun/kintoun/internal/fault"
	"github.com/kintoun/kintoun/internal/record"
)

// Namespace is a named part of the catalogue of metadata definitions: what properties and tags mean, and on which
// resources they make sense. The catalogue is for people and their tools; it constrains nobody's images. Only
// administrators write it.
type Namespace struct {
	ID string
	// Name is unique, up to 80 characters.
	Name, DisplayName, Description string
	// Visibility is Public or Private: private ones are seen by their project alone.
	Visibility Visibility
	// Protected namespaces, and what is in them, cannot be deleted.
	Protected            bool
	ProjectID            string
	CreatedAt, UpdatedAt time.Time
	ResourceTypes        []ResourceType
	Objects              []DefinedObject
	Properties           []DefinedProperty
	Tags                 []DefinedTag
	Revision             int64
}

// ResourceType says that a namespace's definitions are for resources of a type ("OS::Glance::Image"), under a prefix.
type ResourceType struct {
	Name, Prefix, PropertiesTarget string
	CreatedAt, UpdatedAt           time.Time
}

// DefinedObject is a group of properties that belong together.
type DefinedObject struct {
	Name, Description string
	// Required are the names of properties that must be there together.
	Required []string
	// Properties are JSON Schemas by name.
	Properties           map[string]map[string]any
	CreatedAt, UpdatedAt time.Time
}

// DefinedProperty is the definition of a property: a JSON Schema.
type DefinedProperty struct {
	Name   string
	Schema map[string]any
}

// DefinedTag is a tag that is worth having.
type DefinedTag struct {
	Name                 string
	CreatedAt, UpdatedAt time.Time
}

const (
	// maxDefinitionName is the longest name of a namespace or of what is in it, in characters, as the Image API has it.
	maxDefinitionName = 80
	// maxDefinitions bounds each kind of what one namespace has.
	maxDefinitions = 1000
)

var namespaceTable = record.Spec[Namespace]{
	Key:      func(n *Namespace) string { return n.ID },
	Revision: func(n *Namespace) *int64 { return &n.Revision },
	Columns: []record.Column[Namespace]{
		{Name: "name", Value: func(n *Namespace) any { return n.Name }},
		{Name: "owner", Value: func(n *Namespace) any { return n.ProjectID }},
		{Name: "visibility", Value: func(n *Namespace) any { return string(n.Visibility) }},
		{Name: "created_at", Value: func(n *Namespace) any { return stamp(n.CreatedAt) }},
	},
	Claims: func(n *Namespace) []record.Claim { return []record.Claim{{Space: "namespace", Value: n.Name}} },
	Quiet:  true,
}

// Namespaces lists the namespaces that the scope may see, the newest first.
func (s *Service) Namespaces(ctx context.Context, scope Scope) ([]Namespace, error) {
	q := record.Query{Order: []record.Order{{Column: "created_at", Descending: true}}}
	if !scope.Admin {
		q.Where = append(q.Where, record.Any(record.Eq("visibility", string(Public)), record.Eq("owner", scope.ProjectID)))
	}
	return s.namespaces.List(s.records.Read(ctx), q)
}

// Namespace returns a namespace that the scope may see.
func (s *Service) Namespace(ctx context.Context, scope Scope, name string) (*Namespace, error) {
	return s.namespace(s.records.Read(ctx), scope, name)
}

func (s *Service) namespace(tx *record.Tx, scope Scope, name string) (*Namespace, error) {
	found, err := s.namespaces.List(tx, record.Query{Where: []record.Condition{record.Eq("name", name)}})
	if err != nil {
		return nil, err
	}
	if len(found) == 0 || found[0].Visibility != Public && !scope.Admin && found[0].ProjectID != scope.ProjectID {
		return nil, fault.Wrap(ErrNotFound, "metadata definition namespace %.80s not found", name)
	}
	return &found[0], nil
}

// CreateNamespace adds a namespace with all that is in it. A name that is taken is [ErrConflict].
func (s *Service) CreateNamespace(ctx context.Context, scope Scope, n Namespace) (*Namespace, error) {
	if !scope.Admin {
		return nil, forbiddenCatalogue()
	}
	n.ID, n.CreatedAt, n.Revision = uuid.NewString(), s.now(), 0
	n.UpdatedAt = n.CreatedAt
	if n.ProjectID == "" {
		n.ProjectID = scope.ProjectID
	}
	if n.Visibility == "" {
		n.Visibility = Private
	}
	if err := n.check(n.CreatedAt); err != nil {
		return nil, err
	}
	err := s.records.Update(ctx, func(tx *record.Tx) error { return s.namespaces.Insert(tx, &n) })
	if err != nil {
		return nil, namespaceTaken(err, n.Name)
	}
	return &n, nil
}

func forbiddenCatalogue() error {
	return fault.Wrap(ErrForbidden, "metadata definitions are changed by administrators only")
}

func namespaceTaken(err error, name string) error {
	if errors.Is(err, record.ErrDuplicate) {
		return fault.Wrap(ErrConflict, "metadata definition namespace %s already exists", name)
	}
	return err
}

// UpdateNamespace lets change alter a namespace and what is in it, and records it. What change returns is returned, and
// nothing is recorded. It may be called more than once.
func (s *Service) UpdateNamespace(ctx context.Context, scope Scope, name string, change func(*Namespace) error) (n *Namespace, err error) {
	err = s.records.Update(ctx, func(tx *record.Tx) error {
		if n, err = s.namespace(tx, scope, name); err != nil {
			return err
		}
		if !scope.Admin {
			return forbiddenCatalogue()
		}
		id, created := n.ID, n.CreatedAt
		if err := change(n); err != nil {
			return err
		}
		n.ID, n.CreatedAt, n.UpdatedAt = id, created, s.now()
		if err := n.check(n.UpdatedAt); err != nil {
			return err
		}
		return s.namespaces.Update(tx, n)
	})
	if err != nil {
		return nil, namespaceTaken(err, n.nameOr(name))
	}
	return n, nil
}

func (n *Namespace) nameOr(other string) string {
	if n == nil {
		return other
	}
	return n.Name
}

// DeleteNamespace removes a namespace with all that is in it. A protected one is [ErrForbidden].
func (s *Service) DeleteNamespace(ctx context.Context, scope Scope, name string) error {
	return s.records.Update(ctx, func(tx *record.Tx) error {
		n, err := s.namespace(tx, scope, name)
		switch {
		case err != nil:
			return err
		case !scope.Admin:
			return forbiddenCatalogue()
		case n.Protected:
			return fault.Wrap(ErrForbidden, "metadata definition namespace %s is protected and cannot be deleted", name)
		}
		return s.namespaces.Delete(tx, n.ID)
	})
}

// ResourceTypes are the names of the types that definitions are for: OpenStack's own, and those that visible namespaces name.
func (s *Service) ResourceTypes(ctx context.Context, scope Scope) ([]string, error) {
	names := map[string]bool{
		"OS::Cinder::Volume": true, "OS::Glance::Image": true, "OS::Nova::Aggregate": true, "OS::Nova::Flavor": true,
		"OS::Nova::Server": true, "OS::Trove::Instance": true,
	}
	all, err := s.Namespaces(ctx, scope)
	if err != nil {
		return nil, err
	}
	for i := range all {
		for _, t := range all[i].ResourceTypes {
			names[t.Name] = true
		}
	}
	return slices.Sorted(maps.Keys(names)), nil
}

// check says whether the namespace makes sense, and gives its new parts their times.
func (n *Namespace) check(now time.Time) error {
	switch {
	case n.Visibility != Public && n.Visibility != Private:
		return fault.Wrap(ErrInvalid, "invalid visibility %.40q: it must be public or private", n.Visibility)
	case utf8.RuneCountInString(n.DisplayName) > maxDefinitionName || !sane(n.DisplayName):
		return fault.Wrap(ErrInvalid, "the display name is longer than %d characters or not valid text", maxDefinitionName)
	case len(n.Description) > maxValue || !sane(n.Description):
		return fault.Wrap(ErrInvalid, "the description is longer than %d bytes or not valid text", maxValue)
	}
	fresh := func(created, updated *time.Time) {
		if created.IsZero() {
			*created, *updated = now, now
		}
	}
	var types, objects, properties, tags []string
	for i := range n.ResourceTypes {
		fresh(&n.ResourceTypes[i].CreatedAt, &n.ResourceTypes[i].UpdatedAt)
		types = append(types, n.ResourceTypes[i].Name)
	}
	for i := range n.Objects {
		fresh(&n.Objects[i].CreatedAt, &n.Objects[i].UpdatedAt)
		objects = append(objects, n.Objects[i].Name)
	}
	for i := range n.Properties {
		properties = append(properties, n.Properties[i].Name)
	}
	for i := range n.Tags {
		fresh(&n.Tags[i].CreatedAt, &n.Tags[i].UpdatedAt)
		tags = append(tags, n.Tags[i].Name)
	}
	return errors.Join(checkNames("namespace", []string{n.Name}), checkNames("resource type", types), checkNames("object", objects),
		checkNames("property", properties), checkNames("tag", tags))
}

// checkNames says whether the names of one kind make sense, and each is there once.
func checkNames(kind string, names []string) error {
	if len(names) > maxDefinitions {
		return fault.Wrap(ErrTooLarge, "a namespace has at most %d of a kind", maxDefinitions)
	}
	seen := map[string]bool{}
	for _, name := range names {
		switch {
		case name == "" || utf8.RuneCountInString(name) > maxDefinitionName || !sane(name):
			return fault.Wrap(ErrInvalid, "the name of a %s is 1 to %d characters: %.80q is not", kind, maxDefinitionName, name)
		case seen[name]:
			return fault.Wrap(ErrConflict, "a %s of the name %s already exists in the namespace", kind, name)
		}
		seen[name] = true
	}
	return nil
}
