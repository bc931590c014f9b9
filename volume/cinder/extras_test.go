package cinder_test

import (
	"context"
	"fmt"
	"net/http"
	"testing"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/gophercloud/gophercloud/v2/openstack/blockstorage/v3/backups"
	"github.com/gophercloud/gophercloud/v2/openstack/blockstorage/v3/manageablevolumes"
	"github.com/gophercloud/gophercloud/v2/openstack/blockstorage/v3/qos"
	"github.com/gophercloud/gophercloud/v2/openstack/blockstorage/v3/transfers"
	"github.com/gophercloud/gophercloud/v2/openstack/blockstorage/v3/volumes"
	"github.com/gophercloud/gophercloud/v2/openstack/blockstorage/v3/volumetypes"
	"github.com/stretchr/testify/require"

	"github.com/kintoun/kintoun/volume"
)

// becomes waits until what get shows has the status.
func (c *cloud) becomes(t testing.TB, token, path, kind, status string) {
	t.Helper()
	require.NoError(t, gophercloud.WaitFor(t.Context(), func(context.Context) (bool, error) {
		a := c.call(t, token, "3.70", "GET", path, "")
		if a.code != http.StatusOK {
			return false, fmt.Errorf("%s: %d %s", path, a.code, a.text)
		}
		now := a.get(t, kind, "status")
		if now == "error" && status != "error" {
			return false, fmt.Errorf("%s: %s", path, a.text)
		}
		return now == status, nil
	}))
}

func TestGophercloudBackups(t *testing.T) {
	c := newCloud(t)
	ctx, client, admin := t.Context(), c.client("red", "3.70"), c.client("admin", "3.70")
	id := c.make(t, "red", "")
	b, err := backups.Create(ctx, client, backups.CreateOpts{VolumeID: id, Name: "b", Metadata: map[string]string{"k": "v"}}).Extract()
	require.NoError(t, err)
	path := "/v3/backups/" + b.ID
	c.becomes(t, "red", path, "backup", "available")
	b, err = backups.Get(ctx, client, b.ID).Extract()
	require.NoError(t, err)
	require.Equal(t, id, b.VolumeID)
	require.Equal(t, 1, b.Size)
	require.False(t, b.IsIncremental)
	const keys = "availability_zone container created_at data_timestamp description fail_reason has_dependent_backups id is_incremental links name object_count size snapshot_id status updated_at volume_id"
	for _, one := range [][3]string{
		{"red", "3.0", ""}, {"red", "3.43", "metadata"}, {"red", "3.64", "metadata"}, {"admin", "3.17", ""},
		{"admin", "3.18", "os-backup-project-attr:project_id"}, {"admin", "3.56", "metadata user_id os-backup-project-attr:project_id"},
	} {
		require.Equal(t, with(keys, one[2]), c.call(t, one[0], one[1], "GET", path, "").keysOf(t, "backup"), one)
	}
	// gophercloud leaves out the "backup" around what it sends.
	require.Equal(t, http.StatusOK, c.call(t, "red", "3.9", "PUT", path, `{"backup": {"name": "renamed"}}`).code)
	require.Equal(t, http.StatusNotFound, c.call(t, "red", "3.8", "PUT", path, `{"backup": {"name": "x"}}`).code)
	pages, err := backups.ListDetail(client, backups.ListDetailOpts{Sort: "name:asc"}).AllPages(ctx)
	require.NoError(t, err)
	all, err := backups.ExtractBackups(pages)
	require.NoError(t, err)
	require.Len(t, all, 1)
	restored, err := backups.RestoreFromBackup(ctx, client, b.ID, backups.RestoreOpts{}).Extract()
	require.NoError(t, err)
	c.await(t, restored.VolumeID, volume.Available)
	require.Equal(t, http.StatusForbidden, c.call(t, "red", "3.0", "GET", path+"/export_record", "").code)
	exported, err := backups.Export(ctx, admin, b.ID).Extract()
	require.NoError(t, err)
	require.NotEmpty(t, exported.BackupService)
	require.NoError(t, backups.ResetStatus(ctx, admin, b.ID, backups.ResetStatusOpts{Status: "error"}).ExtractErr())
	require.NoError(t, backups.Delete(ctx, client, b.ID).ExtractErr())
	require.NoError(t, gone(ctx, func(ctx context.Context) error { _, err := backups.Get(ctx, client, b.ID).Extract(); return err }))
}

func TestGophercloudTransfers(t *testing.T) {
	c := newCloud(t)
	ctx, client, other := t.Context(), c.client("red", "3.70"), c.client("blue", "3.70")
	id := c.make(t, "red", "")
	offer, err := transfers.Create(ctx, client, transfers.CreateOpts{VolumeID: id, Name: "gift"}).Extract()
	require.NoError(t, err)
	require.NotEmpty(t, offer.AuthKey)
	const keys = "created_at id links name volume_id"
	for _, one := range [][3]string{
		{"3.0", "/v3/os-volume-transfer/", ""}, {"3.55", "/v3/volume-transfers/", "no_snapshots"},
		{"3.57", "/v3/volume-transfers/", "no_snapshots source_project_id destination_project_id accepted"},
	} {
		require.Equal(t, with(keys, one[2]), c.call(t, "red", one[0], "GET", one[1]+offer.ID, "").keysOf(t, "transfer"))
	}
	pages, err := transfers.List(client, transfers.ListOpts{}).AllPages(ctx)
	require.NoError(t, err)
	all, err := transfers.ExtractTransfers(pages)
	require.NoError(t, err)
	require.Len(t, all, 1)
	require.Empty(t, all[0].AuthKey)
	wrong := c.call(t, "blue", "3.0", "POST", "/v3/os-volume-transfer/"+offer.ID+"/accept", `{"accept": {"auth_key": "guess"}}`)
	require.Equal(t, http.StatusBadRequest, wrong.code, wrong.text)
	_, err = transfers.Accept(ctx, other, offer.ID, transfers.AcceptOpts{AuthKey: offer.AuthKey}).Extract()
	require.NoError(t, err)
	require.Equal(t, http.StatusNotFound, c.call(t, "red", "3.0", "GET", "/v3/volumes/"+id, "").code)
	require.Equal(t, http.StatusOK, c.call(t, "blue", "3.0", "GET", "/v3/volumes/"+id, "").code)

	second := c.make(t, "red", "")
	offer, err = transfers.Create(ctx, client, transfers.CreateOpts{VolumeID: second}).Extract()
	require.NoError(t, err)
	require.NoError(t, transfers.Delete(ctx, client, offer.ID).ExtractErr())
	c.await(t, second, volume.Available)
}

func TestGophercloudQoS(t *testing.T) {
	c := newCloud(t)
	ctx, admin := t.Context(), c.client("admin", "3.70")
	q, err := qos.Create(ctx, admin, qos.CreateOpts{Name: "slow", Consumer: qos.ConsumerFront, Specs: map[string]string{"read_iops_sec": "100"}}).Extract()
	require.NoError(t, err)
	require.Equal(t, "front-end", q.Consumer)
	specs, err := qos.Update(ctx, admin, q.ID, qos.UpdateOpts{Consumer: qos.ConsumerBoth, Specs: map[string]string{"write_iops_sec": "50"}}).Extract()
	require.NoError(t, err)
	require.Equal(t, "50", specs["write_iops_sec"])
	require.NoError(t, qos.DeleteKeys(ctx, admin, q.ID, qos.DeleteKeysOpts{"read_iops_sec"}).ExtractErr())
	q, err = qos.Get(ctx, admin, q.ID).Extract()
	require.NoError(t, err)
	require.Equal(t, map[string]string{"write_iops_sec": "50"}, q.Specs)
	kind, err := volumetypes.Create(ctx, admin, volumetypes.CreateOpts{Name: "slow"}).Extract()
	require.NoError(t, err)
	require.NoError(t, qos.Associate(ctx, admin, q.ID, qos.AssociateOpts{VolumeTypeID: kind.ID}).ExtractErr())
	pages, err := qos.ListAssociations(admin, q.ID).AllPages(ctx)
	require.NoError(t, err)
	types, err := qos.ExtractAssociations(pages)
	require.NoError(t, err)
	require.Equal(t, "slow", types[0].Name)
	require.Equal(t, http.StatusBadRequest, c.call(t, "admin", "3.0", "DELETE", "/v3/qos-specs/"+q.ID, "").code)
	require.NoError(t, qos.Disassociate(ctx, admin, q.ID, qos.DisassociateOpts{VolumeTypeID: kind.ID}).ExtractErr())
	require.NoError(t, qos.DisassociateAll(ctx, admin, q.ID).ExtractErr())
	require.NoError(t, qos.Delete(ctx, admin, q.ID, qos.DeleteOpts{}).ExtractErr())
	list, err := qos.List(admin, nil).AllPages(ctx)
	require.NoError(t, err)
	left, err := qos.ExtractQoS(list)
	require.NoError(t, err)
	require.Empty(t, left)
	for body, text := range map[string]string{
		`{"qos_specs": {}}`:                                  "'name' is a required property",
		`{"qos_specs": {"name": " "}}`:                       "can not be empty",
		`{"qos_specs": {"name": "x", "consumer": "nobody"}}`: "consumer",
	} {
		a := c.call(t, "admin", "3.0", "POST", "/v3/qos-specs", body)
		require.Equal(t, http.StatusBadRequest, a.code, a.text)
		require.Contains(t, a.text, text)
	}
}

func TestGophercloudManaging(t *testing.T) {
	c := newCloud(t)
	ctx, admin := t.Context(), c.client("admin", "3.70")
	id := c.make(t, "admin", "")
	require.NoError(t, volumes.Unmanage(ctx, admin, id).ExtractErr())
	require.NoError(t, gone(ctx, func(ctx context.Context) error { _, err := volumes.Get(ctx, admin, id).Extract(); return err }))
	list := c.call(t, "admin", "3.8", "GET", "/v3/manageable_volumes/detail?host=host1@mem%23mem", "")
	require.Equal(t, http.StatusOK, list.code, list.text)
	one := list.get(t, "manageable-volumes").([]any)[0].(map[string]any)
	require.Equal(t, true, one["safe_to_manage"])
	reference := one["reference"].(map[string]any)["source-name"].(string)
	v, err := manageablevolumes.ManageExisting(ctx, admin, manageablevolumes.ManageExistingOpts{
		Host: "host1@mem#mem", Ref: map[string]string{"source-name": reference}, Name: "back",
	}).Extract()
	require.NoError(t, err)
	c.await(t, v.ID, volume.Available)
	require.Equal(t, http.StatusForbidden, c.call(t, "red", "3.8", "GET", "/v3/manageable_volumes?host=host1@mem%23mem", "").code)
	require.Equal(t, http.StatusBadRequest, c.call(t, "admin", "3.8", "GET", "/v3/manageable_volumes", "").code)
	require.Equal(t, http.StatusBadRequest, c.call(t, "admin", "3.8", "GET", "/v3/manageable_volumes?host=host1@mem%23mem&sort=name", "").code)
}

func TestSnapshotsAreManaged(t *testing.T) {
	c := newCloud(t)
	const host = "host=host1@mem%23mem"
	volumeID := c.make(t, "admin", "")
	a := c.call(t, "admin", "3.0", "POST", "/v3/snapshots", fmt.Sprintf(`{"snapshot": {"volume_id": %q}}`, volumeID))
	require.Equal(t, http.StatusAccepted, a.code, a.text)
	id := a.get(t, "snapshot", "id").(string)
	c.becomes(t, "admin", "/v3/snapshots/"+id, "snapshot", "available")
	require.Equal(t, http.StatusForbidden, c.call(t, "red", "3.0", "POST", "/v3/snapshots/"+id+"/action", `{"os-unmanage": null}`).code)
	list := c.call(t, "admin", "3.8", "GET", "/v3/manageable_snapshots/detail?"+host, "")
	require.Equal(t, map[string]any{
		"reference": map[string]any{"source-name": id}, "source_reference": map[string]any{"source-name": volumeID}, "size": 1.0,
		"safe_to_manage": false, "reason_not_safe": "already managed", "cinder_id": id, "extra_info": nil,
	}, list.get(t, "manageable-snapshots").([]any)[0])
	require.Equal(t, http.StatusAccepted, c.call(t, "admin", "3.0", "POST", "/v3/snapshots/"+id+"/action", `{"os-unmanage": null}`).code)
	require.NoError(t, gophercloud.WaitFor(t.Context(), func(context.Context) (bool, error) {
		return c.call(t, "admin", "3.0", "GET", "/v3/snapshots/"+id, "").code == http.StatusNotFound, nil
	}))
	list = c.call(t, "admin", "3.8", "GET", "/v3/manageable_snapshots?"+host, "")
	require.Equal(t, map[string]any{
		"reference": map[string]any{"source-name": "released-snapshot-" + id}, "source_reference": map[string]any{"source-name": volumeID}, "size": 1.0,
		"safe_to_manage": true,
	}, list.get(t, "manageable-snapshots").([]any)[0])

	body := fmt.Sprintf(`{"snapshot": {"volume_id": %q, "ref": {"source-name": "released-snapshot-%s"}, "name": "back", "metadata": {"a": "b"}}}`, volumeID, id)
	require.Equal(t, http.StatusForbidden, c.call(t, "red", "3.8", "POST", "/v3/manageable_snapshots", body).code)
	for _, bad := range []string{`{"snapshot": {"ref": {}}}`, `{"snapshot": {"volume_id": "x", "ref": {}}}`, fmt.Sprintf(`{"snapshot": {"volume_id": %q}}`, volumeID)} {
		require.Equal(t, http.StatusBadRequest, c.call(t, "admin", "3.8", "POST", "/v3/manageable_snapshots", bad).code, bad)
	}
	for _, path := range []string{"/v3/manageable_snapshots", "/v3/os-snapshot-manage"} {
		a = c.call(t, "admin", "3.8", "POST", path, body)
		require.Equal(t, http.StatusAccepted, a.code, a.text)
		now := a.get(t, "snapshot", "id").(string)
		status := "available"
		if path != "/v3/manageable_snapshots" {
			status = "error" // it is there no more
		}
		c.becomes(t, "admin", "/v3/snapshots/"+now, "snapshot", status)
		a = c.call(t, "admin", "3.0", "GET", "/v3/snapshots/"+now, "")
		require.Equal(t, []any{"back", volumeID, 1.0, map[string]any{"a": "b"}}, []any{
			a.get(t, "snapshot", "name"), a.get(t, "snapshot", "volume_id"), a.get(t, "snapshot", "size"), a.get(t, "snapshot", "metadata"),
		})
	}
}

func TestGophercloudUploadAndEncryption(t *testing.T) {
	c := newCloud(t)
	ctx, client, admin := t.Context(), c.client("red", "3.70"), c.client("admin", "3.70")
	id := c.make(t, "red", `, "imageRef": "http://glance/v2/images/`+imageUUID+`"`)
	up, err := volumes.UploadImage(ctx, client, id, volumes.UploadImageOpts{ImageName: "copy", DiskFormat: "raw", ContainerFormat: "bare"}).Extract()
	require.NoError(t, err)
	require.NotEmpty(t, up.ImageID)
	require.Equal(t, "private", up.Visibility)
	require.Equal(t, "uploading", up.Status)
	c.await(t, id, volume.Available)
	require.NoError(t, volumes.ReImage(ctx, client, id, volumes.ReImageOpts{ImageID: imageUUID}).ExtractErr())
	c.await(t, id, volume.Available)

	kind, err := volumetypes.Create(ctx, admin, volumetypes.CreateOpts{Name: "luks"}).Extract()
	require.NoError(t, err)
	e, err := volumetypes.CreateEncryption(ctx, admin, kind.ID, volumetypes.CreateEncryptionOpts{
		Provider: "luks", ControlLocation: "front-end", Cipher: "aes-xts-plain64", KeySize: 256,
	}).Extract()
	require.NoError(t, err)
	require.Equal(t, kind.ID, e.VolumeTypeID)
	_, err = volumetypes.UpdateEncryption(ctx, admin, kind.ID, e.EncryptionID, volumetypes.UpdateEncryptionOpts{
		Provider: "luks", ControlLocation: "front-end", Cipher: "aes-xts-plain64", KeySize: 512,
	}).Extract()
	require.NoError(t, err)
	got, err := volumetypes.GetEncryption(ctx, admin, kind.ID).Extract()
	require.NoError(t, err)
	require.Equal(t, 512, got.KeySize)
	require.Equal(t, map[string]any{"cipher": "aes-xts-plain64"}, c.call(t, "admin", "3.0", "GET", "/v3/types/"+kind.ID+"/encryption/cipher", "").body)
	secret := c.make(t, "red", `, "volume_type": "luks"`)
	v := c.call(t, "red", "3.64", "GET", "/v3/volumes/"+secret, "")
	require.Equal(t, true, v.get(t, "volume", "encrypted"))
	require.NotEmpty(t, v.get(t, "volume", "encryption_key_id"))
	require.Equal(t, "cipher control_location encryption_key_id key_size provider", c.call(t, "admin", "3.0", "GET", "/v3/volumes/"+secret+"/encryption", "").keysOf(t))
	require.Equal(t, http.StatusBadRequest, c.call(t, "red", "3.69", "POST", "/v3/volume-transfers", `{"transfer": {"volume_id": "`+secret+`"}}`).code)
	a := c.call(t, "admin", "3.0", "DELETE", "/v3/types/"+kind.ID+"/encryption/provider", "")
	require.Equal(t, http.StatusBadRequest, a.code, a.text)
	require.NoError(t, volumes.Delete(ctx, client, secret, volumes.DeleteOpts{}).ExtractErr())
	require.NoError(t, gone(ctx, func(ctx context.Context) error { _, err := volumes.Get(ctx, client, secret).Extract(); return err }))
	require.Equal(t, http.StatusAccepted, c.call(t, "admin", "3.0", "DELETE", "/v3/types/"+kind.ID+"/encryption/provider", "").code)
	require.Empty(t, c.call(t, "admin", "3.0", "GET", "/v3/types/"+kind.ID+"/encryption", "").body)
}

func TestGroups(t *testing.T) {
	c := newCloud(t)
	made := c.call(t, "admin", "3.11", "POST", "/v3/group_types", `{"group_type": {"name": "consistent", "group_specs": {"consistent_group_snapshot_enabled": "<is> True"}}}`)
	require.Equal(t, http.StatusAccepted, made.code, made.text)
	kind := made.get(t, "group_type", "id").(string)
	require.Equal(t, "description id is_public name", c.call(t, "red", "3.11", "GET", "/v3/group_types/"+kind, "").keysOf(t, "group_type"))
	require.Equal(t, "description group_specs id is_public name", c.call(t, "admin", "3.11", "GET", "/v3/group_types/"+kind, "").keysOf(t, "group_type"))
	specs := "/v3/group_types/" + kind + "/group_specs"
	require.Equal(t, http.StatusAccepted, c.call(t, "admin", "3.11", "POST", specs, `{"group_specs": {"k": "v"}}`).code)
	require.Equal(t, map[string]any{"k": "w"}, c.call(t, "admin", "3.11", "PUT", specs+"/k", `{"k": "w"}`).body)
	require.Equal(t, map[string]any{"k": "w"}, c.call(t, "admin", "3.11", "GET", specs+"/k", "").body)
	require.Equal(t, http.StatusAccepted, c.call(t, "admin", "3.11", "DELETE", specs+"/k", "").code)
	require.Equal(t, http.StatusNotFound, c.call(t, "admin", "3.11", "GET", specs+"/k", "").code)

	volumeType := c.call(t, "red", "3.0", "GET", "/v3/types/default", "").get(t, "volume_type", "id").(string)
	made = c.call(t, "red", "3.13", "POST", "/v3/groups", fmt.Sprintf(`{"group": {"name": " g ", "group_type": "consistent", "volume_types": [%q]}}`, volumeType))
	require.Equal(t, http.StatusAccepted, made.code, made.text)
	require.Equal(t, "id name", made.keysOf(t, "group"))
	require.Equal(t, "g", made.get(t, "group", "name"))
	group := made.get(t, "group", "id").(string)
	path := "/v3/groups/" + group
	c.becomes(t, "red", path, "group", "available")
	const keys = "availability_zone created_at description group_type id name status volume_types"
	for _, one := range [][3]string{
		{"red", "3.13", ""}, {"red", "3.14", "group_snapshot_id source_group_id"}, {"red", "3.38", "group_snapshot_id source_group_id replication_status"},
		{"red", "3.58", "group_snapshot_id source_group_id replication_status"}, {"admin", "3.58", "group_snapshot_id source_group_id replication_status project_id"},
	} {
		require.Equal(t, with(keys, one[2]), c.call(t, one[0], one[1], "GET", path, "").keysOf(t, "group"), one)
	}
	id := c.make(t, "red", fmt.Sprintf(`, "group_id": %q, "volume_type": %q`, group, volumeType))
	require.Equal(t, []any{id}, c.call(t, "red", "3.25", "GET", path+"?list_volume=True", "").get(t, "group", "volumes"))
	require.Equal(t, http.StatusAccepted, c.call(t, "red", "3.13", "PUT", path, `{"group": {"name": "h", "remove_volumes": "`+id+`"}}`).code)
	c.becomes(t, "red", path, "group", "available")
	require.Equal(t, http.StatusAccepted, c.call(t, "red", "3.13", "PUT", path, `{"group": {"add_volumes": "`+id+`"}}`).code)
	c.becomes(t, "red", path, "group", "available")

	made = c.call(t, "red", "3.14", "POST", "/v3/group_snapshots", `{"group_snapshot": {"group_id": "`+group+`", "name": "s"}}`)
	require.Equal(t, http.StatusAccepted, made.code, made.text)
	require.Equal(t, "group_type_id id name", made.keysOf(t, "group_snapshot"))
	snapshot := made.get(t, "group_snapshot", "id").(string)
	c.becomes(t, "red", "/v3/group_snapshots/"+snapshot, "group_snapshot", "available")
	require.Equal(t, "created_at description group_id group_type_id id name status", c.call(t, "red", "3.14", "GET", "/v3/group_snapshots/"+snapshot, "").keysOf(t, "group_snapshot"))
	brief := c.call(t, "red", "3.29", "GET", "/v3/group_snapshots", "").get(t, "group_snapshots").([]any)[0].(map[string]any)
	require.Len(t, brief, 2)
	made = c.call(t, "red", "3.14", "POST", "/v3/groups/action", `{"create-from-src": {"group_snapshot_id": "`+snapshot+`", "name": "copy"}}`)
	require.Equal(t, http.StatusAccepted, made.code, made.text)
	copied := made.get(t, "group", "id").(string)
	c.becomes(t, "red", "/v3/groups/"+copied, "group", "available")
	both := c.call(t, "red", "3.14", "POST", "/v3/groups/action", `{"create-from-src": {"group_snapshot_id": "`+snapshot+`", "source_group_id": "`+group+`"}}`)
	require.Equal(t, http.StatusBadRequest, both.code)
	require.Contains(t, both.text, "valid under each")
	require.Equal(t, http.StatusForbidden, c.call(t, "red", "3.20", "POST", path+"/action", `{"reset_status": {"status": "error"}}`).code)
	require.Equal(t, http.StatusBadRequest, c.call(t, "admin", "3.20", "POST", path+"/action", `{"reset_status": {"status": "fine"}}`).code)
	require.Equal(t, http.StatusNotImplemented, c.call(t, "red", "3.38", "POST", path+"/action", `{"enable_replication": {}}`).code)

	require.Equal(t, http.StatusAccepted, c.call(t, "red", "3.14", "DELETE", "/v3/group_snapshots/"+snapshot, "").code)
	require.NoError(t, gophercloud.WaitFor(t.Context(), func(context.Context) (bool, error) {
		return c.call(t, "red", "3.14", "GET", "/v3/group_snapshots/"+snapshot, "").code == http.StatusNotFound, nil
	}))
	for _, g := range []string{group, copied} {
		require.Equal(t, http.StatusAccepted, c.call(t, "red", "3.13", "POST", "/v3/groups/"+g+"/action", `{"delete": {"delete-volumes": "true"}}`).code)
		require.NoError(t, gophercloud.WaitFor(t.Context(), func(context.Context) (bool, error) {
			return c.call(t, "red", "3.13", "GET", "/v3/groups/"+g, "").code == http.StatusNotFound, nil
		}))
	}
	require.Equal(t, http.StatusAccepted, c.call(t, "admin", "3.11", "DELETE", "/v3/group_types/"+kind, "").code)
}
