package compute_test

import (
	"errors"
	"testing"

	"github.com/kintoun/kintoun/compute"
	"github.com/stretchr/testify/require"
)

func TestServersOfVolumesAreKeptAsImages(t *testing.T) {
	c := newVolumeCloud(t, nil)
	boots := c.volumes.Add("red", compute.Volume{SizeGiB: 3, Bootable: true, Image: compute.Image{ID: "i", KernelID: "k"}})
	v := c.await(t, c.create(t, compute.ServerSpec{Devices: []compute.BlockDevice{
		{Source: compute.FromVolume, ID: boots, DeleteOnTermination: true},
		{Source: compute.FromBlank, SizeGiB: 2, Boot: -1},
	}}).ID, "ACTIVE")
	local := c.await(t, c.create(t, compute.ServerSpec{Name: "local"}).ID, "ACTIVE")
	_, err := c.CreateImage(t.Context(), red, local.ID, "kept", nil)
	require.ErrorIs(t, err, compute.ErrUnsupported)
	_, err = c.CreateImage(t.Context(), blue, v.ID, "kept", nil)
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
