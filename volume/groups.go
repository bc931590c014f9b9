package volume

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/kintoun/kintoun/internal/fault"
	"github.com/kintoun/kintoun/internal/record"
)

// Group is a set of volumes whose snapshots are taken at one moment. They are in one pool.
type Group struct {
	ID, ProjectID, UserID string
	Name, Description     string
	// Status is creating, available, deleting, error or error_deleting.
	Status Status
	TypeID string
	// VolumeTypes are the types that its volumes may have.
	VolumeTypes []string
	// Host is the pool.
	Zone, Host string
	// SourceGroupID or GroupSnapshotID is what it was made from.
	SourceGroupID   string
	GroupSnapshotID string
	// VolumeIDs are its volumes.
	VolumeIDs            []string `json:"-"`
	CreatedAt, UpdatedAt time.Time
	Revision             int64
}

var groupSpec = record.Spec[Group]{
	Key:      func(g *Group) string { return g.ID },
	Revision: func(g *Group) *int64 { return &g.Revision },
	Event: func(g *Group) record.Event {
		return record.Event{Type: "group", Project: g.ProjectID, Status: string(g.Status)}
	},
	Columns: []record.Column[Group]{
		{Name: "project", Value: func(g *Group) any { return g.ProjectID }},
		{Name: "type", Value: func(g *Group) any { return g.TypeID }},
		{Name: "name", Value: func(g *Group) any { return g.Name }},
		{Name: "status", Value: func(g *Group) any { return string(g.Status) }},
		{Name: "zone", Value: func(g *Group) any { return optional(g.Zone) }},
		{Name: "host", Value: func(g *Group) any { return optional(g.Host) }},
		{Name: "source", Value: func(g *Group) any { return optional(g.SourceGroupID) }},
		{Name: "snapshot", Value: func(g *Group) any { return optional(g.GroupSnapshotID) }},
		{Name: "created", Value: func(g *Group) any { return g.CreatedAt.UnixMicro() }},
		{Name: "updated", Value: func(g *Group) any { return g.UpdatedAt.UnixMicro() }},
	},
	Unindexed: []string{"zone", "updated"},
}

var groupKeys = keys{owned: true, texts: map[string]string{
	"id": "id", "name": "name", "display_name": "name", "status": "status", "availability_zone": "zone", "host": "host", "group_type": "type", "group_type_id": "type", "source_group_id": "source", "group_snapshot_id": "snapshot",
}, numbers: map[string]string{"created_at": "created", "updated_at": "updated"}}

// GroupSpec is a group to make. TypeID and VolumeTypes may be names.
type GroupSpec struct {
	Name, Description, TypeID, Zone string
	VolumeTypes                     []string
}

// GroupSource is a group to make of another, or of a snapshot of one.
type GroupSource struct{ Name, Description, GroupSnapshotID, SourceGroupID string }

// GroupUpdate changes what is not nil.
type GroupUpdate struct {
	Name, Description         *string
	AddVolumes, RemoveVolumes []string
}

// CreateGroup makes an empty group, in a pool that can have volumes of all its types.
func (s *Service) CreateGroup(ctx context.Context, scope Scope, spec GroupSpec) (*Group, error) {
	g := &Group{
		ID: uuid.NewString(), ProjectID: scope.ProjectID, UserID: scope.UserID, Name: spec.Name, Description: spec.Description,
		Zone: spec.Zone, Status: Available, CreatedAt: s.now(),
	}
	g.UpdatedAt = g.CreatedAt
	err := s.store.Update(ctx, func(tx *record.Tx) error {
		groupType, err := s.findGroupType(tx, scope, spec.TypeID)
		if err != nil {
			return err
		}
		types, err := s.groupsTypes(tx, scope, spec.VolumeTypes)
		if err != nil {
			return err
		}
		g.TypeID, g.VolumeTypes = groupType.ID, nil
		for i := range types {
			g.VolumeTypes = append(g.VolumeTypes, types[i].ID)
		}
		if err := s.reserve(tx, g.ProjectID, "", map[string]int{"groups": 1}); err != nil {
			return err
		}
		p, err := s.choosePool(tx, placement{types: types, zone: g.Zone})
		if err != nil {
			return err
		}
		g.Host, g.Zone = p.Name, p.Zone
		return s.groups.Insert(tx, g)
	})
	return g, err
}

// groupsTypes are the volume types of a group to make.
func (s *Service) groupsTypes(tx *record.Tx, scope Scope, namesOrIDs []string) ([]Type, error) {
	if len(namesOrIDs) == 0 {
		return nil, fault.Wrap(ErrInvalid, "Invalid input received: volume_types must be provided to create group.")
	}
	var types []Type
	for _, name := range namesOrIDs {
		t, err := s.visibleType(tx, scope, name)
		if err != nil {
			return nil, err
		}
		if !slices.ContainsFunc(types, func(have Type) bool { return have.ID == t.ID }) {
			types = append(types, *t)
		}
	}
	return types, nil
}

// groupForVolume is the group that a new volume of the type is to be in.
func (s *Service) groupForVolume(tx *record.Tx, scope Scope, groupID, typeID string) (*Group, error) {
	g, err := s.visibleGroup(tx, scope, groupID)
	if err != nil {
		return nil, err
	}
	if g.Status != Available {
		return nil, fault.Wrap(ErrInvalid, "Invalid Group: Group %s is %s: volumes are made in groups that are available.", g.ID, g.Status)
	}
	if !slices.Contains(g.VolumeTypes, typeID) {
		return nil, fault.Wrap(ErrInvalid, "Invalid volume type: Invalid volume_type %s provided: (requested type must be supported by this group).", typeID)
	}
	return g, nil
}

// Group returns a group.
func (s *Service) Group(ctx context.Context, scope Scope, id string) (*Group, error) {
	tx := s.store.Read(ctx)
	g, err := s.visibleGroup(tx, scope, id)
	if err != nil {
		return nil, err
	}
	members, err := s.members(tx, id)
	for i := range members {
		g.VolumeIDs = append(g.VolumeIDs, members[i].ID)
	}
	return g, err
}

func (s *Service) visibleGroup(tx *record.Tx, scope Scope, id string) (*Group, error) {
	g, err := s.groups.Get(tx, id)
	if err == nil && !scope.sees(g.ProjectID) {
		err = ErrNotFound
	}
	if err != nil {
		return nil, notFound(err, "Group %s could not be found.", id)
	}
	return g, nil
}

// members are the volumes of a group.
func (s *Service) members(tx *record.Tx, groupID string) ([]Volume, error) {
	return s.volumes.List(tx, record.Query{
		Where: []record.Condition{record.Eq("grp", groupID)}, Order: []record.Order{{Column: "created"}},
	})
}

// Groups lists groups.
func (s *Service) Groups(ctx context.Context, scope Scope, options ListOptions) ([]Group, error) {
	tx := s.store.Read(ctx)
	all, err := find(tx, s.groups, groupKeys, scope, options, nil)
	if err != nil || len(all) == 0 {
		return all, err
	}
	at := map[string]int{}
	ids := make([]string, len(all))
	for i := range all {
		ids[i], at[all[i].ID] = all[i].ID, i
	}
	volumes, err := s.volumes.List(tx, record.Query{Where: []record.Condition{record.In("grp", ids...)}, Order: []record.Order{{Column: "created"}}})
	for i := range volumes {
		g := &all[at[volumes[i].GroupID]]
		g.VolumeIDs = append(g.VolumeIDs, volumes[i].ID)
	}
	return all, err
}

// UpdateGroup changes a group, and which volumes are in it.
func (s *Service) UpdateGroup(ctx context.Context, scope Scope, id string, update GroupUpdate) error {
	return s.store.Update(ctx, func(tx *record.Tx) error {
		g, err := s.visibleGroup(tx, scope, id)
		if err != nil {
			return err
		}
		for _, volumeID := range update.AddVolumes {
			if slices.Contains(update.RemoveVolumes, volumeID) {
				return fault.Wrap(ErrInvalid, "Invalid volume: UUIDs ['%s'] are in both add and remove volume list.", volumeID)
			}
		}
		moved, err := s.moveMembers(tx, g, update)
		if err != nil {
			return err
		}
		named := update.Name != nil && *update.Name != g.Name || update.Description != nil && *update.Description != g.Description
		switch {
		case !named && !moved:
			return fault.Wrap(ErrInvalid, "Invalid Group: Cannot update group %s because no valid name, description, add_volumes, or remove_volumes were provided.", id)
		case moved && g.Status != Available:
			return fault.Wrap(ErrInvalid, "Invalid Group: Group status must be available.")
		}
		if update.Name != nil {
			g.Name = *update.Name
		}
		if update.Description != nil {
			g.Description = *update.Description
		}
		g.UpdatedAt = s.now()
		return s.groups.Update(tx, g)
	})
}

// moveMembers puts volumes into a group and takes others out, and says whether there were any.
func (s *Service) moveMembers(tx *record.Tx, g *Group, update GroupUpdate) (moved bool, err error) {
	for _, id := range update.AddVolumes {
		v, err := s.volumes.Get(tx, id)
		switch {
		case errors.Is(err, ErrNotFound):
			return false, fault.Wrap(ErrInvalid, "Invalid volume: Cannot add volume %s to group %s because volume cannot be found.", id, g.ID)
		case err != nil:
			return false, err
		case v.GroupID == g.ID:
			continue
		}
		if err := mayJoin(v, g); err != nil {
			return false, err
		}
		if err := s.setGroup(tx, v, g.ID); err != nil {
			return false, err
		}
		moved = true
	}
	for _, id := range update.RemoveVolumes {
		v, err := s.volumes.Get(tx, id)
		if err != nil && !errors.Is(err, ErrNotFound) {
			return false, err
		}
		if err != nil || v.GroupID != g.ID {
			return false, fault.Wrap(ErrInvalid, "Invalid volume: Cannot remove volume %s from group %s because it is not in the group.", id, g.ID)
		}
		if !slices.Contains([]Status{Available, InUse, Errored, ErrorDeleting}, v.Status) {
			return false, fault.Wrap(ErrInvalid, "Invalid volume: Cannot remove volume %s from group %s because volume is in an invalid state: %s. Valid states are: ('available', 'in-use', 'error', 'error_deleting').", id, g.ID, v.Status)
		}
		if err := s.setGroup(tx, v, ""); err != nil {
			return false, err
		}
		moved = true
	}
	return moved, nil
}

func (s *Service) setGroup(tx *record.Tx, v *Volume, groupID string) error {
	v.GroupID, v.UpdatedAt = groupID, s.now()
	return s.volumes.Update(tx, v)
}

// mayJoin says why a volume may not become part of a group.
func mayJoin(v *Volume, g *Group) error {
	var why string
	switch {
	case v.ProjectID != g.ProjectID:
		why = "as they belong to different projects."
	case v.GroupID != "":
		why = "because it is already in group " + v.GroupID + "."
	case v.TypeID == "":
		why = "because it has no volume type."
	case !slices.Contains(g.VolumeTypes, v.TypeID):
		why = "because volume type " + v.TypeID + " is not supported by the group."
	case v.Status != Available && v.Status != InUse:
		why = "because volume is in an invalid state: " + string(v.Status) + ". Valid states are: ('available', 'in-use')."
	case v.Host != g.Host:
		return fault.Wrap(ErrInvalid, "Invalid volume: Volume is not local to this node.")
	default:
		return nil
	}
	return fault.Wrap(ErrInvalid, "Invalid volume: Cannot add volume %s to group %s %s", v.ID, g.ID, why)
}

// ResetGroup sets a group's status and does nothing else (for admins).
func (s *Service) ResetGroup(ctx context.Context, scope Scope, id string, status Status) error {
	if err := mustAdmin(scope, "group:reset_status"); err != nil {
		return err
	}
	return s.store.Update(ctx, func(tx *record.Tx) error {
		g, err := s.visibleGroup(tx, scope, id)
		if err != nil {
			return err
		}
		g.Status, g.UpdatedAt = status, s.now()
		return s.groups.Update(tx, g)
	})
}
