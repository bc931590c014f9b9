package compute_test

import (
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kintoun/kintoun/compute"
	"github.com/kintoun/kintoun/compute/internal/computetest"
	"github.com/kintoun/kintoun/compute/memcompute"
	"github.com/kintoun/kintoun/inject"
	"github.com/stretchr/testify/require"
)

func TestServersOfVolumesAreKeptAsImages(t *testing.T) {
	c := newVolumeCloud(t, nil)
	boots := c.volumes.Add("red", compute.Volume{SizeGiB: 3, Bootable: true, Image: compute.Image{ID: "i", KernelID: "k"}})
	v := c.await(t, c.create(t, compute.ServerSpec{Devices: []compute.BlockDevice{
		{Source: compute.FromVolume, ID: boots, DeleteOnTermination: true},
		{Source: compute.FromBlank, SizeGiB: 2, Boot: -1},
	}}).ID, "ACTIVE")
	_, err := c.CreateImage(t.Context(), blue, v.ID, "kept", nil)
	require.ErrorIs(t, err, compute.ErrNotFound)

	taken := 0
	c.volumes.FailWith(func(call string) error {
		if call == "snapshot" {
			if taken++; taken == 2 {
				return errors.New("no room")
			}
		}
		return nil
	})
	_, err = c.CreateImage(t.Context(), red, v.ID, "kept", nil)
	require.ErrorContains(t, err, "no room")
	require.Zero(t, c.volumes.Snapshots(), "what was begun is undone")
	id, err := c.CreateImage(t.Context(), red, v.ID, "kept", map[string]string{"a": "b"})
	require.NoError(t, err)
	require.Equal(t, 2, c.volumes.Snapshots())

	list, err := c.CreateServers(t.Context(), red, compute.ServerSpec{Name: "again", FlavorID: "1", ImageID: id})
	require.NoError(t, err)
	again := c.await(t, list[0].ID, "ACTIVE")
	require.True(t, again.VolumeBacked())
	require.Len(t, again.Volumes, 2)
	require.Equal(t, "k", again.VolumeImage.KernelID)
	require.Equal(t, []int{3, 2}, []int{again.Volumes[0].SizeGiB, again.Volumes[1].SizeGiB})
	before := len(c.volumes.All())
	require.NoError(t, c.Delete(t.Context(), red, again.ID))
	c.gone(t, again.ID)
	require.Len(t, c.volumes.All(), before-1, "the root goes with the server, as the first one's does")

	// With the image as clients name it, and one more disk.
	list, err = c.CreateServers(t.Context(), red, compute.ServerSpec{Name: "third", FlavorID: "1", ImageID: id, Devices: []compute.BlockDevice{
		{Source: compute.FromImage, ID: id, Local: true}, {Source: compute.FromBlank, SizeGiB: 1, Boot: -1},
	}})
	require.NoError(t, err)
	require.Len(t, c.await(t, list[0].ID, "ACTIVE").Volumes, 3)
}

// imaging are the actions that made images of a server: how they ended, and why.
func (c *cloud) imaging(t *testing.T, serverID string) (ends []string) {
	t.Helper()
	list, err := c.Actions(t.Context(), admin, serverID, compute.ActionFilter{})
	require.NoError(t, err)
	for _, a := range list {
		if a.Name != "createImage" && a.Name != "createBackup" {
			continue
		}
		end := a.Event.Name + " " + a.Event.Result
		if a.Event.Details != nil {
			end += " " + *a.Event.Details
		}
		ends = append(ends, end)
	}
	return ends
}

func TestServersWithADiskOfTheirOwnAreKeptAsImages(t *testing.T) {
	c := newCloud(t, nil)
	c.images.Put(compute.Image{
		ID: computetest.ImageID, Status: "active", Format: "qcow2", MinRAMMiB: 64, KernelID: "k", RamdiskID: "r",
		Properties: map[string]string{"os_distro": "cirros", "img_signature": "x", "kernel_id": "k"},
	})
	c.run(t, "host1", memcompute.NewHost(), nil, nil)
	v := c.await(t, c.create(t, compute.ServerSpec{}).ID, "ACTIVE")
	_, err := c.CreateImage(t.Context(), blue, v.ID, "kept", nil)
	require.ErrorIs(t, err, compute.ErrNotFound)
	id, err := c.CreateImage(t.Context(), red, v.ID, "kept", map[string]string{"mine": "yes"})
	require.NoError(t, err)
	v = c.await(t, v.ID, "ACTIVE")
	image, err := c.images.Image(t.Context(), red, id)
	require.NoError(t, err)
	require.Equal(t, "active", image.Status)
	require.Equal(t, "qcow2", image.Format)
	require.Equal(t, 1, image.MinDiskGiB, "the flavor's disk")
	require.Equal(t, 64, image.MinRAMMiB)
	require.Equal(t, map[string]string{
		"instance_uuid": v.ID, "user_id": "ruby", "owner_id": "red", "image_type": "snapshot", "base_image_ref": computetest.ImageID,
		"kernel_id": "k", "ramdisk_id": "r", "os_distro": "cirros", "image_location": "snapshot", "image_state": "available", "mine": "yes",
	}, image.Properties)
	require.Equal(t, "QFI\xfb", string(c.images.Content(id)[:4]))
	require.Equal(t, []string{"compute_snapshot_instance Success"}, c.imaging(t, v.ID))

	again := c.await(t, c.create(t, compute.ServerSpec{ImageID: id}).ID, "ACTIVE")
	require.Equal(t, "k", again.Image.KernelID)
	require.NoError(t, c.Stop(t.Context(), red, v.ID))
	c.await(t, v.ID, "SHUTOFF")
	_, err = c.CreateImage(t.Context(), red, v.ID, "off", nil)
	require.NoError(t, err)
	c.await(t, v.ID, "SHUTOFF")

	c.images.Put(compute.Image{ID: "ami", Status: "active", Format: "ami", KernelID: "k"})
	bare := c.await(t, c.create(t, compute.ServerSpec{ImageID: "ami"}).ID, "ACTIVE")
	id, err = c.CreateImage(t.Context(), red, bare.ID, "bare", nil)
	require.NoError(t, err)
	c.await(t, bare.ID, "ACTIVE")
	image, err = c.images.Image(t.Context(), red, id)
	require.NoError(t, err)
	require.Equal(t, []string{"ami", "active", "k"}, []string{image.Format, image.Status, image.Properties["kernel_id"]})
	require.Zero(t, c.images.Content(id)[0], "a bare file system")
}

// TestWhileAnImageIsMade has the copy of a disk hang, and what may be done meanwhile end it.
func TestWhileAnImageIsMade(t *testing.T) {
	for name, test := range map[string]struct {
		do     func(t *testing.T, c *cloud, serverID, imageID string) error
		status string
		end    string
	}{
		"the image is deleted": {func(t *testing.T, c *cloud, _, imageID string) error {
			return c.images.DeleteImage(t.Context(), imageID)
		}, "ACTIVE", "Error image "},
		"the server is deleted": {func(t *testing.T, c *cloud, serverID, _ string) error { return c.Delete(t.Context(), red, serverID) }, "", "Error the server was deleted"},
		"an admin resets the server": {func(t *testing.T, c *cloud, serverID, _ string) error {
			return c.ResetState(t.Context(), admin, serverID, true)
		}, "ACTIVE", "Success"},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				c := newCloud(t, nil)
				faults := inject.New(1, inject.Fault{Step: "server capture", Hang: true})
				c.run(t, "host1", memcompute.NewHost(), &memcompute.Options{Faults: faults}, nil)
				v := c.await(t, c.create(t, compute.ServerSpec{}).ID, "ACTIVE")
				id, err := c.CreateImage(t.Context(), red, v.ID, "kept", nil)
				require.NoError(t, err)
				v, err = c.Await(t.Context(), red, v.ID, func(v *compute.Server) bool { return v.TaskState == compute.ImageSnapshot })
				require.NoError(t, err)
				require.Equal(t, "ACTIVE", v.Status())
				_, err = c.CreateImage(t.Context(), red, v.ID, "another", nil)
				require.ErrorIs(t, err, compute.ErrConflict)
				require.ErrorIs(t, c.Stop(t.Context(), red, v.ID), compute.ErrConflict)
				require.NoError(t, c.Lock(t.Context(), red, v.ID, nil))
				require.NoError(t, c.Unlock(t.Context(), red, v.ID))
				require.Equal(t, []string{"compute_snapshot_instance "}, c.imaging(t, v.ID), "another action's end does not end it")

				require.NoError(t, test.do(t, c, v.ID, id))
				if test.status == "" {
					c.gone(t, v.ID)
				} else {
					c.await(t, v.ID, test.status)
				}
				require.NoError(t, c.Settle(t.Context()))
				require.Empty(t, c.images.Made())
				ends := c.imaging(t, v.ID)
				require.Len(t, ends, 1)
				require.Contains(t, ends[0], test.end)
			})
		})
	}
}

func TestAnImageThatFailsLeavesNothing(t *testing.T) {
	bubble(t, func(t *testing.T) {
		c := newCloud(t, nil)
		tries := 0
		c.run(t, "host1", memcompute.NewHost(), nil, nil)
		v := c.await(t, c.create(t, compute.ServerSpec{}).ID, "ACTIVE")
		c.images.Fail = func(call string) error {
			if call == "create" {
				return fmt.Errorf("no more images: %w", compute.ErrQuota)
			}
			return nil
		}
		_, err := c.CreateImage(t.Context(), red, v.ID, "kept", nil)
		require.ErrorIs(t, err, compute.ErrQuota)
		c.await(t, v.ID, "ACTIVE")

		for _, failure := range []struct {
			err   error
			tries int
		}{{errors.New("the store is away"), 3}, {fmt.Errorf("too much: %w", compute.ErrQuota), 1}} {
			tries = 0
			c.images.Fail = func(call string) error {
				if call == "upload" {
					tries++
					return failure.err
				}
				return nil
			}
			_, err = c.CreateImage(t.Context(), red, v.ID, "kept", nil)
			require.NoError(t, err)
			c.await(t, v.ID, "ACTIVE")
			require.Equal(t, failure.tries, tries)
			require.Empty(t, c.images.Made())
			require.Contains(t, c.imaging(t, v.ID), "compute_snapshot_instance Error "+failure.err.Error())
		}
		c.images.Fail = nil
		_, err = c.CreateImage(t.Context(), red, v.ID, "kept", nil)
		require.NoError(t, err)
		c.await(t, v.ID, "ACTIVE")
		require.Len(t, c.images.Made(), 1)
	})
}

func TestAnImageIsMadeAnewAfterAKill(t *testing.T) {
	c := newCloud(t, nil)
	host := memcompute.NewHost()
	faults := inject.New(1, inject.Fault{Step: "server capture", Hang: true})
	kill := c.run(t, "host1", host, &memcompute.Options{Faults: faults}, nil)
	v := c.await(t, c.create(t, compute.ServerSpec{}).ID, "ACTIVE")
	_, err := c.CreateImage(t.Context(), red, v.ID, "kept", nil)
	require.NoError(t, err)
	_, err = c.Await(t.Context(), red, v.ID, func(v *compute.Server) bool { return v.TaskState == compute.ImageSnapshot })
	require.NoError(t, err)
	kill()
	require.Empty(t, c.images.Content(c.images.Made()[0]))
	c.run(t, "host1", host, nil, nil)
	c.await(t, v.ID, "ACTIVE")
	require.NotEmpty(t, c.images.Content(c.images.Made()[0]))
}

// TestAnImageOfAHostThatIsDownGoesWithItsServer deletes a server whose host cannot be asked.
func TestAnImageOfAHostThatIsDownGoesWithItsServer(t *testing.T) {
	bubble(t, func(t *testing.T) {
		c := newCloud(t, nil)
		faults := inject.New(1, inject.Fault{Step: "server capture", Hang: true})
		kill := c.run(t, "host1", memcompute.NewHost(), &memcompute.Options{Faults: faults}, nil)
		v := c.await(t, c.create(t, compute.ServerSpec{}).ID, "ACTIVE")
		_, err := c.CreateImage(t.Context(), red, v.ID, "kept", nil)
		require.NoError(t, err)
		synctest.Wait()
		kill()
		time.Sleep(2 * time.Minute) // the bubble's
		_, err = c.CreateImage(t.Context(), red, v.ID, "kept", nil)
		require.ErrorIs(t, err, compute.ErrConflict)
		require.NoError(t, c.Delete(t.Context(), red, v.ID))
		c.gone(t, v.ID)
		require.Empty(t, c.images.Made())
	})
}

func TestBackupsRotate(t *testing.T) {
	c := newCloud(t, nil)
	c.run(t, "host1", memcompute.NewHost(), nil, nil)
	v := c.await(t, c.create(t, compute.ServerSpec{}).ID, "ACTIVE")
	backUp := func(kind string, rotation int) string {
		t.Helper()
		id, err := c.CreateBackup(t.Context(), red, v.ID, compute.BackupSpec{Name: "backup", Type: kind, Rotation: rotation})
		require.NoError(t, err)
		c.await(t, v.ID, "ACTIVE")
		return id
	}
	first := backUp("daily", 2)
	weekly := backUp("weekly", 2)
	second, third := backUp("daily", 2), backUp("daily", 2)
	require.Equal(t, []string{weekly, second, third}, c.images.Made(), "without %s", first)
	image, err := c.images.Image(t.Context(), red, third)
	require.NoError(t, err)
	require.Equal(t, []string{"backup", "daily"}, []string{image.Properties["image_type"], image.Properties["backup_type"]})
	require.Contains(t, c.imaging(t, v.ID), "compute_backup_instance Success")
	backUp("daily", 0)
	require.Equal(t, []string{weekly}, c.images.Made())
	_, err = c.CreateBackup(t.Context(), red, v.ID, compute.BackupSpec{Rotation: -1})
	require.ErrorIs(t, err, compute.ErrInvalid)
}
