package compute_test

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kintoun/kintoun/compute"
	"github.com/stretchr/testify/require"
)

// TestCreationThatWasCutShort dies after one volume was promised and one made.
func TestCreationThatWasCutShort(t *testing.T) {
	bubble(t, func(t *testing.T) {
		c := newVolumeCloud(t, nil)
		mine := c.volumes.Add("red", compute.Volume{})
		made := 0
		c.volumes.FailWith(func(call string) error {
			if call == "create" {
				if made++; made == 2 {
					panic(errors.New("killed"))
				}
			}
			return nil
		})
		blank := compute.BlockDevice{Source: compute.FromBlank, SizeGiB: 1, Boot: -1}
		require.PanicsWithError(t, "killed", func() {
			_, _ = c.CreateServers(t.Context(), red, complete(compute.ServerSpec{Devices: []compute.BlockDevice{root(), blank, {Source: compute.FromVolume, ID: mine, Boot: -1}, blank}}))
		})
		c.volumes.FailWith(nil)
		require.Len(t, c.volumes.All(), 2)
		require.Len(t, c.volumes.Attached(), 1)
		time.Sleep(6 * time.Minute)
		require.Equal(t, []string{mine}, c.volumes.All())
		require.Empty(t, c.volumes.Attached())
		list, err := c.Servers(t.Context(), red, compute.ServerFilter{})
		require.NoError(t, err)
		require.Equal(t, "ERROR", list[0].Status())
	})
}

// TestAttachmentsThatWereCutShort begins attachments whose process dies at each step: none stays promised, and no volume is
// attached twice.
func TestAttachmentsThatWereCutShort(t *testing.T) {
	bubble(t, func(t *testing.T) {
		c := newVolumeCloud(t, nil)
		v := c.await(t, c.create(t, compute.ServerSpec{}).ID, "ACTIVE")
		id := c.volumes.Add("red", compute.Volume{})
		killed := errors.New("killed")
		c.volumes.FailWith(func(call string) error {
			if call == "reserve" {
				panic(killed)
			}
			return nil
		})
		require.PanicsWithError(t, "killed", func() {
			_, _ = c.AttachVolume(t.Context(), red, v.ID, compute.VolumeAttach{VolumeID: id})
		})
		c.volumes.FailWith(nil)
		list, err := c.VolumeAttachments(t.Context(), red, v.ID)
		require.NoError(t, err)
		require.Empty(t, list)
		time.Sleep(11 * time.Minute) // the agent looks at everything now and then
		_, err = c.AttachVolume(t.Context(), red, v.ID, compute.VolumeAttach{VolumeID: id})
		require.NoError(t, err)
		c.awaitVolume(t, v.ID, id, compute.VolumeAttached)

		// The agent is killed after each step of a detachment and of an attachment.
		for _, step := range []string{"disconnect", "connect", "connected"} {
			c.volumes.FailWith(func(call string) error {
				if call == step {
					return killed
				}
				return nil
			})
			want := compute.VolumeState("")
			if step == "disconnect" {
				require.NoError(t, c.DetachVolume(t.Context(), red, v.ID, id))
			} else {
				_, err := c.AttachVolume(t.Context(), red, v.ID, compute.VolumeAttach{VolumeID: id})
				require.NoError(t, err)
				want = compute.VolumeAttached
			}
			synctest.Wait()
			c.stop()
			c.volumes.FailWith(nil)
			c.start(t, nil)
			c.awaitVolume(t, v.ID, id, want)
			require.Len(t, c.volumes.Attached(), len(c.disks(t, v.ID)))
			if want != "" {
				require.NoError(t, c.DetachVolume(t.Context(), red, v.ID, id))
				c.awaitVolume(t, v.ID, id, "")
			}
		}
		require.Empty(t, c.volumes.Attached())
	})
}
