package nova

import (
	"net/http"
	"slices"

	"github.com/kintoun/kintoun/compute"
	"github.com/kintoun/kintoun/internal/fault"
	"github.com/kintoun/kintoun/internal/wire"
)

// partOperations are the calls on parts of a server.
func (a *api) partOperations() []operation {
	return []operation{
		{method: "GET", path: "/servers/{id}/ips", serve: a.listAddresses},
		{method: "GET", path: "/servers/{id}/ips/{network}", serve: a.showAddresses},
		{method: "GET", path: "/servers/{id}/metadata", serve: a.listMetadata},
		{method: "POST", path: "/servers/{id}/metadata", serve: a.setMetadata(false)},
		{method: "PUT", path: "/servers/{id}/metadata", serve: a.setMetadata(true)},
		{method: "GET", path: "/servers/{id}/metadata/{key}", serve: a.showMetadata},
		{method: "PUT", path: "/servers/{id}/metadata/{key}", serve: a.setMetadataItem},
		{method: "DELETE", path: "/servers/{id}/metadata/{key}", serve: a.deleteMetadata},
		{method: "GET", path: "/servers/{id}/tags", serve: a.listTags, since: 26},
		{method: "PUT", path: "/servers/{id}/tags", serve: a.setTags, since: 26},
		{method: "DELETE", path: "/servers/{id}/tags", serve: a.clearTags, since: 26},
		{method: "GET", path: "/servers/{id}/tags/{tag}", serve: a.hasTag, since: 26},
		{method: "PUT", path: "/servers/{id}/tags/{tag}", serve: a.addTag, since: 26},
		{method: "DELETE", path: "/servers/{id}/tags/{tag}", serve: a.deleteTag, since: 26},
		{method: "GET", path: "/servers/{id}/os-interface", serve: a.listInterfaces},
		{method: "GET", path: "/servers/{id}/os-interface/{port}", serve: a.showInterface},
		{method: "POST", path: "/servers/{id}/os-interface", later: "Attaching an interface to a server that exists"},
		{method: "DELETE", path: "/servers/{id}/os-interface/{port}", later: "Detaching an interface"},
		{method: "GET", path: "/servers/{id}/os-instance-actions", serve: a.listActions},
		{method: "GET", path: "/servers/{id}/os-instance-actions/{request}", serve: a.showAction},
		{method: "GET", path: "/servers/{id}/diagnostics", serve: a.diagnostics, policy: "os_compute_api:os-server-diagnostics"},
		{method: "GET", path: "/servers/{id}/os-server-password", serve: a.showPassword},
		{method: "DELETE", path: "/servers/{id}/os-server-password", serve: a.clearPassword},
		{method: "GET", path: "/servers/{id}/topology", serve: a.topology, since: 78},
		{method: "GET", path: "/servers/{id}/migrations", serve: a.listMigrations, since: 23},
		{method: "GET", path: "/servers/{id}/migrations/{migration}", serve: a.showMigration, since: 23},
		{method: "DELETE", path: "/servers/{id}/migrations/{migration}", later: "Aborting a migration", since: 24},
		{method: "POST", path: "/servers/{id}/migrations/{migration}/action", actions: map[string]action{"force_complete": {later: true}}, since: 22},
		{method: "POST", path: "/servers/{id}/remote-consoles", later: "A remote console", since: 6},
	}
}

// server returns the server that the address names.
func (c *call) server() (*compute.Server, error) {
	return c.api.compute.Server(c.Context(), c.scope(), c.PathValue("id"))
}

func (c *call) addressesOf() (map[string][]object, error) {
	s, err := c.server()
	if err != nil {
		return nil, err
	}
	view, err := c.viewer([]compute.Server{*s})
	if err != nil {
		return nil, err
	}
	return view.addresses(s, false), nil
}

func (a *api) listAddresses(c *call) error {
	addresses, err := c.addressesOf()
	if err != nil {
		return err
	}
	return c.json(http.StatusOK, object{"addresses": addresses})
}

func (a *api) showAddresses(c *call) error {
	addresses, err := c.addressesOf()
	if err != nil {
		return err
	}
	name := c.PathValue("network")
	if addresses[name] == nil {
		return fault.Wrap(compute.ErrNotFound, "Instance is not a member of specified network")
	}
	return c.json(http.StatusOK, object{name: addresses[name]})
}

func (a *api) listMetadata(c *call) error {
	s, err := c.server()
	if err != nil {
		return err
	}
	if s.Metadata == nil {
		s.Metadata = map[string]string{}
	}
	return c.json(http.StatusOK, object{"metadata": s.Metadata})
}

func (a *api) setMetadata(replace bool) func(c *call) error {
	return func(c *call) error {
		var body struct{ Metadata map[string]string }
		if err := c.body(wrap("metadata", typeMetadata()), &body); err != nil {
			return err
		}
		metadata, err := a.compute.SetMetadata(c.Context(), c.scope(), c.PathValue("id"), body.Metadata, replace)
		if err != nil {
			return err
		}
		return c.json(http.StatusOK, object{"metadata": metadata})
	}
}

func (a *api) showMetadata(c *call) error {
	s, err := c.server()
	if err != nil {
		return err
	}
	key := c.PathValue("key")
	value, ok := s.Metadata[key]
	if !ok {
		return noMetadata()
	}
	return c.json(http.StatusOK, object{"meta": object{key: value}})
}

func (a *api) setMetadataItem(c *call) error {
	var body struct{ Meta map[string]string }
	if err := c.body(wrap("meta", typeMetadata()), &body); err != nil {
		return err
	}
	if err := checkMetadataItem(c.PathValue("key"), body.Meta); err != nil {
		return err
	}
	if _, err := a.compute.SetMetadata(c.Context(), c.scope(), c.PathValue("id"), body.Meta, false); err != nil {
		return err
	}
	return c.json(http.StatusOK, object{"meta": body.Meta})
}

// checkMetadataItem refuses all but the one item that the address names.
func checkMetadataItem(key string, item map[string]string) error {
	if len(item) != 1 {
		return fault.Wrap(compute.ErrInvalid, "Request body contains too many items")
	}
	if _, ok := item[key]; !ok {
		return fault.Wrap(compute.ErrInvalid, "Request body and URI mismatch")
	}
	return nil
}

func (a *api) deleteMetadata(c *call) error {
	if err := a.compute.DeleteMetadata(c.Context(), c.scope(), c.PathValue("id"), c.PathValue("key")); err != nil {
		return err
	}
	return c.empty(http.StatusNoContent)
}

func (a *api) listTags(c *call) error {
	s, err := c.server()
	if err != nil {
		return err
	}
	return c.json(http.StatusOK, object{"tags": orEmpty(s.Tags)})
}

func (a *api) setTags(c *call) error {
	var body struct{ Tags []string }
	if err := c.body(wrap("tags", &wire.Schema{Types: []string{"array"}, Items: typeTag(), MaxItems: 50}), &body); err != nil {
		return err
	}
	tags, err := a.compute.SetTags(c.Context(), c.scope(), c.PathValue("id"), body.Tags)
	if err != nil {
		return err
	}
	return c.json(http.StatusOK, object{"tags": orEmpty(tags)})
}

func (a *api) clearTags(c *call) error {
	if _, err := a.compute.SetTags(c.Context(), c.scope(), c.PathValue("id"), nil); err != nil {
		return err
	}
	return c.empty(http.StatusNoContent)
}

func (a *api) hasTag(c *call) error {
	s, err := c.server()
	if err != nil {
		return err
	}
	if tag := c.PathValue("tag"); !slices.Contains(s.Tags, tag) {
		return fault.Wrap(compute.ErrNotFound, "Server %s has no tag '%s'", s.ID, tag)
	}
	return c.empty(http.StatusNoContent)
}

func (a *api) addTag(c *call) error {
	added, err := a.compute.AddTag(c.Context(), c.scope(), c.PathValue("id"), c.PathValue("tag"))
	if err != nil {
		return err
	}
	if !added {
		return c.empty(http.StatusNoContent)
	}
	c.ResponseWriter.Header().Set("Location", baseURL(c.Request)+c.URL.Path)
	return c.empty(http.StatusCreated)
}

func (a *api) deleteTag(c *call) error {
	if err := a.compute.DeleteTag(c.Context(), c.scope(), c.PathValue("id"), c.PathValue("tag")); err != nil {
		return err
	}
	return c.empty(http.StatusNoContent)
}

func (c *call) portsOf() ([]compute.Port, *compute.Server, error) {
	s, err := c.server()
	if err != nil {
		return nil, nil, err
	}
	ports, err := c.api.compute.Ports(c.Context(), []compute.Server{*s})
	return inOrder(s, ports[s.ID]), s, err
}

func (c *call) attachment(p *compute.Port, s *compute.Server) object {
	ips := make([]object, 0, len(p.FixedIPs))
	for _, ip := range p.FixedIPs {
		ips = append(ips, object{"ip_address": ip.Address.String(), "subnet_id": ip.SubnetID})
	}
	o := object{"port_id": p.ID, "net_id": p.NetworkID, "mac_addr": p.MAC, "port_state": p.Status, "fixed_ips": ips}
	if c.at(70) {
		o["tag"] = nil
		for _, attached := range s.Ports {
			if attached.ID == p.ID {
				o["tag"] = nilIfEmpty(attached.Tag)
			}
		}
	}
	return o
}

func (a *api) listInterfaces(c *call) error {
	ports, s, err := c.portsOf()
	if err != nil {
		return err
	}
	shown := make([]object, 0, len(ports))
	for i := range ports {
		shown = append(shown, c.attachment(&ports[i], s))
	}
	return c.json(http.StatusOK, object{"interfaceAttachments": shown})
}

func (a *api) showInterface(c *call) error {
	ports, s, err := c.portsOf()
	if err != nil {
		return err
	}
	for i := range ports {
		if ports[i].ID == c.PathValue("port") {
			return c.json(http.StatusOK, object{"interfaceAttachment": c.attachment(&ports[i], s)})
		}
	}
	return fault.Wrap(compute.ErrNotFound, "Instance %s does not have a port with id %s", s.ID, c.PathValue("port"))
}

func (a *api) showPassword(c *call) error {
	s, err := c.server()
	if err != nil {
		return err
	}
	return c.json(http.StatusOK, object{"password": s.Password})
}

func (a *api) clearPassword(c *call) error {
	s, err := c.server()
	if err != nil {
		return err
	}
	if err := a.compute.SetPassword(c.Context(), s.ID, ""); err != nil {
		return err
	}
	return c.empty(http.StatusNoContent)
}

// showMigration finds none: no server moves.
func (a *api) showMigration(c *call) error {
	s, err := c.server()
	if err != nil {
		return err
	}
	return fault.Wrap(compute.ErrNotFound, "In-progress live migration %s is not found for server %s.", c.PathValue("migration"), s.ID)
}

func (a *api) topology(c *call) error {
	if _, err := c.server(); err != nil {
		return err
	}
	return c.json(http.StatusOK, object{"nodes": []object{}, "pagesize_kb": nil})
}

func (a *api) listMigrations(c *call) error {
	if _, err := c.server(); err != nil {
		return err
	}
	return c.json(http.StatusOK, object{"migrations": []object{}})
}
