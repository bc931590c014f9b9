package cinder

import (
	"context"
	"net/http"
	"slices"
	"strings"

	"github.com/kintoun/kintoun/internal/fault"
	"github.com/kintoun/kintoun/internal/wire"
	"github.com/kintoun/kintoun/volume"
)

func (a *api) typeOperations() []operation {
	const manage, specs, access, encryption = "volume_extension:type_", "volume_extension:types_extra_specs:", "volume_extension:volume_type_access:", "volume_extension:volume_type_encryption:"
	add := with(static(projectSchema), a.changeAccess(a.volumes.AddTypeAccess))
	add.policy = access + "addProjectAccess"
	remove := with(static(projectSchema), a.changeAccess(a.volumes.RemoveTypeAccess))
	remove.policy = access + "removeProjectAccess"
	return []operation{
		{method: "GET", path: "/types", serve: a.listTypes},
		{method: "POST", path: "/types", serve: a.createType, policy: manage + "create"},
		{method: "GET", path: "/types/{id}", serve: a.showType},
		{method: "GET", path: "/types/default", serve: a.showDefaultType},
		{method: "PUT", path: "/types/{id}", serve: a.updateType, policy: manage + "update"},
		{method: "DELETE", path: "/types/{id}", serve: a.deleteType, policy: manage + "delete"},
		{method: "POST", path: "/types/{id}/action", actions: map[string]action{"addProjectAccess": add, "removeProjectAccess": remove}},
		{method: "GET", path: "/types/{id}/os-volume-type-access", serve: a.listTypeAccess, policy: access + "get_all_for_type"},

		{method: "GET", path: "/types/{id}/extra_specs", serve: a.listTypeSpecs},
		{method: "POST", path: "/types/{id}/extra_specs", serve: a.createTypeSpecs, policy: specs + "create"},
		{method: "GET", path: "/types/{id}/extra_specs/{key}", serve: a.showTypeSpec},
		{method: "PUT", path: "/types/{id}/extra_specs/{key}", serve: a.updateTypeSpec, policy: specs + "update"},
		{method: "DELETE", path: "/types/{id}/extra_specs/{key}", serve: a.deleteTypeSpec, policy: specs + "delete"},

		{method: "GET", path: "/types/{id}/encryption", serve: a.showTypeEncryption, policy: encryption + "get"},
		{method: "POST", path: "/types/{id}/encryption", serve: a.createTypeEncryption, policy: encryption + "create"},
		{method: "GET", path: "/types/{id}/encryption/{key}", serve: a.showTypeEncryptionItem, policy: encryption + "get"},
		{method: "PUT", path: "/types/{id}/encryption/{key}", serve: a.updateTypeEncryption, policy: encryption + "update"},
		{method: "DELETE", path: "/types/{id}/encryption/{key}", serve: a.deleteTypeEncryption, policy: encryption + "delete"},
	}
}

// shownSpecs are those of a type that the caller may see: the others tell how the cloud is built.
func (c *call) shownSpecs(specs map[string]string) map[string]string {
	if c.admin() {
		return pairs(specs)
	}
	shown := map[string]string{}
	for _, key := range []string{"RESKEY:availability_zones", "multiattach", "replication_enabled"} {
		if value, ok := specs[key]; ok {
			shown[key] = value
		}
	}
	return shown
}

func (c *call) typeView(t *volume.Type) object {
	o := object{
		"id": t.ID, "name": t.Name, "is_public": t.Public, "description": nilIfEmpty(t.Description), "extra_specs": c.shownSpecs(t.Specs),
		"os-volume-type-access:is_public": t.Public,
	}
	if c.admin() {
		o["qos_specs_id"] = nilIfEmpty(t.QoSID)
	}
	return o
}

// typeCreated is a new type, as which it has no limits yet; typeUpdated leaves out what tells it twice.
func (c *call) typeCreated(t *volume.Type) object {
	o := c.typeView(t)
	delete(o, "qos_specs_id")
	return o
}

func (c *call) typeUpdated(t *volume.Type) object {
	o := c.typeCreated(t)
	delete(o, "os-volume-type-access:is_public")
	return o
}

func (c *call) typeFilter() (filter volume.TypeFilter, err error) {
	options, err := c.page("created_at")
	if err != nil {
		return filter, err
	}
	filter = volume.TypeFilter{Sort: options.Sort, Marker: options.Marker, Offset: options.Offset, Limit: options.Limit}
	r := resourceNamed("volume_type")
	query := c.URL.Query()
	for key := range query {
		if !slices.Contains(plainParameters, key) && !slices.Contains(r.filters, key) && c.at(52) && !c.admin() {
			return filter, fault.Wrap(volume.ErrInvalid, "Invalid filters %s are found in query options.", key)
		}
	}
	if filter.Public, err = c.publicFilter(); err != nil {
		return filter, err
	}
	return c.specFilter(filter)
}

// publicFilter reads is_public, which counts for admins only: true unless it is "None", which is both. Everybody else
// is shown what they may use.
func (c *call) publicFilter() (*bool, error) {
	value := c.URL.Query().Get("is_public")
	if !c.admin() || strings.EqualFold(value, "none") {
		return nil, nil
	}
	public := true
	if value != "" {
		var err error
		if public, err = wire.ParseBool(value); err != nil {
			return nil, fault.Wrap(volume.ErrInvalid, "Invalid is_public filter [%s]", value)
		}
	}
	return &public, nil
}

// specFilter reads extra_specs (since 3.52).
func (c *call) specFilter(filter volume.TypeFilter) (volume.TypeFilter, error) {
	value := c.URL.Query().Get("extra_specs")
	if value == "" || !c.at(52) {
		return filter, nil
	}
	specs, err := dictionary(value)
	if err != nil {
		return filter, fault.Wrap(volume.ErrInvalid, "Invalid input received: extra_specs filter %s", value)
	}
	filter.Specs = specs
	if len(c.shownSpecs(specs)) < len(specs) {
		filter.Limit = 0 // what the caller may not see, no type has
	}
	return filter, nil
}

func (a *api) listTypes(c *call) error {
	filter, err := c.typeFilter()
	if err != nil {
		return err
	}
	var types []volume.Type
	if filter.Limit > 0 {
		if types, err = a.volumes.Types(c.Context(), c.scope(), filter); err != nil {
			return err
		}
	}
	return c.listed("volume_types", "volume_type_links", each(types, c.typeView), volume.ListOptions{Limit: filter.Limit}, nil)
}

func (a *api) createType(c *call) error {
	var body struct {
		Type struct {
			Name        string
			Description trimmed
			Specs       map[string]string `json:"extra_specs"`
			Public      *wire.Bool        `json:"os-volume-type-access:is_public"`
		} `json:"volume_type"`
	}
	s := wrap("volume_type", record(fields{
		"name": typeName(), "description": typeDescription(), "extra_specs": typePairs(metaKey, "string", "null"),
		"os-volume-type-access:is_public": typeBoolean(),
	}, "name"))
	if err := c.body(s, &body); err != nil {
		return err
	}
	in := &body.Type
	t, err := a.volumes.CreateType(c.Context(), c.scope(), volume.TypeCreate{
		Name: in.Name, Description: string(in.Description), Specs: in.Specs, Private: in.Public != nil && !bool(*in.Public),
	})
	if err != nil {
		return err
	}
	return c.json(http.StatusOK, object{"volume_type": c.typeCreated(t)})
}

// volumeType is the type in the address: its identifier, never its name.
func (a *api) volumeType(c *call) (*volume.Type, error) {
	t, err := a.volumes.Type(c.Context(), c.scope(), c.id())
	if err == nil && !strings.EqualFold(t.ID, c.id()) {
		err = fault.Wrap(volume.ErrNotFound, "Volume type %s could not be found.", c.id())
	}
	return t, err
}

func (a *api) showType(c *call) error {
	t, err := a.volumeType(c)
	if err != nil {
		return err
	}
	return c.json(http.StatusOK, object{"volume_type": c.typeView(t)})
}

func (a *api) showDefaultType(c *call) error {
	t, err := a.volumes.DefaultType(c.Context(), c.scope())
	if err != nil {
		return err
	}
	return c.json(http.StatusOK, object{"volume_type": c.typeView(t)})
}

// typeUpdate is the body that changes a volume type or group type.
type typeUpdate struct {
	Name, Description *string
	Public            *wire.Bool `json:"is_public"`
}

func (u *typeUpdate) as(what string) (volume.TypeUpdate, error) {
	update := volume.TypeUpdate{Name: u.Name, Description: u.Description, Public: (*bool)(u.Public)}
	switch {
	case u.Name != nil && strings.TrimSpace(*u.Name) == "":
		return update, fault.Wrap(volume.ErrInvalid, "%s type name can not be empty.", what)
	case u.Name == nil && u.Description == nil && u.Public == nil:
		return update, fault.Wrap(volume.ErrInvalid, "Specify %s type name, description, is_public or a combination thereof.", strings.ToLower(what))
	}
	return update, nil
}

func typeUpdateSchema() *schema {
	return record(fields{"name": typeText(), "description": typeDescription(), "is_public": typeBoolean()})
}

func (a *api) updateType(c *call) error {
	var body struct {
		Type typeUpdate `json:"volume_type"`
	}
	if err := c.body(wrap("volume_type", typeUpdateSchema()), &body); err != nil {
		return err
	}
	update, err := body.Type.as("Volume")
	if err != nil {
		return err
	}
	t, err := a.volumes.UpdateType(c.Context(), c.scope(), c.id(), update)
	if err != nil {
		return err
	}
	return c.json(http.StatusOK, object{"volume_type": c.typeUpdated(t)})
}

func (a *api) deleteType(c *call) error {
	return c.accepted(a.volumes.DeleteType(c.Context(), c.scope(), c.id()))
}

func projectSchema() *schema {
	return record(fields{"project": {Types: []string{"string"}, MinLength: 1, MaxLength: 255}}, "project")
}

type projectBody struct{ Project string }

func (a *api) changeAccess(do func(ctx context.Context, scope volume.Scope, id, projectID string) error) func(c *call, in *projectBody) error {
	return func(c *call, in *projectBody) error {
		return c.accepted(do(c.Context(), c.scope(), c.id(), in.Project))
	}
}

func (a *api) listTypeAccess(c *call) error {
	projects, err := a.volumes.TypeAccess(c.Context(), c.scope(), c.id())
	if err != nil {
		return err
	}
	return c.json(http.StatusOK, object{"volume_type_access": each(projects, func(id *string) object {
		return object{"volume_type_id": c.id(), "project_id": *id}
	})})
}

func (a *api) listTypeSpecs(c *call) error {
	t, err := a.volumeType(c)
	if err != nil {
		return err
	}
	return c.json(http.StatusOK, object{"extra_specs": c.shownSpecs(t.Specs)})
}

func typeSpecs() *schema { return typePairs(specKey, "string", "null") }

func (a *api) createTypeSpecs(c *call) error {
	var body struct {
		Specs map[string]string `json:"extra_specs"`
	}
	if err := c.body(wrap("extra_specs", typeSpecs()), &body); err != nil {
		return err
	}
	if _, err := a.volumes.SetTypeSpecs(c.Context(), c.scope(), c.id(), body.Specs); err != nil {
		return err
	}
	return c.json(http.StatusOK, object{"extra_specs": body.Specs})
}

func (a *api) showTypeSpec(c *call) error {
	t, err := a.volumeType(c)
	if err != nil {
		return err
	}
	key := c.PathValue("key")
	value, ok := c.shownSpecs(t.Specs)[key]
	if !ok {
		return fault.Wrap(volume.ErrNotFound, "Volume Type %s has no extra specs with key %s.", t.ID, key)
	}
	return c.json(http.StatusOK, object{key: value})
}

func (a *api) updateTypeSpec(c *call) error {
	return c.updateSpec(func(specs map[string]string) error {
		_, err := a.volumes.SetTypeSpecs(c.Context(), c.scope(), c.id(), specs)
		return err
	})
}

// updateSpec sets the one spec that the address and the body name.
func (c *call) updateSpec(set func(specs map[string]string) error) error {
	var body map[string]string
	if err := c.body(onePair(typeSpecs()), &body); err != nil {
		return err
	}
	if _, ok := body[c.PathValue("key")]; !ok {
		return fault.Wrap(volume.ErrInvalid, "Request body and URI mismatch")
	}
	if err := set(body); err != nil {
		return err
	}
	return c.json(http.StatusOK, body)
}

func (a *api) deleteTypeSpec(c *call) error {
	return c.accepted(a.volumes.DeleteTypeSpec(c.Context(), c.scope(), c.id(), c.PathValue("key")))
}
