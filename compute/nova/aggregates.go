package nova

import (
	"context"
	"encoding/json"
	"maps"
	"net/http"

	"github.com/kintoun/kintoun/compute"
	"github.com/kintoun/kintoun/internal/fault"
	"github.com/kintoun/kintoun/internal/wire"
)

func (a *api) aggregateOperations() []operation {
	const policy = "os_compute_api:os-aggregates:"
	return []operation{
		{method: "GET", path: "/os-aggregates", serve: a.listAggregates, policy: policy + "index"},
		{method: "POST", path: "/os-aggregates", serve: a.createAggregate, policy: policy + "create"},
		{method: "GET", path: "/os-aggregates/{id}", serve: a.showAggregate, policy: policy + "show"},
		{method: "PUT", path: "/os-aggregates/{id}", serve: a.updateAggregate, policy: policy + "update"},
		{method: "DELETE", path: "/os-aggregates/{id}", serve: a.deleteAggregate, policy: policy + "delete"},
		{method: "POST", path: "/os-aggregates/{id}/action", actions: a.aggregateActions(policy)},
	}
}

func (c *call) aggregate(g *compute.Aggregate) object {
	metadata := map[string]string{}
	maps.Copy(metadata, g.Metadata)
	if g.Zone != nil {
		metadata["availability_zone"] = *g.Zone
	}
	o := object{
		"id": g.Number, "name": g.Name, "availability_zone": g.Zone, "hosts": orEmpty(g.Hosts), "metadata": metadata,
		"created_at": precise(g.CreatedAt), "updated_at": preciseOrNil(g.UpdatedAt), "deleted": false, "deleted_at": nil,
	}
	if c.at(41) {
		o["uuid"] = g.ID
	}
	return o
}

func (a *api) listAggregates(c *call) error {
	list, err := a.compute.Aggregates(c.Context())
	if err != nil {
		return err
	}
	shown := make([]object, 0, len(list))
	for i := range list {
		shown = append(shown, c.aggregate(&list[i]))
	}
	return c.json(http.StatusOK, object{"aggregates": shown})
}

type aggregateBody struct {
	Aggregate struct {
		Name *string
		Zone wire.Optional[string] `json:"availability_zone"`
	}
}

func zoneSchema() *wire.Schema {
	return &wire.Schema{Types: []string{"string", "null"}, MinLength: 1, MaxLength: 255, Format: formatZone()}
}

func (a *api) createAggregate(c *call) error {
	var body aggregateBody
	if err := c.body(wrap("aggregate", record(map[string]*wire.Schema{"name": typeName(), "availability_zone": zoneSchema()}, "name")), &body); err != nil {
		return err
	}
	var zone *string
	if body.Aggregate.Zone.Set && !body.Aggregate.Zone.Null {
		zone = &body.Aggregate.Zone.Value
	}
	g, err := a.compute.CreateAggregate(c.Context(), *body.Aggregate.Name, zone)
	if err != nil {
		return err
	}
	o := c.aggregate(g)
	delete(o, "hosts") // which Nova leaves out here
	delete(o, "metadata")
	return c.json(http.StatusOK, object{"aggregate": o})
}

func (c *call) showAggregateView(g *compute.Aggregate, err error) error {
	if err != nil {
		return err
	}
	return c.json(http.StatusOK, object{"aggregate": c.aggregate(g)})
}

func (a *api) showAggregate(c *call) error {
	return c.showAggregateView(a.compute.Aggregate(c.Context(), c.PathValue("id")))
}

func (a *api) updateAggregate(c *call) error {
	var body aggregateBody
	if err := c.body(wrap("aggregate", record(map[string]*wire.Schema{"name": typeName(), "availability_zone": zoneSchema()})), &body); err != nil {
		return err
	}
	return c.showAggregateView(a.compute.ChangeAggregate(c.Context(), c.PathValue("id"), func(g *compute.Aggregate) error {
		if body.Aggregate.Name != nil {
			g.Name = *body.Aggregate.Name
		}
		if zone := body.Aggregate.Zone; zone.Set {
			g.Zone = nil
			if !zone.Null {
				g.Zone = &zone.Value
			}
		}
		return nil
	}))
}

func (a *api) deleteAggregate(c *call) error {
	if err := a.compute.DeleteAggregate(c.Context(), c.PathValue("id")); err != nil {
		return err
	}
	return c.empty(http.StatusOK)
}

func (a *api) aggregateActions(policy string) map[string]action {
	changeHost := func(change func(ctx context.Context, id, host string) (*compute.Aggregate, error)) func(c *call, id string, argument json.RawMessage) error {
		return func(c *call, id string, argument json.RawMessage) error {
			var which struct{ Host string }
			if err := json.Unmarshal(argument, &which); err != nil {
				return fault.Wrap(compute.ErrInvalid, "Malformed request body")
			}
			return c.showAggregateView(change(c.Context(), id, which.Host))
		}
	}
	host := func(*call) *wire.Schema { return record(map[string]*wire.Schema{"host": typeFQDN()}, "host") }
	metadata := func(*call) *wire.Schema {
		values := &wire.Schema{Types: []string{"string", "null"}, MaxLength: 255}
		return record(map[string]*wire.Schema{"metadata": {Types: []string{"object"}, Keys: typeMetadata().Keys, Others: values}}, "metadata")
	}
	return map[string]action{
		"add_host":     {schema: host, serve: changeHost(a.compute.AddHost), policy: policy + "add_host"},
		"remove_host":  {schema: host, serve: changeHost(a.compute.RemoveHost), policy: policy + "remove_host"},
		"set_metadata": {schema: metadata, serve: a.setAggregateMetadata, policy: policy + "set_metadata"},
	}
}

func (a *api) setAggregateMetadata(c *call, id string, argument json.RawMessage) error {
	var to struct{ Metadata map[string]*string }
	if err := json.Unmarshal(argument, &to); err != nil {
		return fault.Wrap(compute.ErrInvalid, "Malformed request body")
	}
	return c.showAggregateView(a.compute.ChangeAggregate(c.Context(), id, func(g *compute.Aggregate) error {
		for key, value := range to.Metadata {
			switch {
			case key == "availability_zone":
				g.Zone = value
			case value == nil:
				delete(g.Metadata, key)
			default:
				g.Metadata[key] = *value
			}
		}
		return nil
	}))
}
