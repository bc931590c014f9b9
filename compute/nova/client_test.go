package nova_test

import (
	"context"
	"net/http"
	"testing"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/gophercloud/gophercloud/v2/openstack/compute/v2/aggregates"
	"github.com/gophercloud/gophercloud/v2/openstack/compute/v2/attachinterfaces"
	"github.com/gophercloud/gophercloud/v2/openstack/compute/v2/availabilityzones"
	"github.com/gophercloud/gophercloud/v2/openstack/compute/v2/flavors"
	"github.com/gophercloud/gophercloud/v2/openstack/compute/v2/hypervisors"
	"github.com/gophercloud/gophercloud/v2/openstack/compute/v2/instanceactions"
	"github.com/gophercloud/gophercloud/v2/openstack/compute/v2/keypairs"
	"github.com/gophercloud/gophercloud/v2/openstack/compute/v2/limits"
	"github.com/gophercloud/gophercloud/v2/openstack/compute/v2/quotasets"
	"github.com/gophercloud/gophercloud/v2/openstack/compute/v2/servergroups"
	"github.com/gophercloud/gophercloud/v2/openstack/compute/v2/servers"
	"github.com/gophercloud/gophercloud/v2/openstack/compute/v2/services"
	"github.com/gophercloud/gophercloud/v2/openstack/compute/v2/tags"
	"github.com/gophercloud/gophercloud/v2/openstack/compute/v2/usage"
	"github.com/gophercloud/gophercloud/v2/pagination"
	"github.com/kintoun/kintoun/compute/internal/computetest"
	"github.com/stretchr/testify/require"
)

const publicKey = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBoLfZg1in6VCx4kvpJGFl1gsqSYXQKbF7lje3+bm3tT me"

func TestGophercloudServers(t *testing.T) {
	c := newCloud(t)
	ctx, client := t.Context(), c.client("red", "2.96")
	_, err := keypairs.Create(ctx, client, keypairs.CreateOpts{Name: "key@home", PublicKey: publicKey, Type: "ssh"}).Extract()
	require.NoError(t, err)
	created, err := servers.Create(ctx, client, keypairs.CreateOptsExt{
		CreateOptsBuilder: servers.CreateOpts{
			Name: "vm1", ImageRef: computetest.ImageID, FlavorRef: "1", Networks: []servers.Network{{UUID: c.network}},
			UserData: []byte("#!/bin/sh"), Metadata: map[string]string{"a": "b"}, Tags: []string{"blue"}, Hostname: "vm1.example.org",
			SecurityGroups: []string{"web"}, AvailabilityZone: "nova",
		}, KeyName: "key@home",
	}, nil).Extract()
	require.NoError(t, err)
	require.NotEmpty(t, created.AdminPass)
	require.NoError(t, servers.WaitForStatus(ctx, client, created.ID, "ACTIVE"))
	s, err := servers.Get(ctx, client, created.ID).Extract()
	require.NoError(t, err)
	require.Equal(t, "vm1.example.org", *s.Hostname)
	require.Equal(t, []string{"blue"}, *s.Tags)
	require.Equal(t, "m1.tiny", s.Flavor["original_name"])
	require.Equal(t, computetest.ImageID, s.Image["id"])
	require.Equal(t, "key@home", s.KeyName)
	require.Equal(t, []map[string]any{{"name": "web"}}, s.SecurityGroups)
	require.Contains(t, s.Addresses, "private")
	require.False(t, s.LaunchedAt.IsZero())

	pages, err := servers.List(client, servers.ListOpts{Name: "^vm"}).AllPages(ctx)
	require.NoError(t, err)
	list, err := servers.ExtractServers(pages)
	require.NoError(t, err)
	require.Len(t, list, 1)
	addresses, err := servers.ListAddresses(client, s.ID).AllPages(ctx)
	require.NoError(t, err)
	networks, err := servers.ExtractAddresses(addresses)
	require.NoError(t, err)
	require.Len(t, networks["private"], 1)

	_, err = servers.Update(ctx, client, s.ID, servers.UpdateOpts{Name: "renamed"}).Extract()
	require.NoError(t, err)
	require.NoError(t, tags.Add(ctx, client, s.ID, "green").ExtractErr())
	all, err := tags.List(ctx, client, s.ID).Extract()
	require.NoError(t, err)
	require.Equal(t, []string{"blue", "green"}, all)
	metadata, err := servers.UpdateMetadata(ctx, client, s.ID, servers.MetadataOpts{"c": "d"}).Extract()
	require.NoError(t, err)
	require.Equal(t, map[string]string{"a": "b", "c": "d"}, metadata)
	output, err := servers.ShowConsoleOutput(ctx, client, s.ID, servers.ShowConsoleOutputOpts{Length: 10}).Extract()
	require.NoError(t, err)
	require.Contains(t, output, "login")
	interfaces, err := attachinterfaces.List(client, s.ID).AllPages(ctx)
	require.NoError(t, err)
	attached, err := attachinterfaces.ExtractInterfaces(interfaces)
	require.NoError(t, err)
	require.Equal(t, c.network, attached[0].NetID)

	require.NoError(t, servers.Stop(ctx, client, s.ID).ExtractErr())
	c.await(t, s.ID, "SHUTOFF")
	err = servers.Stop(ctx, client, s.ID).ExtractErr()
	require.True(t, gophercloud.ResponseCodeIs(err, http.StatusConflict), err)
	require.NoError(t, servers.Start(ctx, client, s.ID).ExtractErr())
	c.await(t, s.ID, "ACTIVE")
	require.NoError(t, servers.Reboot(ctx, client, s.ID, servers.RebootOpts{Type: servers.HardReboot}).ExtractErr())
	c.await(t, s.ID, "ACTIVE")
	require.NoError(t, servers.Lock(ctx, client, s.ID).ExtractErr())
	require.NoError(t, servers.Unlock(ctx, client, s.ID).ExtractErr())

	actions, err := instanceactions.List(client, s.ID, nil).AllPages(ctx)
	require.NoError(t, err)
	done, err := instanceactions.ExtractInstanceActions(actions)
	require.NoError(t, err)
	require.Equal(t, "unlock", done[0].Action)
	require.Equal(t, "create", done[len(done)-1].Action)
	detail, err := instanceactions.Get(ctx, client, s.ID, done[0].RequestID).Extract()
	require.NoError(t, err)
	require.Equal(t, "Success", (*detail.Events)[0].Result)

	require.NoError(t, servers.Delete(ctx, client, s.ID).ExtractErr())
	require.NoError(t, gone(ctx, client, s.ID))
}

func TestGophercloudTheRest(t *testing.T) {
	c := newCloud(t)
	ctx, client, admin := t.Context(), c.client("red", "2.96"), c.client("admin", "2.87")
	pages, err := flavors.ListDetail(client, nil).AllPages(ctx)
	require.NoError(t, err)
	list, err := flavors.ExtractFlavors(pages)
	require.NoError(t, err)
	require.Len(t, list, 5)
	require.Equal(t, 128, list[0].RAM)
	disk := 1
	f, err := flavors.Create(ctx, admin, flavors.CreateOpts{Name: "new", ID: "7", RAM: 64, VCPUs: 1, Disk: &disk, Description: "x"}).Extract()
	require.NoError(t, err)
	require.Equal(t, "x", f.Description)
	_, err = flavors.CreateExtraSpecs(ctx, admin, "7", flavors.ExtraSpecsOpts{"hw:cpu_policy": "shared"}).Extract()
	require.NoError(t, err)
	require.NoError(t, flavors.Delete(ctx, admin, "7").ExtractErr())

	zones, err := availabilityzones.List(client).AllPages(ctx)
	require.NoError(t, err)
	extracted, err := availabilityzones.ExtractAvailabilityZones(zones)
	require.NoError(t, err)
	require.Equal(t, "nova", extracted[0].ZoneName)
	_, err = availabilityzones.ListDetail(admin).AllPages(ctx)
	require.NoError(t, err)

	c.boot(t, "vm1")
	hosts, err := hypervisors.List(admin, nil).AllPages(ctx)
	require.NoError(t, err)
	found, err := hypervisors.ExtractHypervisors(hosts)
	require.NoError(t, err)
	require.Equal(t, "host1", found[0].HypervisorHostname)
	require.Equal(t, 128, found[0].MemoryMBUsed)
	statistics, err := hypervisors.GetStatistics(ctx, admin).Extract()
	require.NoError(t, err)
	require.Equal(t, 1, statistics.RunningVMs)
	running, err := services.List(admin, nil).AllPages(ctx)
	require.NoError(t, err)
	up, err := services.ExtractServices(running)
	require.NoError(t, err)
	require.Equal(t, "up", up[0].State)
	_, err = services.Update(ctx, admin, up[0].ID, services.UpdateOpts{Status: services.ServiceDisabled, DisabledReason: "why"}).Extract()
	require.NoError(t, err)

	q, err := quotasets.Get(ctx, client, redProject).Extract()
	require.NoError(t, err)
	require.Equal(t, 20, q.Cores)
	cores := 5
	q, err = quotasets.Update(ctx, admin, redProject, quotasets.UpdateOpts{Cores: &cores}).Extract()
	require.NoError(t, err)
	require.Equal(t, 5, q.Cores)
	detail, err := quotasets.GetDetail(ctx, client, redProject).Extract()
	require.NoError(t, err)
	require.Equal(t, 1, detail.Instances.InUse)
	l, err := limits.Get(ctx, client, nil).Extract()
	require.NoError(t, err)
	require.Equal(t, 128, l.Absolute.TotalRAMUsed)
	require.NoError(t, usage.SingleTenant(client, redProject, nil).EachPage(ctx, func(_ context.Context, page pagination.Page) (bool, error) {
		used, err := usage.ExtractSingleTenant(page)
		require.NoError(t, err)
		require.Equal(t, "active", used.ServerUsages[0].State)
		return false, nil
	}))

	g, err := servergroups.Create(ctx, client, servergroups.CreateOpts{Name: "g", Policy: "anti-affinity", Rules: &servergroups.Rules{MaxServerPerHost: 3}}).Extract()
	require.NoError(t, err)
	require.Equal(t, 3, g.Rules.MaxServerPerHost)
	require.NoError(t, servergroups.Delete(ctx, client, g.ID).ExtractErr())
	a, err := aggregates.Create(ctx, admin, aggregates.CreateOpts{Name: "rack", AvailabilityZone: "west"}).Extract()
	require.NoError(t, err)
	_, err = aggregates.AddHost(ctx, admin, a.ID, aggregates.AddHostOpts{Host: "host1"}).Extract()
	require.NoError(t, err)
}

func gone(ctx context.Context, client *gophercloud.ServiceClient, id string) error {
	return gophercloud.WaitFor(ctx, func(ctx context.Context) (bool, error) {
		_, err := servers.Get(ctx, client, id).Extract()
		return gophercloud.ResponseCodeIs(err, http.StatusNotFound), nil
	})
}
