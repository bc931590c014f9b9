package glance

import (
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/kintoun/kintoun/image"
	"github.com/kintoun/kintoun/internal/fault"
	"github.com/kintoun/kintoun/internal/wire"
)

// parts are one of the kinds of things that are in a namespace.
type parts interface {
	// list is the member's name in a list, kind its name in messages.
	list() string
	kind() string
	// names are those that the namespace has, in order.
	names(n *image.Namespace) []string
	view(n *image.Namespace, i int) object
	// set reads the i-th from a request's body, or adds one where i is the number that there are.
	set(n *image.Namespace, i int, body []byte) error
	remove(n *image.Namespace, i int)
}

func viewAll(p parts, n *image.Namespace) []object {
	list := make([]object, len(p.names(n)))
	for i := range list {
		list[i] = p.view(n, i)
	}
	return list
}

func (a *api) listParts(p parts) func(http.ResponseWriter, *http.Request) error {
	return func(w http.ResponseWriter, r *http.Request) error {
		n, err := a.images.Namespace(r.Context(), scope(r), r.PathValue("namespace"))
		if err != nil {
			return err
		}
		body := object{p.list(): viewAll(p, n)}
		if _, ok := p.(propertyParts); ok {
			body[p.list()] = viewWhole(n)["properties"]
			if len(n.Properties) == 0 {
				body[p.list()] = object{}
			}
		}
		return wire.JSON(w, http.StatusOK, body)
	}
}

// find is the place of the part that the request names.
func find(p parts, n *image.Namespace, name string) (int, error) {
	i := slices.Index(p.names(n), name)
	if i < 0 {
		return 0, fault.Wrap(image.ErrNotFound, "metadata definition %s %.80s not found in namespace %s", p.kind(), name, n.Name)
	}
	return i, nil
}

func (a *api) showPart(p parts) func(http.ResponseWriter, *http.Request) error {
	return func(w http.ResponseWriter, r *http.Request) error {
		n, err := a.images.Namespace(r.Context(), scope(r), r.PathValue("namespace"))
		if err != nil {
			return err
		}
		i, err := find(p, n, r.PathValue("name"))
		if err != nil {
			return err
		}
		return wire.JSON(w, http.StatusOK, p.view(n, i))
	}
}

func (a *api) addPart(p parts) func(http.ResponseWriter, *http.Request) error {
	return func(w http.ResponseWriter, r *http.Request) error {
		var body json.RawMessage
		if err := wire.Decode(r, &body); err != nil {
			return err
		}
		n, err := a.changeNamespace(r, func(n *image.Namespace) error { return p.set(n, len(p.names(n)), body) })
		if err != nil {
			return err
		}
		return wire.JSON(w, http.StatusCreated, p.view(n, len(p.names(n))-1))
	}
}

func (a *api) updatePart(p parts) func(http.ResponseWriter, *http.Request) error {
	return func(w http.ResponseWriter, r *http.Request) error {
		var body json.RawMessage
		if err := wire.Decode(r, &body); err != nil {
			return err
		}
		at := 0
		n, err := a.changeNamespace(r, func(n *image.Namespace) (err error) {
			if at, err = find(p, n, r.PathValue("name")); err != nil {
				return err
			}
			return p.set(n, at, body)
		})
		if err != nil {
			return err
		}
		return wire.JSON(w, http.StatusOK, p.view(n, at))
	}
}

func (a *api) deletePart(p parts) func(http.ResponseWriter, *http.Request) error {
	return func(w http.ResponseWriter, r *http.Request) error {
		_, err := a.changeNamespace(r, func(n *image.Namespace) error {
			i, err := find(p, n, r.PathValue("name"))
			if err != nil {
				return err
			}
			if err := deletable(n); err != nil {
				return err
			}
			p.remove(n, i)
			return nil
		})
		if err != nil {
			return err
		}
		return empty(w)
	}
}

func (a *api) deleteParts(p parts) func(http.ResponseWriter, *http.Request) error {
	return func(w http.ResponseWriter, r *http.Request) error {
		_, err := a.changeNamespace(r, func(n *image.Namespace) error {
			if err := deletable(n); err != nil {
				return err
			}
			for range p.names(n) {
				p.remove(n, 0)
			}
			return nil
		})
		if err != nil {
			return err
		}
		return empty(w)
	}
}

func deletable(n *image.Namespace) error {
	if n.Protected {
		return fault.Wrap(image.ErrForbidden, "metadata definition namespace %s is protected: nothing in it can be deleted", n.Name)
	}
	return nil
}

func (a *api) changeNamespace(r *http.Request, change func(*image.Namespace) error) (*image.Namespace, error) {
	return a.images.UpdateNamespace(r.Context(), scope(r), r.PathValue("namespace"), change)
}

func decodePart(body []byte, into any) error {
	if err := json.Unmarshal(body, into); err != nil {
		return fault.Wrap(image.ErrInvalid, "the definition is not as its schema says: %s", err)
	}
	return nil
}

// put replaces the i-th of a list, or adds to it.
func put[T any](list []T, i int, one T) []T {
	if i < len(list) {
		list[i] = one
		return list
	}
	return append(list, one)
}

type resourceTypeParts struct{}

type resourceTypeBody struct {
	Name             string `json:"name"`
	Prefix           string `json:"prefix"`
	PropertiesTarget string `json:"properties_target"`
}

func (b *resourceTypeBody) part() image.ResourceType {
	return image.ResourceType{Name: b.Name, Prefix: b.Prefix, PropertiesTarget: b.PropertiesTarget}
}

func (resourceTypeParts) list() string { return "resource_type_associations" }
func (resourceTypeParts) kind() string { return "resource type" }
func (resourceTypeParts) names(n *image.Namespace) (names []string) {
	for i := range n.ResourceTypes {
		names = append(names, n.ResourceTypes[i].Name)
	}
	return names
}

func (resourceTypeParts) view(n *image.Namespace, i int) object {
	t := &n.ResourceTypes[i]
	v := object{"name": t.Name, "created_at": timestamp(t.CreatedAt), "updated_at": timestamp(t.UpdatedAt)}
	if t.Prefix != "" {
		v["prefix"] = t.Prefix
	}
	if t.PropertiesTarget != "" {
		v["properties_target"] = t.PropertiesTarget
	}
	return v
}

func (resourceTypeParts) set(n *image.Namespace, i int, body []byte) error {
	var b resourceTypeBody
	err := decodePart(body, &b)
	n.ResourceTypes = put(n.ResourceTypes, i, b.part())
	return err
}

func (resourceTypeParts) remove(n *image.Namespace, i int) {
	n.ResourceTypes = slices.Delete(n.ResourceTypes, i, i+1)
}

type objectParts struct{}

type objectBody struct {
	Name        string                    `json:"name"`
	Description string                    `json:"description"`
	Required    []string                  `json:"required"`
	Properties  map[string]map[string]any `json:"properties"`
}

func (b *objectBody) part() image.DefinedObject {
	return image.DefinedObject{Name: b.Name, Description: b.Description, Required: b.Required, Properties: b.Properties}
}

func (objectParts) list() string { return "objects" }
func (objectParts) kind() string { return "object" }
func (objectParts) names(n *image.Namespace) (names []string) {
	for i := range n.Objects {
		names = append(names, n.Objects[i].Name)
	}
	return names
}

func (objectParts) view(n *image.Namespace, i int) object {
	o := &n.Objects[i]
	v := object{
		"name": o.Name, "required": append([]string{}, o.Required...), "properties": o.Properties,
		"created_at": timestamp(o.CreatedAt), "updated_at": timestamp(o.UpdatedAt),
		"self": namespacePath(n) + "/objects/" + url.PathEscape(o.Name), "schema": "/v2/schemas/metadefs/object",
	}
	if o.Properties == nil {
		v["properties"] = object{}
	}
	if o.Description != "" {
		v["description"] = o.Description
	}
	return v
}

func (objectParts) set(n *image.Namespace, i int, body []byte) error {
	var b objectBody
	err := decodePart(body, &b)
	o := b.part()
	if i < len(n.Objects) {
		o.CreatedAt, o.UpdatedAt = n.Objects[i].CreatedAt, time.Now()
	}
	n.Objects = put(n.Objects, i, o)
	return err
}

func (objectParts) remove(n *image.Namespace, i int) { n.Objects = slices.Delete(n.Objects, i, i+1) }

type propertyParts struct{}

// parseProperty reads a JSON Schema, which has a title and a type at least.
func parseProperty(name string, body []byte) (p image.DefinedProperty, err error) {
	p.Name = name
	if err := decodePart(body, &p.Schema); err != nil {
		return p, err
	}
	for _, member := range []string{"title", "type"} {
		if text, ok := p.Schema[member].(string); !ok || strings.TrimSpace(text) == "" {
			return p, fault.Wrap(image.ErrInvalid, "'%s' is a required property", member)
		}
	}
	return p, nil
}

func (propertyParts) list() string { return "properties" }
func (propertyParts) kind() string { return "property" }
func (propertyParts) names(n *image.Namespace) (names []string) {
	for i := range n.Properties {
		names = append(names, n.Properties[i].Name)
	}
	return names
}

func (propertyParts) view(n *image.Namespace, i int) object {
	v := object{}
	for name, value := range n.Properties[i].Schema {
		v[name] = value
	}
	v["name"] = n.Properties[i].Name
	return v
}

func (propertyParts) set(n *image.Namespace, i int, body []byte) error {
	var named tagBody
	if err := decodePart(body, &named); err != nil {
		return err
	}
	p, err := parseProperty(named.Name, body)
	if err != nil {
		return err
	}
	delete(p.Schema, "name")
	n.Properties = put(n.Properties, i, p)
	return nil
}

func (propertyParts) remove(n *image.Namespace, i int) {
	n.Properties = slices.Delete(n.Properties, i, i+1)
}

type tagParts struct{}

type tagBody struct {
	Name string `json:"name"`
}

func (tagParts) list() string { return "tags" }
func (tagParts) kind() string { return "tag" }
func (tagParts) names(n *image.Namespace) (names []string) {
	for i := range n.Tags {
		names = append(names, n.Tags[i].Name)
	}
	return names
}

func (tagParts) view(n *image.Namespace, i int) object {
	t := &n.Tags[i]
	return object{"name": t.Name, "created_at": timestamp(t.CreatedAt), "updated_at": timestamp(t.UpdatedAt)}
}

func (tagParts) set(n *image.Namespace, i int, body []byte) error {
	var b tagBody
	err := decodePart(body, &b)
	t := image.DefinedTag{Name: b.Name}
	if i < len(n.Tags) {
		t.CreatedAt, t.UpdatedAt = n.Tags[i].CreatedAt, time.Now()
	}
	n.Tags = put(n.Tags, i, t)
	return err
}

func (tagParts) remove(n *image.Namespace, i int) { n.Tags = slices.Delete(n.Tags, i, i+1) }

// setDefinedTags replaces a namespace's tags, or adds to them where X-Openstack-Append is true.
func (a *api) setDefinedTags(w http.ResponseWriter, r *http.Request) error {
	var body struct {
		Tags []tagBody `json:"tags"`
	}
	if err := wire.Decode(r, &body); err != nil {
		return err
	}
	n, err := a.changeNamespace(r, func(n *image.Namespace) error {
		if !strings.EqualFold(r.Header.Get("X-Openstack-Append"), "true") {
			n.Tags = nil
		}
		for _, t := range body.Tags {
			n.Tags = append(n.Tags, image.DefinedTag{Name: t.Name})
		}
		return nil
	})
	if err != nil {
		return err
	}
	return wire.JSON(w, http.StatusCreated, object{"tags": viewAll(tagParts{}, n)})
}

func (a *api) addDefinedTag(w http.ResponseWriter, r *http.Request) error {
	n, err := a.changeNamespace(r, func(n *image.Namespace) error {
		n.Tags = append(n.Tags, image.DefinedTag{Name: r.PathValue("name")})
		return nil
	})
	if err != nil {
		return err
	}
	return wire.JSON(w, http.StatusCreated, tagParts{}.view(n, len(n.Tags)-1))
}
