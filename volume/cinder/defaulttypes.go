package cinder

import (
	"maps"
	"net/http"
	"slices"
)

func (a *api) defaultTypeOperations() []operation {
	const policy = "volume_extension:default_"
	return []operation{
		{method: "GET", path: "/default-types", serve: a.listDefaultTypes, since: 62, policy: policy + "get_all"},
		{method: "GET", path: "/default-types/{id}", serve: a.showProjectDefaultType, since: 62, policy: policy + "get"},
		{method: "PUT", path: "/default-types/{id}", serve: a.setProjectDefaultType, since: 62, policy: policy + "set_or_update"},
		{method: "DELETE", path: "/default-types/{id}", serve: a.deleteProjectDefaultType, since: 62, policy: policy + "unset"},
	}
}

func defaultTypeView(project, volumeType string) object {
	return object{"project_id": project, "volume_type_id": volumeType}
}

func (a *api) listDefaultTypes(c *call) error {
	types, err := a.volumes.ProjectDefaultTypes(c.Context(), c.scope())
	if err != nil {
		return err
	}
	shown := []object{}
	for _, project := range slices.Sorted(maps.Keys(types)) {
		shown = append(shown, defaultTypeView(project, types[project]))
	}
	return c.json(http.StatusOK, object{"default_types": shown})
}

func (a *api) showProjectDefaultType(c *call) error {
	t, err := a.volumes.ProjectDefaultType(c.Context(), c.scope(), c.id())
	if err != nil {
		return err
	}
	return c.json(http.StatusOK, object{"default_type": defaultTypeView(c.id(), t.ID)})
}

func (a *api) setProjectDefaultType(c *call) error {
	var body struct {
		Default struct {
			Type string `json:"volume_type"`
		} `json:"default_type"`
	}
	if err := c.body(wrap("default_type", record(fields{"volume_type": typeName()}, "volume_type")), &body); err != nil {
		return err
	}
	t, err := a.volumes.SetProjectDefaultType(c.Context(), c.scope(), c.id(), body.Default.Type)
	if err != nil {
		return err
	}
	return c.json(http.StatusOK, object{"default_type": defaultTypeView(c.id(), t.ID)})
}

func (a *api) deleteProjectDefaultType(c *call) error {
	if err := a.volumes.DeleteProjectDefaultType(c.Context(), c.scope(), c.id()); err != nil {
		return err
	}
	return c.empty(http.StatusNoContent)
}
