package volume_test

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/kintoun/kintoun/inject"
	"github.com/kintoun/kintoun/volume"
	"github.com/kintoun/kintoun/volume/driver"
	"github.com/kintoun/kintoun/volume/memvolume"
	"github.com/stretchr/testify/require"
)

func TestACopyThatWasKilledBeginsAnew(t *testing.T) {
	c := newCloud(t, nil)
	pool := memvolume.New(memvolume.NewPool(100*gib), nil)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	dying := volume.NewAgent(c.Service, backend, pool, nil)
	go func() { done <- dying.Run(ctx) }()
	require.NoError(t, dying.Settle(t.Context()))
	content := strings.Repeat("0123456789abcdef", 3<<16)
	c.images.add("cirros", content)
	reached, killed := make(chan bool), make(chan bool)
	c.images.reading = func(offset int64) error {
		if offset >= 2<<20 {
			reached <- true
			<-killed
			return context.Canceled
		}
		return nil
	}
	v, err := c.CreateVolume(t.Context(), red, volume.VolumeSpec{ImageID: "cirros", SizeGiB: 1})
	require.NoError(t, err)
	<-reached
	is, err := c.Volume(t.Context(), red, v.ID)
	require.NoError(t, err)
	require.Equal(t, volume.Downloading, is.Status)
	cancel()
	close(killed)
	require.NoError(t, <-done)
	c.images.reading = nil
	// What the killed copy left, another might have half written.
	require.NoError(t, pool.Apply(t.Context(), driver.Volume{ID: v.ID, Bytes: gib}))
	write(t, pool, v.ID, "garbage")
	c.run(t, backend, pool, nil)
	c.await(t, v.ID, volume.Available)
	require.Equal(t, content, read(t, pool, v.ID, len(content)))
}

func TestAVolumeThatIsBeingMadeCanBeDeleted(t *testing.T) {
	c, pool := withPool(t)
	c.images.add("cirros", strings.Repeat("x", 4<<20))
	reached, deleted := make(chan bool, 1), make(chan bool)
	c.images.reading = func(int64) error {
		select {
		case reached <- true:
		default:
		}
		<-deleted
		return nil
	}
	v, err := c.CreateVolume(t.Context(), red, volume.VolumeSpec{ImageID: "cirros", SizeGiB: 1})
	require.NoError(t, err)
	<-reached
	require.ErrorIs(t, c.DeleteVolume(t.Context(), red, v.ID, volume.DeleteOptions{}), volume.ErrInvalid)
	require.ErrorIs(t, c.DeleteVolume(t.Context(), red, v.ID, volume.DeleteOptions{Force: true}), volume.ErrForbidden)
	require.NoError(t, c.DeleteVolume(t.Context(), admin, v.ID, volume.DeleteOptions{Force: true}))
	close(deleted)
	c.gone(t, v.ID)
	left, err := pool.List(t.Context())
	require.NoError(t, err)
	require.Empty(t, left)
}

func TestWhatNobodyKnowsIsLeftAlone(t *testing.T) {
	c := newCloud(t, nil)
	pool := memvolume.New(memvolume.NewPool(100*gib), nil)
	stranger := driver.Volume{ID: "6f1d8a3c-53f0-4e0e-8c5e-2b8f3b0a9d11", Bytes: gib}
	require.NoError(t, pool.Apply(t.Context(), stranger))
	_, stop := c.run(t, backend, pool, nil)
	v := c.create(t, red, volume.VolumeSpec{})
	require.NoError(t, c.DeleteVolume(t.Context(), red, v.ID, volume.DeleteOptions{}))
	c.gone(t, v.ID)
	stop()
	// It is back: what was slow to make it had not heard of its end.
	require.NoError(t, pool.Apply(t.Context(), driver.Volume{ID: v.ID, Bytes: gib}))
	c.run(t, backend, pool, nil)
	left, err := pool.List(t.Context())
	require.NoError(t, err)
	require.Len(t, left, 1)
	require.Equal(t, stranger.ID, left[0].ID)
}

// TestAgentsAreKilledAtRandom lets agents of a pool with a bad day be stopped at random moments, while volumes, snapshots
// and attachments come and go. In the end nothing is lost, nothing is left, and contents are what they should be.
func TestAgentsAreKilledAtRandom(t *testing.T) {
	for seed := range uint64(3) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) { killAtRandom(t, seed) })
	}
}

func killAtRandom(t *testing.T, seed uint64) {
	random := rand.New(rand.NewPCG(seed, 1))
	c := newCloud(t, func(o *volume.Options) {
		o.Quota = volume.Quota{"volumes": -1, "snapshots": -1, "gigabytes": -1}
		o.ConnectWithin = 50 * time.Millisecond
	})
	content := strings.Repeat("kintoun!", 1<<17)
	c.images.add("cirros", content)
	faults := inject.New(seed, inject.Fault{Step: "volume *", Probability: 0.2}, inject.Fault{Step: "snapshot *", Probability: 0.2})
	pool := memvolume.NewPool(10_000 * gib)
	sick := memvolume.New(pool, &memvolume.Options{Faults: faults, Delay: 200 * time.Microsecond})
	agent := func(volumes driver.Volumes) (settle func(context.Context) error, stop func()) {
		a := volume.NewAgent(c.Service, backend, volumes, &volume.AgentOptions{Attempts: 1000, Log: slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelError}))})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- a.Run(ctx) }()
		return a.Settle, func() { cancel(); <-done }
	}
	settle, stop := agent(memvolume.New(pool, nil))
	require.NoError(t, settle(t.Context()))
	from := map[string]string{} // what a volume was made from
	for round := range 60 {
		for range 1 + random.IntN(4) {
			c.randomly(t, random, from)
		}
		if round%2 == 0 {
			continue
		}
		time.Sleep(time.Duration(random.IntN(2000)) * time.Microsecond)
		stop()
		_, stop = agent(sick)
	}
	stop()
	settle, stop = agent(memvolume.New(pool, nil))
	defer stop()
	require.NoError(t, settle(t.Context()))
	c.consistent(t, memvolume.New(pool, nil), from, content)
}

// randomly does something; what is refused is refused.
func (c *cloud) randomly(t testing.TB, random *rand.Rand, from map[string]string) {
	t.Helper()
	ctx := t.Context()
	volumes, err := c.Volumes(ctx, red, volume.ListOptions{Sort: []volume.Sort{{Key: "created_at"}}})
	require.NoError(t, err)
	snapshots, err := c.Snapshots(ctx, red, volume.ListOptions{Sort: []volume.Sort{{Key: "created_at"}}})
	require.NoError(t, err)
	add := func(spec volume.VolumeSpec, source string) {
		v, err := c.CreateVolume(ctx, red, spec)
		if err == nil && v.Host != "" {
			from[v.ID] = source
		}
	}
	if len(volumes) == 0 {
		add(volume.VolumeSpec{ImageID: "cirros", SizeGiB: 1}, "image")
		return
	}
	v := volumes[random.IntN(len(volumes))]
	switch random.IntN(10) {
	case 0:
		add(volume.VolumeSpec{SizeGiB: 1}, "nothing")
	case 1:
		add(volume.VolumeSpec{ImageID: "cirros", SizeGiB: 1}, "image")
	case 2:
		add(volume.VolumeSpec{SourceVolumeID: v.ID}, from[v.ID])
	case 3:
		_, _ = c.CreateSnapshot(ctx, red, volume.SnapshotSpec{VolumeID: v.ID, Force: true})
	case 4:
		if len(snapshots) > 0 {
			p := snapshots[random.IntN(len(snapshots))]
			add(volume.VolumeSpec{SnapshotID: p.ID, SizeGiB: p.SizeGiB + 1}, from[p.VolumeID])
		}
	case 5:
		if len(snapshots) > 0 {
			_ = c.DeleteSnapshot(ctx, red, snapshots[random.IntN(len(snapshots))].ID, false)
		}
	case 6:
		_ = c.DeleteVolume(ctx, red, v.ID, volume.DeleteOptions{Cascade: random.IntN(2) == 0})
	case 7:
		_ = c.ExtendVolume(ctx, red, v.ID, v.SizeGiB+1)
	case 8:
		_, _ = c.CreateAttachment(ctx, red, volume.AttachmentSpec{VolumeID: v.ID, ServerID: "vm", Connector: &volume.Connector{Host: "host1"}})
	case 9:
		for _, a := range v.Attachments {
			_ = c.DeleteAttachment(ctx, red, a.ID)
		}
	}
}

// consistent compares what is recorded with what the pool holds.
func (c *cloud) consistent(t testing.TB, pool driver.Volumes, from map[string]string, content string) {
	t.Helper()
	held, err := pool.List(t.Context())
	require.NoError(t, err)
	has := map[string]driver.Observed{}
	for _, o := range held {
		require.False(t, o.Partial, o.ID)
		has[o.ID] = o
	}
	volumes, err := c.Volumes(t.Context(), red, volume.ListOptions{})
	require.NoError(t, err)
	for i := range volumes {
		v := &volumes[i]
		require.Zero(t, v.Task, "%s %s", v.ID, v.Status)
		o, ok := has[v.ID]
		require.True(t, ok, "volume %s (%s) is lost", v.ID, v.Status)
		require.Equal(t, int64(v.SizeGiB)*gib, o.Bytes)
		want := content
		if from[v.ID] == "nothing" {
			want = strings.Repeat("\x00", len(content))
		}
		if want != read(t, pool, v.ID, len(content)) {
			t.Fatalf("the content of volume %s is not that of %s", v.ID, from[v.ID])
		}
		for _, a := range v.Attachments {
			if a.Target != nil {
				require.Contains(t, o.Connections, a.ID)
			}
		}
		for _, id := range o.Connections {
			require.NotEmpty(t, v.Attachments, "connection %s of %s is left", id, v.ID)
		}
		delete(has, v.ID)
	}
	snapshots, err := c.Snapshots(t.Context(), red, volume.ListOptions{})
	require.NoError(t, err)
	for i := range snapshots {
		require.Contains(t, has, snapshots[i].ID)
		require.Zero(t, snapshots[i].Task)
		delete(has, snapshots[i].ID)
	}
	require.Empty(t, has, "left in the pool")
	require.NotEmpty(t, volumes)
	t.Logf("%d volumes, %d snapshots", len(volumes), len(snapshots))
}
