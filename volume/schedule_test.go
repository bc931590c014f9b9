package volume_test

import (
	"fmt"
	"testing"

	"github.com/kintoun/kintoun/inject"
	"github.com/kintoun/kintoun/volume"
	"github.com/kintoun/kintoun/volume/driver"
	"github.com/kintoun/kintoun/volume/memvolume"
	"github.com/stretchr/testify/require"
)

// pools starts one with each of the options, all of the same size. What goes wrong in them is by the same names.
func (c *cloud) pools(t *testing.T, options map[string]volume.AgentOptions) (map[string]*memvolume.Driver, *inject.Set) {
	t.Helper()
	faults, drivers := inject.New(1), map[string]*memvolume.Driver{}
	for name, o := range options {
		drivers[name] = memvolume.New(memvolume.NewPool(100*gib), &memvolume.Options{Faults: faults, Host: name})
		c.run(t, volume.Backend{Host: "host1", Name: name}, drivers[name], &o)
	}
	return drivers, faults
}

func pool(name string) string { return "host1@" + name + "#" + name }

func TestPoolsSayWhatTheyTake(t *testing.T) {
	c := newCloud(t, nil)
	tiers := map[string]string{"tier": "quick"}
	c.pools(t, map[string]volume.AgentOptions{
		"small": {FilterFunction: "volume.size < 10", GoodnessFunction: "volume.size < 5 ? 100 : 50"},
		"large": {FilterFunction: "volume.size < 100", GoodnessFunction: "(volume.size >= 5) ? 100 : 25", Capabilities: tiers},
		"fast":  {FilterFunction: "extra.tier == 'quick' and qos.iops >= 1000 and stats.total_capacity_gb == 100", GoodnessFunction: "100", Capabilities: tiers},
		"few":   {FilterFunction: "capabilities.total_volumes < 1 and volume.display_name == 'the one'", GoodnessFunction: "100"},
		// Neither has a value: the filter lets nothing pass, the goodness is 0.
		"lost":  {FilterFunction: "extra.nothing == 1"},
		"loose": {GoodnessFunction: "extra.nothing"},
		"proud": {GoodnessFunction: "200"},
	})
	host := func(spec volume.VolumeSpec) string { return c.create(t, red, spec).Host }
	require.Equal(t, pool("small"), host(volume.VolumeSpec{SizeGiB: 3}))
	require.Equal(t, pool("large"), host(volume.VolumeSpec{SizeGiB: 7}))
	require.Equal(t, pool("large"), host(volume.VolumeSpec{SizeGiB: 50}))
	require.Contains(t, []string{pool("loose"), pool("proud")}, host(volume.VolumeSpec{SizeGiB: 500}))
	require.Equal(t, pool("few"), host(volume.VolumeSpec{SizeGiB: 99, Name: "the one"}))
	require.Equal(t, pool("large"), host(volume.VolumeSpec{SizeGiB: 99, Name: "the one"}))

	quick, err := c.CreateType(t.Context(), admin, volume.TypeCreate{Name: "quick", Specs: tiers})
	require.NoError(t, err)
	require.Equal(t, pool("large"), host(volume.VolumeSpec{SizeGiB: 1, Type: quick.ID}), "the type has no limits yet")
	limits, err := c.CreateQoS(t.Context(), admin, "limits", "", map[string]string{"iops": "2000"})
	require.NoError(t, err)
	require.NoError(t, c.AssociateQoS(t.Context(), admin, limits.ID, quick.ID))
	require.Equal(t, pool("fast"), host(volume.VolumeSpec{SizeGiB: 1, Type: quick.ID}))
}

func TestEqualGoodnessLeavesItToTheRoom(t *testing.T) {
	c := newCloud(t, nil)
	for name, size := range map[string]int64{"a": 10, "b": 30, "c": 20} {
		c.run(t, volume.Backend{Host: "host1", Name: name}, memvolume.New(memvolume.NewPool(size*gib), nil), &volume.AgentOptions{GoodnessFunction: "stats.free_capacity_gb > 15"})
	}
	require.Equal(t, pool("b"), c.create(t, red, volume.VolumeSpec{}).Host)
}

func TestBadFunctionsAreRefused(t *testing.T) {
	c := newCloud(t, nil)
	agent := volume.NewAgent(c.Service, backend, memvolume.New(memvolume.NewPool(gib), nil), &volume.AgentOptions{
		FilterFunction: "volume.sise < 5", GoodnessFunction: "capabilities.warp_drive ? 100",
	})
	err := agent.Run(t.Context())
	require.ErrorIs(t, err, volume.ErrInvalid)
	require.ErrorContains(t, err, `filter_function of pool host1@memory#memory: invalid: "volume.sise < 5"`)
	require.ErrorContains(t, err, `there is no "volume.sise"`)
	require.ErrorContains(t, err, "goodness_function of pool")
	pools, err := c.Pools(t.Context(), admin, volume.PoolFilter{})
	require.NoError(t, err)
	require.Empty(t, pools)
}

func TestPoolsAreListedByType(t *testing.T) {
	c := newCloud(t, nil)
	c.pools(t, map[string]volume.AgentOptions{"gold": {FilterFunction: "volume.size < 10"}, "silver": {}})
	kind, err := c.CreateType(t.Context(), admin, volume.TypeCreate{Name: "golden", Specs: map[string]string{"volume_backend_name": "gold"}})
	require.NoError(t, err)
	for _, name := range []string{kind.ID, "golden"} {
		pools, err := c.Pools(t.Context(), admin, volume.PoolFilter{Type: name, Detail: true})
		require.NoError(t, err)
		require.Len(t, pools, 1)
		require.Equal(t, pool("gold"), pools[0].Name)
		require.Equal(t, "volume.size < 10", pools[0].Capabilities["filter_function"])
		require.Nil(t, pools[0].Capabilities["goodness_function"])
		require.Equal(t, 0, pools[0].Capabilities["total_volumes"])
	}
	_, err = c.Pools(t.Context(), admin, volume.PoolFilter{Type: "copper"})
	require.ErrorIs(t, err, volume.ErrNotFound)
	pools, err := c.Pools(t.Context(), admin, volume.PoolFilter{Name: pool("silver")})
	require.NoError(t, err)
	require.Len(t, pools, 1)
}

// full is a pool that has no room after all.
func full(name string) inject.Fault {
	return inject.Fault{Step: "volume apply", Host: name, Err: fmt.Errorf("the pool %s: %w", name, driver.ErrFull)}
}

func TestAFullPoolPassesAVolumeOn(t *testing.T) {
	c := newCloud(t, nil)
	drivers, faults := c.pools(t, map[string]volume.AgentOptions{"best": {GoodnessFunction: "100"}, "good": {GoodnessFunction: "50"}, "poor": {}})
	content := "the boot sector"
	c.images.add("image", content)
	heal := faults.Add(full("best"))
	v := c.create(t, red, volume.VolumeSpec{ImageID: "image"})
	require.Equal(t, pool("good"), v.Host)
	require.Empty(t, v.Tried, "it is forgotten when the volume is made")
	require.Equal(t, content, read(t, drivers["good"], v.ID, len(content)))
	observed, err := drivers["best"].List(t.Context())
	require.NoError(t, err)
	require.Empty(t, observed)
	heal()
	require.Equal(t, pool("good"), c.create(t, red, volume.VolumeSpec{SourceVolumeID: v.ID}).Host, "what is made from a volume is where that is")
	require.Equal(t, pool("best"), c.create(t, red, volume.VolumeSpec{}).Host)
}

func TestAVolumeThatIsPassedOnKeepsItsHints(t *testing.T) {
	c := newCloud(t, nil)
	_, faults := c.pools(t, map[string]volume.AgentOptions{"best": {GoodnessFunction: "100"}, "good": {GoodnessFunction: "50"}, "poor": {}})
	heal := faults.Add(full("best"))
	other := c.create(t, red, volume.VolumeSpec{})
	require.Equal(t, pool("good"), other.Host)
	require.Equal(t, pool("poor"), c.create(t, red, volume.VolumeSpec{Hints: volume.Hints{DifferentHost: []string{other.ID}}}).Host)
	heal()
}

func TestAVolumeThatFitsNowhereIsInError(t *testing.T) {
	c := newCloud(t, nil)
	all := map[string]volume.AgentOptions{}
	for i := range 5 {
		all[fmt.Sprintf("p%d", i)] = volume.AgentOptions{GoodnessFunction: fmt.Sprint(50 - i)}
	}
	_, faults := c.pools(t, all)
	for name := range all {
		faults.Add(full(name))
	}
	v, err := c.CreateVolume(t.Context(), red, volume.VolumeSpec{SizeGiB: 1})
	require.NoError(t, err)
	v = c.await(t, v.ID, volume.Errored)
	require.Equal(t, pool("p2"), v.Host, "three are tried")
	require.Equal(t, 3, faults.Struck())
	messages, err := c.Messages(t.Context(), red, volume.ListOptions{})
	require.NoError(t, err)
	require.Len(t, messages, 1)
	require.Equal(t, v.ID, messages[0].ResourceID)
	require.NoError(t, c.DeleteVolume(t.Context(), red, v.ID, volume.DeleteOptions{}))
	c.gone(t, v.ID)
}
