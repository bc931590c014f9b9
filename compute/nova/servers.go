package nova

import (
	"encoding/json"
	"net/http"
	"net/netip"
	"strings"

	"github.com/kintoun/kintoun/compute"
	"github.com/kintoun/kintoun/internal/fault"
	"github.com/kintoun/kintoun/internal/wire"
)

func (a *api) serverOperations() []operation {
	return []operation{
		{method: "GET", path: "/servers", serve: a.listServers},
		{method: "GET", path: "/servers/detail", serve: a.listServers},
		{method: "POST", path: "/servers", serve: a.createServer},
		{method: "GET", path: "/servers/{id}", serve: a.showServer},
		{method: "PUT", path: "/servers/{id}", serve: a.updateServer},
		{method: "DELETE", path: "/servers/{id}", serve: a.deleteServer},
		{method: "POST", path: "/servers/{id}/action", actions: a.serverActions()},
	}
}

// textList is one text or several.
type textList []string

func (l *textList) UnmarshalJSON(data []byte) error {
	var one string
	if json.Unmarshal(data, &one) == nil {
		*l = textList{one}
		return nil
	}
	return json.Unmarshal(data, (*[]string)(l))
}

// networksField is a list of cards, or since 2.37 "auto" or "none".
type networksField struct {
	set   bool
	word  string
	cards []networkCard
}

type networkCard struct {
	UUID    string
	Port    *string
	FixedIP string `json:"fixed_ip"`
	Tag     string
}

func (n *networksField) UnmarshalJSON(data []byte) error {
	n.set = true
	if json.Unmarshal(data, &n.word) == nil {
		return nil
	}
	return json.Unmarshal(data, &n.cards)
}

// requests are the cards as the service wants them: nil is the project's only network.
func (n *networksField) requests() ([]compute.NetworkRequest, error) {
	switch {
	case n.word == "none":
		return []compute.NetworkRequest{}, nil
	case n.word == "auto" || len(n.cards) == 0:
		return nil, nil
	}
	var list []compute.NetworkRequest
	for _, card := range n.cards {
		r := compute.NetworkRequest{NetworkID: card.UUID, Tag: card.Tag}
		if card.Port != nil {
			r.PortID = *card.Port
		}
		if r.PortID == "" && r.NetworkID == "" {
			return nil, fault.Wrap(compute.ErrInvalid, "Bad networks format: network uuid is not in proper format (%s)", card.UUID)
		}
		if card.FixedIP != "" {
			if r.PortID != "" {
				return nil, fault.Wrap(compute.ErrInvalid, "Specified Fixed IP '%s' cannot be used with port '%s': the two cannot be specified together.", card.FixedIP, r.PortID)
			}
			address, err := netip.ParseAddr(card.FixedIP)
			if err != nil {
				return nil, fault.Wrap(compute.ErrInvalid, "Invalid fixed IP address (%s)", card.FixedIP)
			}
			r.FixedIP = address
		}
		list = append(list, r)
	}
	return list, nil
}

func (a *api) createServer(c *call) error {
	var body createServer
	if err := c.body(createSchema(c.minor, c.legacy), &body); err != nil {
		return err
	}
	spec, err := body.spec(c)
	if err != nil {
		return err
	}
	servers, err := a.compute.CreateServers(c.Context(), c.scope(), spec)
	if err != nil {
		return err
	}
	if body.Server.ReservationID {
		return c.json(http.StatusAccepted, object{"reservation_id": servers[0].ReservationID})
	}
	v := &servers[0]
	groups := []object{{"name": "default"}}
	if body.Server.SecurityGroups != nil {
		groups = []object{}
		for _, g := range body.Server.SecurityGroups {
			groups = append(groups, object{"name": g.Name})
		}
	}
	links := c.links("servers", v.ID)
	c.ResponseWriter.Header().Set("Location", links[0]["href"].(string))
	return c.json(http.StatusAccepted, object{"server": object{
		"id": v.ID, "links": links, "OS-DCF:diskConfig": v.DiskConfig, "security_groups": groups, "adminPass": v.AdminPassword,
	}})
}

// spec turns the body into what the service takes, and refuses what it cannot do.
func (b *createServer) spec(c *call) (spec compute.ServerSpec, err error) {
	in := &b.Server
	switch {
	case bool(in.ConfigDrive):
		return spec, unsupported("A configuration drive cannot be made here: the metadata service has the same data.")
	case len(in.Personality) > 0:
		return spec, unsupported("Files cannot be injected here: use user_data.")
	case len(in.TrustedCerts) > 0:
		return spec, unsupported("Image signatures are not verified here: trusted_image_certificates cannot be used.")
	}
	spec = compute.ServerSpec{
		Name: in.Name, Description: in.Description, Hostname: in.Hostname, FlavorID: string(in.FlavorRef), ImageID: in.ImageRef,
		AdminPassword: in.AdminPass, Metadata: in.Metadata, Tags: in.Tags, DiskConfig: in.DiskConfig,
		AccessIPv4: in.AccessIPv4, AccessIPv6: in.AccessIPv6, Host: in.Host, MinCount: 1,
	}
	spec.NoSharedVolumes = !c.at(60)
	if spec.Devices, err = b.devices(); err != nil {
		return spec, err
	}
	if !c.at(19) {
		spec.Description = &in.Name // what clients of older versions never see, newer ones see as the name
	}
	set := func(to *string, from *string) {
		if from != nil {
			*to = *from
		}
	}
	set(&spec.KeyName, in.KeyName)
	set(&spec.UserData, in.UserData)
	if in.MinCount != nil {
		spec.MinCount = int(*in.MinCount)
	}
	spec.MaxCount = spec.MinCount
	if in.MaxCount != nil {
		spec.MaxCount = int(*in.MaxCount)
	}
	for _, g := range in.SecurityGroups {
		if g.Name != "" {
			spec.SecurityGroups = append(spec.SecurityGroups, g.Name)
		}
	}
	spec.NeedNetwork = in.Networks.word == "auto"
	if spec.Networks, err = in.Networks.requests(); err != nil {
		return spec, err
	}
	if h := b.hints(); h != nil {
		spec.Hints = compute.Hints{SameHost: h.SameHost, DifferentHost: h.DifferentHost}
		if len(h.Group) > 0 {
			spec.Hints.GroupID = h.Group[0]
		}
	}
	return spec, b.destination(c, &spec)
}

func (b *createServer) hints() *hints {
	if b.Hints != nil {
		return b.Hints
	}
	return b.OldHints
}

// destination reads "zone", "zone:host" and "zone:host:node"; only admins name hosts.
func (b *createServer) destination(c *call, spec *compute.ServerSpec) error {
	if b.Server.AvailabilityZone != nil {
		zone, host, named := strings.Cut(*b.Server.AvailabilityZone, ":")
		spec.Zone = zone
		if named {
			host, _, _ = strings.Cut(host, ":")
			if !c.caller.IsAdmin() {
				return forbidden("os_compute_api:servers:create:forced_host")
			}
			if spec.Host != "" || b.Server.Hypervisor != "" {
				return fault.Wrap(compute.ErrInvalid, "One mechanism with host and/or hypervisor_hostname and another mechanism with zone:host:node are mutually exclusive.")
			}
			spec.Host = host
		}
	}
	if b.Server.Hypervisor != "" {
		if spec.Host != "" && spec.Host != b.Server.Hypervisor {
			return fault.Wrap(compute.ErrInvalid, "Compute host %s could not be found.", b.Server.Hypervisor)
		}
		spec.Host = b.Server.Hypervisor
	}
	return nil
}

// unsupported is for what the API has and this implementation has not: the request as it is cannot be served.
func unsupported(message string) error { return fault.Wrap(compute.ErrInvalid, "%s", message) }

func (a *api) showServer(c *call) error {
	v, err := a.compute.Server(c.Context(), c.scope(), c.PathValue("id"))
	if err != nil {
		return err
	}
	return c.showOne(v, http.StatusOK)
}

func (c *call) showOne(v *compute.Server, status int) error {
	view, err := c.viewer([]compute.Server{*v})
	if err != nil {
		return err
	}
	return c.json(status, object{"server": view.detail(v, true)})
}

func (a *api) updateServer(c *call) error {
	var body struct {
		Server struct {
			Name, Hostname, AccessIPv4, AccessIPv6 *string
			DiskConfig                             *string `json:"OS-DCF:diskConfig"`
			Description                            wire.Optional[string]
		}
	}
	if err := c.body(updateSchema(c.minor), &body); err != nil {
		return err
	}
	in := body.Server
	u := compute.ServerUpdate{Name: in.Name, Hostname: in.Hostname, AccessIPv4: in.AccessIPv4, AccessIPv6: in.AccessIPv6, DiskConfig: in.DiskConfig}
	if u.SetDescription = in.Description.Set; in.Description.Set && !in.Description.Null {
		u.Description = &in.Description.Value
	}
	v, err := a.compute.UpdateServer(c.Context(), c.scope(), c.PathValue("id"), u)
	if err != nil {
		return err
	}
	if c.at(75) {
		return c.showOne(v, http.StatusOK)
	}
	view, err := c.viewer([]compute.Server{*v})
	if err != nil {
		return err
	}
	return c.json(http.StatusOK, object{"server": view.updated(v)})
}

func (a *api) deleteServer(c *call) error {
	if err := a.compute.Delete(c.Context(), c.scope(), c.PathValue("id")); err != nil {
		return err
	}
	return c.empty(http.StatusNoContent)
}
