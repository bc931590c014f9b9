package nova_test

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/kintoun/kintoun/compute"
	"github.com/kintoun/kintoun/compute/internal/computetest"
	"github.com/stretchr/testify/require"
)

func TestVersionDocuments(t *testing.T) {
	c := newCloud(t)
	a := c.call(t, "", "", "GET", "/", "")
	require.Equal(t, http.StatusOK, a.code)
	versions := a.body["versions"].([]any)
	require.Len(t, versions, 2)
	require.Equal(t, "2.96", versions[1].(map[string]any)["version"])
	for path, id := range map[string]string{"/v2.1": "v2.1", "/v2.1/": "v2.1", "/v2/": "v2.0"} {
		a := c.call(t, "", "", "GET", path, "")
		require.Equal(t, http.StatusOK, a.code)
		require.Equal(t, id, a.body["version"].(map[string]any)["id"])
	}
}

func TestMicroversionsAreNegotiated(t *testing.T) {
	c := newCloud(t)
	for asked, want := range map[string]string{"": "2.1", "2.1": "2.1", "2.61": "2.61", "latest": "2.96"} {
		a := c.call(t, "red", asked, "GET", "/v2.1/flavors", "")
		require.Equal(t, http.StatusOK, a.code)
		require.Equal(t, "compute "+want, a.header.Get("OpenStack-API-Version"))
		require.Equal(t, want, a.header.Get("X-OpenStack-Nova-API-Version"))
		require.Equal(t, []string{"OpenStack-API-Version", "X-OpenStack-Nova-API-Version"}, a.header.Values("Vary"))
	}
	for asked, code := range map[string]int{"2.97": 406, "3.1": 406, "2.0": 406, "99999999999999999999.1": 406, "2": 400, "two": 400, "2.01": 400} {
		a := c.call(t, "red", asked, "GET", "/v2.1/flavors", "")
		require.Equal(t, code, a.code, asked)
		a.fault(t)
	}
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, c.url+"/v2.1/flavors", nil)
	require.NoError(t, err)
	r.Header.Set("X-Auth-Token", "red")
	r.Header.Set("X-OpenStack-Nova-API-Version", "2.55")
	response, err := http.DefaultClient.Do(r)
	require.NoError(t, err)
	require.NoError(t, response.Body.Close())
	require.Equal(t, "2.55", response.Header.Get("X-OpenStack-Nova-API-Version"))
}

// serverKeys are what a server has at 2.1, and what came (or went, with a minus) later.
var serverKeys = struct {
	everybody []string
	since     map[int][]string
	admin     map[int][]string
}{
	everybody: []string{
		"OS-DCF:diskConfig", "OS-EXT-AZ:availability_zone", "OS-EXT-STS:power_state", "OS-EXT-STS:task_state", "OS-EXT-STS:vm_state",
		"OS-SRV-USG:launched_at", "OS-SRV-USG:terminated_at", "accessIPv4", "accessIPv6", "addresses", "config_drive", "created", "flavor",
		"hostId", "id", "image", "key_name", "links", "metadata", "name", "os-extended-volumes:volumes_attached", "progress", "security_groups",
		"status", "tenant_id", "updated", "user_id",
	},
	since: map[int][]string{
		9: {"locked"}, 19: {"description"}, 26: {"tags"}, 63: {"trusted_image_certificates"}, 71: {"server_groups"}, 73: {"locked_reason"},
		90: {"OS-EXT-SRV-ATTR:hostname"}, 96: {"pinned_availability_zone"},
	},
	admin: map[int][]string{
		1: {"OS-EXT-SRV-ATTR:host", "OS-EXT-SRV-ATTR:hypervisor_hostname", "OS-EXT-SRV-ATTR:instance_name"},
		3: {
			"OS-EXT-SRV-ATTR:hostname", "OS-EXT-SRV-ATTR:kernel_id", "OS-EXT-SRV-ATTR:launch_index", "OS-EXT-SRV-ATTR:ramdisk_id",
			"OS-EXT-SRV-ATTR:reservation_id", "OS-EXT-SRV-ATTR:root_device_name", "OS-EXT-SRV-ATTR:user_data",
		},
		16: {"host_status"},
	},
}

func TestServersAreRenderedAtEachMicroversion(t *testing.T) {
	c := newCloud(t)
	id := c.boot(t, "vm1")
	for minor := 1; minor <= 96; minor++ {
		for _, token := range []string{"red", "admin"} {
			want := slices.Clone(serverKeys.everybody)
			for since, keys := range serverKeys.since {
				if minor >= since {
					want = append(want, keys...)
				}
			}
			for since, keys := range serverKeys.admin {
				if token == "admin" && minor >= since {
					want = append(want, keys...)
				}
			}
			slices.Sort(want)
			want = slices.Compact(want)
			version := fmt.Sprintf("2.%d", minor)
			one := c.call(t, token, version, "GET", "/v2.1/servers/"+id, "").body["server"].(map[string]any)
			require.Equal(t, want, slices.Sorted(maps.Keys(one)), "%s at %s", token, version)
			list := c.call(t, token, version, "GET", "/v2.1/servers/detail?all_tenants=1", "")
			if token == "red" {
				list = c.call(t, token, version, "GET", "/v2.1/servers/detail", "")
			}
			want = slices.DeleteFunc(want, func(key string) bool { return key == "server_groups" })
			require.Equal(t, want, slices.Sorted(maps.Keys(list.body["servers"].([]any)[0].(map[string]any))), "%s lists at %s", token, version)
			flavor := one["flavor"].(map[string]any)
			if minor < 47 {
				require.Equal(t, []string{"id", "links"}, slices.Sorted(maps.Keys(flavor)))
			} else {
				require.Equal(t, []string{"disk", "ephemeral", "extra_specs", "original_name", "ram", "swap", "vcpus"}, slices.Sorted(maps.Keys(flavor)))
			}
		}
	}
}

func TestOtherBodiesAtTheirMicroversions(t *testing.T) {
	c := newCloud(t)
	keys := func(version, token, path, outer string) []string {
		t.Helper()
		a := c.call(t, token, version, "GET", path, "")
		require.Equal(t, http.StatusOK, a.code, a.text)
		inner := a.body[outer]
		if list, ok := inner.([]any); ok {
			inner = list[0]
		}
		return slices.Sorted(maps.Keys(inner.(map[string]any)))
	}
	basic := []string{"OS-FLV-DISABLED:disabled", "OS-FLV-EXT-DATA:ephemeral", "disk", "id", "links", "name", "os-flavor-access:is_public", "ram", "rxtx_factor", "swap", "vcpus"}
	sorted := func(list []string, more ...string) []string {
		list = append(slices.Clone(list), more...)
		slices.Sort(list)
		return list
	}
	require.Equal(t, basic, keys("2.1", "red", "/v2.1/flavors/1", "flavor"))
	require.Equal(t, sorted(basic, "description"), keys("2.55", "red", "/v2.1/flavors/1", "flavor"))
	require.Equal(t, sorted(basic, "description", "extra_specs"), keys("2.61", "red", "/v2.1/flavors/1", "flavor"))
	require.Equal(t, []string{"id", "links", "name"}, keys("2.1", "red", "/v2.1/flavors", "flavors"))
	require.Empty(t, c.call(t, "red", "2.74", "GET", "/v2.1/flavors/1", "").body["flavor"].(map[string]any)["swap"])
	require.EqualValues(t, 0, c.call(t, "red", "2.75", "GET", "/v2.1/flavors/1", "").body["flavor"].(map[string]any)["swap"])

	quota := []string{"cores", "id", "instances", "key_pairs", "metadata_items", "ram", "server_group_members", "server_groups"}
	injected := []string{"injected_file_content_bytes", "injected_file_path_bytes", "injected_files"}
	network := []string{"fixed_ips", "floating_ips", "security_group_rules", "security_groups"}
	require.Equal(t, sorted(quota, append(injected, network...)...), keys("2.1", "red", "/v2.1/os-quota-sets/"+redProject, "quota_set"))
	require.Equal(t, sorted(quota, injected...), keys("2.36", "red", "/v2.1/os-quota-sets/"+redProject, "quota_set"))
	require.Equal(t, quota, keys("2.57", "red", "/v2.1/os-quota-sets/"+redProject, "quota_set"))

	hypervisor := []string{"host_ip", "hypervisor_hostname", "hypervisor_type", "hypervisor_version", "id", "service", "state", "status", "uptime"}
	require.Equal(t, hypervisor, keys("2.88", "admin", "/v2.1/os-hypervisors/detail", "hypervisors"))
	require.Contains(t, keys("2.87", "admin", "/v2.1/os-hypervisors/detail", "hypervisors"), "cpu_info")
	require.Equal(t, []string{"binary", "disabled_reason", "host", "id", "state", "status", "updated_at", "zone"}, keys("2.1", "admin", "/v2.1/os-services", "services"))
	require.Contains(t, keys("2.11", "admin", "/v2.1/os-services", "services"), "forced_down")

	for _, gone := range []struct{ version, path string }{
		{"2.36", "/v2.1/os-security-groups"}, {"2.88", "/v2.1/os-hypervisors/statistics"}, {"2.53", "/v2.1/os-hypervisors/host1/search"},
		{"2.25", "/v2.1/servers/x/tags"}, {"2.77", "/v2.1/servers/x/topology"},
	} {
		a := c.call(t, "admin", gone.version, "GET", gone.path, "")
		require.Equal(t, http.StatusNotFound, a.code, gone)
	}
}

func TestKeypairsAtTheirMicroversions(t *testing.T) {
	c := newCloud(t)
	body := func(name string) string {
		return fmt.Sprintf(`{"keypair":{"name":%q,"public_key":%q}}`, name, publicKey)
	}
	for _, try := range []struct {
		version, name        string
		created, deleted, in int
		keys                 []string
	}{
		{"2.1", "one", 200, 202, 6, []string{"fingerprint", "name", "public_key", "user_id"}},
		{"2.2", "two", 201, 204, 6, []string{"fingerprint", "name", "public_key", "type", "user_id"}},
		{"2.92", "me@home.org", 201, 204, 6, []string{"fingerprint", "name", "public_key", "type", "user_id"}},
	} {
		a := c.call(t, "red", try.version, "POST", "/v2.1/os-keypairs", body(try.name))
		require.Equal(t, try.created, a.code, a.text)
		require.Equal(t, try.keys, slices.Sorted(maps.Keys(a.body["keypair"].(map[string]any))))
		require.Equal(t, http.StatusConflict, c.call(t, "red", try.version, "POST", "/v2.1/os-keypairs", body(try.name)).code)
		require.Equal(t, http.StatusNotFound, c.call(t, "blue", try.version, "GET", "/v2.1/os-keypairs/"+try.name, "").code)
		require.Equal(t, try.deleted, c.call(t, "red", try.version, "DELETE", "/v2.1/os-keypairs/"+try.name, "").code)
	}
	require.Equal(t, 400, c.call(t, "red", "2.91", "POST", "/v2.1/os-keypairs", body("me@home.org")).code)
	generated := c.call(t, "red", "2.91", "POST", "/v2.1/os-keypairs", `{"keypair":{"name":"made"}}`)
	require.Contains(t, generated.body["keypair"].(map[string]any)["private_key"], "PRIVATE KEY")
	require.Equal(t, 400, c.call(t, "red", "2.92", "POST", "/v2.1/os-keypairs", `{"keypair":{"name":"made2"}}`).code)
	require.Equal(t, 403, c.call(t, "red", "2.10", "GET", "/v2.1/os-keypairs?user_id=bob", "").code)
	require.Equal(t, 200, c.call(t, "admin", "2.10", "GET", "/v2.1/os-keypairs/made?user_id=ruby", "").code)
}

// TestBadInput asks for what is wrong and gets the right status, a fault body, and no change.
func TestBadInput(t *testing.T) {
	c := newCloud(t)
	id := c.boot(t, "vm1")
	before := c.call(t, "red", "2.96", "GET", "/v2.1/servers/"+id, "").text
	server := func(more string) string {
		return fmt.Sprintf(`{"server":{"name":"x","flavorRef":"1","imageRef":%q%s}}`, computetest.ImageID, more)
	}
	const unknown = "11111111-2222-4333-8444-555555555555"
	for _, try := range []struct {
		version, method, path, body string
		code                        int
		says                        string
	}{
		{"2.1", "POST", "/servers", `{"server"`, 400, "Malformed request body"},
		{"2.1", "POST", "/servers", `[]`, 400, "Malformed request body"},
		{"2.1", "POST", "/servers", ``, 400, "Malformed request body"},
		{"2.1", "POST", "/servers", `{}`, 400, "'server' is a required property"},
		{"2.1", "POST", "/servers", `{"server":{"flavorRef":"1"}}`, 400, "Invalid input for field/attribute server. Value: {'flavorRef': '1'}. 'name' is a required property"},
		{"2.1", "POST", "/servers", `{"server":{"name":1,"flavorRef":"1"}}`, 400, "Invalid input for field/attribute name. Value: 1. 1 is not of type 'string'"},
		{"2.1", "POST", "/servers", `{"server":{"name":"","flavorRef":"1"}}`, 400, "Invalid input for field/attribute name. Value: ''. '' is too short"},
		{"2.1", "POST", "/servers", `{"server":{"name":" x","flavorRef":"1"}}`, 400, "printable characters"},
		{"2.1", "POST", "/servers", server(`,"nonsense":1`), 400, "Additional properties are not allowed ('nonsense' was unexpected)"},
		{"2.1", "POST", "/servers", server(`,"description":"x"`), 400, "'description' was unexpected"},
		{"2.1", "POST", "/servers", server(`,"min_count":0`), 400, "0 is less than the minimum of 1"},
		{"2.1", "POST", "/servers", server(`,"min_count":"0"`), 400, "'0' is less than the minimum of 1"},
		{"2.1", "POST", "/servers", server(`,"min_count":99999999999999999999`), 400, "is"},
		{"2.1", "POST", "/servers", server(`,"min_count":3,"max_count":2`), 400, "min_count must be <= max_count"},
		{"2.1", "POST", "/servers", server(`,"user_data":"%%%"`), 400, "is not a 'base64'"},
		{"2.1", "POST", "/servers", server(`,"networks":[{"uuid":"` + unknown + `"}]`), 400, "Network " + unknown + " could not be found."},
		{"2.1", "POST", "/servers", server(`,"networks":[{"uuid":"x","color":1}]`), 400, "'color' was unexpected"},
		{"2.1", "POST", "/servers", server(`,"networks":[{"port":"` + unknown + `"}]`), 400, "Port id " + unknown + " could not be found."},
		{"2.1", "POST", "/servers", server(`,"networks":[{"uuid":"` + c.network + `","fixed_ip":"1.2.3"}]`), 400, "is not a 'ip'"},
		{"2.37", "POST", "/servers", server(``), 400, "'networks' is a required property"},
		{"2.37", "POST", "/servers", server(`,"networks":"some"`), 400, "is not valid under any of the given schemas"},
		{"2.1", "POST", "/servers", server(`,"key_name":"none"`), 400, "Invalid key_name provided."},
		{"2.1", "POST", "/servers", server(`,"security_groups":[{"name":"none"}]`), 400, "Security group none not found"},
		{"2.1", "POST", "/servers", server(`,"config_drive":true`), 400, "configuration drive"},
		{"2.1", "POST", "/servers", server(`,"availability_zone":"moon"`), 400, "The requested availability zone is not available"},
		{"2.1", "POST", "/servers", server(`,"availability_zone":"nova:host1"`), 403, "forced_host"},
		{"2.1", "POST", "/servers", `{"server":{"name":"x","flavorRef":"99","imageRef":"` + computetest.ImageID + `"}}`, 400, "Flavor 99 could not be found."},
		{"2.1", "POST", "/servers", `{"server":{"name":"x","flavorRef":"1","imageRef":"` + unknown + `"}}`, 400, "Can not find requested image"},
		{"2.1", "POST", "/servers", `{"server":{"name":"x","flavorRef":"1","imageRef":""}}`, 400, "Invalid imageRef provided."},
		{"2.1", "POST", "/servers", `{"server":{"name":"x","flavorRef":"1","imageRef":"","block_device_mapping_v2":[{"uuid":"v","boot_index":"0","source_type":"volume","destination_type":"volume"}]}}`, 400, "failed to get volume v"},
		{"2.1", "POST", "/servers", `{"server":{"name":"x","flavorRef":"1"},"os:scheduler_hints":{"group":"x"}}`, 400, "is not valid under any"},
		{"2.1", "POST", "/servers", strings.Replace(server(``), `}}`, `},"os:scheduler_hints":{"group":"`+unknown+`"}}`, 1), 400, "Instance group " + unknown + " could not be found."},
		{"2.1", "GET", "/servers/" + unknown, "", 404, "Instance " + unknown + " could not be found."},
		{"2.1", "DELETE", "/servers/" + unknown, "", 404, "could not be found"},
		{"2.1", "PUT", "/servers/" + id, `{"server":{"name":null}}`, 400, "None is not of type 'string'"},
		{"2.1", "PUT", "/servers/" + id, `{"server":{"accessIPv4":"::1"}}`, 400, "is not a 'ipv4'"},
		{"2.89", "PUT", "/servers/" + id, `{"server":{"hostname":"x"}}`, 400, "'hostname' was unexpected"},
		{"2.93", "PUT", "/servers/" + id, `{"server":{"hostname":"a.b"}}`, 400, "does not match"},
		{"2.1", "POST", "/servers/" + id + "/action", `{"dance":null}`, 400, "There is no such action: dance"},
		{"2.1", "POST", "/servers/" + id + "/action", `{"os-start":null,"os-stop":null}`, 400, "There is no such action"},
		{"2.1", "POST", "/servers/" + id + "/action", `{"os-start":null}`, 409, "Cannot 'start' instance " + id + " while it is in vm_state active"},
		{"2.1", "POST", "/servers/" + id + "/action", `{"reboot":{"type":"kick"}}`, 400, "'kick' is not one of"},
		{"2.1", "POST", "/servers/" + id + "/action", `{"reboot":null}`, 400, "None is not of type 'object'"},
		{"2.1", "POST", "/servers/" + id + "/action", `{"pause":null}`, 501, "not implemented"},
		{"2.1", "POST", "/servers/" + id + "/action", `{"os-resetState":{"state":"error"}}`, 403, "reset_state"},
		{"2.72", "POST", "/servers/" + id + "/action", `{"os-getConsoleOutput":{"length":"x"}}`, 400, "does not match"},
		{"2.73", "POST", "/servers/" + id + "/action", `{"lock":{"locked_reason":""}}`, 400, "is too short"},
		{"2.1", "GET", "/servers/" + id + "/metadata/none", "", 404, "Metadata item was not found"},
		{"2.1", "PUT", "/servers/" + id + "/metadata/a", `{"meta":{"b":"c"}}`, 400, "Request body and URI mismatch"},
		{"2.1", "POST", "/servers/" + id + "/metadata", `{"metadata":{"a":1}}`, 400, "1 is not of type 'string'"},
		{"2.1", "POST", "/servers/" + id + "/metadata", `{"metadata":{"` + strings.Repeat("k", 256) + `":""}}`, 400, "was unexpected"},
		{"2.26", "PUT", "/servers/" + id + "/tags", `{"tags":["a,b"]}`, 400, "does not match"},
		{"2.26", "PUT", "/servers/" + id + "/tags/" + strings.Repeat("t", 61), "", 400, "at most 60"},
		{"2.1", "GET", "/servers/" + id + "/ips/none", "", 404, "not a member"},
		{"2.1", "GET", "/servers/" + id + "/os-volume_attachments/" + unknown, "", 404, "Instance " + id + " is not attached to volume " + unknown},
		{"2.23", "GET", "/servers/" + id + "/migrations/7", "", 404, "In-progress live migration 7 is not found for server " + id},
		{"2.22", "POST", "/servers/" + id + "/migrations/7/action", `{"force_complete":null}`, 501, "not implemented"},
		{"2.53", "PUT", "/os-services/enable", `{"host":"host1","binary":"nova-compute"}`, 404, "could not be found"},
		{"2.1", "GET", "/servers?limit=x", "", 400, "limit"},
		{"2.1", "GET", "/servers?limit=-1", "", 400, "limit"},
		{"2.1", "GET", "/servers?marker=" + unknown, "", 400, "marker [" + unknown + "] not found"},
		{"2.1", "GET", "/servers?name=(", "", 400, "regular expression"},
		{"2.1", "GET", "/servers?all_tenants=1", "", 403, "get_all_tenants"},
		{"2.1", "GET", "/servers?changes-since=yesterday", "", 400, "date-time"},
		{"2.38", "GET", "/servers?status=HAPPY", "", 400, "Invalid status value"},
		{"2.75", "GET", "/servers?color=red", "", 400, "'color' was unexpected"},
		{"2.1", "GET", "/servers?sort_key=color", "", 400, "Sort key"},
		{"2.1", "POST", "/flavors", `{"flavor":{"name":"x","ram":1,"vcpus":1,"disk":1}}`, 403, "Policy doesn't allow"},
		{"2.1", "GET", "/flavors/99", "", 404, "Flavor 99 could not be found."},
		{"2.1", "GET", "/flavors?minRam=x", "", 400, "Invalid minRam filter [x]"},
		{"2.1", "POST", "/os-keypairs", `{"keypair":{"name":"x","public_key":"nonsense"}}`, 400, "Keypair data is invalid"},
		{"2.1", "POST", "/os-keypairs", `{"keypair":{"name":"x","type":"ssh"}}`, 400, "'type' was unexpected"},
		{"2.1", "POST", "/os-keypairs", `{"keypair":{"name":"a.b"}}`, 400, "does not match"},
		{"2.1", "GET", "/os-hypervisors", "", 403, "os-hypervisors:list"},
		{"2.1", "PUT", "/os-quota-sets/" + redProject, `{"quota_set":{"cores":1}}`, 403, "os-quota-sets:update"},
		{"2.1", "GET", "/os-quota-sets/" + blueProject, "", 403, "os-quota-sets:show"},
		{"2.1", "POST", "/os-server-groups", `{"server_group":{"name":"x","policies":["none"]}}`, 400, "is not one of"},
		{"2.64", "POST", "/os-server-groups", `{"server_group":{"name":"x","policy":"affinity","rules":{"max_server_per_host":2}}}`, 400, "Only anti-affinity"},
		{"2.1", "GET", "/nonsense", "", 404, "could not be found"},
		{"2.1", "PATCH", "/servers/" + id, "{}", 405, "not allowed"},
		{"2.1", "GET", "/0123456789abcdef/servers", "", 400, "doesn't match Context's project_id"},
	} {
		a := c.call(t, "red", try.version, try.method, "/v2.1"+try.path, try.body)
		require.Equal(t, try.code, a.code, "%s %s %s: %s", try.method, try.path, try.body, a.text)
		_, message := a.fault(t)
		require.Contains(t, message, try.says, "%s %s %s", try.method, try.path, try.body)
	}
	require.Equal(t, before, c.call(t, "red", "2.96", "GET", "/v2.1/servers/"+id, "").text)
	a := c.call(t, "blue", "2.37", "POST", "/v2.1/servers", server(`,"networks":"auto"`))
	require.Equal(t, http.StatusBadRequest, a.code, a.text)
	usage, err := c.Usage(t.Context(), redProject)
	require.NoError(t, err)
	require.Equal(t, 1, usage.Instances)
	require.Len(t, c.networks.Ports(), 1)
}

func TestProjectsAreApart(t *testing.T) {
	c := newCloud(t)
	id := c.boot(t, "vm1")
	for _, try := range [][2]string{
		{"GET", ""}, {"PUT", ""}, {"DELETE", ""}, {"POST", "/action"}, {"GET", "/ips"}, {"GET", "/metadata"}, {"GET", "/os-interface"},
		{"GET", "/os-instance-actions"}, {"GET", "/os-volume_attachments"}, {"GET", "/os-security-groups"}, {"GET", "/os-server-password"}, {"GET", "/tags"},
	} {
		body := ""
		switch try[0] {
		case "PUT":
			body = `{"server":{"name":"mine"}}`
		case "POST":
			body = `{"os-stop":null}`
		}
		a := c.call(t, "blue", "2.26", try[0], "/v2.1/servers/"+id+try[1], body)
		require.Equal(t, http.StatusNotFound, a.code, try)
		name, message := a.fault(t)
		require.Equal(t, "itemNotFound", name)
		require.Equal(t, "Instance "+id+" could not be found.", message)
	}
	require.Empty(t, c.call(t, "blue", "2.1", "GET", "/v2.1/servers", "").body["servers"])
	a := c.call(t, "", "2.1", "GET", "/v2.1/servers", "")
	require.Equal(t, http.StatusUnauthorized, a.code)
	require.Equal(t, `Keystone uri="http://identity/"`, a.header.Get("Www-Authenticate"))
}

func TestListsHaveLinksToTheNextPage(t *testing.T) {
	c := newCloud(t)
	for i := range 3 {
		c.boot(t, fmt.Sprintf("vm%d", i))
	}
	path, names := "/v2.1/servers?limit=1&sort_key=display_name&sort_dir=asc", []string{}
	for path != "" {
		a := c.call(t, "red", "2.96", "GET", path, "")
		require.Equal(t, http.StatusOK, a.code, a.text)
		for _, s := range a.body["servers"].([]any) {
			names = append(names, s.(map[string]any)["name"].(string))
		}
		path = ""
		if links, ok := a.body["servers_links"]; ok {
			path = strings.TrimPrefix(links.([]any)[0].(map[string]any)["href"].(string), c.url)
		}
	}
	require.Equal(t, []string{"vm0", "vm1", "vm2"}, names)
}

func TestOldClients(t *testing.T) {
	c := newCloud(t)
	id := c.boot(t, "vm1")
	for _, path := range []string{"/v2/servers/" + id, "/v2/" + redProject + "/servers/" + id, "/v2.1/" + redProject + "/servers/" + id, "/v2.1/servers/" + id + "/"} {
		a := c.call(t, "red", "", "GET", path, "")
		require.Equal(t, http.StatusOK, a.code, "%s: %s", path, a.text)
	}
	a := c.call(t, "red", "", "POST", "/v2/servers", fmt.Sprintf(`{"server":{"name":"x","flavorRef":1,"imageRef":%q,"nonsense":1,"user_data":null}}`, computetest.ImageID))
	require.Equal(t, http.StatusAccepted, a.code, a.text)
	a = c.call(t, "red", "2.1", "POST", "/v2.1/servers", fmt.Sprintf(`{"server":{"name":"y","flavorRef":"1","imageRef":%q,"min_count":"2","max_count":2,"return_reservation_id":"True"}}`, computetest.ImageID))
	require.Equal(t, http.StatusAccepted, a.code, a.text)
	reservation := a.body["reservation_id"].(string)
	a = c.call(t, "red", "2.1", "GET", "/v2.1/servers?reservation_id="+reservation, "")
	require.Len(t, a.body["servers"], 2)
}

func TestSecurityGroupProxies(t *testing.T) {
	c := newCloud(t)
	id := c.boot(t, "vm1")
	a := c.call(t, "red", "2.1", "POST", "/v2.1/os-security-group-rules", `{"security_group_rule":{"parent_group_id":"`+computetest.DefaultGroup.ID+`","ip_protocol":"tcp","from_port":22,"to_port":"22","cidr":"10.0.0.0/24"}}`)
	require.Equal(t, 200, a.code, a.text)
	require.Equal(t, map[string]any{
		"id": "rule", "parent_group_id": computetest.DefaultGroup.ID, "ip_protocol": "tcp", "from_port": 22.0, "to_port": 22.0,
		"group": map[string]any{}, "ip_range": map[string]any{"cidr": "10.0.0.0/24"},
	}, a.body["security_group_rule"])
	for _, path := range []string{"/v2.1/os-security-groups", "/v2.1/servers/" + id + "/os-security-groups"} {
		a = c.call(t, "red", "2.1", "GET", path, "")
		require.Len(t, a.body["security_groups"].([]any)[0].(map[string]any)["rules"], 1)
	}
	require.Equal(t, 404, c.call(t, "red", "2.1", "GET", "/v2.1/os-security-groups/none", "").code)
	require.Equal(t, 202, c.call(t, "red", "2.1", "DELETE", "/v2.1/os-security-groups/"+computetest.DefaultGroup.ID, "").code)
	require.Equal(t, 202, c.call(t, "red", "2.1", "POST", "/v2.1/servers/"+id+"/action", `{"addSecurityGroup":{"name":"web"}}`).code)
	a = c.call(t, "red", "2.1", "GET", "/v2.1/servers/"+id, "")
	require.Len(t, a.body["server"].(map[string]any)["security_groups"], 2)
	require.Equal(t, 202, c.call(t, "red", "2.1", "POST", "/v2.1/servers/"+id+"/action", `{"removeSecurityGroup":{"name":"web"}}`).code)
	require.Equal(t, 404, c.call(t, "red", "2.1", "POST", "/v2.1/servers/"+id+"/action", `{"removeSecurityGroup":{"name":"web"}}`).code)
}

func TestServerThatFailedSaysWhy(t *testing.T) {
	c := newCloud(t)
	disabled := true
	_, err := c.ChangeHost(t.Context(), "host1", compute.HostChange{Disabled: &disabled})
	require.NoError(t, err)
	a := c.call(t, "red", "2.1", "POST", "/v2.1/servers", fmt.Sprintf(`{"server":{"name":"x","flavorRef":"1","imageRef":%q}}`, computetest.ImageID))
	require.Equal(t, http.StatusAccepted, a.code)
	a = c.call(t, "red", "2.1", "GET", "/v2.1/servers/"+a.body["server"].(map[string]any)["id"].(string), "")
	s := a.body["server"].(map[string]any)
	require.Equal(t, "ERROR", s["status"])
	require.EqualValues(t, 500, s["fault"].(map[string]any)["code"])
	require.Equal(t, "No valid host was found. There are not enough hosts available.", s["fault"].(map[string]any)["message"])
}

func TestAccessAddressesAreShownInTheirShortestForm(t *testing.T) {
	c := newCloud(t)
	id := c.boot(t, "vm")
	a := c.call(t, "red", "", "PUT", "/v2.1/servers/"+id, `{"server":{"accessIPv6":"0000:0000:0000:0000:0000:babe:220.12.22.2"}}`)
	require.Equal(t, http.StatusOK, a.code, a.text)
	require.Equal(t, "::babe:dc0c:1602", a.body["server"].(map[string]any)["accessIPv6"])
}
