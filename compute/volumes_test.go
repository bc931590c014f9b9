package compute_test

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kintoun/kintoun/compute"
	"github.com/kintoun/kintoun/compute/driver"
	"github.com/kintoun/kintoun/compute/internal/computetest"
	"github.com/kintoun/kintoun/compute/memcompute"
	"github.com/kintoun/kintoun/inject"
	"github.com/stretchr/testify/require"
)

// volumeCloud is a cloud with volumes and one host.
type volumeCloud struct {
	*cloud
	volumes *computetest.Volumes
	host    *memcompute.Host
	stop    func()
}

func newVolumeCloud(t testing.TB, faults *memcompute.Options) *volumeCloud {
	t.Helper()
	v := &volumeCloud{volumes: computetest.NewVolumes(), host: memcompute.NewHost()}
	v.cloud = newCloud(t, &compute.Options{Volumes: v.volumes})
	v.start(t, faults)
	return v
}

func (c *volumeCloud) start(t testing.TB, faults *memcompute.Options) {
	t.Helper()
	c.stop = c.run(t, "host1", c.host, faults, &compute.AgentOptions{Resources: resources, Connector: c.volumes})
}

// awaitVolume waits until the server has the volume in that state; an empty state is without it.
func (c *volumeCloud) awaitVolume(t testing.TB, serverID, volumeID string, state compute.VolumeState) compute.AttachedVolume {
	t.Helper()
	var found compute.AttachedVolume
	_, err := c.Await(t.Context(), admin, serverID, func(v *compute.Server) bool {
		found = compute.AttachedVolume{}
		for _, at := range v.Volumes {
			if at.VolumeID == volumeID {
				found = at
			}
		}
		return found.State == state
	})
	require.NoError(t, err)
	return found
}

func (c *volumeCloud) disks(t testing.TB, serverID string) []driver.ObservedVolume {
	t.Helper()
	disks, err := memcompute.New(c.host, nil).Disks(t.Context(), serverID)
	require.NoError(t, err)
	return disks
}

// root is the disk mapping of a server that boots from its image.
func root() compute.BlockDevice {
	return compute.BlockDevice{Source: compute.FromImage, Local: true, ID: computetest.ImageID, Boot: 0}
}

func TestVolumesComeAndGoWhileAServerRuns(t *testing.T) {
	bubble(t, func(t *testing.T) {
		c := newVolumeCloud(t, nil)
		v := c.await(t, c.create(t, compute.ServerSpec{}).ID, "ACTIVE")
		first, second := c.volumes.Add("red", compute.Volume{SizeGiB: 1}), c.volumes.Add("red", compute.Volume{SizeGiB: 2})
		at, err := c.AttachVolume(t.Context(), red, v.ID, compute.VolumeAttach{VolumeID: first, Tag: "data"})
		require.NoError(t, err)
		require.Equal(t, "/dev/vdb", at.Device)
		require.Equal(t, compute.VolumeAttaching, at.State)
		other, err := c.AttachVolume(t.Context(), red, v.ID, compute.VolumeAttach{VolumeID: second})
		require.NoError(t, err)
		require.Equal(t, "/dev/vdc", other.Device)
		c.awaitVolume(t, v.ID, first, compute.VolumeAttached)
		c.awaitVolume(t, v.ID, second, compute.VolumeAttached)
		require.Len(t, c.disks(t, v.ID), 2)
		for _, a := range c.volumes.Attached() {
			require.Equal(t, "host1", a.Host)
			require.NotEmpty(t, a.Device)
		}
		list, err := c.VolumeAttachments(t.Context(), red, v.ID)
		require.NoError(t, err)
		require.Len(t, list, 2)

		// What is attached stays so over a stop, a start and a reboot.
		require.NoError(t, c.Stop(t.Context(), red, v.ID))
		c.await(t, v.ID, "SHUTOFF")
		require.NoError(t, c.Start(t.Context(), red, v.ID))
		c.await(t, v.ID, "ACTIVE")
		require.NoError(t, c.Reboot(t.Context(), red, v.ID, true))
		c.await(t, v.ID, "ACTIVE")
		require.Len(t, c.disks(t, v.ID), 2)
		require.Len(t, c.volumes.Attached(), 2)

		c.volumes.Grow(second, 5)
		require.NoError(t, c.VolumeExtended(t.Context(), v.ID, second, 5))
		require.Equal(t, 5, c.awaitVolume(t, v.ID, second, compute.VolumeAttached).SizeGiB)
		for _, disk := range c.disks(t, v.ID) {
			if disk.ID == second {
				require.EqualValues(t, 5<<30, disk.Bytes)
			}
		}

		require.NoError(t, c.DetachVolume(t.Context(), red, v.ID, first))
		c.awaitVolume(t, v.ID, first, "")
		require.Len(t, c.disks(t, v.ID), 1)
		require.Len(t, c.volumes.Attached(), 1)
		at, err = c.AttachVolume(t.Context(), red, v.ID, compute.VolumeAttach{VolumeID: first})
		require.NoError(t, err)
		require.Equal(t, "/dev/vdb", at.Device, "the name is free again")
		c.awaitVolume(t, v.ID, first, compute.VolumeAttached)

		require.NoError(t, c.UpdateVolumeAttachment(t.Context(), red, v.ID, second, true))
		require.NoError(t, c.Delete(t.Context(), red, v.ID))
		c.gone(t, v.ID)
		require.Empty(t, c.volumes.Attached())
		require.Equal(t, []string{first}, c.volumes.All())
		actions, err := c.Actions(t.Context(), red, v.ID, compute.ActionFilter{})
		require.NoError(t, err)
		var names []string
		for _, a := range actions {
			require.Equal(t, "Success", a.Event.Result, a.Name)
			names = append(names, a.Name)
		}
		require.Contains(t, names, "extend_volume")
	})
}

func TestVolumesOfAStoppedServer(t *testing.T) {
	bubble(t, func(t *testing.T) {
		c := newVolumeCloud(t, nil)
		v := c.await(t, c.create(t, compute.ServerSpec{}).ID, "ACTIVE")
		require.NoError(t, c.Stop(t.Context(), red, v.ID))
		c.await(t, v.ID, "SHUTOFF")
		kept, gone := c.volumes.Add("red", compute.Volume{}), c.volumes.Add("red", compute.Volume{})
		for _, id := range []string{kept, gone} {
			_, err := c.AttachVolume(t.Context(), red, v.ID, compute.VolumeAttach{VolumeID: id})
			require.NoError(t, err)
			c.awaitVolume(t, v.ID, id, compute.VolumeAttached)
		}
		require.Equal(t, driver.Stopped, stateOn(t, c.host, v.ID))
		require.NoError(t, c.DetachVolume(t.Context(), red, v.ID, gone))
		c.awaitVolume(t, v.ID, gone, "")
		require.NoError(t, c.Start(t.Context(), red, v.ID))
		c.await(t, v.ID, "ACTIVE")
		require.Len(t, c.disks(t, v.ID), 1)
	})
}

func TestVolumeRefusals(t *testing.T) {
	c := newVolumeCloud(t, nil)
	v := c.await(t, c.create(t, compute.ServerSpec{Name: "one"}).ID, "ACTIVE")
	other := c.await(t, c.create(t, compute.ServerSpec{Name: "two"}).ID, "ACTIVE")
	mine, theirs, shared := c.volumes.Add("red", compute.Volume{}), c.volumes.Add("blue", compute.Volume{}), c.volumes.Add("red", compute.Volume{Shareable: true})
	attach := func(server, volume string) error {
		_, err := c.AttachVolume(t.Context(), red, server, compute.VolumeAttach{VolumeID: volume})
		return err
	}
	require.NoError(t, attach(v.ID, mine))
	require.ErrorIs(t, attach(v.ID, theirs), compute.ErrNotFound)
	require.EqualError(t, attach(v.ID, mine), "Invalid volume: volume "+mine+" is already attached to instances: "+v.ID)
	require.ErrorIs(t, attach(other.ID, mine), compute.ErrInvalid)
	_, err := c.AttachVolume(t.Context(), red, v.ID, compute.VolumeAttach{VolumeID: shared, NoShared: true})
	require.ErrorIs(t, err, compute.ErrInvalid)
	require.NoError(t, attach(v.ID, shared))
	require.NoError(t, attach(other.ID, shared))
	c.awaitVolume(t, other.ID, shared, compute.VolumeAttached)
	c.awaitVolume(t, v.ID, shared, compute.VolumeAttached)
	list, err := c.VolumeAttachments(t.Context(), red, other.ID)
	require.NoError(t, err)
	require.Len(t, list, 1, "what was refused leaves nothing")

	require.ErrorIs(t, c.DetachVolume(t.Context(), red, other.ID, mine), compute.ErrNotFound)
	require.ErrorIs(t, c.DetachVolume(t.Context(), blue, v.ID, mine), compute.ErrNotFound)
	require.NoError(t, c.Lock(t.Context(), red, v.ID, nil))
	require.ErrorIs(t, c.DetachVolume(t.Context(), red, v.ID, mine), compute.ErrConflict)
	require.ErrorIs(t, attach(v.ID, c.volumes.Add("red", compute.Volume{})), compute.ErrConflict)
	_, err = c.VolumeAttachment(t.Context(), red, other.ID, mine)
	require.ErrorIs(t, err, compute.ErrNotFound)

	none := newCloud(t, nil)
	none.run(t, "host1", memcompute.NewHost(), nil, nil)
	lonely := none.await(t, none.create(t, compute.ServerSpec{}).ID, "ACTIVE")
	_, err = none.AttachVolume(t.Context(), red, lonely.ID, compute.VolumeAttach{VolumeID: mine})
	require.ErrorIs(t, err, compute.ErrUnsupported)
}

func TestServersOfManyDisks(t *testing.T) {
	bubble(t, func(t *testing.T) {
		c := newVolumeCloud(t, nil)
		c.volumes.Slow = true
		boots := c.volumes.Add("red", compute.Volume{SizeGiB: 3, Bootable: true, Image: compute.Image{ID: "i", KernelID: "k"}})
		v := c.create(t, compute.ServerSpec{Devices: []compute.BlockDevice{
			{Source: compute.FromBlank, SizeGiB: 2, Boot: -1, DeleteOnTermination: true},
			{Source: compute.FromVolume, ID: boots, Boot: 0},
		}})
		require.Equal(t, compute.BlockDeviceMapping, v.TaskState)
		synctest.Wait()
		blank := v.AttachedVolumes()[0]
		require.Equal(t, "/dev/vdb", blank.Device)
		require.Empty(t, stateOn(t, c.host, v.ID), "the agent waits for the volume that is made")
		c.volumes.Finish(blank.VolumeID, "available")
		v = c.await(t, v.ID, "ACTIVE")
		require.True(t, v.VolumeBacked())
		require.Empty(t, v.Image.ID)
		want, _ := c.host.Want(v.ID)
		require.Zero(t, want.Root)
		require.Equal(t, "/images/k", want.Kernel)
		require.Len(t, want.Volumes, 2)
		require.Equal(t, boots, want.Volumes[0].ID)
		require.True(t, want.Volumes[0].Boot)
		h, err := c.Host(t.Context(), "host1")
		require.NoError(t, err)
		require.Zero(t, h.Used.DiskGiB)
		require.EqualError(t, c.DetachVolume(t.Context(), red, v.ID, boots), "Cannot detach a root device volume")
		require.NoError(t, c.Delete(t.Context(), red, v.ID))
		c.gone(t, v.ID)
		require.Equal(t, []string{boots}, c.volumes.All())
		require.Empty(t, c.volumes.Attached())
		h, err = c.Host(t.Context(), "host1")
		require.NoError(t, err)
		require.Zero(t, h.Used)

		// A server that is deleted as its volume is being made.
		v = c.create(t, compute.ServerSpec{Devices: []compute.BlockDevice{{Source: compute.FromImage, ID: computetest.ImageID, SizeGiB: 1, DeleteOnTermination: true}}})
		synctest.Wait()
		require.NoError(t, c.Delete(t.Context(), red, v.ID))
		c.gone(t, v.ID)
		require.Equal(t, []string{boots}, c.volumes.All())

		// One whose volume comes to nothing.
		v = c.create(t, compute.ServerSpec{Devices: []compute.BlockDevice{{Source: compute.FromImage, ID: computetest.ImageID, SizeGiB: 1, DeleteOnTermination: true}}})
		c.volumes.Finish(v.Volumes[0].VolumeID, "error")
		v = c.await(t, v.ID, "ERROR")
		require.Contains(t, v.Fault.Message, "did not finish being created")
		require.NoError(t, c.Delete(t.Context(), red, v.ID))
		c.gone(t, v.ID)
		require.Equal(t, []string{boots}, c.volumes.All())
	})
}

func TestDisksAreChecked(t *testing.T) {
	c := newVolumeCloud(t, nil)
	blank := compute.BlockDevice{Source: compute.FromBlank, SizeGiB: 1, Boot: -1}
	fixed, boots := c.volumes.Add("red", compute.Volume{}), c.volumes.Add("red", compute.Volume{Bootable: true})
	busy := c.volumes.Add("red", compute.Volume{Status: "error"})
	snapshot := c.volumes.AddSnapshot(compute.Snapshot{SizeGiB: 4})
	volume := func(id string, boot int) compute.BlockDevice {
		return compute.BlockDevice{Source: compute.FromVolume, ID: id, Boot: boot}
	}
	for message, devices := range map[string][]compute.BlockDevice{
		"Boot sequence": {blank},
		"Boot sequence for the instance and image":        {root(), {Source: compute.FromBlank, SizeGiB: 1, Boot: 2}},
		"is not bootable":                                 {volume(fixed, 0)},
		"failed to get volume " + computetest.ImageID:     {volume(computetest.ImageID, 0)},
		"failed to get snapshot":                          {{Source: compute.FromSnapshot, ID: fixed}},
		"failed to get image":                             {{Source: compute.FromImage, ID: fixed, SizeGiB: 1}},
		"status must be 'available'":                      {root(), volume(busy, -1)},
		"volume " + fixed + " already attached":           {root(), volume(fixed, -1), volume(fixed, -1)},
		"need to have a non-zero size specified":          {{Source: compute.FromImage, ID: computetest.ImageID}},
		"Blank volumes (source: 'blank', dest: 'volume')": {root(), {Source: compute.FromBlank, Boot: -1}},
		"Mapping volume to local is not supported.":       {{Source: compute.FromVolume, ID: boots, Local: true}},
		"Swap drive requested is larger":                  {root(), {Source: compute.FromBlank, Local: true, Swap: true, SizeGiB: 1, Boot: -1}},
		"Ephemeral disks requested are larger":            {root(), {Source: compute.FromBlank, Local: true, SizeGiB: 1, Boot: -1}},
		"Invalid source_type":                             {{Source: "tape"}},
	} {
		_, err := c.CreateServers(t.Context(), red, compute.ServerSpec{Name: "x", FlavorID: "1", Devices: devices})
		require.ErrorIs(t, err, compute.ErrInvalid, message)
		require.ErrorContains(t, err, message)
	}
	_, err := c.CreateServers(t.Context(), red, compute.ServerSpec{Name: "x", FlavorID: "1", MaxCount: 2, Devices: []compute.BlockDevice{volume(boots, 0)}})
	require.EqualError(t, err, "Cannot attach one or more volumes to multiple instances")
	require.Len(t, c.volumes.All(), 3)
	list, err := c.CreateServers(t.Context(), red, compute.ServerSpec{Name: "x", FlavorID: "1", MaxCount: 2, MinCount: 2, Devices: []compute.BlockDevice{{Source: compute.FromSnapshot, ID: snapshot}}})
	require.NoError(t, err)
	for _, v := range list {
		c.await(t, v.ID, "ACTIVE")
		require.Equal(t, 4, v.Volumes[0].SizeGiB)
	}
	require.Len(t, c.volumes.All(), 5)
}

func TestCreateUndoesItsVolumes(t *testing.T) {
	c := newVolumeCloud(t, nil)
	mine := c.volumes.Add("red", compute.Volume{})
	made := 0
	c.volumes.FailWith(func(call string) error {
		if call == "create" {
			if made++; made == 2 {
				return compute.ErrQuota
			}
		}
		return nil
	})
	blank := compute.BlockDevice{Source: compute.FromBlank, SizeGiB: 1, Boot: -1}
	_, err := c.CreateServers(t.Context(), red, complete(compute.ServerSpec{Devices: []compute.BlockDevice{root(), blank, {Source: compute.FromVolume, ID: mine, Boot: -1}, blank}}))
	require.ErrorIs(t, err, compute.ErrQuota)
	require.Equal(t, []string{mine}, c.volumes.All())
	require.Empty(t, c.volumes.Attached())
	require.Empty(t, c.networks.Ports())
}

func TestVolumeThatCannotBeAttachedIsLetGo(t *testing.T) {
	bubble(t, func(t *testing.T) {
		c := newVolumeCloud(t, nil)
		v := c.await(t, c.create(t, compute.ServerSpec{}).ID, "ACTIVE")
		good, bad := c.volumes.Add("red", compute.Volume{}), c.volumes.Add("red", compute.Volume{})
		_, err := c.AttachVolume(t.Context(), red, v.ID, compute.VolumeAttach{VolumeID: good})
		require.NoError(t, err)
		c.awaitVolume(t, v.ID, good, compute.VolumeAttached)
		time.Sleep(time.Second)
		tried := 0
		c.volumes.FailWith(func(call string) error {
			if call == "connected" {
				tried++
				return errors.New("no")
			}
			return nil
		})
		_, err = c.AttachVolume(t.Context(), red, v.ID, compute.VolumeAttach{VolumeID: bad})
		require.NoError(t, err)
		c.awaitVolume(t, v.ID, bad, "")
		require.Equal(t, 8, tried)
		require.Len(t, c.volumes.Attached(), 1)
		require.Equal(t, "ACTIVE", c.await(t, v.ID, "ACTIVE").Status())
		actions, err := c.Actions(t.Context(), red, v.ID, compute.ActionFilter{})
		require.NoError(t, err)
		require.Equal(t, "attach_volume", actions[0].Name)
		require.Equal(t, "Error", actions[0].Event.Result)
	})
}

func TestGuestThatKeepsADisk(t *testing.T) {
	bubble(t, func(t *testing.T) {
		c := newVolumeCloud(t, nil)
		v := c.await(t, c.create(t, compute.ServerSpec{}).ID, "ACTIVE")
		id := c.volumes.Add("red", compute.Volume{})
		_, err := c.AttachVolume(t.Context(), red, v.ID, compute.VolumeAttach{VolumeID: id})
		require.NoError(t, err)
		c.awaitVolume(t, v.ID, id, compute.VolumeAttached)
		c.stop()
		faults := inject.New(1, inject.Fault{Step: "server apply", Err: errors.New("the guest does not let go of it")})
		c.start(t, &memcompute.Options{Faults: faults})
		require.NoError(t, c.DetachVolume(t.Context(), red, v.ID, id))
		require.ErrorIs(t, c.DetachVolume(t.Context(), red, v.ID, id), compute.ErrInvalid)
		c.awaitVolume(t, v.ID, id, compute.VolumeAttached)
		require.Len(t, faults.Strikes(), 8)
		require.Len(t, c.volumes.Attached(), 1)
		c.stop()
		c.start(t, nil)
		require.NoError(t, c.DetachVolume(t.Context(), red, v.ID, id))
		c.awaitVolume(t, v.ID, id, "")
		require.Empty(t, c.volumes.Attached())
	})
}
