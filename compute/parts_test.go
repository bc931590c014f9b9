package compute_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/kintoun/kintoun/compute"
	"github.com/kintoun/kintoun/compute/memcompute"
	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/ssh"
)

const (
	publicKey   = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBoLfZg1in6VCx4kvpJGFl1gsqSYXQKbF7lje3+bm3tT me"
	fingerprint = "5d:d5:b4:7b:0d:ee:c5:4c:07:13:bd:3a:f1:ce:b7:ba" // as ssh-keygen -E md5 -l says
)

func TestKeypairs(t *testing.T) {
	c := newCloud(t, &compute.Options{Quota: &compute.Quota{KeyPairs: 4}})
	k, err := c.ImportKeypair(t.Context(), "ruby", "imported", publicKey)
	require.NoError(t, err)
	require.Equal(t, fingerprint, k.Fingerprint)
	_, err = c.ImportKeypair(t.Context(), "ruby", "imported", publicKey)
	require.ErrorIs(t, err, compute.ErrConflict)
	for _, bad := range []string{"", "ssh-rsa AAAA", publicKey + "\n" + publicKey, `command="x" ` + publicKey} {
		_, err = c.ImportKeypair(t.Context(), "ruby", "bad", bad)
		require.ErrorIs(t, err, compute.ErrInvalid, bad)
	}
	for _, algorithm := range []compute.KeyAlgorithm{compute.RSA, compute.Ed25519, compute.ECDSA} {
		k, private, err := c.GenerateKeypair(t.Context(), "ruby", string(algorithm), algorithm)
		require.NoError(t, err)
		signer, err := ssh.ParsePrivateKey([]byte(private))
		require.NoError(t, err)
		require.Equal(t, string(algorithm), signer.PublicKey().Type())
		require.Equal(t, ssh.FingerprintLegacyMD5(signer.PublicKey()), k.Fingerprint)
	}
	_, err = c.ImportKeypair(t.Context(), "ruby", "fifth", publicKey)
	require.ErrorIs(t, err, compute.ErrQuota)
	list, err := c.Keypairs(t.Context(), "ruby", "imported", 1)
	require.NoError(t, err)
	require.Equal(t, "ssh-ed25519", list[0].Name)
	_, err = c.Keypair(t.Context(), "bob", "imported")
	require.ErrorIs(t, err, compute.ErrNotFound)
	require.NoError(t, c.DeleteKeypair(t.Context(), "ruby", "imported"))
	require.ErrorIs(t, c.DeleteKeypair(t.Context(), "ruby", "imported"), compute.ErrNotFound)
}

func TestFlavorsAndAccess(t *testing.T) {
	c := newCloud(t, nil)
	require.NoError(t, c.EnsureFlavors(t.Context(), compute.DefaultFlavors()...), "again")
	f, err := c.CreateFlavor(t.Context(), compute.Flavor{Name: "secret", VCPUs: 1, MemoryMiB: 64})
	require.NoError(t, err)
	_, err = c.CreateFlavor(t.Context(), compute.Flavor{Name: "secret", VCPUs: 1, MemoryMiB: 64})
	require.ErrorIs(t, err, compute.ErrConflict)
	_, err = c.Flavor(t.Context(), red, f.ID)
	require.ErrorIs(t, err, compute.ErrNotFound)
	require.EqualError(t, err, "Flavor "+f.ID+" could not be found.")
	count := func(scope compute.Scope, filter compute.FlavorFilter) int {
		list, err := c.Flavors(t.Context(), scope, filter)
		require.NoError(t, err)
		return len(list)
	}
	require.Equal(t, 5, count(red, compute.FlavorFilter{All: true}))
	require.Equal(t, 6, count(admin, compute.FlavorFilter{All: true}))
	_, err = c.AddFlavorAccess(t.Context(), f.ID, "red")
	require.NoError(t, err)
	require.Equal(t, 6, count(red, compute.FlavorFilter{}))
	require.Equal(t, 5, count(blue, compute.FlavorFilter{}))
	require.Equal(t, 3, count(blue, compute.FlavorFilter{MinMemoryMiB: 512}))
	_, err = c.RemoveFlavorAccess(t.Context(), f.ID, "blue")
	require.ErrorIs(t, err, compute.ErrNotFound)
	require.ErrorContains(t, err, "access not found")
	_, err = c.SetExtraSpecs(t.Context(), f.ID, map[string]string{"a": "1", "b": "2"})
	require.NoError(t, err)
	require.NoError(t, c.DeleteExtraSpec(t.Context(), f.ID, "a"))
	require.ErrorIs(t, c.DeleteExtraSpec(t.Context(), f.ID, "a"), compute.ErrNotFound)
	require.NoError(t, c.DeleteFlavor(t.Context(), f.ID))
	require.ErrorIs(t, c.DeleteFlavor(t.Context(), f.ID), compute.ErrNotFound)
}

func TestQuotaBoundsWhatIsMade(t *testing.T) {
	quota := compute.DefaultQuota()
	quota.Instances, quota.MetadataItems = 3, 1
	c := newCloud(t, &compute.Options{Quota: &quota})
	c.run(t, "host1", memcompute.NewHost(), nil, nil)
	list, err := c.CreateServers(t.Context(), red, complete(compute.ServerSpec{MinCount: 2, MaxCount: 9}))
	require.NoError(t, err)
	require.Len(t, list, 3, "as many as there is room for")
	require.Equal(t, "vm1-3", list[2].Name)
	require.Equal(t, 2, list[2].LaunchIndex)
	require.Equal(t, list[0].ReservationID, list[2].ReservationID)
	_, err = c.CreateServers(t.Context(), red, complete(compute.ServerSpec{}))
	require.ErrorIs(t, err, compute.ErrQuota)
	require.EqualError(t, err, "Quota exceeded for instances: Requested 1, but already used 3 of 3 instances")
	_, err = c.SetQuota(t.Context(), "red", false, func(q *compute.Quota) { q.Instances = 1 })
	require.ErrorIs(t, err, compute.ErrInvalid)
	_, err = c.SetQuota(t.Context(), "red", false, func(q *compute.Quota) { q.Instances = -1 })
	require.NoError(t, err)
	_, err = c.CreateServers(t.Context(), red, complete(compute.ServerSpec{Metadata: map[string]string{"a": "", "b": ""}}))
	require.ErrorIs(t, err, compute.ErrQuota)
	v := c.create(t, compute.ServerSpec{})
	require.NoError(t, c.Delete(t.Context(), red, v.ID))
	c.gone(t, v.ID)
	usage, err := c.Usage(t.Context(), "red")
	require.NoError(t, err)
	require.Equal(t, compute.Usage{Instances: 3, Cores: 3, RAMMiB: 384}, usage)
	require.NoError(t, c.DeleteQuota(t.Context(), "red"))
	require.NoError(t, c.DeleteQuota(t.Context(), "red"))
}

func TestSchedulerFitsServersToHosts(t *testing.T) {
	c := newCloud(t, &compute.Options{RAMRatio: 1})
	small := resources
	small.MemoryMiB = 256
	c.run(t, "small", memcompute.NewHost(), nil, &compute.AgentOptions{Resources: small})
	c.run(t, "large", memcompute.NewHost(), nil, nil)
	where := func(spec compute.ServerSpec) string {
		t.Helper()
		list, err := c.CreateServers(t.Context(), admin, complete(spec))
		require.NoError(t, err)
		return list[0].Host
	}
	require.Equal(t, "large", where(compute.ServerSpec{}))
	require.Equal(t, "small", where(compute.ServerSpec{Host: "small"}))
	require.Equal(t, "small", where(compute.ServerSpec{Host: "small"}))
	require.Empty(t, where(compute.ServerSpec{Host: "small"}), "it is full")
	list, err := c.Servers(t.Context(), admin, compute.ServerFilter{Statuses: []string{"ERROR"}})
	require.NoError(t, err)
	require.Equal(t, "No valid host was found. There are not enough hosts available.", list[0].Fault.Message)
	require.NoError(t, c.Delete(t.Context(), admin, list[0].ID))
	c.gone(t, list[0].ID)
	disabled := true
	_, err = c.ChangeHost(t.Context(), "large", compute.HostChange{Disabled: &disabled})
	require.NoError(t, err)
	require.Empty(t, where(compute.ServerSpec{}))
	_, err = c.CreateServers(t.Context(), red, complete(compute.ServerSpec{Host: "large"}))
	require.ErrorIs(t, err, compute.ErrForbidden)
	_, err = c.CreateServers(t.Context(), red, complete(compute.ServerSpec{Zone: "moon"}))
	require.ErrorIs(t, err, compute.ErrInvalid)
	require.ErrorIs(t, c.DeleteHost(t.Context(), "small"), compute.ErrConflict)
}

func TestSchedulerLooksAtAllOfManyHosts(t *testing.T) {
	c := newCloud(t, &compute.Options{Quota: &compute.Quota{Cores: -1, Instances: -1, RAMMiB: -1}})
	const hosts = 40
	name := func(i int) string { return fmt.Sprintf("host%02d", i) }
	for i := range hosts {
		c.run(t, name(i), memcompute.NewHost(), nil, nil)
	}
	list, err := c.CreateServers(t.Context(), admin, complete(compute.ServerSpec{MinCount: hosts, MaxCount: hosts}))
	require.NoError(t, err)
	used := map[string]int{}
	for _, v := range list {
		used[v.Host]++
	}
	require.Len(t, used, hosts, "each the one with the most free memory")
	disabled := true
	for i := range hosts - 1 {
		_, err = c.ChangeHost(t.Context(), name(i), compute.HostChange{Disabled: &disabled})
		require.NoError(t, err)
	}
	list, err = c.CreateServers(t.Context(), admin, complete(compute.ServerSpec{}))
	require.NoError(t, err)
	require.Equal(t, name(hosts-1), list[0].Host)
}

func TestServerGroupsSpreadServers(t *testing.T) {
	c := newCloud(t, nil)
	c.run(t, "host1", memcompute.NewHost(), nil, nil)
	c.run(t, "host2", memcompute.NewHost(), nil, nil)
	hosts := func(policy compute.Policy, most, count int) map[string]int {
		t.Helper()
		g, err := c.CreateServerGroup(t.Context(), red, "group", policy, most)
		require.NoError(t, err)
		placed := map[string]int{}
		for range count {
			v := c.create(t, compute.ServerSpec{Hints: compute.Hints{GroupID: g.ID}})
			placed[v.Host]++
		}
		g, err = c.ServerGroup(t.Context(), red, g.ID)
		require.NoError(t, err)
		require.Len(t, g.Members, count)
		_, err = c.ServerGroup(t.Context(), blue, g.ID)
		require.ErrorIs(t, err, compute.ErrNotFound)
		return placed
	}
	_, err := c.SetQuota(t.Context(), "red", false, func(q *compute.Quota) { q.Instances = -1; q.Cores = -1 })
	require.NoError(t, err)
	require.Len(t, hosts(compute.Affinity, 0, 3), 1)
	require.Equal(t, map[string]int{"host1": 1, "host2": 1, "": 1}, hosts(compute.AntiAffinity, 0, 3))
	require.Equal(t, map[string]int{"host1": 2, "host2": 2, "": 1}, hosts(compute.AntiAffinity, 2, 5))
	require.Equal(t, map[string]int{"host1": 2, "host2": 2}, hosts(compute.SoftAntiAffinity, 0, 4))
	require.Len(t, hosts(compute.SoftAffinity, 0, 3), 1)
	groups, err := c.ServerGroups(t.Context(), red, false, 0, 1)
	require.NoError(t, err)
	require.ErrorIs(t, c.DeleteServerGroup(t.Context(), blue, groups[0].ID), compute.ErrNotFound)
	require.NoError(t, c.DeleteServerGroup(t.Context(), red, groups[0].ID))
	v, err := c.Server(t.Context(), red, groups[0].Members[0])
	require.NoError(t, err)
	require.Empty(t, v.GroupID)
}

func TestAggregatesMakeZones(t *testing.T) {
	c := newCloud(t, nil)
	c.run(t, "host1", memcompute.NewHost(), nil, nil)
	c.run(t, "host2", memcompute.NewHost(), nil, nil)
	zone := "west"
	g, err := c.CreateAggregate(t.Context(), "rack", &zone)
	require.NoError(t, err)
	_, err = c.CreateAggregate(t.Context(), "rack", nil)
	require.ErrorIs(t, err, compute.ErrConflict)
	_, err = c.AddHost(t.Context(), "1", "host2")
	require.NoError(t, err)
	_, err = c.AddHost(t.Context(), "1", "nowhere")
	require.ErrorIs(t, err, compute.ErrNotFound)
	v := c.create(t, compute.ServerSpec{Zone: "west"})
	require.Equal(t, "host2", v.Host)
	at, err := c.ZoneOf(t.Context(), v)
	require.NoError(t, err)
	require.Equal(t, "west", at)
	require.ErrorIs(t, c.DeleteAggregate(t.Context(), "1"), compute.ErrInvalid)
	_, err = c.RemoveHost(t.Context(), "1", "host2")
	require.NoError(t, err)
	require.NoError(t, c.DeleteAggregate(t.Context(), "1"))
	require.EqualValues(t, 1, g.Number)
}

func TestListsFilterSortAndPage(t *testing.T) {
	c := newCloud(t, nil)
	c.run(t, "host1", memcompute.NewHost(), nil, nil)
	for _, name := range []string{"web-1", "web-2", "db-1"} {
		v := c.create(t, compute.ServerSpec{Name: name, Tags: []string{name[:2], "all"}, Metadata: map[string]string{"n": name}})
		c.await(t, v.ID, "ACTIVE")
	}
	names := func(scope compute.Scope, f compute.ServerFilter) []string {
		t.Helper()
		list, err := c.Servers(t.Context(), scope, f)
		require.NoError(t, err)
		got := []string{}
		for _, v := range list {
			got = append(got, v.Name)
		}
		return got
	}
	byName := []compute.Sort{{Key: "display_name"}}
	require.Equal(t, []string{"db-1", "web-2", "web-1"}, names(red, compute.ServerFilter{}))
	require.Empty(t, names(blue, compute.ServerFilter{}))
	require.Empty(t, names(blue, compute.ServerFilter{AllProjects: true}))
	require.Len(t, names(admin, compute.ServerFilter{AllProjects: true}), 3)
	require.Equal(t, []string{"web-1", "web-2"}, names(red, compute.ServerFilter{Name: "^WEB", Sort: byName}))
	require.Equal(t, []string{"web-2"}, names(red, compute.ServerFilter{Name: "web", Sort: byName, Limit: 1, Marker: find(t, c, "web-1")}))
	require.Equal(t, []string{"db-1"}, names(red, compute.ServerFilter{NotTagsAny: []string{"we"}}))
	require.Equal(t, []string{"db-1"}, names(red, compute.ServerFilter{Tags: []string{"all", "db"}}))
	require.Len(t, names(red, compute.ServerFilter{TagsAny: []string{"we", "db"}}), 3)
	require.Len(t, names(red, compute.ServerFilter{NotTags: []string{"we", "all"}}), 1)
	require.Equal(t, []string{"web-2"}, names(red, compute.ServerFilter{Metadata: map[string]string{"n": "web-2"}}))
	require.Len(t, names(red, compute.ServerFilter{IP: `^10\.0\.`}), 3)
	require.Empty(t, names(red, compute.ServerFilter{IP: `^192\.`}))
	require.Len(t, names(red, compute.ServerFilter{Equal: map[string]string{"flavor": "1", "power_state": "1"}}), 3)
	for _, bad := range []compute.ServerFilter{{Name: "("}, {Marker: "none"}, {Sort: []compute.Sort{{Key: "x"}}}, {Equal: map[string]string{"x": ""}}} {
		_, err := c.Servers(t.Context(), red, bad)
		require.ErrorIs(t, err, compute.ErrInvalid)
	}
	start := time.Now()
	id := find(t, c, "db-1")
	require.NoError(t, c.Delete(t.Context(), red, id))
	c.gone(t, id)
	require.Equal(t, []string{"db-1"}, names(red, compute.ServerFilter{Since: &start}), "deleted ones changed too")
	require.Equal(t, []string{"db-1"}, names(admin, compute.ServerFilter{AllProjects: true, Deleted: true}))
}

func find(t testing.TB, c *cloud, name string) string {
	t.Helper()
	list, err := c.Servers(t.Context(), red, compute.ServerFilter{Name: "^" + name + "$"})
	require.NoError(t, err)
	require.Len(t, list, 1)
	return list[0].ID
}

func TestLocks(t *testing.T) {
	c := newCloud(t, nil)
	c.run(t, "host1", memcompute.NewHost(), nil, nil)
	v := c.await(t, c.create(t, compute.ServerSpec{}).ID, "ACTIVE")
	reason := "mine"
	require.NoError(t, c.Lock(t.Context(), red, v.ID, &reason))
	require.ErrorIs(t, c.Delete(t.Context(), red, v.ID), compute.ErrConflict)
	require.ErrorIs(t, c.Stop(t.Context(), red, v.ID), compute.ErrConflict)
	require.ErrorIs(t, c.Stop(t.Context(), blue, v.ID), compute.ErrNotFound)
	require.NoError(t, c.Unlock(t.Context(), red, v.ID))
	require.NoError(t, c.Lock(t.Context(), admin, v.ID, nil))
	require.ErrorIs(t, c.Unlock(t.Context(), red, v.ID), compute.ErrForbidden)
	require.NoError(t, c.Stop(t.Context(), admin, v.ID))
	c.await(t, v.ID, "SHUTOFF")
}

func TestSilentHostsAreDownAndOldServersForgotten(t *testing.T) {
	bubble(t, func(t *testing.T) {
		c := newCloud(t, &compute.Options{KeepDeleted: 10 * time.Minute})
		stop := c.run(t, "host1", memcompute.NewHost(), nil, nil)
		v := c.await(t, c.create(t, compute.ServerSpec{}).ID, "ACTIVE")
		time.Sleep(3 * time.Minute)
		require.NoError(t, c.Delete(t.Context(), red, v.ID))
		c.gone(t, v.ID)
		usages, err := c.ServerUsages(t.Context(), "red", time.Now().Add(-time.Hour), time.Now().Add(24*time.Hour))
		require.NoError(t, err)
		require.InDelta(t, 0.05, usages[0].Hours, 0.001)
		h, err := c.Host(t.Context(), "host1")
		require.NoError(t, err)
		require.True(t, c.Up(h))
		time.Sleep(12 * time.Minute)
		_, err = c.Actions(t.Context(), red, v.ID, compute.ActionFilter{})
		require.ErrorIs(t, err, compute.ErrNotFound)
		stop()
		time.Sleep(2 * time.Minute)
		h, err = c.Host(t.Context(), "host1")
		require.NoError(t, err)
		require.False(t, c.Up(h))
	})
}
