package cinder

import (
	"net/http"
	"strings"

	"github.com/kintoun/kintoun/internal/fault"
	"github.com/kintoun/kintoun/internal/wire"
	"github.com/kintoun/kintoun/volume"
)

func (a *api) groupTypeOperations() []operation {
	const policy = "group:group_types_manage"
	const specs = "group:group_types_specs:"
	return []operation{
		{method: "GET", path: "/group_types", serve: a.listGroupTypes, since: 11},
		{method: "POST", path: "/group_types", serve: a.createGroupType, since: 11, policy: policy},
		{method: "GET", path: "/group_types/default", serve: a.showDefaultGroupType, since: 11},
		{method: "GET", path: "/group_types/{id}", serve: a.showGroupType, since: 11},
		{method: "PUT", path: "/group_types/{id}", serve: a.updateGroupType, since: 11, policy: policy},
		{method: "DELETE", path: "/group_types/{id}", serve: a.deleteGroupType, since: 11, policy: policy},
		{method: "GET", path: "/group_types/{id}/group_specs", serve: a.listGroupSpecs, since: 11, policy: specs + "get_all"},
		{method: "POST", path: "/group_types/{id}/group_specs", serve: a.createGroupSpecs, since: 11, policy: specs + "create"},
		{method: "GET", path: "/group_types/{id}/group_specs/{key}", serve: a.showGroupSpec, since: 11, policy: specs + "get"},
		{method: "PUT", path: "/group_types/{id}/group_specs/{key}", serve: a.updateGroupSpec, since: 11, policy: specs + "update"},
		{method: "DELETE", path: "/group_types/{id}/group_specs/{key}", serve: a.deleteGroupSpec, since: 11, policy: specs + "delete"},
	}
}

func (c *call) groupTypeView(t *volume.GroupType) object {
	o := object{"id": t.ID, "name": t.Name, "description": nilIfEmpty(t.Description), "is_public": t.Public}
	if c.admin() {
		o["group_specs"] = pairs(t.Specs)
	}
	return o
}

func (a *api) listGroupTypes(c *call) error {
	options, err := c.page("created_at")
	if err != nil {
		return err
	}
	filter := volume.TypeFilter{Sort: options.Sort, Marker: options.Marker, Offset: options.Offset, Limit: options.Limit}
	if filter.Public, err = c.publicFilter(); err != nil {
		return err
	}
	var types []volume.GroupType
	if filter.Limit > 0 {
		if types, err = a.volumes.GroupTypes(c.Context(), c.scope(), filter); err != nil {
			return err
		}
	}
	return c.listed("group_types", "group_type_links", each(types, c.groupTypeView), options, nil)
}

func (a *api) createGroupType(c *call) error {
	var body struct {
		Type struct {
			Name        string
			Description trimmed
			Public      *wire.Bool        `json:"is_public"`
			Specs       map[string]string `json:"group_specs"`
		} `json:"group_type"`
	}
	s := wrap("group_type", record(fields{
		"name": typeName(), "description": typeDescription(), "is_public": typeBoolean(), "group_specs": typeMetadataOrNull(),
	}, "name"))
	if err := c.body(s, &body); err != nil {
		return err
	}
	in := &body.Type
	t, err := a.volumes.CreateGroupType(c.Context(), c.scope(), volume.TypeCreate{
		Name: in.Name, Description: string(in.Description), Specs: in.Specs, Private: in.Public != nil && !bool(*in.Public),
	})
	if err != nil {
		return err
	}
	return c.json(http.StatusAccepted, object{"group_type": c.groupTypeView(t)})
}

// groupType is the type in the address: its identifier, never its name.
func (a *api) groupType(c *call) (*volume.GroupType, error) {
	t, err := a.volumes.GroupType(c.Context(), c.scope(), c.id())
	if err == nil && !strings.EqualFold(t.ID, c.id()) {
		err = fault.Wrap(volume.ErrNotFound, "Group type %s could not be found.", c.id())
	}
	return t, err
}

func (a *api) showGroupType(c *call) error {
	t, err := a.groupType(c)
	if err != nil {
		return err
	}
	return c.json(http.StatusOK, object{"group_type": c.groupTypeView(t)})
}

func (a *api) showDefaultGroupType(c *call) error {
	t, err := a.volumes.DefaultGroupType(c.Context(), c.scope())
	if err != nil {
		return err
	}
	return c.json(http.StatusOK, object{"group_type": c.groupTypeView(t)})
}

func (a *api) updateGroupType(c *call) error {
	var body struct {
		Type typeUpdate `json:"group_type"`
	}
	if err := c.body(wrap("group_type", typeUpdateSchema()), &body); err != nil {
		return err
	}
	update, err := body.Type.as("Group")
	if err != nil {
		return err
	}
	t, err := a.volumes.UpdateGroupType(c.Context(), c.scope(), c.id(), update)
	if err != nil {
		return err
	}
	return c.json(http.StatusOK, object{"group_type": c.groupTypeView(t)})
}

func (a *api) deleteGroupType(c *call) error {
	return c.accepted(a.volumes.DeleteGroupType(c.Context(), c.scope(), c.id()))
}

func (a *api) listGroupSpecs(c *call) error {
	t, err := a.groupType(c)
	if err != nil {
		return err
	}
	return c.json(http.StatusOK, object{"group_specs": pairs(t.Specs)})
}

func (a *api) createGroupSpecs(c *call) error {
	var body struct {
		Specs map[string]string `json:"group_specs"`
	}
	if err := c.body(wrap("group_specs", typeSpecs()), &body); err != nil {
		return err
	}
	if _, err := a.volumes.SetGroupTypeSpecs(c.Context(), c.scope(), c.id(), body.Specs); err != nil {
		return err
	}
	return c.json(http.StatusAccepted, object{"group_specs": body.Specs})
}

func (a *api) showGroupSpec(c *call) error {
	t, err := a.groupType(c)
	if err != nil {
		return err
	}
	key := c.PathValue("key")
	value, ok := t.Specs[key]
	if !ok {
		return fault.Wrap(volume.ErrNotFound, "Group Type %s has no extra spec with key %s.", t.ID, key)
	}
	return c.json(http.StatusOK, object{key: value})
}

func (a *api) updateGroupSpec(c *call) error {
	return c.updateSpec(func(specs map[string]string) error {
		_, err := a.volumes.SetGroupTypeSpecs(c.Context(), c.scope(), c.id(), specs)
		return err
	})
}

func (a *api) deleteGroupSpec(c *call) error {
	return c.accepted(a.volumes.DeleteGroupTypeSpec(c.Context(), c.scope(), c.id(), c.PathValue("key")))
}
