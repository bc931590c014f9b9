package volume_test

import (
	"bytes"
	"context"
	"io"
	"sync"
	"testing"
	"time"

	"github.com/kintoun/kintoun/internal/lab/postgres"
	"github.com/kintoun/kintoun/internal/sqlitedb"
	"github.com/kintoun/kintoun/volume"
	"github.com/kintoun/kintoun/volume/driver"
	"github.com/kintoun/kintoun/volume/memvolume"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const gib = 1 << 30

var (
	red   = volume.Scope{ProjectID: "red", UserID: "ruby", RequestID: "req-1"}
	blue  = volume.Scope{ProjectID: "blue", UserID: "bob"}
	admin = volume.Scope{ProjectID: "admin", UserID: "root", Admin: true}
)

// cloud is a service in memory.
type cloud struct {
	*volume.Service
	images  *images
	servers *servers
}

func newCloud(t testing.TB, change func(*volume.Options)) *cloud {
	t.Helper()
	db, err := postgres.Or(context.Background(), sqlitedb.Memory)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	c := &cloud{images: &images{all: map[string][]byte{}}, servers: &servers{}}
	options := &volume.Options{Images: c.images, Servers: c.servers}
	if change != nil {
		change(options)
	}
	c.Service, err = volume.New(context.Background(), db, options)
	require.NoError(t, err)
	return c
}

// run starts an agent of a pool and returns what ends it.
func (c *cloud) run(t testing.TB, name volume.Backend, volumes driver.Volumes, options *volume.AgentOptions) (agent *volume.Agent, stop func()) {
	t.Helper()
	agent = volume.NewAgent(c.Service, name, volumes, options)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- agent.Run(ctx) }()
	var once sync.Once
	stop = func() {
		once.Do(func() {
			cancel()
			require.NoError(t, <-done)
		})
	}
	t.Cleanup(stop)
	require.NoError(t, agent.Settle(t.Context()))
	return agent, stop
}

var backend = volume.Backend{Host: "host1", Name: "memory"}

// withPool is a cloud with one pool in memory.
func withPool(t testing.TB) (*cloud, *memvolume.Driver) {
	t.Helper()
	c := newCloud(t, nil)
	pool := memvolume.New(memvolume.NewPool(100*gib), nil)
	c.run(t, backend, pool, nil)
	return c, pool
}

// create makes a volume and waits until it is made.
func (c *cloud) create(t testing.TB, scope volume.Scope, spec volume.VolumeSpec) *volume.Volume {
	t.Helper()
	if spec.SizeGiB == 0 && spec.SnapshotID == "" && spec.SourceVolumeID == "" {
		spec.SizeGiB = 1
	}
	v, err := c.CreateVolume(t.Context(), scope, spec)
	require.NoError(t, err)
	return c.await(t, v.ID, volume.Available)
}

func (c *cloud) await(t testing.TB, id string, status volume.Status) *volume.Volume {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	v, err := c.Await(ctx, admin, id, func(v *volume.Volume) bool {
		return v.Status == status || v.Status == volume.Errored || v.Status == volume.ErrorDeleting || v.Status == volume.ErrorExtending
	})
	require.NoError(t, err)
	require.Equal(t, status, v.Status)
	return v
}

// gone waits until a volume is deleted.
func (c *cloud) gone(t testing.TB, id string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	v, err := c.Await(ctx, admin, id, func(v *volume.Volume) bool { return v.Status == volume.ErrorDeleting })
	require.ErrorIs(t, err, volume.ErrNotFound, "%+v", v)
}

func (c *cloud) snapshot(t testing.TB, scope volume.Scope, spec volume.SnapshotSpec) *volume.Snapshot {
	t.Helper()
	p, err := c.CreateSnapshot(t.Context(), scope, spec)
	require.NoError(t, err)
	p, err = c.AwaitSnapshot(t.Context(), admin, p.ID, func(p *volume.Snapshot) bool { return p.Status != volume.Creating })
	require.NoError(t, err)
	require.Equal(t, volume.Available, p.Status)
	return p
}

// write puts a text at the beginning of a volume, read returns it.
func write(t testing.TB, volumes driver.Volumes, id, text string) {
	t.Helper()
	device, err := volumes.Open(t.Context(), id, driver.ReadWrite)
	require.NoError(t, err)
	_, err = device.WriteAt([]byte(text), 0)
	require.NoError(t, err)
	require.NoError(t, device.Sync())
	require.NoError(t, device.Close())
}

func read(t testing.TB, volumes driver.Volumes, id string, n int) string {
	t.Helper()
	device, err := volumes.Open(t.Context(), id, driver.ReadOnly)
	require.NoError(t, err)
	data := make([]byte, n)
	_, err = device.ReadAt(data, 0)
	require.NoError(t, err)
	require.NoError(t, device.Close())
	return string(data)
}

// images keeps images in memory.
type images struct {
	mu     sync.Mutex
	all    map[string][]byte
	status string
	// reading, if not nil, is called before each read.
	reading func(offset int64) error
}

func (m *images) add(id, content string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.all[id] = []byte(content)
}

func (m *images) Image(_ context.Context, _ volume.Scope, id string) (volume.Image, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	data, ok := m.all[id]
	if !ok {
		return volume.Image{}, volume.ErrNotFound
	}
	status := "active"
	if m.status != "" {
		status = m.status
	}
	return volume.Image{ID: id, Name: "an image", Status: status, DiskFormat: "raw", ContainerFormat: "bare", Size: int64(len(data)), Properties: map[string]string{"hw_disk_bus": "virtio"}}, nil
}

func (m *images) OpenImage(_ context.Context, id string) (volume.ImageData, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	data, ok := m.all[id]
	if !ok {
		return nil, volume.ErrNotFound
	}
	return &imageData{Reader: bytes.NewReader(data), reading: m.reading}, nil
}

func (m *images) CreateImage(context.Context, volume.Scope, volume.ImageSpec) (string, error) {
	return "", volume.ErrUnsupported
}

func (m *images) UploadImage(context.Context, string, io.Reader, int64) error {
	return volume.ErrUnsupported
}

type imageData struct {
	*bytes.Reader
	reading func(offset int64) error
}

func (d *imageData) Close() error { return nil }

func (d *imageData) ReadAt(b []byte, offset int64) (int, error) {
	if d.reading != nil {
		if err := d.reading(offset); err != nil {
			return 0, err
		}
	}
	return d.Reader.ReadAt(b, offset)
}

// servers remember what they were told.
type servers struct {
	mu   sync.Mutex
	told []int
}

func (s *servers) VolumeExtended(_ context.Context, _, _ string, sizeGiB int) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.told = append(s.told, sizeGiB)
	return nil
}
