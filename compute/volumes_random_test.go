package compute_test

import (
	"errors"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/kintoun/kintoun/compute"
	"github.com/kintoun/kintoun/compute/memcompute"
	"github.com/kintoun/kintoun/inject"
	"github.com/stretchr/testify/require"
)

// TestVolumesStayRightWhateverHappens attaches, detaches, extends, stops, starts and deletes at random, while calls fail before or
// after they did what they were to, and agents are killed and started. In the end what servers have, what they are promised
// and what their records say is the same, and what nobody has is free.
func TestVolumesStayRightWhateverHappens(t *testing.T) {
	for seed := range uint64(12) {
		bubble(t, func(t *testing.T) {
			dice := rand.New(rand.NewPCG(seed, 1)) //nolint:gosec // to be repeated
			luck := rand.New(rand.NewPCG(seed, 2)) //nolint:gosec // to be repeated
			lost := errors.New("lost")
			faults := inject.New(seed, inject.Fault{Step: "server apply", Probability: 0.1, Err: lost})
			c := newVolumeCloud(t, &memcompute.Options{Faults: faults})
			c.volumes.FailWith(func(string) error {
				if luck.IntN(10) == 0 {
					return lost
				}
				return nil
			})
			var servers, volumes []string
			for range 5 {
				volumes = append(volumes, c.volumes.Add("red", compute.Volume{SizeGiB: 1}))
			}
			pick := func(list []string) string { return list[dice.IntN(len(list))] }
			for range 150 {
				if len(servers) < 2 {
					spec := compute.ServerSpec{Devices: []compute.BlockDevice{root(), {Source: compute.FromBlank, SizeGiB: 1, Boot: -1, DeleteOnTermination: true}}}
					list, err := c.CreateServers(t.Context(), red, complete(spec))
					if err == nil {
						servers = append(servers, list[0].ID)
					}
					continue
				}
				id, volume := pick(servers), pick(volumes)
				switch n := dice.IntN(20); {
				case n < 6:
					_, _ = c.AttachVolume(t.Context(), red, id, compute.VolumeAttach{VolumeID: volume})
				case n < 11:
					_ = c.DetachVolume(t.Context(), red, id, volume)
				case n < 12:
					_ = c.VolumeExtended(t.Context(), id, volume, 2)
				case n < 13:
					_ = c.Stop(t.Context(), red, id)
				case n < 15:
					_ = c.Start(t.Context(), red, id)
				case n < 16:
					_ = c.Reboot(t.Context(), red, id, true)
				case n < 17:
					c.stop()
					c.start(t, &memcompute.Options{Faults: faults})
				case n < 18:
					_ = c.Delete(t.Context(), red, id)
					servers = remove(servers, id)
				default:
					time.Sleep(time.Duration(dice.IntN(20)) * time.Second)
				}
			}
			c.volumes.FailWith(nil)
			c.stop()
			c.start(t, nil)
			time.Sleep(time.Hour) // everything that was cut short is looked at again
			c.requireRight(t)
			for _, v := range c.all(t) {
				require.NoError(t, c.Delete(t.Context(), red, v.ID))
				c.gone(t, v.ID)
			}
			require.Empty(t, c.volumes.Attached(), "seed %d", seed)
			require.ElementsMatch(t, volumes, c.volumes.All(), "seed %d", seed)
		})
	}
}

func remove(list []string, id string) (rest []string) {
	for _, one := range list {
		if one != id {
			rest = append(rest, one)
		}
	}
	return rest
}

func (c *volumeCloud) all(t testing.TB) []compute.Server {
	t.Helper()
	list, err := c.Servers(t.Context(), red, compute.ServerFilter{})
	require.NoError(t, err)
	return list
}

// requireRight compares what servers have with their records and with what they are promised.
func (c *volumeCloud) requireRight(t testing.TB) {
	t.Helper()
	promised := map[string]string{}
	for _, a := range c.volumes.Attached() {
		require.NotContains(t, promised, a.VolumeID, "attached twice")
		promised[a.VolumeID] = a.ServerID
	}
	for _, v := range c.all(t) {
		have := map[string]bool{}
		if v.Status() == "ACTIVE" {
			for _, d := range c.disks(t, v.ID) {
				have[d.ID] = true
			}
		}
		for _, at := range v.Volumes {
			if v.Status() == "ERROR" {
				delete(promised, at.VolumeID)
				continue
			}
			require.Equal(t, compute.VolumeAttached, at.State)
			require.Equal(t, v.ID, promised[at.VolumeID])
			delete(promised, at.VolumeID)
			if v.Status() == "ACTIVE" {
				require.True(t, have[at.VolumeID], "the server has not got it")
				delete(have, at.VolumeID)
			}
		}
		require.Empty(t, have, "the server has what it should not")
	}
	require.Empty(t, promised, "promised to nobody")
}
