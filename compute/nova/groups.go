package nova

import (
	"net/http"
	"strconv"

	"github.com/kintoun/kintoun/compute"
	"github.com/kintoun/kintoun/internal/wire"
)

func (a *api) groupOperations() []operation {
	return []operation{
		{method: "GET", path: "/os-server-groups", serve: a.listGroups},
		{method: "POST", path: "/os-server-groups", serve: a.createGroup},
		{method: "GET", path: "/os-server-groups/{id}", serve: a.showGroup},
		{method: "DELETE", path: "/os-server-groups/{id}", serve: a.deleteGroup},
	}
}

func (c *call) group(g *compute.ServerGroup) object {
	o := object{"id": g.ID, "name": g.Name, "members": orEmpty(g.Members)}
	if c.at(13) {
		o["project_id"], o["user_id"] = g.ProjectID, g.UserID
	}
	if !c.at(64) {
		o["policies"], o["metadata"] = []compute.Policy{g.Policy}, object{}
		return o
	}
	rules := object{}
	if g.MaxPerHost > 0 {
		rules["max_server_per_host"] = g.MaxPerHost
	}
	o["policy"], o["rules"] = g.Policy, rules
	return o
}

func groupSchema(minor int) *wire.Schema {
	policies := []any{"affinity", "anti-affinity"}
	if minor >= 15 {
		policies = append(policies, "soft-affinity", "soft-anti-affinity")
	}
	if minor < 64 {
		// A list of exactly one, for what was once meant to be several.
		one := &wire.Schema{Types: []string{"array"}, Items: words(policies...), MaxItems: 1}
		return wrap("server_group", record(map[string]*wire.Schema{"name": typeName(), "policies": one}, "name", "policies"))
	}
	rules := record(map[string]*wire.Schema{"max_server_per_host": bounded(1, maxInt)})
	return wrap("server_group", record(map[string]*wire.Schema{"name": typeName(), "policy": words(policies...), "rules": rules}, "name", "policy"))
}

func (a *api) createGroup(c *call) error {
	var body struct {
		Group struct {
			Name     string
			Policies []compute.Policy
			Policy   compute.Policy
			Rules    struct {
				MaxPerHost wire.Int `json:"max_server_per_host"`
			}
		} `json:"server_group"`
	}
	if err := c.body(groupSchema(c.minor), &body); err != nil {
		return err
	}
	in := body.Group
	if len(in.Policies) > 0 {
		in.Policy = in.Policies[0]
	}
	g, err := a.compute.CreateServerGroup(c.Context(), c.scope(), in.Name, in.Policy, int(in.Rules.MaxPerHost))
	if err != nil {
		return err
	}
	return c.json(http.StatusOK, object{"server_group": c.group(g)})
}

func (a *api) listGroups(c *call) error {
	if err := c.onlyQuery("all_projects", "limit", "offset"); err != nil {
		return err
	}
	limit, _, err := c.page()
	if err != nil {
		return err
	}
	query := c.URL.Query()
	offset, _ := strconv.Atoi(query.Get("offset")) // what is no number starts at the beginning
	list, err := a.compute.ServerGroups(c.Context(), c.scope(), query.Has("all_projects"), max(offset, 0), limit)
	if err != nil {
		return err
	}
	shown := make([]object, 0, len(list))
	for i := range list {
		shown = append(shown, c.group(&list[i]))
	}
	return c.json(http.StatusOK, object{"server_groups": shown})
}

func (a *api) showGroup(c *call) error {
	g, err := a.compute.ServerGroup(c.Context(), c.scope(), c.PathValue("id"))
	if err != nil {
		return err
	}
	return c.json(http.StatusOK, object{"server_group": c.group(g)})
}

func (a *api) deleteGroup(c *call) error {
	if err := a.compute.DeleteServerGroup(c.Context(), c.scope(), c.PathValue("id")); err != nil {
		return err
	}
	return c.empty(http.StatusNoContent)
}
