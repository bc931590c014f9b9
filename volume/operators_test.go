package volume_test

import (
	"testing"

	"github.com/kintoun/kintoun/event"
	"github.com/kintoun/kintoun/volume"
	"github.com/kintoun/kintoun/volume/memvolume"
	"github.com/stretchr/testify/require"
)

func TestTypesChooseThePool(t *testing.T) {
	c := newCloud(t, nil)
	for _, name := range []string{"gold", "silver"} {
		c.run(t, volume.Backend{Host: "host1", Name: name}, memvolume.New(memvolume.NewPool(10*gib), nil), &volume.AgentOptions{
			Zone: "zone-" + name, Capabilities: map[string]string{"media": name + " plates"},
		})
	}
	create := func(zone string, specs map[string]string) string {
		kind, err := c.CreateType(t.Context(), admin, volume.TypeCreate{Name: t.Name(), Specs: specs})
		require.NoError(t, err)
		v, err := c.CreateVolume(t.Context(), red, volume.VolumeSpec{SizeGiB: 1, Type: kind.Name, Zone: zone})
		require.NoError(t, err)
		if v.Status != volume.Errored {
			c.await(t, v.ID, volume.Available)
		}
		require.NoError(t, c.DeleteVolume(t.Context(), red, v.ID, volume.DeleteOptions{}))
		c.gone(t, v.ID)
		require.NoError(t, c.DeleteType(t.Context(), admin, kind.ID))
		return v.Host
	}
	for _, at := range []struct {
		zone  string
		specs map[string]string
		host  string
	}{
		{"", map[string]string{"volume_backend_name": "gold"}, "host1@gold#gold"},
		{"", map[string]string{"capabilities:volume_backend_name": "silver", "other:volume_backend_name": "gold"}, "host1@silver#silver"},
		{"", map[string]string{"volume_backend_name": "copper"}, ""},
		{"", map[string]string{"no such thing": "x"}, ""},
		{"", map[string]string{"media": "<in> gold"}, "host1@gold#gold"},
		{"", map[string]string{"media": "<or> silver plates <or> copper plates"}, "host1@silver#silver"},
		{"", map[string]string{"total_capacity_gb": ">= 11"}, ""},
		{"zone-gold", map[string]string{"total_capacity_gb": ">= 10", "multiattach": "<is> True"}, "host1@gold#gold"},
		{"zone-gold", map[string]string{"volume_backend_name": "silver"}, ""},
		{"", map[string]string{"RESKEY:availability_zones": "zone-x, zone-silver"}, "host1@silver#silver"},
	} {
		require.Equal(t, at.host, create(at.zone, at.specs), "%v", at)
	}
	_, err := c.CreateVolume(t.Context(), red, volume.VolumeSpec{SizeGiB: 1, Zone: "nowhere"})
	require.EqualError(t, err, "Availability zone 'nowhere' is invalid.")
}

func TestPrivateTypes(t *testing.T) {
	c, _ := withPool(t)
	kind, err := c.CreateType(t.Context(), admin, volume.TypeCreate{Name: "secret", Private: true})
	require.NoError(t, err)
	_, err = c.CreateType(t.Context(), admin, volume.TypeCreate{Name: "secret"})
	require.ErrorIs(t, err, volume.ErrConflict)
	_, err = c.CreateType(t.Context(), red, volume.TypeCreate{Name: "mine"})
	require.ErrorIs(t, err, volume.ErrForbidden)
	_, err = c.CreateVolume(t.Context(), red, volume.VolumeSpec{SizeGiB: 1, Type: "secret"})
	require.ErrorIs(t, err, volume.ErrNotFound)
	require.NoError(t, c.AddTypeAccess(t.Context(), admin, kind.ID, "red"))
	require.ErrorIs(t, c.AddTypeAccess(t.Context(), admin, kind.ID, "red"), volume.ErrConflict)
	v := c.create(t, red, volume.VolumeSpec{Type: "secret"})
	require.Equal(t, "secret", v.TypeName)
	list, err := c.Types(t.Context(), blue, volume.TypeFilter{})
	require.NoError(t, err)
	require.Len(t, list, 1)
	require.ErrorContains(t, c.DeleteType(t.Context(), admin, kind.ID), "still in use")
	require.NoError(t, c.RemoveTypeAccess(t.Context(), admin, kind.ID, "red"))
	require.ErrorIs(t, c.RemoveTypeAccess(t.Context(), admin, kind.ID, "red"), volume.ErrNotFound)
	standard, err := c.DefaultType(t.Context(), red)
	require.NoError(t, err)
	require.ErrorIs(t, c.DeleteType(t.Context(), admin, standard.ID), volume.ErrInvalid)
	_, err = c.SetProjectDefaultType(t.Context(), admin, "red", "secret")
	require.NoError(t, err)
	mine, err := c.DefaultType(t.Context(), red)
	require.NoError(t, err)
	require.Equal(t, kind.ID, mine.ID)
}

func TestQuotasOfTypes(t *testing.T) {
	c, _ := withPool(t)
	_, err := c.CreateType(t.Context(), admin, volume.TypeCreate{Name: "gold_fast"})
	require.NoError(t, err)
	_, err = c.SetQuota(t.Context(), "red", map[string]int{"gigabytes_gold_fast": 2})
	require.NoError(t, err)
	c.create(t, red, volume.VolumeSpec{Type: "gold_fast", SizeGiB: 2})
	_, err = c.CreateVolume(t.Context(), red, volume.VolumeSpec{Type: "gold_fast", SizeGiB: 1})
	require.EqualError(t, err, "Requested volume or snapshot exceeds allowed gigabytes_gold_fast quota. Requested 1G, quota is 2G and 2G has been consumed.")
	c.create(t, red, volume.VolumeSpec{SizeGiB: 1})
	_, err = c.SetDefaultQuotas(t.Context(), map[string]int{"per_volume_gigabytes": 5})
	require.NoError(t, err)
	_, err = c.CreateVolume(t.Context(), blue, volume.VolumeSpec{SizeGiB: 6})
	require.ErrorIs(t, err, volume.ErrQuota)
}

func TestOperators(t *testing.T) {
	c, _ := withPool(t)
	services, err := c.Services(t.Context(), admin)
	require.NoError(t, err)
	require.Len(t, services, 2)
	require.Equal(t, volume.BinaryVolume, services[0].Binary)
	require.Equal(t, "host1@memory", services[0].Host)
	require.True(t, services[0].Up)
	_, err = c.Services(t.Context(), red)
	require.ErrorIs(t, err, volume.ErrForbidden)

	v := c.create(t, red, volume.VolumeSpec{})
	_, err = c.EnableService(t.Context(), admin, "host1@memory", "", false, "maintenance")
	require.NoError(t, err)
	refused, err := c.CreateVolume(t.Context(), red, volume.VolumeSpec{SizeGiB: 1})
	require.NoError(t, err)
	require.Equal(t, volume.Errored, refused.Status)
	zones, err := c.Zones(t.Context(), red)
	require.NoError(t, err)
	require.Equal(t, []volume.ZoneInfo{{Name: "nova"}}, zones)
	_, err = c.EnableService(t.Context(), admin, "host1@memory", "", true, "")
	require.NoError(t, err)

	require.NoError(t, c.FreezeHost(t.Context(), admin, "host1@memory"))
	require.ErrorContains(t, c.DeleteVolume(t.Context(), red, v.ID, volume.DeleteOptions{}), "frozen")
	require.NoError(t, c.ThawHost(t.Context(), admin, "host1@memory"))
	_, err = c.EnableService(t.Context(), admin, "nobody", "", true, "")
	require.ErrorIs(t, err, volume.ErrNotFound)

	pools, err := c.Pools(t.Context(), admin, volume.PoolFilter{Detail: true})
	require.NoError(t, err)
	require.Len(t, pools, 1)
	require.Equal(t, "memory", pools[0].Capabilities["volume_backend_name"])
	require.EqualValues(t, 100, pools[0].Capabilities["total_capacity_gb"])
	host, err := c.Host(t.Context(), admin, "host1@memory")
	require.NoError(t, err)
	require.Equal(t, []volume.HostUse{{ProjectID: "red", Volumes: 1, VolumeGiB: 1}}, host.Projects)
	can, err := c.Capabilities(t.Context(), admin, "host1@memory")
	require.NoError(t, err)
	require.True(t, can.Reverts)
}

func TestVolumesThatAreShared(t *testing.T) {
	c, _ := withPool(t)
	_, err := c.CreateType(t.Context(), admin, volume.TypeCreate{Name: "shared", Specs: map[string]string{"multiattach": "<is> True"}})
	require.NoError(t, err)
	v := c.create(t, red, volume.VolumeSpec{Type: "shared"})
	require.True(t, v.Multiattach)
	var ids []string
	for _, server := range []string{"one", "two"} {
		a, err := c.CreateAttachment(t.Context(), red, volume.AttachmentSpec{VolumeID: v.ID, ServerID: server, Connector: &volume.Connector{Host: "host-" + server}})
		require.NoError(t, err)
		require.NoError(t, c.CompleteAttachment(t.Context(), red, a.ID))
		ids = append(ids, a.ID)
	}
	require.Len(t, c.await(t, v.ID, volume.InUse).Attachments, 2)
	require.ErrorContains(t, c.DetachVolume(t.Context(), red, v.ID, ""), "More than one attachment")
	require.NoError(t, c.DeleteAttachment(t.Context(), red, ids[0]))
	v = c.await(t, v.ID, volume.InUse)
	require.Len(t, v.Attachments, 1)
	require.NoError(t, c.DetachVolume(t.Context(), red, v.ID, ids[1]))
	c.await(t, v.ID, volume.Available)
}

func TestReadOnly(t *testing.T) {
	c, _ := withPool(t)
	v := c.create(t, red, volume.VolumeSpec{})
	require.NoError(t, c.SetReadOnly(t.Context(), red, v.ID, true))
	err := c.AttachVolume(t.Context(), red, v.ID, volume.AttachOptions{ServerID: "vm"})
	require.EqualError(t, err, "Invalid attaching mode 'rw' for volume "+v.ID+".")
	a, err := c.CreateAttachment(t.Context(), red, volume.AttachmentSpec{VolumeID: v.ID, ServerID: "vm", Connector: &volume.Connector{Host: "host1"}})
	require.NoError(t, err)
	require.Equal(t, "ro", a.Mode)
	require.True(t, a.Target.ReadOnly)
	v, err = c.Volume(t.Context(), red, v.ID)
	require.NoError(t, err)
	require.Equal(t, "True", v.AdminMetadata["readonly"])
}

func TestLists(t *testing.T) {
	c, _ := withPool(t)
	for _, name := range []string{"a", "b", "c"} {
		c.create(t, red, volume.VolumeSpec{Name: name, Metadata: map[string]string{"of": name}})
	}
	c.create(t, blue, volume.VolumeSpec{Name: "b"})
	names := func(scope volume.Scope, o volume.ListOptions) (names []string) {
		list, err := c.Volumes(t.Context(), scope, o)
		require.NoError(t, err)
		for i := range list {
			names = append(names, list[i].Name)
		}
		return names
	}
	require.Equal(t, []string{"c", "b", "a"}, names(red, volume.ListOptions{}))
	require.Equal(t, []string{"b"}, names(red, volume.ListOptions{Metadata: map[string]string{"of": "b"}}))
	require.Equal(t, []string{"b", "b"}, names(admin, volume.ListOptions{AllProjects: true, Equal: map[string]string{"name": "b"}}))
	require.Equal(t, []string{"b"}, names(red, volume.ListOptions{AllProjects: true, Equal: map[string]string{"display_name": "b", "bootable": "false", "size": "1"}}))
	require.Equal(t, []string{"b"}, names(red, volume.ListOptions{Offset: 1, Limit: 1}))
	require.Equal(t, []string{"a"}, names(red, volume.ListOptions{Contains: map[string]string{"name": "a"}}))
	list, err := c.Volumes(t.Context(), red, volume.ListOptions{Sort: []volume.Sort{{Key: "name"}}})
	require.NoError(t, err)
	require.Equal(t, []string{"c"}, names(red, volume.ListOptions{Sort: []volume.Sort{{Key: "name"}}, Marker: list[1].ID}))
	_, err = c.Volumes(t.Context(), blue, volume.ListOptions{Marker: list[1].ID})
	require.ErrorIs(t, err, volume.ErrNotFound)
	_, err = c.Volumes(t.Context(), red, volume.ListOptions{Equal: map[string]string{"nonsense": "x"}})
	require.ErrorIs(t, err, volume.ErrInvalid)
	n, err := c.CountVolumes(t.Context(), red, volume.ListOptions{Limit: 1})
	require.NoError(t, err)
	require.Equal(t, 3, n)
	sum, err := c.VolumesSummary(t.Context(), red, volume.ListOptions{})
	require.NoError(t, err)
	require.Equal(t, 3, sum.SizeGiB)
	require.Equal(t, []string{"b"}, names(red, volume.ListOptions{Times: []volume.TimeBound{{Key: "created_at", Operator: "gt", Time: list[0].CreatedAt.AddDate(0, 0, -1)}}, Equal: map[string]string{"name": "b"}}))
}

func TestADownPoolIsSaidAtOnce(t *testing.T) {
	c := newCloud(t, func(o *volume.Options) { o.DownAfter = 1 })
	_, stop := c.run(t, backend, memvolume.New(memvolume.NewPool(10*gib), nil), nil)
	stop()
	v, err := c.CreateVolume(t.Context(), red, volume.VolumeSpec{SizeGiB: 1})
	require.NoError(t, err)
	require.Equal(t, volume.Errored, v.Status)
}

func TestWhatWouldNotFitDoesNotGrow(t *testing.T) {
	c := newCloud(t, func(o *volume.Options) { o.Quota = volume.Quota{"gigabytes": -1} })
	c.run(t, backend, memvolume.New(memvolume.NewPool(10*gib), nil), nil)
	v := c.create(t, red, volume.VolumeSpec{})
	require.NoError(t, c.ExtendVolume(t.Context(), red, v.ID, 500))
	v = c.await(t, v.ID, volume.Available)
	require.Equal(t, 1, v.SizeGiB)
	messages, err := c.Messages(t.Context(), red, volume.ListOptions{})
	require.NoError(t, err)
	require.Equal(t, "extend volume:Could not find any available weighted backend.", messages[0].Text)
}

func TestEvents(t *testing.T) {
	c, _ := withPool(t)
	last, err := c.LastEvent(t.Context())
	require.NoError(t, err)
	v := c.create(t, red, volume.VolumeSpec{})
	require.NoError(t, c.DeleteVolume(t.Context(), red, v.ID, volume.DeleteOptions{}))
	var told []string
	for e, err := range c.Watch(t.Context(), last) {
		require.NoError(t, err)
		if e.Type != "volume" {
			continue
		}
		require.Equal(t, v.ID, e.ID)
		require.Equal(t, "red", e.ProjectID)
		told = append(told, string(e.Action)+" "+e.Status)
		if e.Action == event.Deleted {
			break
		}
	}
	require.Equal(t, []string{"created creating", "updated available", "updated deleting", "deleted deleting"}, told)
}
