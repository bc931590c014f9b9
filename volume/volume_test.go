package volume_test

import (
	"strings"
	"sync"
	"testing"

	"github.com/kintoun/kintoun/volume"
	"github.com/kintoun/kintoun/volume/memvolume"
	"github.com/stretchr/testify/require"
)

func TestVolumesFromTheirMakingToTheirEnd(t *testing.T) {
	c, pool := withPool(t)
	v, err := c.CreateVolume(t.Context(), red, volume.VolumeSpec{Name: "data", SizeGiB: 2, Metadata: map[string]string{"a": "b"}})
	require.NoError(t, err)
	require.Equal(t, volume.Creating, v.Status)
	require.Equal(t, volume.DefaultTypeName, v.TypeName)
	v = c.await(t, v.ID, volume.Available)
	require.Equal(t, "host1@memory#memory", v.Host)
	require.Equal(t, "nova", v.Zone)
	require.NotNil(t, v.LaunchedAt)
	require.Zero(t, v.Task)

	_, err = c.Volume(t.Context(), blue, v.ID)
	require.ErrorIs(t, err, volume.ErrNotFound)
	require.EqualError(t, err, "Volume "+v.ID+" could not be found.")

	require.NoError(t, c.ExtendVolume(t.Context(), red, v.ID, 3))
	v, err = c.Await(t.Context(), red, v.ID, func(v *volume.Volume) bool { return v.Status != volume.Extending })
	require.NoError(t, err)
	require.Equal(t, 3, v.SizeGiB)
	require.ErrorIs(t, c.ExtendVolume(t.Context(), red, v.ID, 3), volume.ErrInvalid)

	write(t, pool, v.ID, "hello")
	p := c.snapshot(t, red, volume.SnapshotSpec{VolumeID: v.ID, Name: "s"})
	write(t, pool, v.ID, "world")
	fromSnapshot := c.create(t, red, volume.VolumeSpec{SnapshotID: p.ID, SizeGiB: 4})
	require.Equal(t, "hello", read(t, pool, fromSnapshot.ID, 5))
	clone := c.create(t, red, volume.VolumeSpec{SourceVolumeID: v.ID})
	require.Equal(t, "world", read(t, pool, clone.ID, 5))
	require.Equal(t, 3, clone.SizeGiB)

	require.NoError(t, c.RevertToSnapshot(t.Context(), red, v.ID, p.ID))
	c.await(t, v.ID, volume.Available)
	require.Equal(t, "hello", read(t, pool, v.ID, 5))

	err = c.DeleteVolume(t.Context(), red, v.ID, volume.DeleteOptions{})
	require.ErrorIs(t, err, volume.ErrInvalid)
	require.ErrorContains(t, err, "Invalid volume: Volume status must be available or error or error_restoring or error_extending or error_managing and must not be migrating, attached, belong to a group, have snapshots")
	require.NoError(t, c.DeleteVolume(t.Context(), red, v.ID, volume.DeleteOptions{Cascade: true}))
	c.gone(t, v.ID)
	_, err = c.Snapshot(t.Context(), red, p.ID)
	require.ErrorIs(t, err, volume.ErrNotFound)
	for _, id := range []string{fromSnapshot.ID, clone.ID} {
		require.NoError(t, c.DeleteVolume(t.Context(), red, id, volume.DeleteOptions{}))
		c.gone(t, id)
	}
	left, err := pool.List(t.Context())
	require.NoError(t, err)
	require.Empty(t, left)
}

func TestVolumesFromImages(t *testing.T) {
	c, pool := withPool(t)
	content := strings.Repeat("image", 1<<19)
	c.images.add("cirros", content)
	v := c.create(t, red, volume.VolumeSpec{ImageID: "cirros", SizeGiB: 1})
	require.True(t, v.Bootable)
	require.Equal(t, "cirros", v.ImageMetadata["image_id"])
	require.Equal(t, "virtio", v.ImageMetadata["hw_disk_bus"])
	require.Equal(t, 100, v.Progress)
	require.Equal(t, content, read(t, pool, v.ID, len(content)))

	c.images.add("debian", "another")
	require.ErrorIs(t, c.ReimageVolume(t.Context(), blue, v.ID, "debian", false), volume.ErrNotFound)
	require.NoError(t, c.ReimageVolume(t.Context(), red, v.ID, "debian", false))
	v = c.await(t, v.ID, volume.Available)
	require.Equal(t, "debian", v.ImageMetadata["image_id"])
	require.Equal(t, "another"+strings.Repeat("\x00", 1<<19), read(t, pool, v.ID, 7+(1<<19)))

	_, err := c.CreateVolume(t.Context(), red, volume.VolumeSpec{ImageID: "none", SizeGiB: 1})
	require.ErrorIs(t, err, volume.ErrInvalid)
	c.images.status = "queued"
	_, err = c.CreateVolume(t.Context(), red, volume.VolumeSpec{ImageID: "cirros", SizeGiB: 1})
	require.ErrorContains(t, err, "Image cirros is not active.")
}

func TestOneOfTwoAttachmentsWins(t *testing.T) {
	c, _ := withPool(t)
	v := c.create(t, red, volume.VolumeSpec{})
	const many = 8
	results := make([]error, many)
	var wg sync.WaitGroup
	for i := range many {
		wg.Go(func() {
			_, results[i] = c.CreateAttachment(t.Context(), red, volume.AttachmentSpec{VolumeID: v.ID, ServerID: string(rune('a' + i))})
		})
	}
	wg.Wait()
	won := 0
	for _, err := range results {
		if err == nil {
			won++
			continue
		}
		require.ErrorIs(t, err, volume.ErrInvalid)
		require.ErrorContains(t, err, "status must be available or downloading to reserve")
	}
	require.Equal(t, 1, won)
	require.Equal(t, volume.Reserved, c.await(t, v.ID, volume.Reserved).Status)
}

func TestAttachments(t *testing.T) {
	c, _ := withPool(t)
	v := c.create(t, red, volume.VolumeSpec{})
	a, err := c.CreateAttachment(t.Context(), red, volume.AttachmentSpec{VolumeID: v.ID, ServerID: "vm"})
	require.NoError(t, err)
	require.Equal(t, volume.AttachmentReserved, a.Status)
	a, err = c.UpdateAttachment(t.Context(), red, a.ID, volume.Connector{Host: "host1", Mountpoint: "/dev/vdb"})
	require.NoError(t, err)
	require.Equal(t, volume.AttachmentAttaching, a.Status)
	require.NotNil(t, a.Target)
	require.NoError(t, c.CompleteAttachment(t.Context(), red, a.ID))
	v = c.await(t, v.ID, volume.InUse)
	require.Equal(t, volume.Attached, v.AttachStatus)
	require.Len(t, v.Attachments, 1)
	require.Equal(t, "/dev/vdb", v.Attachments[0].Device)
	require.ErrorIs(t, c.DeleteVolume(t.Context(), red, v.ID, volume.DeleteOptions{}), volume.ErrInvalid)

	require.NoError(t, c.ExtendVolume(t.Context(), red, v.ID, 5))
	v, err = c.Await(t.Context(), red, v.ID, func(v *volume.Volume) bool { return v.Status != volume.Extending })
	require.NoError(t, err)
	require.Equal(t, volume.InUse, v.Status)
	require.Equal(t, []int{5}, c.servers.told)
	require.EqualValues(t, 5*gib, v.Attachments[0].Target.Bytes)

	require.NoError(t, c.DeleteAttachment(t.Context(), red, a.ID))
	v = c.await(t, v.ID, volume.Available)
	require.Equal(t, volume.Detached, v.AttachStatus)
	require.Empty(t, v.Attachments)
}

func TestTheOldWayToAttach(t *testing.T) {
	c, _ := withPool(t)
	v := c.create(t, red, volume.VolumeSpec{})
	require.NoError(t, c.ReserveVolume(t.Context(), red, v.ID))
	require.ErrorContains(t, c.ReserveVolume(t.Context(), red, v.ID), "Volume status must be available to reserve, but the status is attaching.")
	a, err := c.InitializeConnection(t.Context(), red, v.ID, volume.Connector{Host: "host2"})
	require.NoError(t, err)
	require.NotNil(t, a.Target)
	require.NoError(t, c.AttachVolume(t.Context(), red, v.ID, volume.AttachOptions{ServerID: "vm", Device: "/dev/vdb"}))
	v = c.await(t, v.ID, volume.InUse)
	require.Len(t, v.Attachments, 1)
	require.NoError(t, c.BeginDetaching(t.Context(), red, v.ID))
	require.NoError(t, c.RollDetaching(t.Context(), red, v.ID))
	require.NoError(t, c.BeginDetaching(t.Context(), red, v.ID))
	require.NoError(t, c.TerminateConnection(t.Context(), red, v.ID, volume.Connector{Host: "host2"}))
	require.NoError(t, c.DetachVolume(t.Context(), red, v.ID, ""))
	c.await(t, v.ID, volume.Available)
	require.NoError(t, c.AttachVolume(t.Context(), red, v.ID, volume.AttachOptions{ServerID: "vm2", Device: "/dev/vdb"}))
	require.ErrorContains(t, c.AttachVolume(t.Context(), red, v.ID, volume.AttachOptions{ServerID: "vm3"}), "already attached")
	require.NoError(t, c.ForceDetach(t.Context(), admin, v.ID, "", nil))
	c.await(t, v.ID, volume.Available)
}

func TestWhereNoPoolFits(t *testing.T) {
	c := newCloud(t, nil)
	v, err := c.CreateVolume(t.Context(), red, volume.VolumeSpec{SizeGiB: 1})
	require.NoError(t, err)
	require.Equal(t, volume.Errored, v.Status)
	messages, err := c.Messages(t.Context(), red, volume.ListOptions{})
	require.NoError(t, err)
	require.Len(t, messages, 1)
	require.Equal(t, "schedule allocate volume:Could not find any available weighted backend.", messages[0].Text)
	require.Equal(t, "VOLUME_VOLUME_001_003", messages[0].EventID)
	require.Equal(t, "req-1", messages[0].RequestID)
	require.NoError(t, c.DeleteVolume(t.Context(), red, v.ID, volume.DeleteOptions{}))
	c.gone(t, v.ID)
}

func TestAFullPoolIsSaid(t *testing.T) {
	c := newCloud(t, nil)
	full := memvolume.New(memvolume.NewPool(1<<20), nil)
	c.run(t, backend, full, &volume.AgentOptions{Oversubscription: 1e6})
	c.images.add("big", strings.Repeat("x", 4<<20))
	v, err := c.CreateVolume(t.Context(), red, volume.VolumeSpec{ImageID: "big", SizeGiB: 1})
	require.NoError(t, err)
	c.await(t, v.ID, volume.Errored)
	messages, err := c.Messages(t.Context(), red, volume.ListOptions{Equal: map[string]string{"resource_uuid": v.ID}})
	require.NoError(t, err)
	require.Len(t, messages, 1)
	require.Equal(t, "copy image to volume:Image used for creating volume exceeds available space.", messages[0].Text)
	left, err := full.List(t.Context())
	require.NoError(t, err)
	require.Empty(t, left)
}

func TestQuotas(t *testing.T) {
	c, _ := withPool(t)
	_, err := c.SetQuota(t.Context(), "red", map[string]int{"volumes": 1, "gigabytes": 3})
	require.NoError(t, err)
	v := c.create(t, red, volume.VolumeSpec{SizeGiB: 2})
	_, err = c.CreateVolume(t.Context(), red, volume.VolumeSpec{SizeGiB: 1})
	require.ErrorIs(t, err, volume.ErrQuota)
	require.EqualError(t, err, "VolumeLimitExceeded: Maximum number of volumes allowed (1) exceeded for quota 'volumes'.")
	_, err = c.CreateSnapshot(t.Context(), red, volume.SnapshotSpec{VolumeID: v.ID})
	require.EqualError(t, err, "Requested volume or snapshot exceeds allowed gigabytes quota. Requested 2G, quota is 3G and 2G has been consumed.")
	require.ErrorIs(t, c.ExtendVolume(t.Context(), red, v.ID, 4), volume.ErrQuota)
	usage, err := c.QuotaUsage(t.Context(), "red")
	require.NoError(t, err)
	require.Equal(t, volume.QuotaUse{Limit: 3, InUse: 2}, usage["gigabytes"])
	require.Equal(t, volume.QuotaUse{Limit: -1, InUse: 1}, usage["volumes___DEFAULT__"])
	_, err = c.SetQuota(t.Context(), "red", map[string]int{"nonsense": 1})
	require.ErrorIs(t, err, volume.ErrInvalid)
	require.NoError(t, c.DeleteQuota(t.Context(), "red"))
	require.NoError(t, c.DeleteQuota(t.Context(), "red"), "a second time is no error")
}
