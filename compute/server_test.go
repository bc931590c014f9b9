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

func TestServerFromSpecToActiveToGone(t *testing.T) {
	bubble(t, func(t *testing.T) {
		c := newCloud(t, nil)
		host := memcompute.NewHost()
		c.run(t, "host1", host, nil, nil)
		_, err := c.ImportKeypair(t.Context(), red.UserID, "key", publicKey)
		require.NoError(t, err)
		start := time.Now()
		v := c.create(t, compute.ServerSpec{Name: "My Server_1", KeyName: "key", UserData: "aGVsbG8=", Metadata: map[string]string{"a": "b"}})
		require.Equal(t, "BUILD", v.Status())
		require.Equal(t, compute.Spawning, v.TaskState)
		v = c.await(t, v.ID, "ACTIVE")
		require.Less(t, time.Since(start), 50*time.Millisecond, "nothing is polled: only lost races for the database take time")
		require.Equal(t, compute.PowerRunning, v.PowerState)
		require.Equal(t, "host1", v.Host)
		require.Equal(t, "my-server-1", v.Hostname)
		require.NotNil(t, v.LaunchedAt)
		ports, err := c.Ports(t.Context(), []compute.Server{*v})
		require.NoError(t, err)
		require.Len(t, ports[v.ID], 1)
		require.Equal(t, 1, c.networks.Plugged())

		i, err := c.Instance(t.Context(), v.ID)
		require.NoError(t, err)
		require.Equal(t, "hello", string(i.UserData))
		require.Equal(t, publicKey, i.PublicKey)
		require.Equal(t, "m1.tiny", i.FlavorName)
		require.Equal(t, compute.DefaultZone, i.AvailabilityZone)
		h, err := c.Host(t.Context(), "host1")
		require.NoError(t, err)
		require.Equal(t, compute.Used{Servers: 1, VCPUs: 1, MemoryMiB: 128, DiskGiB: 1}, h.Used)

		output, err := c.ConsoleOutput(t.Context(), red, v.ID, 1)
		require.NoError(t, err)
		require.Equal(t, "instance-00000001 login: ", string(output))

		require.NoError(t, c.Delete(t.Context(), red, v.ID))
		c.gone(t, v.ID)
		require.Empty(t, c.networks.Ports())
		require.Zero(t, c.networks.Plugged())
		observed, err := memcompute.New(host, nil).List(t.Context())
		require.NoError(t, err)
		require.Empty(t, observed)
		h, err = c.Host(t.Context(), "host1")
		require.NoError(t, err)
		require.Zero(t, h.Used)
		actions, err := c.Actions(t.Context(), red, v.ID, compute.ActionFilter{})
		require.NoError(t, err)
		require.Len(t, actions, 2)
		for _, a := range actions {
			require.Equal(t, "Success", a.Event.Result, a.Name)
		}
	})
}

func TestPowerFollowsWishesAndReality(t *testing.T) {
	bubble(t, func(t *testing.T) {
		c := newCloud(t, nil)
		host := memcompute.NewHost()
		c.run(t, "host1", host, &memcompute.Options{Delay: time.Second}, nil)
		id := c.await(t, c.create(t, compute.ServerSpec{}).ID, "ACTIVE").ID
		conflict := func(err error) {
			t.Helper()
			require.ErrorIs(t, err, compute.ErrConflict)
		}
		conflict(c.Start(t.Context(), red, id))
		require.NoError(t, c.Stop(t.Context(), red, id))
		conflict(c.Reboot(t.Context(), red, id, false))
		conflict(c.Stop(t.Context(), red, id))
		v := c.await(t, id, "SHUTOFF")
		require.Equal(t, compute.PowerOff, v.PowerState)
		conflict(c.Reboot(t.Context(), red, id, false))
		require.NoError(t, c.Start(t.Context(), red, id))
		boots := c.await(t, id, "ACTIVE").Boots
		require.NoError(t, c.Reboot(t.Context(), red, id, false))
		v, err := c.Server(t.Context(), red, id)
		require.NoError(t, err)
		require.Equal(t, "REBOOT", v.Status())
		require.NoError(t, c.Reboot(t.Context(), red, id, true), "a hard reboot overtakes a soft one")
		v = c.await(t, id, "ACTIVE")
		require.Equal(t, boots+2, v.Boots)

		// A guest that powers itself off is stopped, and stays so.
		require.NoError(t, host.PowerOff(id))
		v = c.await(t, id, "SHUTOFF")
		require.False(t, v.Running)
		_, err = c.UpdateServer(t.Context(), red, id, compute.ServerUpdate{Name: new("renamed")})
		require.NoError(t, err)
		synctest.Wait()
		require.Equal(t, driver.Stopped, stateOn(t, host, id))
		// So is one whose process dies.
		require.NoError(t, c.Start(t.Context(), red, id))
		c.await(t, id, "ACTIVE")
		require.NoError(t, host.Crash(id, "killed"))
		require.Equal(t, compute.PowerCrashed, c.await(t, id, "SHUTOFF").PowerState)
	})
}

func stateOn(t testing.TB, host *memcompute.Host, id string) driver.State {
	t.Helper()
	list, err := memcompute.New(host, nil).List(t.Context())
	require.NoError(t, err)
	for _, o := range list {
		if o.ID == id {
			return o.State
		}
	}
	return ""
}

func TestBuildThatFailsIsInErrorAndCanBeDeleted(t *testing.T) {
	bubble(t, func(t *testing.T) {
		c := newCloud(t, nil)
		faults := inject.New(1, inject.Fault{Step: "server apply", Err: errors.New("no memory left")})
		c.run(t, "host1", memcompute.NewHost(), &memcompute.Options{Faults: faults}, nil)
		v := c.await(t, c.create(t, compute.ServerSpec{}).ID, "ERROR")
		require.Len(t, faults.Strikes(), 3)
		require.Equal(t, 500, v.Fault.Code)
		require.Contains(t, v.Fault.Message, "no memory left")
		actions, err := c.Actions(t.Context(), red, v.ID, compute.ActionFilter{})
		require.NoError(t, err)
		require.Equal(t, "Error", actions[0].Event.Result)
		require.NoError(t, c.Delete(t.Context(), red, v.ID))
		c.gone(t, v.ID)
		require.Empty(t, c.networks.Ports())
	})
}

func TestDeleteOvertakesWhatIsUnderWay(t *testing.T) {
	bubble(t, func(t *testing.T) {
		c := newCloud(t, nil)
		c.run(t, "host1", memcompute.NewHost(), &memcompute.Options{Delay: time.Hour}, nil)
		v := c.create(t, compute.ServerSpec{})
		synctest.Wait() // it is building
		start := time.Now()
		require.NoError(t, c.Delete(t.Context(), red, v.ID))
		if err := c.Delete(t.Context(), red, v.ID); err != nil {
			require.ErrorIs(t, err, compute.ErrNotFound, "asked for again, it may be gone already")
		}
		c.gone(t, v.ID)
		require.Less(t, time.Since(start), time.Minute)
		require.Empty(t, c.networks.Ports())
	})
}

func TestAgentAdoptsAfterARestart(t *testing.T) {
	bubble(t, func(t *testing.T) {
		c := newCloud(t, nil)
		host := memcompute.NewHost()
		stop := c.run(t, "host1", host, nil, nil)
		kept := c.await(t, c.create(t, compute.ServerSpec{Name: "kept"}).ID, "ACTIVE")
		ended := c.await(t, c.create(t, compute.ServerSpec{Name: "ended"}).ID, "ACTIVE")
		doomed := c.await(t, c.create(t, compute.ServerSpec{Name: "doomed"}).ID, "ACTIVE")
		stop()
		require.NoError(t, host.PowerOff(ended.ID))
		require.NoError(t, c.Delete(t.Context(), red, doomed.ID))
		leftover := driver.Server{ID: "leftover", Name: "x", VCPUs: 1, MemoryMiB: 1, Running: true}
		require.NoError(t, memcompute.New(host, nil).Apply(t.Context(), leftover))
		noticed := inject.New(1, inject.Fault{Step: "server *", Delay: time.Nanosecond})
		c.run(t, "host1", host, &memcompute.Options{Faults: noticed}, nil)
		c.await(t, ended.ID, "SHUTOFF")
		c.gone(t, doomed.ID)
		synctest.Wait()
		var calls []string
		for _, strike := range noticed.Strikes() {
			calls = append(calls, strike.Step.Name+" "+strike.Step.ID)
		}
		require.Contains(t, calls, "server remove leftover")
		require.NotContains(t, calls, "server apply "+kept.ID, "what runs is not touched")
		require.NotContains(t, calls, "server apply "+ended.ID, "what ended stays so")
		require.Equal(t, driver.Running, stateOn(t, host, kept.ID))
	})
}

func TestAgentResumesAfterTheHostWasDown(t *testing.T) {
	bubble(t, func(t *testing.T) {
		c := newCloud(t, nil)
		host := memcompute.NewHost()
		stop := c.run(t, "host1", host, nil, nil)
		v := c.await(t, c.create(t, compute.ServerSpec{}).ID, "ACTIVE")
		stop()
		require.NoError(t, host.PowerOff(v.ID))
		c.run(t, "host1", host, nil, &compute.AgentOptions{Resources: resources, Resume: true})
		require.Equal(t, driver.Running, stateOn(t, host, v.ID))
		c.await(t, v.ID, "ACTIVE")
	})
}

func TestDeleteOfAServerOnADeadHost(t *testing.T) {
	bubble(t, func(t *testing.T) {
		c := newCloud(t, nil)
		host := memcompute.NewHost()
		stop := c.run(t, "host1", host, nil, nil)
		v := c.await(t, c.create(t, compute.ServerSpec{}).ID, "ACTIVE")
		stop()
		time.Sleep(2 * time.Minute)
		require.NoError(t, c.Delete(t.Context(), red, v.ID))
		c.gone(t, v.ID)
		require.Equal(t, driver.Running, stateOn(t, host, v.ID))
		c.run(t, "host1", host, nil, nil)
		require.Empty(t, stateOn(t, host, v.ID), "the host clears up when it is back")
	})
}

func TestCreateUndoesItsSteps(t *testing.T) {
	c := newCloud(t, nil)
	c.run(t, "host1", memcompute.NewHost(), nil, nil)
	second := c.networks.Add("second", "red")
	mine := c.networks.AddPort(c.network, "red")
	made := 0
	c.networks.Fail = func(call string) error {
		if call == "create" {
			if made++; made == 2 {
				return compute.ErrExhausted
			}
		}
		return nil
	}
	_, err := c.CreateServers(t.Context(), red, complete(compute.ServerSpec{Networks: []compute.NetworkRequest{
		{PortID: mine.ID}, {NetworkID: c.network}, {NetworkID: second},
	}}))
	require.ErrorIs(t, err, compute.ErrInvalid)
	require.ErrorContains(t, err, "No fixed IP addresses available for network: "+second)
	ports := c.networks.Ports()
	require.Len(t, ports, 1, "the user's port stays")
	require.Empty(t, ports[0].ServerID)
	list, err := c.Servers(t.Context(), red, compute.ServerFilter{})
	require.NoError(t, err)
	require.Empty(t, list)
	h, err := c.Host(t.Context(), "host1")
	require.NoError(t, err)
	require.Zero(t, h.Used)
}

func TestPortsOfTheUserOutliveTheServer(t *testing.T) {
	c := newCloud(t, nil)
	c.run(t, "host1", memcompute.NewHost(), nil, nil)
	mine := c.networks.AddPort(c.network, "red")
	v := c.create(t, compute.ServerSpec{Networks: []compute.NetworkRequest{{NetworkID: c.network}, {PortID: mine.ID}}})
	c.await(t, v.ID, "ACTIVE")
	_, err := c.CreateServers(t.Context(), red, complete(compute.ServerSpec{Networks: []compute.NetworkRequest{{PortID: mine.ID}}}))
	require.ErrorIs(t, err, compute.ErrConflict)
	require.NoError(t, c.Delete(t.Context(), red, v.ID))
	c.gone(t, v.ID)
	ports := c.networks.Ports()
	require.Len(t, ports, 1)
	require.Equal(t, mine.ID, ports[0].ID)
	require.Empty(t, ports[0].ServerID)
}

func TestNetworkRules(t *testing.T) {
	c := newCloud(t, nil)
	c.run(t, "host1", memcompute.NewHost(), nil, nil)
	try := func(scope compute.Scope, networks []compute.NetworkRequest) error {
		_, err := c.CreateServers(t.Context(), scope, complete(compute.ServerSpec{Networks: networks}))
		return err
	}
	require.NoError(t, try(blue, nil), "without networks there is none")
	require.NoError(t, try(red, nil), "the only one")
	require.ErrorIs(t, try(blue, []compute.NetworkRequest{{NetworkID: c.network}}), compute.ErrInvalid, "another project's does not exist")
	c.networks.Add("second", "red")
	err := try(red, nil)
	require.ErrorIs(t, err, compute.ErrConflict)
	require.EqualError(t, err, "Multiple possible networks found, use a Network ID to be more specific.")
	require.NoError(t, try(red, []compute.NetworkRequest{}), "none were asked for")
	c.networks.Change(c.network, func(n *compute.Network) { n.External = true })
	require.ErrorIs(t, try(red, []compute.NetworkRequest{{NetworkID: c.network}}), compute.ErrForbidden)
	require.ErrorIs(t, try(red, []compute.NetworkRequest{{PortID: computetest.ImageID}}), compute.ErrInvalid)
}
