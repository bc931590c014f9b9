package neutron

import (
	"net/http"

	"github.com/kintoun/kintoun/internal/wire"
	"github.com/kintoun/kintoun/network"
)

// Extension is a part of the API beyond its core, under the alias that clients look for.
type Extension struct {
	Alias, Name, Description string
}

// extensions are those that this package serves.
var extensions = []Extension{
	{"agent", "agent", "The agent management extension."},
	{"allowed-address-pairs", "Allowed Address Pairs", "Provides allowed address pairs"},
	{"availability_zone", "Availability Zone", "The availability zone extension."},
	{"binding", "Port Binding", "Expose port bindings of a virtual port to external application"},
	{"dhcp_agent_scheduler", "DHCP Agent Scheduler", "Schedule networks among dhcp agents"},
	{"dns-integration", "DNS Integration", "Provides integration with DNS."},
	{"empty-string-filtering", "Empty String Filtering Extension", "Allow filtering by attributes with empty string value"},
	{"ext-gw-mode", "Neutron L3 Configurable external gateway mode", "Extension of the router abstraction for specifying whether SNAT should occur on the external gateway"},
	{"external-net", "Neutron external network", "Adds external network attribute to network resource."},
	{"extraroute", "Neutron Extra Route", "Extra routes configuration for L3 router"},
	{"filter-validation", "Filter parameters validation", "Provides validation on filter parameters."},
	{"fip-port-details", "Floating IP Port Details Extension", "Add port_details attribute to Floating IP resource"},
	{"ip-substring-filtering", "IP address substring filtering", "Provides IP address substring filtering when listing ports"},
	{"l3_agent_scheduler", "L3 Agent Scheduler", "Schedule routers among l3 agents"},
	{"net-mtu", "Network MTU", "Provides MTU attribute for a network resource."},
	{"net-mtu-writable", "Network MTU (writable)", "Provides a writable MTU attribute for a network resource."},
	{"network-ip-availability", "Network IP Availability", "Provides IP availability data for each network and subnet."},
	{"network_availability_zone", "Network Availability Zone", "Availability zone support for network."},
	{"pagination", "Pagination support", "Extension that indicates that pagination is enabled."},
	{"port-security", "Port Security", "Provides port security"},
	{"project-id", "project_id field enabled", "Extension that indicates that project_id field is enabled."},
	{"provider", "Provider Network", "Expose mapping of virtual networks to physical networks"},
	{"quota_details", "Quota details management support", "Expose functions for quotas usage statistics per project"},
	{"quotas", "Quota management support", "Expose functions for quotas management per tenant"},
	{"rbac-policies", "RBAC Policies", "Allows creation and modification of policies that control tenant access to resources."},
	{"revision-if-match", "If-Match constraints based on revision_number", "Extension indicating that If-Match based on revision_number is supported."},
	{"router", "Neutron L3 Router", "Router abstraction for basic L3 forwarding between L2 Neutron networks and access to external networks via a NAT gateway."},
	{"router_availability_zone", "Router Availability Zone", "Availability zone support for router."},
	{"security-group", "security-group", "The security groups extension."},
	{"service-type", "Neutron Service Type Management", "API for retrieving service providers for Neutron advanced services"},
	{"sorting", "Sorting support", "Extension that indicates that sorting is enabled."},
	{"standard-attr-description", "standard-attr-description", "Extension to add descriptions to standard attributes"},
	{"standard-attr-revisions", "Resource revision numbers", "This extension will display the revision number of neutron resources."},
	{"standard-attr-tag", "Tag support for resources with standard attribute: network, subnet, port, router, floatingip, security_group, subnetpool", "Enables to set tag on resources with standard attribute."},
	{"standard-attr-timestamp", "Resource timestamps", "Adds created_at and updated_at fields to all Neutron resources that have Neutron standard attributes."},
	{"subnet-service-types", "Subnet service types", "Provides ability to set the subnet service_types field"},
	{"subnet_allocation", "Subnet Allocation", "Enables allocation of subnets from a subnet pool"},
}

// collections are the core's, as /v2.0 lists them.
var collections = []struct{ collection, name string }{{"networks", "network"}, {"subnets", "subnet"}, {"ports", "port"}, {"subnetpools", "subnetpool"}}

func (a *api) discovery() []wire.Route {
	return []wire.Route{
		{Method: http.MethodGet, Path: "/", Public: true, Serve: func(w http.ResponseWriter, r *http.Request) error {
			return wire.JSON(w, http.StatusOK, object{"versions": []object{{"id": "v2.0", "status": "CURRENT", "links": []object{{"rel": "self", "href": base(r) + "/v2.0/"}}}}})
		}},
		{Method: http.MethodGet, Path: "/v2.0", Public: true, Serve: func(w http.ResponseWriter, r *http.Request) error {
			list := []object{}
			for _, c := range collections {
				list = append(list, object{"name": c.name, "collection": c.collection, "links": []object{{"rel": "self", "href": base(r) + "/v2.0/" + c.collection}}})
			}
			return wire.JSON(w, http.StatusOK, object{"resources": list})
		}},
		{Method: http.MethodGet, Path: "/v2.0/extensions", Serve: func(w http.ResponseWriter, _ *http.Request) error {
			return wire.JSON(w, http.StatusOK, object{"extensions": each(a.extensions, showExtension)})
		}},
		{Method: http.MethodGet, Path: "/v2.0/extensions/{alias}", Serve: func(w http.ResponseWriter, r *http.Request) error {
			for i := range a.extensions {
				if a.extensions[i].Alias == r.PathValue("alias") {
					return wire.JSON(w, http.StatusOK, object{"extension": showExtension(&a.extensions[i])})
				}
			}
			return &network.Error{Kind: network.ErrNotFound, Name: "ExtensionNotFound", Text: "Extension with alias " + r.PathValue("alias") + " does not exist"}
		}},
		{Method: http.MethodGet, Path: "/v2.0/service-providers", Serve: func(w http.ResponseWriter, _ *http.Request) error {
			return wire.JSON(w, http.StatusOK, object{"service_providers": []object{}})
		}},
		{Method: http.MethodGet, Path: "/v2.0/availability_zones", Serve: func(w http.ResponseWriter, _ *http.Request) error {
			zone := func(resource string) object {
				return object{"name": a.service.Zone(), "resource": resource, "state": "available"}
			}
			return wire.JSON(w, http.StatusOK, object{"availability_zones": []object{zone("network"), zone("router")}})
		}},
	}
}

func showExtension(e *Extension) object {
	return object{"alias": e.Alias, "name": e.Name, "description": e.Description, "updated": "2026-01-01T00:00:00-00:00", "links": []object{}}
}
