package cinder_test

import (
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
)

// keysOf are the sorted keys of an object in a body.
func (a answer) keysOf(t testing.TB, path ...string) string {
	t.Helper()
	return strings.Join(slices.Sorted(maps.Keys(a.get(t, path...).(map[string]any))), " ")
}

const (
	volumeKeys   = "attachments availability_zone bootable consistencygroup_id created_at description encrypted id links metadata multiattach name replication_status size snapshot_id source_volid status updated_at user_id volume_type"
	snapshotKeys = "created_at description id metadata name size status updated_at volume_id"
)

// with are the words of both lists, sorted.
func with(words, more string) string {
	all := append(strings.Fields(words), strings.Fields(more)...)
	slices.Sort(all)
	return strings.Join(all, " ")
}

func TestVolumeByMicroversion(t *testing.T) {
	c := newCloud(t)
	id := c.make(t, "red", "")
	const shown, adminShown = "os-vol-tenant-attr:tenant_id", "os-vol-tenant-attr:tenant_id os-vol-host-attr:host os-vol-mig-status-attr:migstat os-vol-mig-status-attr:name_id migration_status"
	for _, one := range []struct{ token, version, more string }{
		{"red", "3.0", shown}, {"admin", "3.0", adminShown},
		{"red", "3.12", shown}, {"red", "3.13", shown + " group_id"},
		{"admin", "3.20", adminShown + " group_id"}, {"admin", "3.21", adminShown + " group_id provider_id"}, {"red", "3.21", shown + " group_id"},
		{"red", "3.47", shown + " group_id"}, {"red", "3.48", shown + " group_id shared_targets service_uuid"},
		{"admin", "3.61", adminShown + " group_id provider_id shared_targets service_uuid cluster_name"},
		{"red", "3.62", shown + " group_id shared_targets service_uuid"},
		{"red", "3.63", shown + " group_id shared_targets service_uuid volume_type_id"},
		{"red", "3.64", shown + " group_id shared_targets service_uuid volume_type_id"},
		{"red", "3.65", shown + " group_id shared_targets service_uuid volume_type_id consumes_quota"},
		{"red", "3.70", shown + " group_id shared_targets service_uuid volume_type_id consumes_quota"},
	} {
		a := c.call(t, one.token, one.version, "GET", "/v3/volumes/"+id, "")
		require.Equal(t, with(volumeKeys, one.more), a.keysOf(t, "volume"), "%+v", one)
		list := c.call(t, one.token, one.version, "GET", "/v3/volumes/detail?all_tenants=1", "")
		require.Equal(t, a.get(t, "volume"), list.get(t, "volumes").([]any)[0], "%+v", one)
	}
	brief := c.call(t, "red", "3.70", "GET", "/v3/volumes", "").get(t, "volumes").([]any)[0].(map[string]any)
	require.Equal(t, []string{"id", "links", "name"}, slices.Sorted(maps.Keys(brief)))
	require.Nil(t, brief["name"])
	for _, one := range [][2]string{{"POST", "/v3/volumes"}, {"PUT", "/v3/volumes/" + id}} {
		body := `{"volume": {"size": 1}}`
		if one[0] == "PUT" {
			body = `{"volume": {"name": "x"}}`
		}
		require.Equal(t, volumeKeys, c.call(t, "red", "3.0", one[0], one[1], body).keysOf(t, "volume"))
		require.Equal(t, with(volumeKeys, "group_id shared_targets service_uuid volume_type_id consumes_quota"), c.call(t, "red", "3.70", one[0], one[1], body).keysOf(t, "volume"))
	}
	require.Equal(t, with(volumeKeys, "migration_status"), c.call(t, "admin", "3.0", "POST", "/v3/volumes", `{"volume": {"size": 1}}`).keysOf(t, "volume"))
}

func TestLinks(t *testing.T) {
	c := newCloud(t)
	id := c.make(t, "red", "")
	href := func(a answer, i int) any {
		return a.get(t, "volume", "links").([]any)[i].(map[string]any)["href"]
	}
	a := c.call(t, "red", "3.0", "GET", "/v3/"+redProject+"/volumes/"+id, "")
	require.Equal(t, c.url+"/v3/"+redProject+"/volumes/"+id, href(a, 0))
	require.Equal(t, c.url+"/"+redProject+"/volumes/"+id, href(a, 1))
	a = c.call(t, "red", "3.67", "GET", "/v3/volumes/"+id, "")
	require.Equal(t, c.url+"/v3/volumes/"+id, href(a, 0))

	c.make(t, "red", `, "name": "second"`)
	a = c.call(t, "red", "3.45", "GET", "/v3/"+redProject+"/volumes/detail?limit=1&sort=created_at:asc&with_count=True", "")
	require.EqualValues(t, 2, a.get(t, "count"))
	next := a.get(t, "volumes_links").([]any)[0].(map[string]any)
	require.Equal(t, "next", next["rel"])
	require.True(t, strings.HasPrefix(next["href"].(string), c.url+"/v3/"+redProject+"/volumes/detail?"), next)
	require.Contains(t, next["href"], "marker="+id)
	a = c.call(t, "red", "3.45", "GET", strings.TrimPrefix(next["href"].(string), c.url), "")
	require.Equal(t, "second", a.get(t, "volumes").([]any)[0].(map[string]any)["name"])
	require.NotContains(t, c.call(t, "red", "3.44", "GET", "/v3/volumes?limit=3&with_count=True", "").body, "count")
	require.NotContains(t, c.call(t, "red", "3.44", "GET", "/v3/volumes?limit=3", "").body, "volumes_links")
	require.Empty(t, c.call(t, "red", "3.44", "GET", "/v3/volumes?limit=0", "").get(t, "volumes"))
}

func TestSnapshotAndAttachmentByMicroversion(t *testing.T) {
	c := newCloud(t)
	id := c.make(t, "red", "")
	made := c.call(t, "red", "3.0", "POST", "/v3/snapshots", `{"snapshot": {"volume_id": "`+id+`", "force": "True", "name": "s"}}`)
	require.Equal(t, http.StatusAccepted, made.code, made.text)
	require.Equal(t, snapshotKeys, made.keysOf(t, "snapshot"))
	path := "/v3/snapshots/" + made.get(t, "snapshot", "id").(string)
	const extended = "os-extended-snapshot-attributes:progress os-extended-snapshot-attributes:project_id"
	for version, more := range map[string]string{
		"3.0": "", "3.13": "", "3.14": "group_snapshot_id", "3.41": "group_snapshot_id user_id", "3.65": "group_snapshot_id user_id consumes_quota",
	} {
		a := c.call(t, "red", version, "GET", path, "")
		require.Equal(t, with(snapshotKeys, extended+" "+more), a.keysOf(t, "snapshot"), version)
		list := c.call(t, "red", version, "GET", "/v3/snapshots/detail", "").get(t, "snapshots").([]any)
		require.Equal(t, slices.Sorted(maps.Keys(a.get(t, "snapshot").(map[string]any))), slices.Sorted(maps.Keys(list[0].(map[string]any))))
		brief := c.call(t, "red", version, "GET", "/v3/snapshots", "").get(t, "snapshots").([]any)[0].(map[string]any)
		require.Equal(t, strings.Fields(snapshotKeys), slices.Sorted(maps.Keys(brief)), version)
	}

	at := c.call(t, "red", "3.27", "POST", "/v3/attachments", `{"attachment": {"volume_uuid": "`+id+`", "instance_uuid": "`+uuid.NewString()+`"}}`)
	require.Equal(t, http.StatusOK, at.code, at.text)
	const keys = "attach_mode attached_at connection_info detached_at id instance status volume_id"
	require.Equal(t, keys, at.keysOf(t, "attachment"))
	require.Equal(t, map[string]any{}, at.get(t, "attachment", "connection_info"))
	list := c.call(t, "red", "3.27", "GET", "/v3/attachments", "").get(t, "attachments").([]any)
	require.Equal(t, []string{"id", "instance", "status", "volume_id"}, slices.Sorted(maps.Keys(list[0].(map[string]any))))
	path = "/v3/attachments/" + at.get(t, "attachment", "id").(string)
	connected := c.call(t, "red", "3.27", "PUT", path, `{"attachment": {"connector": {"host": "host1"}}}`)
	require.Equal(t, http.StatusOK, connected.code, connected.text)
	info := connected.get(t, "attachment", "connection_info").(map[string]any)
	for _, key := range []string{"driver_volume_type", "attachment_id", "volume_id", "access_mode", "encrypted"} {
		require.Contains(t, info, key)
	}
	require.Equal(t, http.StatusNoContent, c.call(t, "red", "3.44", "POST", path+"/action", `{"os-complete": {}}`).code)
	for token, host := range map[string]any{"red": nil, "admin": "host1"} {
		shown := c.call(t, token, "3.0", "GET", "/v3/volumes/"+id, "").get(t, "volume", "attachments").([]any)[0].(map[string]any)
		require.Equal(t, "attached_at attachment_id device host_name id server_id volume_id", strings.Join(slices.Sorted(maps.Keys(shown)), " "))
		require.Equal(t, host, shown["host_name"], token)
	}
	require.Equal(t, []any{}, c.call(t, "red", "3.27", "DELETE", path, "").get(t, "attachments"))
}

func TestTheRestByMicroversion(t *testing.T) {
	c := newCloud(t)
	for _, one := range []struct{ token, version, path, key, keys string }{
		{"red", "3.0", "/types/default", "volume_type", "description extra_specs id is_public name os-volume-type-access:is_public"},
		{"admin", "3.0", "/types/default", "volume_type", "description extra_specs id is_public name os-volume-type-access:is_public qos_specs_id"},
		{"red", "3.0", "/limits", "limits", "absolute rate"},
	} {
		require.Equal(t, one.keys, c.call(t, one.token, one.version, "GET", "/v3"+one.path, "").keysOf(t, one.key), one)
	}
	require.Equal(t, "maxTotalBackupGigabytes maxTotalBackups maxTotalSnapshots maxTotalVolumeGigabytes maxTotalVolumes totalBackupGigabytesUsed totalBackupsUsed totalGigabytesUsed totalSnapshotsUsed totalVolumesUsed",
		c.call(t, "red", "3.0", "GET", "/v3/limits", "").keysOf(t, "limits", "absolute"))
	made := c.call(t, "admin", "3.0", "POST", "/v3/types", `{"volume_type": {"name": "t", "extra_specs": {"k": null}}}`)
	require.Equal(t, "description extra_specs id is_public name os-volume-type-access:is_public", made.keysOf(t, "volume_type"))
	updated := c.call(t, "admin", "3.0", "PUT", "/v3/types/"+made.get(t, "volume_type", "id").(string), `{"volume_type": {"name": "t2", "is_public": "false"}}`)
	require.Equal(t, "description extra_specs id is_public name", updated.keysOf(t, "volume_type"))
	const service = "binary disabled_reason host state status updated_at zone"
	for version, more := range map[string]string{"3.0": "", "3.7": "cluster", "3.49": "cluster backend_state"} {
		services := c.call(t, "admin", version, "GET", "/v3/os-services?binary=cinder-volume", "").get(t, "services").([]any)
		require.Equal(t, with(service, "frozen replication_status active_backend_id "+more), strings.Join(slices.Sorted(maps.Keys(services[0].(map[string]any))), " "))
	}
	require.Equal(t, "backup_gigabytes backups gigabytes groups id per_volume_gigabytes snapshots volumes", quotaKeys(c.call(t, "red", "3.0", "GET", "/v3/os-quota-sets/"+redProject, "").keysOf(t, "quota_set")))
	require.Equal(t, "in_use limit reserved", c.call(t, "red", "3.0", "GET", "/v3/os-quota-sets/"+redProject+"?usage=True", "").keysOf(t, "quota_set", "volumes"))
}

// quotaKeys leaves out those of types.
func quotaKeys(keys string) string {
	return strings.Join(slices.DeleteFunc(strings.Fields(keys), func(key string) bool {
		return strings.Contains(key, "_t2") || strings.Contains(key, "__DEFAULT__")
	}), " ")
}

func TestMetadataTags(t *testing.T) {
	c := newCloud(t)
	path := "/v3/volumes/" + c.make(t, "red", `, "metadata": {"a": "b"}`) + "/metadata"
	require.Empty(t, c.call(t, "red", "3.14", "GET", path, "").header.Get("Etag"))
	tag := c.call(t, "red", "3.15", "GET", path, "").header.Get("Etag")
	require.NotEmpty(t, tag)
	change := func(tag string) int {
		return c.send(t, "PUT", path, `{"metadata": {"c": "d"}}`, map[string]string{"X-Auth-Token": "red", "OpenStack-API-Version": "volume 3.15", "If-Match": tag}).code
	}
	require.Equal(t, http.StatusOK, change(tag))
	require.Equal(t, http.StatusPreconditionFailed, change(tag))
	require.Equal(t, map[string]any{"c": "d"}, c.call(t, "red", "3.15", "GET", path, "").get(t, "metadata"))
	require.Equal(t, map[string]any{"c": "d", "e": "f"}, c.call(t, "red", "3.15", "POST", path, `{"metadata": {"e": "f"}}`).get(t, "metadata"))
	require.Equal(t, http.StatusOK, c.call(t, "red", "3.15", "DELETE", path+"/c", "").code)
	require.Equal(t, map[string]any{"e": "f"}, c.call(t, "red", "3.15", "GET", path+"/e", "").get(t, "meta"))
}
