package cinder_test

import (
	"context"
	"net/http"
	"testing"

	"github.com/google/uuid"
	"github.com/gophercloud/gophercloud/v2"
	"github.com/gophercloud/gophercloud/v2/openstack/blockstorage/v3/attachments"
	"github.com/gophercloud/gophercloud/v2/openstack/blockstorage/v3/availabilityzones"
	"github.com/gophercloud/gophercloud/v2/openstack/blockstorage/v3/limits"
	"github.com/gophercloud/gophercloud/v2/openstack/blockstorage/v3/quotasets"
	"github.com/gophercloud/gophercloud/v2/openstack/blockstorage/v3/schedulerstats"
	"github.com/gophercloud/gophercloud/v2/openstack/blockstorage/v3/services"
	"github.com/gophercloud/gophercloud/v2/openstack/blockstorage/v3/snapshots"
	"github.com/gophercloud/gophercloud/v2/openstack/blockstorage/v3/volumes"
	"github.com/gophercloud/gophercloud/v2/openstack/blockstorage/v3/volumetypes"
	"github.com/gophercloud/gophercloud/v2/pagination"
	"github.com/stretchr/testify/require"

	"github.com/kintoun/kintoun/volume"
)

func gone(ctx context.Context, get func(ctx context.Context) error) error {
	return gophercloud.WaitFor(ctx, func(ctx context.Context) (bool, error) {
		err := get(ctx)
		if gophercloud.ResponseCodeIs(err, http.StatusNotFound) {
			return true, nil
		}
		return false, err
	})
}

func TestGophercloudVolumes(t *testing.T) {
	c := newCloud(t)
	ctx, client := t.Context(), c.client("red", "3.70")
	made, err := volumes.Create(ctx, client, volumes.CreateOpts{
		Size: 1, Name: " data ", Description: "of mine", Metadata: map[string]string{"a": "b"}, AvailabilityZone: "nova",
	}, volumes.SchedulerHintOpts{DifferentHost: []string{uuid.NewString()}}).Extract()
	require.NoError(t, err)
	require.Equal(t, "data", made.Name)
	c.await(t, made.ID, volume.Available)

	v, err := volumes.Get(ctx, client, made.ID).Extract()
	require.NoError(t, err)
	require.Equal(t, "available", v.Status)
	require.Equal(t, "of mine", v.Description)
	require.Equal(t, map[string]string{"a": "b"}, v.Metadata)
	require.Equal(t, redUser, v.UserID)
	require.Equal(t, redProject, v.TenantID)
	require.Equal(t, "__DEFAULT__", v.VolumeType)
	require.Equal(t, "false", v.Bootable)
	require.False(t, v.CreatedAt.IsZero())
	require.Empty(t, v.Host)

	name, description := "renamed", ""
	v, err = volumes.Update(ctx, client, v.ID, volumes.UpdateOpts{Name: &name, Description: &description, Metadata: map[string]string{"c": "d"}}).Extract()
	require.NoError(t, err)
	require.Equal(t, "renamed", v.Name)
	require.Equal(t, map[string]string{"c": "d"}, v.Metadata)

	require.NoError(t, volumes.ExtendSize(ctx, client, v.ID, volumes.ExtendSizeOpts{NewSize: 2}).ExtractErr())
	c.await(t, v.ID, volume.Available)
	require.NoError(t, volumes.SetBootable(ctx, client, v.ID, volumes.BootableOpts{Bootable: true}).ExtractErr())
	require.NoError(t, volumes.SetImageMetadata(ctx, client, v.ID, volumes.ImageMetadataOpts{Metadata: map[string]string{"label": "test"}}).ExtractErr())
	pages, err := volumes.List(client, volumes.ListOpts{Name: "renamed", Metadata: map[string]string{"c": "d"}}).AllPages(ctx)
	require.NoError(t, err)
	all, err := volumes.ExtractVolumes(pages)
	require.NoError(t, err)
	require.Len(t, all, 1)
	require.Equal(t, 2, all[0].Size)
	require.Equal(t, "true", all[0].Bootable)
	require.Equal(t, map[string]string{"label": "test"}, all[0].VolumeImageMetadata)

	clone, err := volumes.Create(ctx, client, volumes.CreateOpts{SourceVolID: v.ID}, nil).Extract()
	require.NoError(t, err)
	require.Equal(t, 2, clone.Size)
	c.await(t, clone.ID, volume.Available)
	fromImage, err := volumes.Create(ctx, client, volumes.CreateOpts{ImageID: imageUUID, Size: 1}, nil).Extract()
	require.NoError(t, err)
	c.await(t, fromImage.ID, volume.Available)
	fromImage, err = volumes.Get(ctx, client, fromImage.ID).Extract()
	require.NoError(t, err)
	require.Equal(t, "true", fromImage.Bootable)
	require.Equal(t, imageUUID, fromImage.VolumeImageMetadata["image_id"])

	// Page by page.
	seen := 0
	require.NoError(t, volumes.List(client, volumes.ListOpts{Limit: 1, Sort: "size:asc,created_at:asc"}).EachPage(ctx, func(_ context.Context, page pagination.Page) (bool, error) {
		one, err := volumes.ExtractVolumes(page)
		seen += len(one)
		return true, err
	}))
	require.Equal(t, 3, seen)

	require.NoError(t, volumes.Delete(ctx, client, v.ID, volumes.DeleteOpts{Cascade: true}).ExtractErr())
	require.NoError(t, gone(ctx, func(ctx context.Context) error { _, err := volumes.Get(ctx, client, v.ID).Extract(); return err }))
	admin := c.client("admin", "3.70")
	require.NoError(t, volumes.ResetStatus(ctx, admin, clone.ID, volumes.ResetStatusOpts{Status: "error"}).ExtractErr())
	require.NoError(t, volumes.ForceDelete(ctx, admin, clone.ID).ExtractErr())
	require.NoError(t, gone(ctx, func(ctx context.Context) error { _, err := volumes.Get(ctx, admin, clone.ID).Extract(); return err }))
}

func TestGophercloudSnapshots(t *testing.T) {
	c := newCloud(t)
	ctx, client := t.Context(), c.client("red", "3.70")
	id := c.make(t, "red", "")
	s, err := snapshots.Create(ctx, client, snapshots.CreateOpts{VolumeID: id, Name: "before", Description: "d", Metadata: map[string]string{"k": "v"}, Force: true}).Extract()
	require.NoError(t, err)
	require.NoError(t, snapshots.WaitForStatus(ctx, client, s.ID, "available"))
	newName := "after"
	s, err = snapshots.Update(ctx, client, s.ID, snapshots.UpdateOpts{Name: &newName}).Extract()
	require.NoError(t, err)
	require.Equal(t, "after", s.Name)
	metadata, err := snapshots.UpdateMetadata(ctx, client, s.ID, snapshots.UpdateMetadataOpts{Metadata: map[string]any{"key": "v1"}}).ExtractMetadata()
	require.NoError(t, err)
	require.Equal(t, map[string]any{"key": "v1"}, metadata)
	pages, err := snapshots.ListDetail(client, snapshots.ListOpts{VolumeID: id}).AllPages(ctx)
	require.NoError(t, err)
	all, err := snapshots.ExtractSnapshots(pages)
	require.NoError(t, err)
	require.Len(t, all, 1)
	require.Equal(t, "100%", all[0].Progress)
	require.Equal(t, redProject, all[0].ProjectID)
	require.Equal(t, redUser, all[0].UserID)

	v, err := volumes.Create(ctx, client, volumes.CreateOpts{SnapshotID: s.ID}, nil).Extract()
	require.NoError(t, err)
	require.Equal(t, s.ID, v.SnapshotID)
	c.await(t, v.ID, volume.Available)
	admin := c.client("admin", "3.70")
	require.NoError(t, snapshots.ResetStatus(ctx, admin, s.ID, snapshots.ResetStatusOpts{Status: "error"}).ExtractErr())
	require.NoError(t, snapshots.Delete(ctx, client, s.ID).ExtractErr())
	require.NoError(t, gone(ctx, func(ctx context.Context) error { _, err := snapshots.Get(ctx, client, s.ID).Extract(); return err }))
}

func TestGophercloudAttachments(t *testing.T) {
	c := newCloud(t)
	ctx, client := t.Context(), c.client("red", "3.70")
	id, server := c.make(t, "red", ""), uuid.NewString()
	at, err := attachments.Create(ctx, client, attachments.CreateOpts{VolumeUUID: id, InstanceUUID: server, Mode: "rw"}).Extract()
	require.NoError(t, err)
	require.Equal(t, "reserved", at.Status)
	require.Empty(t, at.ConnectionInfo)
	at, err = attachments.Update(ctx, client, at.ID, attachments.UpdateOpts{Connector: map[string]any{"host": "host1", "mountpoint": "/dev/vdb", "ip": "192.0.2.1"}}).Extract()
	require.NoError(t, err)
	require.Equal(t, "attaching", at.Status)
	require.Equal(t, "rw", at.ConnectionInfo["access_mode"])
	require.Equal(t, id, at.ConnectionInfo["volume_id"])
	require.Equal(t, at.ID, at.ConnectionInfo["attachment_id"])
	require.Equal(t, false, at.ConnectionInfo["encrypted"])
	require.Contains(t, []any{"local", "nbd"}, at.ConnectionInfo["driver_volume_type"])
	require.NoError(t, attachments.Complete(ctx, client, at.ID).ExtractErr())
	v, err := volumes.Get(ctx, client, id).Extract()
	require.NoError(t, err)
	require.Equal(t, "in-use", v.Status)
	require.Len(t, v.Attachments, 1)
	require.Equal(t, server, v.Attachments[0].ServerID)
	require.Equal(t, "/dev/vdb", v.Attachments[0].Device)
	pages, err := attachments.List(client, attachments.ListOpts{VolumeID: id}).AllPages(ctx)
	require.NoError(t, err)
	all, err := attachments.ExtractAttachments(pages)
	require.NoError(t, err)
	require.Len(t, all, 1)
	require.NoError(t, attachments.Delete(ctx, client, at.ID).ExtractErr())
	c.await(t, id, volume.Available)

	// The way before that.
	require.NoError(t, volumes.Reserve(ctx, client, id).ExtractErr())
	require.NoError(t, volumes.Unreserve(ctx, client, id).ExtractErr())
	require.NoError(t, volumes.Reserve(ctx, client, id).ExtractErr())
	info, err := volumes.InitializeConnection(ctx, client, id, volumes.InitializeConnectionOpts{Host: "host1", IP: "192.0.2.1"}).Extract()
	require.NoError(t, err)
	require.Contains(t, info, "data")
	require.NoError(t, volumes.Attach(ctx, client, id, volumes.AttachOpts{MountPoint: "/mnt", Mode: volumes.ReadWrite, InstanceUUID: server}).ExtractErr())
	c.await(t, id, volume.InUse)
	v, err = volumes.Get(ctx, client, id).Extract()
	require.NoError(t, err)
	require.NoError(t, volumes.BeginDetaching(ctx, client, id).ExtractErr())
	require.NoError(t, volumes.TerminateConnection(ctx, client, id, volumes.TerminateConnectionOpts{Host: "host1"}).ExtractErr())
	require.NoError(t, volumes.Detach(ctx, client, id, volumes.DetachOpts{AttachmentID: v.Attachments[0].AttachmentID}).ExtractErr())
	c.await(t, id, volume.Available)
}

func TestGophercloudTypes(t *testing.T) {
	c := newCloud(t)
	ctx, client, admin := t.Context(), c.client("red", "3.70"), c.client("admin", "3.70")
	hidden := false
	made, err := volumetypes.Create(ctx, admin, volumetypes.CreateOpts{Name: "fast", Description: "d", IsPublic: &hidden, ExtraSpecs: map[string]string{"volume_backend_name": "mem"}}).Extract()
	require.NoError(t, err)
	require.False(t, made.PublicAccess)
	_, err = volumetypes.Get(ctx, client, made.ID).Extract()
	require.True(t, gophercloud.ResponseCodeIs(err, http.StatusNotFound), err)
	require.NoError(t, volumetypes.AddAccess(ctx, admin, made.ID, volumetypes.AddAccessOpts{Project: redProject}).ExtractErr())
	seen, err := volumetypes.Get(ctx, client, made.ID).Extract()
	require.NoError(t, err)
	require.Empty(t, seen.ExtraSpecs)
	pages, err := volumetypes.ListAccesses(admin, made.ID).AllPages(ctx)
	require.NoError(t, err)
	access, err := volumetypes.ExtractAccesses(pages)
	require.NoError(t, err)
	require.Equal(t, redProject, access[0].ProjectID)
	require.NoError(t, volumetypes.RemoveAccess(ctx, admin, made.ID, volumetypes.RemoveAccessOpts{Project: redProject}).ExtractErr())

	_, err = volumetypes.CreateExtraSpecs(ctx, admin, made.ID, volumetypes.ExtraSpecsOpts{"multiattach": "<is> True"}).Extract()
	require.NoError(t, err)
	one, err := volumetypes.UpdateExtraSpec(ctx, admin, made.ID, volumetypes.ExtraSpecsOpts{"multiattach": "<is> False"}).Extract()
	require.NoError(t, err)
	require.Equal(t, map[string]string{"multiattach": "<is> False"}, one)
	one, err = volumetypes.GetExtraSpec(ctx, admin, made.ID, "multiattach").Extract()
	require.NoError(t, err)
	require.Equal(t, "<is> False", one["multiattach"])
	require.NoError(t, volumetypes.DeleteExtraSpec(ctx, admin, made.ID, "multiattach").ExtractErr())
	specs, err := volumetypes.ListExtraSpecs(ctx, admin, made.ID).Extract()
	require.NoError(t, err)
	require.Equal(t, map[string]string{"volume_backend_name": "mem"}, specs)
	name := "faster"
	made, err = volumetypes.Update(ctx, admin, made.ID, volumetypes.UpdateOpts{Name: &name}).Extract()
	require.NoError(t, err)
	require.Equal(t, "faster", made.Name)
	pages, err = volumetypes.List(admin, volumetypes.ListOpts{IsPublic: "None"}).AllPages(ctx)
	require.NoError(t, err)
	all, err := volumetypes.ExtractVolumeTypes(pages)
	require.NoError(t, err)
	require.Len(t, all, 2)
	pages, err = volumetypes.List(client, nil).AllPages(ctx)
	require.NoError(t, err)
	all, err = volumetypes.ExtractVolumeTypes(pages)
	require.NoError(t, err)
	require.Len(t, all, 1)
	require.NoError(t, volumetypes.Delete(ctx, admin, made.ID).ExtractErr())
}

func TestGophercloudOperators(t *testing.T) {
	c := newCloud(t)
	ctx, client, admin := t.Context(), c.client("red", "3.70"), c.client("admin", "3.70")
	c.make(t, "red", "")
	pages, err := services.List(admin, services.ListOpts{Binary: "cinder-volume"}).AllPages(ctx)
	require.NoError(t, err)
	running, err := services.ExtractServices(pages)
	require.NoError(t, err)
	require.Len(t, running, 1)
	require.Equal(t, "host1@mem", running[0].Host)
	require.Equal(t, "up", running[0].State)
	zones, err := availabilityzones.List(client).AllPages(ctx)
	require.NoError(t, err)
	az, err := availabilityzones.ExtractAvailabilityZones(zones)
	require.NoError(t, err)
	require.Equal(t, "nova", az[0].ZoneName)
	require.True(t, az[0].ZoneState.Available)
	pools, err := schedulerstats.List(admin, schedulerstats.ListOpts{Detail: true}).AllPages(ctx)
	require.NoError(t, err)
	found, err := schedulerstats.ExtractStoragePools(pools)
	require.NoError(t, err)
	require.Equal(t, "host1@mem#mem", found[0].Name)
	require.InDelta(t, 100, found[0].Capabilities.TotalCapacityGB, 1)

	q, err := quotasets.Get(ctx, client, redProject).Extract()
	require.NoError(t, err)
	require.Equal(t, 10, q.Volumes)
	five := 5
	q, err = quotasets.Update(ctx, admin, redProject, quotasets.UpdateOpts{Volumes: &five, Extra: map[string]any{"volumes___DEFAULT__": 4}}).Extract()
	require.NoError(t, err)
	require.Equal(t, 5, q.Volumes)
	used, err := quotasets.GetUsage(ctx, client, redProject).Extract()
	require.NoError(t, err)
	require.Equal(t, 1, used.Volumes.InUse)
	require.Equal(t, 1, used.Gigabytes.InUse)
	l, err := limits.Get(ctx, client).Extract()
	require.NoError(t, err)
	require.Equal(t, 5, l.Absolute.MaxTotalVolumes)
	require.Equal(t, 1, l.Absolute.TotalVolumesUsed)
	require.NoError(t, quotasets.Delete(ctx, admin, redProject).ExtractErr())
	q, err = quotasets.GetDefaults(ctx, client, redProject).Extract()
	require.NoError(t, err)
	require.Equal(t, 10, q.Volumes)
}
