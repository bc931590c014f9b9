package metadata

import (
	"encoding/base64"
	"encoding/json"
	"io"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// openstackVersions are OpenStack's, in the order of their age (nova's user guide, "Metadata").
var openstackVersions = []string{
	"2012-08-10", "2013-04-04", "2013-10-17", "2015-10-15", "2016-06-30", "2016-10-06", "2017-02-22", "2018-08-27", "2020-10-14",
}

// Versions since when documents and fields exist.
const (
	grizzly = "2013-04-04"
	havana  = "2013-10-17"
	liberty = "2015-10-15"
	newton1 = "2016-06-30"
	newton2 = "2016-10-06"
)

// seedSize is the number of random bytes that a server may feed its random number generator with.
const seedSize = 512

// openstackVersion resolves "latest"; false where there is no such version.
func openstackVersion(version string) (string, bool) {
	if version == "latest" {
		return openstackVersions[len(openstackVersions)-1], true
	}
	return version, slices.Contains(openstackVersions, version)
}

// documents that a version has for the server, in the order of its listing.
func (i *Instance) documents(version string) []string {
	names := []string{"meta_data.json"}
	if i.UserData != nil {
		names = append(names, "user_data")
	}
	for _, d := range []struct{ since, name string }{
		{grizzly, "password"}, {havana, "vendor_data.json"}, {liberty, "network_data.json"}, {newton2, "vendor_data2.json"},
	} {
		if version >= d.since {
			names = append(names, d.name)
		}
	}
	return names
}

type metaData struct {
	UUID             string            `json:"uuid"`
	Meta             map[string]string `json:"meta,omitempty"`
	PublicKeys       map[string]string `json:"public_keys,omitempty"`
	Keys             []keyData         `json:"keys,omitempty"`
	Hostname         string            `json:"hostname"`
	Name             string            `json:"name"`
	LaunchIndex      int               `json:"launch_index"`
	AvailabilityZone string            `json:"availability_zone"`
	RandomSeed       string            `json:"random_seed,omitempty"`
	ProjectID        string            `json:"project_id,omitempty"`
	Devices          *[]struct{}       `json:"devices,omitempty"`
}

type keyData struct {
	Name string `json:"name"`
	Type string `json:"type"`
	Data string `json:"data"`
}

func (i *Instance) metaData(version string, random io.Reader) ([]byte, error) {
	data := metaData{
		UUID: i.ID, Meta: i.Meta, Hostname: i.Hostname, Name: i.Name, LaunchIndex: i.LaunchIndex, AvailabilityZone: i.AvailabilityZone,
	}
	for _, key := range i.Keys {
		if data.PublicKeys == nil {
			data.PublicKeys = make(map[string]string, len(i.Keys))
		}
		data.PublicKeys[key.Name] = key.PublicKey
		kind := key.Type
		if kind == "" {
			kind = "ssh"
		}
		data.Keys = append(data.Keys, keyData{Name: key.Name, Type: kind, Data: key.PublicKey})
	}
	if version >= grizzly {
		seed := make([]byte, seedSize)
		if _, err := io.ReadFull(random, seed); err != nil {
			return nil, err
		}
		data.RandomSeed = base64.StdEncoding.EncodeToString(seed)
	}
	if version >= liberty {
		data.ProjectID = i.ProjectID
	}
	if version >= newton1 {
		data.Devices = &[]struct{}{}
	}
	return json.Marshal(data)
}

type networkData struct {
	Links    []linkData    `json:"links"`
	Networks []addressData `json:"networks"`
	Services []serviceData `json:"services"`
}

type linkData struct {
	ID   string `json:"id"`
	VIF  string `json:"vif_id"`
	Type string `json:"type"`
	MTU  int    `json:"mtu,omitempty"`
	MAC  string `json:"ethernet_mac_address"`
}

type addressData struct {
	ID        string         `json:"id"`
	Type      string         `json:"type"`
	Link      string         `json:"link"`
	Address   string         `json:"ip_address,omitempty"`
	Netmask   string         `json:"netmask,omitempty"`
	Routes    *[]routeData   `json:"routes,omitempty"`
	Services  *[]serviceData `json:"services,omitempty"`
	NetworkID string         `json:"network_id"`
}

type routeData struct {
	Network string `json:"network"`
	Netmask string `json:"netmask"`
	Gateway string `json:"gateway"`
}

type serviceData struct {
	Type    string `json:"type"`
	Address string `json:"address"`
}

func (i *Instance) networkData() ([]byte, error) {
	data := networkData{Links: []linkData{}, Networks: []addressData{}, Services: []serviceData{}}
	for n, nic := range i.Interfaces {
		link := linkData{ID: nic.Device, VIF: nic.PortID, Type: nic.Type, MTU: nic.MTU, MAC: nic.MAC}
		if link.ID == "" {
			link.ID = "interface" + strconv.Itoa(n)
		}
		if link.Type == "" {
			link.Type = "bridge"
		}
		data.Links = append(data.Links, link)
		for _, a := range nic.Addresses {
			name := "network" + strconv.Itoa(len(data.Networks))
			data.Networks = append(data.Networks, a.data(name, link.ID, nic.NetworkID))
			for _, s := range a.services() {
				if !slices.Contains(data.Services, s) {
					data.Services = append(data.Services, s)
				}
			}
		}
	}
	return json.Marshal(data)
}

func (a InterfaceAddress) data(name, link, network string) addressData {
	family := "ipv4"
	if a.Address.Addr().Is6() {
		family = "ipv6"
	}
	if a.DHCP {
		return addressData{ID: name, Type: family + "_dhcp", Link: link, NetworkID: network}
	}
	routes, services := []routeData{}, a.services()
	if a.Gateway.IsValid() {
		everywhere := netip.PrefixFrom(netip.IPv4Unspecified(), 0)
		if a.Gateway.Is6() {
			everywhere = netip.PrefixFrom(netip.IPv6Unspecified(), 0)
		}
		routes = append(routes, Route{Destination: everywhere, NextHop: a.Gateway}.data())
	}
	for _, r := range a.Routes {
		routes = append(routes, r.data())
	}
	return addressData{
		ID: name, Type: family, Link: link, NetworkID: network, Routes: &routes, Services: &services,
		Address: a.Address.Addr().String(), Netmask: netmask(a.Address),
	}
}

func (a InterfaceAddress) services() []serviceData {
	services := []serviceData{}
	for _, dns := range a.DNS {
		services = append(services, serviceData{Type: "dns", Address: dns.String()})
	}
	return services
}

func (r Route) data() routeData {
	return routeData{Network: r.Destination.Masked().Addr().String(), Netmask: netmask(r.Destination), Gateway: r.NextHop.String()}
}

func netmask(prefix netip.Prefix) string {
	return net.IP(net.CIDRMask(prefix.Bits(), prefix.Addr().BitLen())).String()
}

// openstackListing is the answer to /openstack.
func openstackListing() string {
	return strings.Join(append(openstackVersions[:len(openstackVersions):len(openstackVersions)], "latest"), "\n")
}
