package nova

import (
	"encoding/json"
	"net/http"
	"strconv"
	"strings"

	"github.com/kintoun/kintoun/compute"
	"github.com/kintoun/kintoun/internal/fault"
	"github.com/kintoun/kintoun/internal/wire"
)

func (a *api) flavorOperations() []operation {
	const manage, specs, access = "os_compute_api:os-flavor-manage:", "os_compute_api:os-flavor-extra-specs:", "os_compute_api:os-flavor-access:"
	return []operation{
		{method: "GET", path: "/flavors", serve: a.listFlavors},
		{method: "GET", path: "/flavors/detail", serve: a.listFlavors},
		{method: "POST", path: "/flavors", serve: a.createFlavor, policy: manage + "create"},
		{method: "GET", path: "/flavors/{id}", serve: a.showFlavor},
		{method: "PUT", path: "/flavors/{id}", serve: a.updateFlavor, policy: manage + "update", since: 55},
		{method: "DELETE", path: "/flavors/{id}", serve: a.deleteFlavor, policy: manage + "delete"},
		{method: "POST", path: "/flavors/{id}/action", actions: a.flavorActions(access)},
		{method: "GET", path: "/flavors/{id}/os-flavor-access", serve: a.listFlavorAccess, policy: "os_compute_api:os-flavor-access"},
		{method: "GET", path: "/flavors/{id}/os-extra_specs", serve: a.listExtraSpecs},
		{method: "POST", path: "/flavors/{id}/os-extra_specs", serve: a.setExtraSpecs, policy: specs + "create"},
		{method: "GET", path: "/flavors/{id}/os-extra_specs/{key}", serve: a.showExtraSpec},
		{method: "PUT", path: "/flavors/{id}/os-extra_specs/{key}", serve: a.setExtraSpec, policy: specs + "update"},
		{method: "DELETE", path: "/flavors/{id}/os-extra_specs/{key}", serve: a.deleteExtraSpec, policy: specs + "delete"},
	}
}

func (c *call) flavorBasic(f *compute.Flavor) object {
	o := object{"id": f.ID, "name": f.Name, "links": c.links("flavors", f.ID)}
	if c.at(55) {
		o["description"] = f.Description
	}
	return o
}

func (c *call) flavorView(f *compute.Flavor) object {
	o := c.flavorBasic(f)
	o["ram"], o["vcpus"], o["disk"], o["rxtx_factor"] = f.MemoryMiB, f.VCPUs, f.DiskGiB, f.RxTxFactor
	o["swap"] = f.SwapMiB
	if f.SwapMiB == 0 && !c.at(75) {
		o["swap"] = ""
	}
	o["OS-FLV-EXT-DATA:ephemeral"], o["OS-FLV-DISABLED:disabled"], o["os-flavor-access:is_public"] = f.EphemeralGiB, false, f.Public
	if c.at(61) {
		o["extra_specs"] = specsOf(f)
	}
	return o
}

func specsOf(f *compute.Flavor) map[string]string {
	if f.ExtraSpecs == nil {
		return map[string]string{}
	}
	return f.ExtraSpecs
}

func (a *api) listFlavors(c *call) error {
	if err := c.onlyQuery("limit", "marker", "is_public", "minRam", "minDisk", "sort_key", "sort_dir"); err != nil {
		return err
	}
	filter, err := c.flavorFilter()
	if err != nil {
		return err
	}
	list, err := a.compute.Flavors(c.Context(), c.scope(), filter)
	if err != nil {
		return err
	}
	detail := strings.HasSuffix(c.URL.Path, "/detail")
	shown := make([]object, 0, len(list))
	for i := range list {
		if detail {
			shown = append(shown, c.flavorView(&list[i]))
		} else {
			shown = append(shown, c.flavorBasic(&list[i]))
		}
	}
	answer := object{"flavors": shown}
	if len(list) > 0 {
		if links := c.next(len(list), filter.Limit, list[len(list)-1].ID); links != nil {
			answer["flavors_links"] = links
		}
	}
	return c.json(http.StatusOK, answer)
}

func (c *call) flavorFilter() (f compute.FlavorFilter, err error) {
	query := c.URL.Query()
	if f.Limit, f.Marker, err = c.page(); err != nil {
		return f, err
	}
	f.SortKey, f.Descending = query.Get("sort_key"), query.Get("sort_dir") == "desc"
	for name, to := range map[string]*int{"minRam": &f.MinMemoryMiB, "minDisk": &f.MinDisk} {
		if value := query.Get(name); value != "" {
			if *to, err = strconv.Atoi(value); err != nil {
				return f, fault.Wrap(compute.ErrInvalid, "Invalid %s filter [%s]", name, value)
			}
		}
	}
	public := true
	f.Public = &public
	switch value := query.Get("is_public"); {
	case value == "":
		f.Public = nil
		if c.caller.IsAdmin() {
			f.Public = &public
		}
	case strings.EqualFold(value, "none"):
		f.All = true
	default:
		if public, err = wire.ParseBool(value); err != nil {
			return f, fault.Wrap(compute.ErrInvalid, "Invalid is_public filter [%s]", value)
		}
	}
	return f, nil
}

func (a *api) showFlavor(c *call) error {
	f, err := a.compute.Flavor(c.Context(), c.scope(), c.PathValue("id"))
	if err != nil {
		return err
	}
	return c.json(http.StatusOK, object{"flavor": c.flavorView(f)})
}

func (a *api) createFlavor(c *call) error {
	properties := map[string]*wire.Schema{
		"name": typeName(), "id": {Types: []string{"string", "integer", "null"}, MinLength: 1, MaxLength: 255, Pattern: flavorID},
		"ram": bounded(1, maxInt), "vcpus": bounded(1, maxInt), "disk": bounded(0, maxInt),
		"OS-FLV-EXT-DATA:ephemeral": bounded(0, maxInt), "swap": bounded(0, maxInt),
		"rxtx_factor": {Types: []string{"number", "string"}, Pattern: decimal}, "os-flavor-access:is_public": typeBoolean(),
	}
	if c.at(55) {
		properties["description"] = &wire.Schema{Types: []string{"string", "null"}, MaxLength: 65535}
	}
	var body struct {
		Flavor struct {
			Name             string
			ID               *text
			RAM, VCPUs, Disk wire.Int
			Ephemeral        wire.Int `json:"OS-FLV-EXT-DATA:ephemeral"`
			Swap             wire.Int
			RxTx             text       `json:"rxtx_factor"`
			Public           *wire.Bool `json:"os-flavor-access:is_public"`
			Description      *string
		}
	}
	if err := c.body(wrap("flavor", record(properties, "name", "ram", "vcpus", "disk")), &body); err != nil {
		return err
	}
	in := body.Flavor
	f := compute.Flavor{
		Name: in.Name, MemoryMiB: int(in.RAM), VCPUs: int(in.VCPUs), DiskGiB: int(in.Disk),
		EphemeralGiB: int(in.Ephemeral), SwapMiB: int(in.Swap), Public: true, Description: in.Description,
	}
	if in.ID != nil && *in.ID != "auto" {
		f.ID = string(*in.ID)
	}
	if in.Public != nil {
		f.Public = bool(*in.Public)
	}
	if in.RxTx != "" {
		f.RxTxFactor, _ = strconv.ParseFloat(string(in.RxTx), 64) // of the schema's form
	}
	created, err := a.compute.CreateFlavor(c.Context(), f)
	if err != nil {
		return err
	}
	return c.json(http.StatusOK, object{"flavor": c.flavorView(created)})
}

func (a *api) updateFlavor(c *call) error {
	var body struct{ Flavor struct{ Description *string } }
	s := wrap("flavor", record(map[string]*wire.Schema{"description": {Types: []string{"string", "null"}, MaxLength: 65535}}, "description"))
	if err := c.body(s, &body); err != nil {
		return err
	}
	f, err := a.compute.DescribeFlavor(c.Context(), c.PathValue("id"), body.Flavor.Description)
	if err != nil {
		return err
	}
	return c.json(http.StatusOK, object{"flavor": c.flavorView(f)})
}

func (a *api) deleteFlavor(c *call) error {
	if err := a.compute.DeleteFlavor(c.Context(), c.PathValue("id")); err != nil {
		return err
	}
	return c.empty(http.StatusAccepted)
}

func (a *api) flavorActions(policy string) map[string]action {
	tenant := func(*call) *wire.Schema { return record(map[string]*wire.Schema{"tenant": typeProject()}, "tenant") }
	return map[string]action{
		"addTenantAccess":    {schema: tenant, serve: a.changeFlavorAccess(true), policy: policy + "add_tenant_access"},
		"removeTenantAccess": {schema: tenant, serve: a.changeFlavorAccess(false), policy: policy + "remove_tenant_access"},
	}
}

func (a *api) changeFlavorAccess(add bool) func(c *call, id string, argument json.RawMessage) error {
	return func(c *call, id string, argument json.RawMessage) error {
		var who struct{ Tenant string }
		if err := json.Unmarshal(argument, &who); err != nil {
			return fault.Wrap(compute.ErrInvalid, "Malformed request body")
		}
		change := a.compute.RemoveFlavorAccess
		if add {
			if f, err := a.compute.Flavor(c.Context(), c.scope(), id); err == nil && f.Public && c.at(7) {
				return fault.Wrap(compute.ErrConflict, "Can not add access to a public flavor.")
			}
			change = a.compute.AddFlavorAccess
		}
		f, err := change(c.Context(), id, who.Tenant)
		if err != nil {
			return err
		}
		return c.showAccess(f)
	}
}

func (c *call) showAccess(f *compute.Flavor) error {
	shown := make([]object, 0, len(f.Access))
	for _, project := range f.Access {
		shown = append(shown, object{"flavor_id": f.ID, "tenant_id": project})
	}
	return c.json(http.StatusOK, object{"flavor_access": shown})
}

func (a *api) listFlavorAccess(c *call) error {
	f, err := a.compute.Flavor(c.Context(), c.scope(), c.PathValue("id"))
	if err != nil {
		return err
	}
	if f.Public {
		return fault.Wrap(compute.ErrNotFound, "Access list not available for public flavors.")
	}
	return c.showAccess(f)
}

func (a *api) listExtraSpecs(c *call) error {
	f, err := a.compute.Flavor(c.Context(), c.scope(), c.PathValue("id"))
	if err != nil {
		return err
	}
	return c.json(http.StatusOK, object{"extra_specs": specsOf(f)})
}

func (a *api) showExtraSpec(c *call) error {
	f, err := a.compute.Flavor(c.Context(), c.scope(), c.PathValue("id"))
	if err != nil {
		return err
	}
	key := c.PathValue("key")
	value, ok := f.ExtraSpecs[key]
	if !ok {
		return fault.Wrap(compute.ErrNotFound, "Flavor %s has no extra specs with key %s.", f.ID, key)
	}
	return c.json(http.StatusOK, object{key: value})
}

// specsSchema lets values be numbers, as old clients send them.
func specsSchema() *wire.Schema {
	return &wire.Schema{
		Types: []string{"object"}, Keys: metadataKey,
		Others: &wire.Schema{Types: []string{"string", "number"}, MaxLength: 255},
	}
}

func plainTexts(values map[string]text) map[string]string {
	plain := map[string]string{}
	for key, value := range values {
		plain[key] = string(value)
	}
	return plain
}

func (a *api) setExtraSpecs(c *call) error {
	var body struct {
		Specs map[string]text `json:"extra_specs"`
	}
	if err := c.body(wrap("extra_specs", specsSchema()), &body); err != nil {
		return err
	}
	specs := plainTexts(body.Specs)
	if _, err := a.compute.SetExtraSpecs(c.Context(), c.PathValue("id"), specs); err != nil {
		return err
	}
	return c.json(http.StatusOK, object{"extra_specs": specs})
}

func (a *api) setExtraSpec(c *call) error {
	var body map[string]text
	if err := c.body(specsSchema(), &body); err != nil {
		return err
	}
	key := c.PathValue("key")
	value, ok := body[key]
	if !ok || len(body) != 1 {
		return fault.Wrap(compute.ErrInvalid, "Request body and URI mismatch")
	}
	if _, err := a.compute.SetExtraSpecs(c.Context(), c.PathValue("id"), map[string]string{key: string(value)}); err != nil {
		return err
	}
	return c.json(http.StatusOK, object{key: string(value)})
}

func (a *api) deleteExtraSpec(c *call) error {
	if err := a.compute.DeleteExtraSpec(c.Context(), c.PathValue("id"), c.PathValue("key")); err != nil {
		return err
	}
	return c.empty(http.StatusOK)
}
