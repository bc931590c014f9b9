package nova_test

import (
	"context"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/gophercloud/gophercloud/v2/openstack/compute/v2/servers"
	"github.com/gophercloud/gophercloud/v2/openstack/compute/v2/volumeattach"
	"github.com/kintoun/kintoun/compute"
	"github.com/kintoun/kintoun/compute/internal/computetest"
	"github.com/kintoun/kintoun/compute/nova"
	"github.com/stretchr/testify/require"
)

// proxied is a volume service with one volume and one snapshot of it.
type proxied struct{}

const (
	volumeID   = "5aa119a8-d25b-45a7-8d1b-88e127885635"
	snapshotID = "dfa7eedd-2ba3-4b0f-9f0d-b8a2e5fa5fd3"
)

var day = time.Date(2026, 11, 23, 8, 0, 0, 0, time.UTC)

func (proxied) Volumes(context.Context, compute.Scope) ([]nova.Volume, error) {
	v := nova.Volume{ID: volumeID, Name: "data", Status: "in-use", SizeGiB: 1, Zone: "nova", ServerID: snapshotID, Device: "/dev/vdb", CreatedAt: day}
	return []nova.Volume{v, {ID: "other", Zone: "nova"}}, nil
}

func (p proxied) Volume(ctx context.Context, scope compute.Scope, id string) (nova.Volume, error) {
	if id != volumeID {
		return nova.Volume{}, fmt.Errorf("Volume %s could not be found. %w", id, compute.ErrNotFound)
	}
	all, _ := p.Volumes(ctx, scope)
	return all[0], nil
}

func (proxied) CreateVolume(_ context.Context, _ compute.Scope, spec nova.VolumeSpec) (nova.Volume, error) {
	return nova.Volume{ID: volumeID, Name: spec.Name, SizeGiB: spec.SizeGiB, Metadata: spec.Metadata, Zone: "nova", Status: "creating"}, nil
}

func (p proxied) DeleteVolume(ctx context.Context, scope compute.Scope, id string) error {
	_, err := p.Volume(ctx, scope, id)
	return err
}

func (proxied) Snapshots(context.Context, compute.Scope) ([]nova.Snapshot, error) {
	return []nova.Snapshot{{ID: snapshotID, VolumeID: volumeID, Status: "available", SizeGiB: 1, CreatedAt: day}}, nil
}

func (p proxied) Snapshot(ctx context.Context, scope compute.Scope, id string) (nova.Snapshot, error) {
	all, _ := p.Snapshots(ctx, scope)
	if id != all[0].ID {
		return nova.Snapshot{}, compute.ErrNotFound
	}
	return all[0], nil
}

func (proxied) CreateSnapshot(_ context.Context, _ compute.Scope, spec nova.SnapshotSpec) (nova.Snapshot, error) {
	return nova.Snapshot{ID: snapshotID, VolumeID: spec.VolumeID, Name: spec.Name, Status: "creating"}, nil
}

func (proxied) DeleteSnapshot(context.Context, compute.Scope, string) error { return nil }

func (c *cloud) awaitVolumes(t testing.TB, serverID string, n int) {
	t.Helper()
	_, err := c.Await(t.Context(), compute.Scope{Admin: true}, serverID, func(v *compute.Server) bool {
		for _, at := range v.Volumes {
			if at.State != compute.VolumeAttached {
				return false
			}
		}
		return len(v.Volumes) == n
	})
	require.NoError(t, err)
}

func TestGophercloudVolumes(t *testing.T) {
	c := newCloud(t)
	ctx, client := t.Context(), c.client("red", "2.79")
	id := c.boot(t, "vm1")
	volume := c.volumes.Add(redProject, compute.Volume{SizeGiB: 1})
	at, err := volumeattach.Create(ctx, client, id, volumeattach.CreateOpts{VolumeID: volume, Tag: "data", DeleteOnTermination: true}).Extract()
	require.NoError(t, err)
	require.Equal(t, volume, at.ID)
	require.Equal(t, "/dev/vdb", at.Device)
	require.Equal(t, "data", *at.Tag)
	require.True(t, *at.DeleteOnTermination)
	c.awaitVolumes(t, id, 1)
	pages, err := volumeattach.List(client, id).AllPages(ctx)
	require.NoError(t, err)
	list, err := volumeattach.ExtractVolumeAttachments(pages)
	require.NoError(t, err)
	require.Len(t, list, 1)
	s, err := servers.Get(ctx, client, id).Extract()
	require.NoError(t, err)
	require.Equal(t, volume, s.AttachedVolumes[0].ID)
	_, err = volumeattach.Create(ctx, client, id, volumeattach.CreateOpts{VolumeID: volume}).Extract()
	require.True(t, gophercloud.ResponseCodeIs(err, http.StatusBadRequest), err)
	require.NoError(t, volumeattach.Delete(ctx, client, id, volume).ExtractErr())
	c.awaitVolumes(t, id, 0)
	_, err = volumeattach.Get(ctx, client, id, volume).Extract()
	require.True(t, gophercloud.ResponseCodeIs(err, http.StatusNotFound), err)

	created, err := servers.Create(ctx, client, servers.CreateOpts{
		Name: "vm2", FlavorRef: "1", Networks: []servers.Network{{UUID: c.network}},
		BlockDevice: []servers.BlockDevice{
			{SourceType: servers.SourceImage, DestinationType: servers.DestinationVolume, UUID: computetest.ImageID, VolumeSize: 2, BootIndex: 0, DeleteOnTermination: true},
			{SourceType: servers.SourceBlank, DestinationType: servers.DestinationVolume, VolumeSize: 1, BootIndex: -1, DeleteOnTermination: true},
		},
	}, nil).Extract()
	require.NoError(t, err)
	require.NoError(t, servers.WaitForStatus(ctx, client, created.ID, "ACTIVE"))
	s, err = servers.Get(ctx, client, created.ID).Extract()
	require.NoError(t, err)
	require.Empty(t, s.Image)
	require.Len(t, s.AttachedVolumes, 2)
	err = volumeattach.Delete(ctx, client, created.ID, s.AttachedVolumes[0].ID).ExtractErr()
	require.True(t, gophercloud.ResponseCodeIs(err, http.StatusBadRequest), err)
	require.NoError(t, servers.Delete(ctx, client, created.ID).ExtractErr())
	require.NoError(t, gone(ctx, client, created.ID))
	require.Equal(t, []string{volume}, c.volumes.All())
}

func TestVolumeAttachmentsByVersion(t *testing.T) {
	c := newCloud(t)
	id, volume := c.boot(t, "vm1"), c.volumes.Add(redProject, compute.Volume{})
	base := "/v2.1/servers/" + id + "/os-volume_attachments"
	attach := fmt.Sprintf(`{"volumeAttachment":{"volumeId":%q,"device":null}}`, volume)
	a := c.call(t, "red", "2.1", "POST", base, attach)
	require.Equal(t, http.StatusOK, a.code, a.text)
	require.Equal(t, map[string]any{"id": volume, "volumeId": volume, "serverId": id, "device": "/dev/vdb"}, a.body["volumeAttachment"])
	c.awaitVolumes(t, id, 1)
	for minor, keys := range map[string][]string{
		"2.1":  {"id", "volumeId", "serverId", "device"},
		"2.70": {"id", "volumeId", "serverId", "device", "tag"},
		"2.79": {"id", "volumeId", "serverId", "device", "tag", "delete_on_termination"},
		"2.89": {"attachment_id", "bdm_uuid", "volumeId", "serverId", "device", "tag", "delete_on_termination"},
	} {
		a := c.call(t, "red", minor, "GET", base+"/"+volume, "")
		one := a.body["volumeAttachment"].(map[string]any)
		require.Len(t, one, len(keys), minor)
		for _, key := range keys {
			require.Contains(t, one, key, minor)
		}
		a = c.call(t, "red", minor, "GET", base, "")
		require.Equal(t, []any{one}, a.body["volumeAttachments"], minor)
	}
	a = c.call(t, "red", "2.3", "GET", "/v2.1/servers/"+id, "")
	require.Equal(t, []any{map[string]any{"id": volume, "delete_on_termination": false}}, a.body["server"].(map[string]any)["os-extended-volumes:volumes_attached"])

	put := func(token, minor, body string) answer { return c.call(t, token, minor, "PUT", base+"/"+volume, body) }
	require.Equal(t, http.StatusAccepted, put("red", "2.85", fmt.Sprintf(`{"volumeAttachment":{"volumeId":%q,"delete_on_termination":true,"device":"/dev/vdb"}}`, volume)).code)
	a = put("red", "2.85", fmt.Sprintf(`{"volumeAttachment":{"volumeId":%q,"device":"/dev/vdx"}}`, volume))
	_, message := a.fault(t)
	require.Equal(t, "The device property is not mutable", message)
	require.Equal(t, http.StatusForbidden, put("red", "2.1", fmt.Sprintf(`{"volumeAttachment":{"volumeId":%q}}`, volumeID)).code)
	require.Equal(t, http.StatusBadRequest, put("admin", "2.1", fmt.Sprintf(`{"volumeAttachment":{"volumeId":%q}}`, volumeID)).code)
	a = put("admin", "2.85", fmt.Sprintf(`{"volumeAttachment":{"volumeId":%q}}`, c.volumes.Add(redProject, compute.Volume{})))
	require.Equal(t, http.StatusConflict, a.code)
	_, message = a.fault(t)
	require.Equal(t, "volume "+volume+" is not migrating; this API should only be called by Cinder", message)

	for _, bad := range []struct {
		minor, body string
		code        int
	}{
		{"2.48", fmt.Sprintf(`{"volumeAttachment":{"volumeId":%q,"tag":"x"}}`, volume), 400},
		{"2.78", fmt.Sprintf(`{"volumeAttachment":{"volumeId":%q,"delete_on_termination":true}}`, volume), 400},
		{"2.1", `{"volumeAttachment":{"volumeId":"x"}}`, 400},
		{"2.1", `{"volumeAttachment":{}}`, 400},
		{"2.1", fmt.Sprintf(`{"volumeAttachment":{"volumeId":%q,"device":"/dev/0"}}`, volume), 400},
		{"2.1", fmt.Sprintf(`{"volumeAttachment":{"volumeId":%q}}`, volumeID), 404},
		{"2.1", fmt.Sprintf(`{"volumeAttachment":{"volumeId":%q}}`, c.volumes.Add(redProject, compute.Volume{Shareable: true})), 400},
	} {
		require.Equal(t, bad.code, c.call(t, "red", bad.minor, "POST", base, bad.body).code, bad.body)
	}
	require.Equal(t, http.StatusNotFound, c.call(t, "blue", "2.1", "DELETE", base+"/"+volume, "").code)
	require.Equal(t, http.StatusAccepted, c.call(t, "red", "2.1", "DELETE", base+"/"+volume, "").code)
}

func TestServersFromOldDeviceMappings(t *testing.T) {
	c := newCloud(t)
	boots := c.volumes.Add(redProject, compute.Volume{Bootable: true})
	create := func(more string) answer {
		return c.call(t, "red", "2.1", "POST", "/v2.1/servers", `{"server":{"name":"x","flavorRef":"1",`+more+`}}`)
	}
	a := create(fmt.Sprintf(`"block_device_mapping":[{"volume_id":%q,"device_name":"vda","delete_on_termination":"1"}]`, boots))
	require.Equal(t, http.StatusAccepted, a.code, a.text)
	id := a.body["server"].(map[string]any)["id"].(string)
	c.await(t, id, "ACTIVE")
	require.Equal(t, http.StatusNoContent, c.call(t, "red", "2.1", "DELETE", "/v2.1/servers/"+id, "").code)
	_, err := c.Await(t.Context(), compute.Scope{Admin: true}, id, func(*compute.Server) bool { return false })
	require.ErrorIs(t, err, compute.ErrNotFound)
	require.Empty(t, c.volumes.All())

	data := c.volumes.Add(redProject, compute.Volume{})
	a = create(fmt.Sprintf(`"imageRef":%q,"block_device_mapping":[{"volume_id":%q,"device_name":"/dev/vdb"}]`, computetest.ImageID, data))
	require.Equal(t, http.StatusAccepted, a.code, a.text)
	c.await(t, a.body["server"].(map[string]any)["id"].(string), "ACTIVE")
	for _, bad := range []string{
		`"block_device_mapping":[{"device_name":"vda"}]`,
		fmt.Sprintf(`"block_device_mapping":[{"volume_id":%q,"device_name":"vdb"}]`, data),
		fmt.Sprintf(`"block_device_mapping":[{"volume_id":%q}],"block_device_mapping_v2":[{"source_type":"blank"}]`, data),
		fmt.Sprintf(`"block_device_mapping_v2":[{"source_type":"image","destination_type":"local","uuid":%q,"boot_index":0}]`, computetest.ImageID),
		fmt.Sprintf(`"imageRef":%q,"block_device_mapping_v2":[{"source_type":"volume","destination_type":"volume"}]`, computetest.ImageID),
		fmt.Sprintf(`"imageRef":%q,"block_device_mapping_v2":[{"source_type":"volume","destination_type":"volume","uuid":%q,"volume_type":"x"}]`, computetest.ImageID, data),
	} {
		require.Equal(t, http.StatusBadRequest, create(bad).code, bad)
	}
}

func TestProxiesOfTheVolumeService(t *testing.T) {
	c := newCloud(t)
	a := c.call(t, "red", "2.35", "GET", "/v2.1/os-volumes/detail?limit=1", "")
	require.Equal(t, []any{map[string]any{
		"id": volumeID, "status": "in-use", "size": 1.0, "availabilityZone": "nova", "createdAt": "2026-11-23T08:00:00.000000",
		"attachments": []any{map[string]any{"id": volumeID, "volumeId": volumeID, "serverId": snapshotID, "device": "/dev/vdb"}},
		"displayName": "data", "displayDescription": "", "volumeType": nil, "snapshotId": nil, "metadata": map[string]any{},
	}}, a.body["volumes"])
	a = c.call(t, "red", "", "GET", "/v2.1/os-volumes?offset=1", "")
	require.Len(t, a.body["volumes"], 1)
	require.Equal(t, http.StatusNotFound, c.call(t, "red", "2.36", "GET", "/v2.1/os-volumes", "").code)
	a = c.call(t, "red", "", "POST", "/v2.1/os-volumes", `{"volume":{"size":"1","display_name":"v","metadata":{"Type":"work"}}}`)
	require.Equal(t, http.StatusOK, a.code)
	require.Equal(t, []any{map[string]any{}}, a.body["volume"].(map[string]any)["attachments"])
	for _, size := range []string{`"0"`, `""`, `"#$%"`, `-1`} {
		require.Equal(t, http.StatusBadRequest, c.call(t, "red", "", "POST", "/v2.1/os-volumes", `{"volume":{"size":`+size+`}}`).code, size)
	}
	require.Equal(t, http.StatusOK, c.call(t, "red", "", "GET", "/v2.1/os-volumes/"+volumeID, "").code)
	require.Equal(t, http.StatusNotFound, c.call(t, "red", "", "GET", "/v2.1/os-volumes/", "").code)
	require.Equal(t, http.StatusNotFound, c.call(t, "red", "", "DELETE", "/v2.1/os-volumes/invalid", "").code)
	require.Equal(t, http.StatusNotFound, c.call(t, "red", "", "DELETE", "/v2.1/os-volumes/", "").code)
	require.Equal(t, http.StatusAccepted, c.call(t, "red", "", "DELETE", "/v2.1/os-volumes/"+volumeID, "").code)
	require.Len(t, c.call(t, "red", "", "GET", "/v2.1/os-snapshots/detail", "").body["snapshots"], 1)
	require.Equal(t, http.StatusOK, c.call(t, "red", "", "GET", "/v2.1/os-snapshots/"+snapshotID, "").code)
	require.Equal(t, http.StatusNotFound, c.call(t, "red", "", "GET", "/v2.1/os-snapshots/"+volumeID, "").code)
	a = c.call(t, "red", "", "POST", "/v2.1/os-snapshots", fmt.Sprintf(`{"snapshot":{"volume_id":%q,"display_name":"s","force":"True"}}`, volumeID))
	require.Equal(t, "s", a.body["snapshot"].(map[string]any)["displayName"])
	require.Equal(t, http.StatusAccepted, c.call(t, "red", "", "DELETE", "/v2.1/os-snapshots/"+snapshotID, "").code)
}

func TestExternalEvents(t *testing.T) {
	c := newCloud(t)
	id, volume := c.boot(t, "vm1"), c.volumes.Add(redProject, compute.Volume{SizeGiB: 1})
	_, err := c.AttachVolume(t.Context(), compute.Scope{Admin: true, ProjectID: redProject}, id, compute.VolumeAttach{VolumeID: volume})
	require.NoError(t, err)
	c.awaitVolumes(t, id, 1)
	send := func(token, events string) answer {
		return c.call(t, token, "2.96", "POST", "/v2.1/os-server-external-events", `{"events":[`+events+`]}`)
	}
	event := func(name, server, tag string) string {
		return fmt.Sprintf(`{"name":%q,"server_uuid":%q,"tag":%q}`, name, server, tag)
	}
	require.Equal(t, http.StatusForbidden, send("red", event("volume-extended", id, volume)).code)
	c.volumes.Grow(volume, 3)
	require.Equal(t, http.StatusOK, send("admin", event("volume-extended", id, volume)).code)
	c.awaitVolumes(t, id, 1)
	want, _ := c.host.Want(id)
	require.EqualValues(t, 3<<30, want.Volumes[0].Bytes)
	require.Equal(t, http.StatusOK, send("admin", event("network-vif-plugged", id, "port")).code)
	a := send("admin", event("volume-extended", id, volumeID)+","+event("network-changed", volumeID, ""))
	require.Equal(t, http.StatusMultiStatus, a.code)
	for _, e := range a.body["events"].([]any) {
		require.EqualValues(t, http.StatusNotFound, e.(map[string]any)["code"])
	}
	require.Equal(t, http.StatusBadRequest, send("admin", `{"name":"earthquake","server_uuid":"`+id+`"}`).code)
	require.Equal(t, http.StatusBadRequest, c.call(t, "admin", "2.1", "POST", "/v2.1/os-assisted-volume-snapshots", `{}`).code)
}
