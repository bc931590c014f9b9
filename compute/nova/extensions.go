package nova

import (
	"net/http"

	"github.com/kintoun/kintoun/compute"
	"github.com/kintoun/kintoun/internal/fault"
)

func (a *api) extensionOperations() []operation {
	return []operation{
		{method: "GET", path: "/extensions", serve: a.listExtensions},
		{method: "GET", path: "/extensions/{alias}", serve: a.showExtension},
	}
}

// extensions are what was optional once and is now part of the API; only those that are really served.
func (a *api) extensions() []object {
	aliases := [][2]string{
		{"OS-DCF", "DiskConfig"}, {"OS-EXT-AZ", "ExtendedAvailabilityZone"}, {"OS-EXT-IPS", "ExtendedIps"}, {"OS-EXT-IPS-MAC", "ExtendedIpsMac"},
		{"OS-EXT-SRV-ATTR", "ExtendedServerAttributes"}, {"OS-EXT-STS", "ExtendedStatus"}, {"OS-FLV-DISABLED", "FlavorDisabled"},
		{"OS-FLV-EXT-DATA", "FlavorExtraData"}, {"OS-SCH-HNT", "SchedulerHints"}, {"OS-SRV-USG", "ServerUsage"},
		{"os-aggregates", "Aggregates"}, {"os-attach-interfaces", "AttachInterfaces"}, {"os-availability-zone", "AvailabilityZone"},
		{"os-console-output", "ConsoleOutput"}, {"os-extended-volumes", "ExtendedVolumes"}, {"os-flavor-access", "FlavorAccess"},
		{"os-flavor-extra-specs", "FlavorExtraSpecs"}, {"os-flavor-manage", "FlavorManage"}, {"os-hypervisors", "Hypervisors"},
		{"os-instance-actions", "InstanceActions"}, {"os-keypairs", "Keypairs"}, {"os-multiple-create", "MultipleCreate"},
		{"os-quota-class-sets", "QuotaClasses"}, {"os-quota-sets", "Quotas"}, {"os-server-diagnostics", "ServerDiagnostics"},
		{"os-server-groups", "ServerGroups"}, {"os-server-password", "ServerPassword"}, {"os-services", "Services"},
		{"os-simple-tenant-usage", "SimpleTenantUsage"}, {"os-used-limits", "UsedLimits"}, {"os-user-data", "UserData"},
		{"os-server-external-events", "ServerExternalEvents"}, {"servers", "Servers"}, {"flavors", "Flavors"}, {"limits", "Limits"}, {"server-metadata", "ServerMetadata"}, {"ips", "Ips"},
	}
	if a.options.SecurityGroups != nil {
		aliases = append(aliases, [2]string{"os-security-groups", "SecurityGroups"}, [2]string{"security_groups", "SecurityGroups"})
	}
	if a.options.Volumes != nil {
		aliases = append(aliases, [2]string{"os-volumes", "Volumes"})
	}
	list := make([]object, 0, len(aliases))
	for _, pair := range aliases {
		list = append(list, object{
			"alias": pair[0], "name": pair[1], "description": pair[1] + ".", "links": []object{},
			"namespace": "http://docs.openstack.org/compute/ext/fake_xml", "updated": "2014-12-03T00:00:00Z",
		})
	}
	return list
}

func (a *api) listExtensions(c *call) error {
	return c.json(http.StatusOK, object{"extensions": a.extensions()})
}

func (a *api) showExtension(c *call) error {
	for _, e := range a.extensions() {
		if e["alias"] == c.PathValue("alias") {
			return c.json(http.StatusOK, object{"extension": e})
		}
	}
	return fault.Wrap(compute.ErrNotFound, "The resource could not be found.")
}
