package glance

import (
	"encoding/json"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/kintoun/kintoun/image"
	"github.com/kintoun/kintoun/internal/fault"
	"github.com/kintoun/kintoun/internal/wire"
)

const namespacesPath = "/v2/metadefs/namespaces"

func (a *api) metadefRoutes() []wire.Route {
	one := namespacesPath + "/{namespace}"
	routes := []wire.Route{
		{Method: "GET", Path: "/v2/metadefs/resource_types", Serve: a.listResourceTypes},
		{Method: "GET", Path: namespacesPath, Serve: a.listNamespaces},
		{Method: "POST", Path: namespacesPath, Serve: a.createNamespace},
		{Method: "GET", Path: one, Serve: a.showNamespace},
		{Method: "PUT", Path: one, Serve: a.updateNamespace},
		{Method: "DELETE", Path: one, Serve: a.deleteNamespace},
		{Method: "POST", Path: one + "/tags", Serve: a.setDefinedTags},
		{Method: "POST", Path: one + "/tags/{name}", Serve: a.addDefinedTag},
	}
	for _, named := range []struct {
		path  string
		parts parts
	}{{"resource_types", resourceTypeParts{}}, {"objects", objectParts{}}, {"properties", propertyParts{}}, {"tags", tagParts{}}} {
		path, p := named.path, named.parts
		routes = append(routes,
			wire.Route{Method: "GET", Path: one + "/" + path, Serve: a.listParts(p)},
			wire.Route{Method: "DELETE", Path: one + "/" + path + "/{name}", Serve: a.deletePart(p)})
		if path != "tags" {
			routes = append(routes, wire.Route{Method: "POST", Path: one + "/" + path, Serve: a.addPart(p)})
		}
		if path != "resource_types" {
			routes = append(routes,
				wire.Route{Method: "GET", Path: one + "/" + path + "/{name}", Serve: a.showPart(p)},
				wire.Route{Method: "PUT", Path: one + "/" + path + "/{name}", Serve: a.updatePart(p)},
				wire.Route{Method: "DELETE", Path: one + "/" + path, Serve: a.deleteParts(p)})
		}
	}
	return routes
}

func (a *api) listResourceTypes(w http.ResponseWriter, r *http.Request) error {
	names, err := a.images.ResourceTypes(r.Context(), scope(r))
	if err != nil {
		return err
	}
	list := make([]object, len(names))
	for i, name := range names {
		list[i] = object{"name": name}
	}
	return wire.JSON(w, http.StatusOK, object{"resource_types": list})
}

func (a *api) listNamespaces(w http.ResponseWriter, r *http.Request) error {
	query := r.URL.Query()
	all, err := a.images.Namespaces(r.Context(), scope(r))
	if err != nil {
		return err
	}
	all = slices.DeleteFunc(all, func(n image.Namespace) bool {
		if v := query.Get("visibility"); v != "" && v != string(n.Visibility) {
			return true
		}
		types := query.Get("resource_types")
		return types != "" && !slices.ContainsFunc(n.ResourceTypes, func(t image.ResourceType) bool {
			return slices.Contains(strings.Split(types, ","), t.Name)
		})
	})
	limit := defaultLimit
	if text := query.Get("limit"); text != "" {
		if limit, err = parseLimit(text); err != nil {
			return err
		}
	}
	if marker := query.Get("marker"); marker != "" {
		at := slices.IndexFunc(all, func(n image.Namespace) bool { return n.Name == marker })
		if at < 0 {
			return fault.Wrap(image.ErrNotFound, "metadata definition namespace %.80s not found", marker)
		}
		all = all[at+1:]
	}
	body := object{"schema": "/v2/schemas/metadefs/namespaces"}
	query.Del("marker")
	body["first"] = namespacesLink(query)
	if len(all) > limit {
		all = all[:limit]
		if limit > 0 {
			query.Set("marker", all[limit-1].Name)
			body["next"] = namespacesLink(query)
		}
	}
	list := make([]object, len(all))
	for i := range all {
		list[i] = viewNamespace(&all[i])
		if len(all[i].ResourceTypes) > 0 {
			list[i]["resource_type_associations"] = viewAll(resourceTypeParts{}, &all[i])
		}
	}
	body["namespaces"] = list
	return wire.JSON(w, http.StatusOK, body)
}

func namespacesLink(query url.Values) string {
	if len(query) == 0 {
		return namespacesPath
	}
	return namespacesPath + "?" + query.Encode()
}

func namespacePath(n *image.Namespace) string { return namespacesPath + "/" + url.PathEscape(n.Name) }

// viewNamespace is a namespace without what is in it.
func viewNamespace(n *image.Namespace) object {
	v := object{
		"namespace": n.Name, "visibility": n.Visibility, "protected": n.Protected, "owner": n.ProjectID,
		"created_at": timestamp(n.CreatedAt), "updated_at": timestamp(n.UpdatedAt),
		"self": namespacePath(n), "schema": "/v2/schemas/metadefs/namespace",
	}
	if n.DisplayName != "" {
		v["display_name"] = n.DisplayName
	}
	if n.Description != "" {
		v["description"] = n.Description
	}
	return v
}

// viewWhole is a namespace with what is in it; what is empty is left out.
func viewWhole(n *image.Namespace) object {
	v := viewNamespace(n)
	if len(n.ResourceTypes) > 0 {
		v["resource_type_associations"] = viewAll(resourceTypeParts{}, n)
	}
	if len(n.Objects) > 0 {
		v["objects"] = viewAll(objectParts{}, n)
	}
	if len(n.Tags) > 0 {
		v["tags"] = viewAll(tagParts{}, n)
	}
	if len(n.Properties) > 0 {
		properties := object{}
		for i := range n.Properties {
			properties[n.Properties[i].Name] = n.Properties[i].Schema
		}
		v["properties"] = properties
	}
	return v
}

// namespaceBody is what a request says of a namespace.
type namespaceBody struct {
	Namespace     string                     `json:"namespace"`
	DisplayName   string                     `json:"display_name"`
	Description   string                     `json:"description"`
	Visibility    string                     `json:"visibility"`
	Protected     bool                       `json:"protected"`
	Owner         string                     `json:"owner"`
	ResourceTypes []resourceTypeBody         `json:"resource_type_associations"`
	Objects       []objectBody               `json:"objects"`
	Properties    map[string]json.RawMessage `json:"properties"`
	Tags          []tagBody                  `json:"tags"`
}

func (b *namespaceBody) apply(n *image.Namespace) {
	n.Name, n.DisplayName, n.Description, n.Protected = b.Namespace, b.DisplayName, b.Description, b.Protected
	n.Visibility = image.Private
	if b.Visibility != "" {
		n.Visibility = image.Visibility(b.Visibility)
	}
	if b.Owner != "" {
		n.ProjectID = b.Owner
	}
}

func (a *api) createNamespace(w http.ResponseWriter, r *http.Request) error {
	var body namespaceBody
	if err := wire.Decode(r, &body); err != nil {
		return err
	}
	var n image.Namespace
	body.apply(&n)
	for i := range body.ResourceTypes {
		n.ResourceTypes = append(n.ResourceTypes, body.ResourceTypes[i].part())
	}
	for i := range body.Objects {
		n.Objects = append(n.Objects, body.Objects[i].part())
	}
	for i := range body.Tags {
		n.Tags = append(n.Tags, image.DefinedTag{Name: body.Tags[i].Name})
	}
	for _, name := range slices.Sorted(maps.Keys(body.Properties)) {
		p, err := parseProperty(name, body.Properties[name])
		if err != nil {
			return err
		}
		n.Properties = append(n.Properties, p)
	}
	made, err := a.images.CreateNamespace(r.Context(), scope(r), n)
	if err != nil {
		return err
	}
	w.Header().Set("Location", namespacePath(made))
	return wire.JSON(w, http.StatusCreated, viewWhole(made))
}

func (a *api) showNamespace(w http.ResponseWriter, r *http.Request) error {
	n, err := a.images.Namespace(r.Context(), scope(r), r.PathValue("namespace"))
	if err != nil {
		return err
	}
	v := viewWhole(n)
	// Asked for a type, properties bear the prefix that they have there.
	if kind := r.URL.Query().Get("resource_type"); kind != "" {
		for _, t := range n.ResourceTypes {
			if t.Name == kind && t.Prefix != "" && len(n.Properties) > 0 {
				prefixed := object{}
				for i := range n.Properties {
					prefixed[t.Prefix+n.Properties[i].Name] = n.Properties[i].Schema
				}
				v["properties"] = prefixed
			}
		}
	}
	return wire.JSON(w, http.StatusOK, v)
}

func (a *api) updateNamespace(w http.ResponseWriter, r *http.Request) error {
	var body namespaceBody
	if err := wire.Decode(r, &body); err != nil {
		return err
	}
	n, err := a.images.UpdateNamespace(r.Context(), scope(r), r.PathValue("namespace"), func(n *image.Namespace) error {
		body.apply(n)
		return nil
	})
	if err != nil {
		return err
	}
	return wire.JSON(w, http.StatusOK, viewNamespace(n))
}

func (a *api) deleteNamespace(w http.ResponseWriter, r *http.Request) error {
	if err := a.images.DeleteNamespace(r.Context(), scope(r), r.PathValue("namespace")); err != nil {
		return err
	}
	return empty(w)
}
