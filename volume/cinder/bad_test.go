package cinder_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
)

// TestBadRequests sends what Cinder refuses; VOL is a volume of red's, SNAP a snapshot of it, NONE an identifier of
// nothing.
func TestBadRequests(t *testing.T) {
	c := newCloud(t)
	id := c.make(t, "red", "")
	made := c.call(t, "red", "3.70", "POST", "/v3/snapshots", `{"snapshot": {"volume_id": "`+id+`"}}`)
	require.Equal(t, http.StatusAccepted, made.code, made.text)
	fill := strings.NewReplacer("VOL", id, "SNAP", made.get(t, "snapshot", "id").(string), "NONE", uuid.NewString(), "LONG", strings.Repeat("x", 256))
	for _, one := range []struct {
		token, version, method, path, body string
		code                               int
		text                               string
	}{
		{"red", "3.0", "POST", "/volumes", ``, 400, "Malformed request body"},
		{"red", "3.0", "POST", "/volumes", `[]`, 400, "Malformed request body"},
		{"red", "3.0", "POST", "/volumes", `{"volume": {`, 400, "Malformed request body"},
		{"red", "3.0", "POST", "/volumes", `{}`, 400, "'volume' is a required property"},
		{"red", "3.0", "POST", "/volumes", `{"volume": null}`, 400, "None is not of type 'object'"},
		{"red", "3.0", "POST", "/volumes", `{"volume": {"size": 0}}`, 400, "0 is less than the minimum of 1"},
		{"red", "3.0", "POST", "/volumes", `{"volume": {"size": "0"}}`, 400, "'0' is less than the minimum of 1"},
		{"red", "3.0", "POST", "/volumes", `{"volume": {"size": "one"}}`, 400, "does not match"},
		{"red", "3.0", "POST", "/volumes", `{"volume": {"size": -1}}`, 400, "minimum"},
		{"red", "3.0", "POST", "/volumes", `{"volume": {"size": 1.5}}`, 400, "not of type"},
		{"red", "3.0", "POST", "/volumes", `{"volume": {"size": 2147483648}}`, 400, "maximum"},
		{"red", "3.0", "POST", "/volumes", `{"volume": {"name": "none has a size"}}`, 400, ""},
		{"red", "3.0", "POST", "/volumes", `{"volume": {"size": 1, "name": "LONG"}}`, 400, "255"},
		{"red", "3.0", "POST", "/volumes", `{"volume": {"size": 1, "name": 7}}`, 400, "not of type"},
		{"red", "3.0", "POST", "/volumes", `{"volume": {"size": 1, "metadata": {"": "x"}}}`, 400, "Additional properties"},
		{"red", "3.0", "POST", "/volumes", `{"volume": {"size": 1, "metadata": {"k": "LONG"}}}`, 400, "too long"},
		{"red", "3.0", "POST", "/volumes", `{"volume": {"size": 1, "metadata": {"k": 1}}}`, 400, "not of type"},
		{"red", "3.0", "POST", "/volumes", `{"volume": {"size": 1, "snapshot_id": "x"}}`, 400, "not a 'uuid'"},
		{"red", "3.0", "POST", "/volumes", `{"volume": {"size": 1, "source_volid": "NONE"}}`, 404, "could not be found"},
		{"red", "3.0", "POST", "/volumes", `{"volume": {"size": 1, "snapshot_id": "NONE"}}`, 404, "could not be found"},
		{"red", "3.0", "POST", "/volumes", `{"volume": {"size": 1, "volume_type": "NONE"}}`, 404, "could not be found"},
		{"red", "3.0", "POST", "/volumes", `{"volume": {"size": 1}, "more": 1}`, 400, "Additional properties"},
		{"red", "3.53", "POST", "/volumes", `{"volume": {"size": 1, "status": "available"}}`, 400, "Additional properties are not allowed ('status' was unexpected)"},
		{"red", "3.53", "PUT", "/volumes/VOL", `{"volume": {}}`, 400, "not valid under"},
		{"red", "3.0", "PUT", "/volumes/VOL", `{"volume": {"size": 2}}`, 400, "Additional properties"},
		{"red", "3.0", "PUT", "/volumes/NONE", `{"volume": {"name": "x"}}`, 404, "Volume"},
		{"blue", "3.0", "PUT", "/volumes/VOL", `{"volume": {"name": "x"}}`, 404, "could not be found"},
		{"blue", "3.0", "GET", "/volumes/VOL", ``, 404, "could not be found"},
		{"blue", "3.0", "DELETE", "/volumes/VOL", ``, 404, "could not be found"},
		{"red", "3.0", "GET", "/volumes/", ``, 404, "could not be found"},
		{"red", "3.0", "PUT", "/volumes/", `{"volume": {"name": "x"}}`, 404, "could not be found"},
		{"red", "3.0", "DELETE", "/volumes/", ``, 404, "could not be found"},
		{"red", "3.0", "DELETE", "/volumes/not-an-id", ``, 404, "could not be found"},
		{"red", "3.23", "DELETE", "/volumes/VOL?force=true", ``, 403, "volume:force_delete"},

		{"red", "3.0", "GET", "/volumes?limit=x", ``, 400, "limit param must be an integer"},
		{"red", "3.0", "GET", "/volumes?limit=-1", ``, 400, "limit param must be positive"},
		{"red", "3.0", "GET", "/volumes?offset=-1", ``, 400, "offset"},
		{"red", "3.0", "GET", "/volumes?offset=99999999999999999999", ``, 400, "offset"},
		{"red", "3.0", "GET", "/volumes?marker=NONE", ``, 404, "could not be found"},
		{"red", "3.0", "GET", "/volumes?sort=name&sort_key=id", ``, 400, "deprecated"},
		{"red", "3.0", "GET", "/volumes?sort=nothing", ``, 400, "ort key"},
		{"red", "3.0", "GET", "/volumes?sort=name:up", ``, 400, "sort direction"},
		{"red", "3.0", "GET", "/volumes?nothing=1", ``, 200, ""},
		{"red", "3.31", "GET", "/volumes?nothing=1", ``, 400, "Invalid filters nothing are found in query options."},
		{"red", "3.31", "GET", "/volumes?all_tenants=1", ``, 200, ""},
		{"red", "3.33", "GET", "/volumes?name~=x", ``, 400, "Invalid filters name~"},
		{"red", "3.34", "GET", "/volumes?name~=x", ``, 200, ""},
		{"red", "3.1", "GET", "/volumes?bootable=perhaps", ``, 200, ""},
		{"red", "3.2", "GET", "/volumes?bootable=perhaps", ``, 400, "bootable"},
		{"red", "3.60", "GET", "/volumes?created_at=near:2026-01-01", ``, 400, "operator"},
		{"red", "3.60", "GET", "/volumes?created_at=gt:yesterday", ``, 400, "value"},
		{"red", "3.60", "GET", "/volumes/detail?created_at=gt:2020-01-01T00:00:00,lt:2020-01-02T00:00:00", ``, 200, `"volumes":[]`},
		{"red", "3.45", "GET", "/volumes?with_count=perhaps", ``, 400, "with_count"},

		{"red", "3.0", "POST", "/volumes/VOL/action", `{}`, 400, "Malformed"},
		{"red", "3.0", "POST", "/volumes/VOL/action", `{"dance": {}}`, 400, "There is no such action: dance"},
		{"red", "3.0", "POST", "/volumes/VOL/action", `{"os-reserve": {}, "os-extend": {}}`, 400, "more than one"},
		{"red", "3.0", "POST", "/volumes/VOL/action", `{"os-extend": {}}`, 400, "'new_size' is a required property"},
		{"red", "3.0", "POST", "/volumes/VOL/action", `{"os-extend": {"new_size": ""}}`, 400, "does not match"},
		{"red", "3.0", "POST", "/volumes/VOL/action", `{"os-extend": {"new_size": "fantasy"}}`, 400, "does not match"},
		{"red", "3.0", "POST", "/volumes/VOL/action", `{"os-extend": {"new_size": null}}`, 400, "not of type"},
		{"red", "3.0", "POST", "/volumes/VOL/action", `{"os-extend": {"new_size": 1}}`, 400, "New size"},
		{"red", "3.0", "POST", "/volumes/NONE/action", `{"os-extend": {"new_size": 9}}`, 404, "could not be found"},
		{"red", "3.0", "POST", "/volumes/VOL/action", `{"os-attach": {"mountpoint": "/dev/vdc"}}`, 400, "not valid under"},
		{"red", "3.0", "POST", "/volumes/VOL/action", `{"os-attach": {"instance_uuid": "x", "mountpoint": "/dev/vdc"}}`, 400, "not a 'uuid'"},
		{"red", "3.0", "POST", "/volumes/NONE/action", `{"os-attach": {"instance_uuid": "NONE", "mountpoint": "/dev/vdc"}}`, 404, "could not be found"},
		{"red", "3.0", "POST", "/volumes/NONE/action", `{"os-detach": {}}`, 404, "could not be found"},
		{"red", "3.0", "POST", "/volumes/NONE/action", `{"os-reserve": {}}`, 404, "could not be found"},
		{"red", "3.0", "POST", "/volumes/VOL/action", `{"os-set_bootable": {"bootable": "perhaps"}}`, 400, "not one of"},
		{"red", "3.0", "POST", "/volumes/VOL/action", `{"os-update_readonly_flag": {"readonly": 3}}`, 400, "not of type"},
		{"red", "3.0", "POST", "/volumes/VOL/action", `{"os-retype": {"new_type": "x", "migration_policy": "now"}}`, 400, "not one of"},
		{"red", "3.39", "POST", "/volumes/VOL/action", `{"revert": {"snapshot_id": "SNAP"}}`, 400, "no such action"},
		{"red", "3.0", "POST", "/volumes/VOL/action", `{"os-reset_status": {"status": "error"}}`, 403, "volume_admin_actions:reset_status"},
		{"admin", "3.0", "POST", "/volumes/VOL/action", `{"os-reset_status": {}}`, 400, "Must specify"},
		{"admin", "3.0", "POST", "/volumes/VOL/action", `{"os-reset_status": {"status": "happy"}}`, 400, "Volume status: happy is invalid"},
		{"admin", "3.0", "POST", "/volumes/VOL/action", `{"os-reset_status": {"attach_status": "loose"}}`, 400, "invalid"},
		{"admin", "3.0", "POST", "/volumes/VOL/action", `{"os-migrate_volume": {}}`, 400, "'host' is a required property"},
		{"admin", "3.16", "POST", "/volumes/VOL/action", `{"os-migrate_volume": {"host": "a", "cluster": "b"}}`, 400, "One and only one"},
		{"red", "3.0", "POST", "/volumes/VOL/action", `{"os-volume_upload_image": {}}`, 400, "'image_name' is a required property"},
		{"red", "3.0", "POST", "/volumes/VOL/action", `{"os-volume_upload_image": {"image_name": "x", "visibility": "private"}}`, 400, "Additional properties"},
		{"red", "3.1", "POST", "/volumes/VOL/action", `{"os-volume_upload_image": {"image_name": "x", "visibility": "public"}}`, 403, "upload_public"},
		{"red", "3.0", "POST", "/volumes/VOL/action", `{"os-unset_image_metadata": {"key": "nothing"}}`, 404, ""},

		{"red", "3.0", "GET", "/volumes/VOL/metadata/nothing", ``, 404, "has no metadata with key nothing"},
		{"red", "3.0", "DELETE", "/volumes/VOL/metadata/nothing", ``, 404, ""},
		{"red", "3.0", "PUT", "/volumes/VOL/metadata/k", `{"meta": {"j": "v"}}`, 400, "URI mismatch"},
		{"red", "3.0", "PUT", "/volumes/VOL/metadata/k", `{"meta": {"k": "v", "j": "v"}}`, 400, "too many properties"},
		{"red", "3.0", "PUT", "/volumes/VOL/metadata/k", `{"meta": {}}`, 400, "enough properties"},
		{"red", "3.0", "POST", "/volumes/NONE/metadata", `{"metadata": {"k": "v"}}`, 404, "could not be found"},

		{"red", "3.0", "POST", "/snapshots", `{"snapshot": {}}`, 400, "'volume_id' is a required property"},
		{"red", "3.0", "POST", "/snapshots", `{"snapshot": {"volume_id": "NONE"}}`, 404, "could not be found"},
		{"red", "3.0", "POST", "/snapshots", `{"snapshot": {"volume_id": null}}`, 404, "could not be found"},
		{"red", "3.0", "POST", "/snapshots", `{"snapshot": {"volume_id": "VOL", "force": "perhaps"}}`, 400, "not one of"},
		{"red", "3.66", "POST", "/snapshots", `{"snapshot": {"volume_id": "VOL", "force": false}}`, 400, "Since microversion 3.66"},
		{"red", "3.0", "PUT", "/snapshots/SNAP", `{"snapshot": {}}`, 400, "not valid under"},
		{"red", "3.0", "GET", "/snapshots?sort=name", ``, 400, "name"},
		{"red", "3.30", "GET", "/snapshots?sort=name", ``, 200, ""},
		{"blue", "3.0", "GET", "/snapshots/SNAP", ``, 404, "could not be found"},
		{"red", "3.0", "POST", "/snapshots/SNAP/action", `{"os-force_delete": {}}`, 403, "force_delete"},
		{"admin", "3.0", "POST", "/snapshots/SNAP/action", `{"os-reset_status": {"status": "x"}}`, 400, "Snapshot status: x is invalid"},
		{"admin", "3.0", "POST", "/snapshots/SNAP/action", `{"os-update_snapshot_status": {"status": "error", "progress": "300%"}}`, 400, "integer percentage"},

		{"red", "3.27", "POST", "/attachments", `{"attachment": {}}`, 400, "'volume_uuid' is a required property"},
		{"red", "3.27", "POST", "/attachments", `{"attachment": {"volume_uuid": "VOL", "mode": "rw"}}`, 400, "Additional properties"},
		{"red", "3.54", "POST", "/attachments", `{"attachment": {"volume_uuid": "VOL", "mode": "wo"}}`, 400, "not one of"},
		{"red", "3.27", "POST", "/attachments", `{"attachment": {"volume_uuid": "NONE", "instance_uuid": "NONE"}}`, 404, "could not be found"},
		{"red", "3.27", "PUT", "/attachments/NONE", `{"attachment": {"connector": {}}}`, 400, "enough properties"},
		{"red", "3.27", "GET", "/attachments/NONE", ``, 404, "could not be found"},
		{"red", "3.44", "POST", "/attachments/NONE/action", `{"os-complete": {}}`, 404, "could not be found"},

		{"red", "3.0", "POST", "/types", `{"volume_type": {"name": "x"}}`, 403, "type_create"},
		{"admin", "3.0", "POST", "/types", `{"volume_type": {"name": " "}}`, 400, "can not be empty"},
		{"admin", "3.0", "POST", "/types", `{"volume_type": {"name": ""}}`, 400, "can not be empty"},
		{"admin", "3.0", "POST", "/types", `{"volume_type": {"name": "__DEFAULT__"}}`, 409, "already exists"},
		{"admin", "3.0", "POST", "/types", `{"volume_type": {"name": "x", "is_public": true}}`, 400, "Additional properties"},
		{"red", "3.0", "GET", "/types/NONE", ``, 404, "could not be found"},
		{"red", "3.0", "GET", "/types/__DEFAULT__", ``, 404, "could not be found"},
		{"admin", "3.0", "PUT", "/types/NONE", `{"volume_type": {"name": "x"}}`, 404, "could not be found"},
		{"admin", "3.0", "PUT", "/types/NONE", `{"volume_type": {}}`, 400, "Specify volume type name"},
		{"admin", "3.0", "DELETE", "/types/NONE", ``, 404, "could not be found"},
		{"admin", "3.0", "POST", "/types/NONE/extra_specs", `{"extra_specs": {"k": "v"}}`, 404, "could not be found"},
		{"admin", "3.0", "POST", "/types/NONE/extra_specs", `{"extra_specs": null}`, 400, "not of type"},
		{"admin", "3.0", "PUT", "/types/NONE/extra_specs/k", `{"j": "v"}`, 400, "URI mismatch"},
		{"admin", "3.0", "PUT", "/types/NONE/extra_specs/k", `{"k": "v", "j": "v"}`, 400, "too many properties"},
		{"admin", "3.0", "GET", "/types?is_public=perhaps", ``, 400, "Invalid is_public filter [perhaps]"},
		{"red", "3.52", "GET", "/types?color=red", ``, 400, "Invalid filters color"},
		{"red", "3.52", "GET", "/types?extra_specs=red", ``, 400, "extra_specs"},

		{"blue", "3.0", "GET", "/os-quota-sets/" + redProject, ``, 403, "quotas:show"},
		{"red", "3.0", "PUT", "/os-quota-sets/" + redProject, `{"quota_set": {"volumes": 1}}`, 403, "quotas:update"},
		{"admin", "3.0", "PUT", "/os-quota-sets/" + redProject, `{"quota_set": {}}`, 400, "enough properties"},
		{"admin", "3.0", "PUT", "/os-quota-sets/" + redProject, `{"quota_set": {"volumes": -2}}`, 400, "volumes must be"},
		{"admin", "3.0", "PUT", "/os-quota-sets/" + redProject, `{"quota_set": {"volumes": "x"}}`, 400, "volumes must be an integer"},
		{"admin", "3.0", "PUT", "/os-quota-sets/" + redProject, `{"quota_set": {"cats": 1}}`, 400, "cats"},
		{"admin", "3.0", "PUT", "/os-quota-class-sets/default", `{"quota_class_set": {"volumes": "x"}}`, 400, "does not match"},
		{"red", "3.0", "GET", "/os-quota-class-sets/default", ``, 403, "quota_classes:get"},

		{"red", "3.0", "GET", "/os-services", ``, 403, "services:index"},
		{"admin", "3.0", "PUT", "/os-services/disable", `{"host": "host1@mem"}`, 400, "not valid under"},
		{"admin", "3.0", "PUT", "/os-services/disable", `{"binary": "cinder-volume"}`, 400, "Host field is missing"},
		{"admin", "3.0", "PUT", "/os-services/enable", `{"binary": "cinder-volume", "host": "nobody"}`, 404, ""},
		{"admin", "3.0", "PUT", "/os-services/freeze", `{"host": "nobody"}`, 400, ""},
		{"admin", "3.32", "PUT", "/os-services/get-log", `{}`, 501, "levels of logs"},
		{"red", "3.0", "GET", "/os-hosts", ``, 403, "hosts"},
		{"admin", "3.0", "GET", "/os-hosts/nobody", ``, 404, ""},
		{"admin", "3.0", "GET", "/capabilities/nobody", ``, 404, ""},
		{"red", "3.0", "GET", "/scheduler-stats/get_pools", ``, 403, "get_pools"},
		{"admin", "3.28", "GET", "/scheduler-stats/get_pools?detail=perhaps", ``, 400, "detail"},
		{"admin", "3.31", "GET", "/scheduler-stats/get_pools?color=red", ``, 400, "Invalid filters color"},
		{"red", "3.3", "GET", "/messages/NONE", ``, 404, "could not be found"},
		{"red", "3.3", "DELETE", "/messages/NONE", ``, 404, "could not be found"},
		{"admin", "3.7", "GET", "/clusters/mine", ``, 404, "Cluster mine could not be found."},
		{"admin", "3.62", "PUT", "/default-types/" + redProject, `{"default_type": {"volume_type": "NONE"}}`, 400, "could not be found"},
		{"admin", "3.62", "GET", "/default-types/" + redProject, ``, 404, "not found"},
		{"red", "3.62", "GET", "/default-types", ``, 403, "default_get_all"},
	} {
		t.Run(one.method+one.path, func(t *testing.T) {
			a := c.call(t, one.token, one.version, one.method, "/v3"+fill.Replace(one.path), fill.Replace(one.body))
			require.Equal(t, one.code, a.code, "%+v: %s", one, a.text)
			require.Contains(t, a.text, one.text, "%+v", one)
			if a.code >= 400 {
				name, _ := a.fault(t)
				require.Equal(t, map[int]string{400: "badRequest", 403: "forbidden", 404: "itemNotFound", 409: "conflictingRequest", 501: "notImplemented"}[a.code], name)
			}
		})
	}
}

func TestOverQuota(t *testing.T) {
	c := newCloud(t)
	require.Equal(t, 200, c.call(t, "admin", "", "PUT", "/v3/os-quota-sets/"+redProject, `{"quota_set": {"volumes": "1", "gigabytes": 1}}`).code)
	c.make(t, "red", "")
	a := c.call(t, "red", "3.70", "POST", "/v3/volumes", `{"volume": {"size": 1}}`)
	require.Equal(t, http.StatusRequestEntityTooLarge, a.code, a.text)
	require.Equal(t, "0", a.header.Get("Retry-After"))
	require.EqualValues(t, 413, a.get(t, "overLimit", "code"))
	require.Equal(t, "0", a.get(t, "overLimit", "retryAfter"))
}
