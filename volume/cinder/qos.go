package cinder

import (
	"context"
	"maps"
	"net/http"
	"strings"

	"github.com/kintoun/kintoun/internal/fault"
	"github.com/kintoun/kintoun/volume"
)

func (a *api) qosOperations() []operation {
	const policy = "volume_extension:qos_specs_manage:"
	return []operation{
		{method: "GET", path: "/qos-specs", serve: a.listQoS, policy: policy + "get_all"},
		{method: "POST", path: "/qos-specs", serve: a.createQoS, policy: policy + "create"},
		{method: "GET", path: "/qos-specs/{id}", serve: a.showQoS, policy: policy + "get"},
		{method: "PUT", path: "/qos-specs/{id}", serve: a.setQoSKeys, policy: policy + "update"},
		{method: "DELETE", path: "/qos-specs/{id}", serve: a.deleteQoS, policy: policy + "delete"},
		{method: "PUT", path: "/qos-specs/{id}/delete_keys", serve: a.unsetQoSKeys, policy: policy + "update"},
		{method: "GET", path: "/qos-specs/{id}/associations", serve: a.listQoSAssociations, policy: policy + "get"},
		{method: "GET", path: "/qos-specs/{id}/associate", serve: a.changeQoSType(a.volumes.AssociateQoS), policy: policy + "update"},
		{method: "GET", path: "/qos-specs/{id}/disassociate", serve: a.changeQoSType(a.volumes.DisassociateQoS), policy: policy + "update"},
		{method: "GET", path: "/qos-specs/{id}/disassociate_all", serve: a.disassociateAllQoS, policy: policy + "update"},
	}
}

func qosView(q *volume.QoS) object {
	return object{"id": q.ID, "name": q.Name, "consumer": q.Consumer, "specs": pairs(q.Specs)}
}

func (c *call) showOneQoS(q *volume.QoS) error {
	return c.json(http.StatusOK, object{"qos_specs": qosView(q), "links": c.links("qos-specs", q.ID)})
}

func (a *api) listQoS(c *call) error {
	options, err := c.page("created_at")
	if err != nil {
		return err
	}
	options.Equal = map[string]string{}
	for _, key := range []string{"id", "name", "consumer"} {
		if c.URL.Query().Has(key) {
			options.Equal[key] = c.URL.Query().Get(key)
		}
	}
	var all []volume.QoS
	if options.Limit > 0 {
		if all, err = a.volumes.QoSSpecs(c.Context(), c.scope(), options); err != nil {
			return err
		}
	}
	return c.listed("qos_specs", "qos_specs_links", each(all, qosView), options, nil)
}

// qosKeys are the limits of a body, whose values clients may send as numbers; the consumer is among them.
type qosKeys map[string]text

// split takes the consumer out; it is empty where none is given.
func (k qosKeys) split(drop ...string) (consumer string, specs map[string]string) {
	specs = map[string]string{}
	for key, value := range k {
		specs[key] = string(value)
	}
	consumer = specs["consumer"]
	delete(specs, "consumer")
	for _, key := range drop {
		delete(specs, key)
	}
	return consumer, specs
}

func (a *api) createQoS(c *call) error {
	inner := record(fields{"name": typeName()}, "name")
	inner.Others = kind("string", "number", "boolean", "null")
	var body struct {
		Specs qosKeys `json:"qos_specs"`
	}
	if err := c.body(wrap("qos_specs", inner), &body); err != nil {
		return err
	}
	consumer, specs := body.Specs.split("name")
	if consumer == "" {
		consumer = "back-end"
	}
	q, err := a.volumes.CreateQoS(c.Context(), c.scope(), strings.TrimSpace(string(body.Specs["name"])), consumer, specs)
	if err != nil {
		return err
	}
	return c.showOneQoS(q)
}

func (a *api) showQoS(c *call) error {
	q, err := a.volumes.QoS(c.Context(), c.scope(), c.id())
	if err != nil {
		return err
	}
	return c.showOneQoS(q)
}

func (a *api) setQoSKeys(c *call) error {
	var body struct {
		Specs qosKeys `json:"qos_specs"`
	}
	if err := c.body(wrap("qos_specs", typePairs(metaKey, "string", "null")), &body); err != nil {
		return err
	}
	consumer, specs := body.Specs.split()
	if _, err := a.volumes.SetQoSKeys(c.Context(), c.scope(), c.id(), consumer, specs); err != nil {
		return err
	}
	shown := maps.Clone(specs)
	if consumer != "" {
		shown["consumer"] = consumer
	}
	return c.json(http.StatusOK, object{"qos_specs": shown})
}

func (a *api) unsetQoSKeys(c *call) error {
	var body struct{ Keys []string }
	s := wrap("keys", list(&schema{Types: []string{"string"}, MinLength: 1, MaxLength: 255}))
	if err := c.body(s, &body); err != nil {
		return err
	}
	return c.accepted(a.volumes.UnsetQoSKeys(c.Context(), c.scope(), c.id(), body.Keys))
}

func (a *api) deleteQoS(c *call) error {
	return c.accepted(a.volumes.DeleteQoS(c.Context(), c.scope(), c.id(), c.flag("force")))
}

func (a *api) listQoSAssociations(c *call) error {
	types, err := a.volumes.QoSAssociations(c.Context(), c.scope(), c.id())
	if err != nil {
		return err
	}
	return c.json(http.StatusOK, object{"qos_associations": each(types, func(t *volume.Type) object {
		return object{"association_type": "volume_type", "id": t.ID, "name": t.Name}
	})})
}

func (a *api) changeQoSType(do func(ctx context.Context, scope volume.Scope, id, typeID string) error) func(c *call) error {
	return func(c *call) error {
		typeID := c.URL.Query().Get("vol_type_id")
		if typeID == "" {
			return fault.Wrap(volume.ErrInvalid, "Volume Type id must not be None.")
		}
		return c.accepted(do(c.Context(), c.scope(), c.id(), typeID))
	}
}

func (a *api) disassociateAllQoS(c *call) error {
	return c.accepted(a.volumes.DisassociateAllQoS(c.Context(), c.scope(), c.id()))
}
