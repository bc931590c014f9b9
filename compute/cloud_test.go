package compute_test

import (
	"context"
	"testing"
	"testing/synctest"

	"github.com/kintoun/kintoun/compute"
	"github.com/kintoun/kintoun/compute/internal/computetest"
	"github.com/kintoun/kintoun/compute/memcompute"
	"github.com/kintoun/kintoun/internal/lab/postgres"
	"github.com/kintoun/kintoun/internal/sqlitedb"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// cloud is a service with what it needs, in memory.
type cloud struct {
	*compute.Service
	images   *computetest.Images
	networks *computetest.Networks
	network  string
}

var (
	red   = compute.Scope{ProjectID: "red", UserID: "ruby"}
	blue  = compute.Scope{ProjectID: "blue", UserID: "bob"}
	admin = compute.Scope{ProjectID: "admin", UserID: "root", Admin: true}
)

func newCloud(t testing.TB, options *compute.Options) *cloud {
	t.Helper()
	db, err := postgres.Or(context.Background(), sqlitedb.Memory)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	c := &cloud{images: computetest.NewImages(), networks: computetest.NewNetworks()}
	c.network = c.networks.Add("private", "red")
	c.Service, err = compute.New(context.Background(), db, c.images, c.networks, options)
	require.NoError(t, err)
	require.NoError(t, c.EnsureFlavors(context.Background(), compute.DefaultFlavors()...))
	return c
}

var resources = compute.Resources{VCPUs: 4, MemoryMiB: 2048, DiskGiB: 100, Type: "QEMU", Version: 7002000}

// run starts an agent on a host and returns what ends it.
func (c *cloud) run(t testing.TB, name string, host *memcompute.Host, faults *memcompute.Options, options *compute.AgentOptions) func() {
	t.Helper()
	if options == nil {
		options = &compute.AgentOptions{Resources: resources}
	}
	agent := compute.NewAgent(c.Service, name, memcompute.New(host, faults), c.networks, c.images, options)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- agent.Run(ctx) }()
	stopped := false
	stop := func() {
		if !stopped {
			stopped = true
			cancel()
			require.NoError(t, <-done)
		}
	}
	t.Cleanup(stop)
	require.NoError(t, agent.Settle(t.Context()))
	return stop
}

// bubble runs a test whose clock is synctest's.
func bubble(t *testing.T, fn func(t *testing.T)) {
	t.Helper()
	synctest.Test(t, fn)
}

func (c *cloud) create(t testing.TB, spec compute.ServerSpec) *compute.Server {
	t.Helper()
	list, err := c.CreateServers(t.Context(), red, complete(spec))
	require.NoError(t, err)
	return &list[0]
}

func complete(spec compute.ServerSpec) compute.ServerSpec {
	if spec.Name == "" {
		spec.Name = "vm1"
	}
	if spec.FlavorID == "" {
		spec.FlavorID = "1"
	}
	if spec.ImageID == "" {
		spec.ImageID = computetest.ImageID
	}
	return spec
}

func (c *cloud) await(t testing.TB, id, status string) *compute.Server {
	t.Helper()
	v, err := c.Await(t.Context(), admin, id, func(v *compute.Server) bool { return v.Status() == status && v.TaskState == "" })
	require.NoError(t, err)
	return v
}

// gone waits until a server is deleted.
func (c *cloud) gone(t testing.TB, id string) {
	t.Helper()
	_, err := c.Await(t.Context(), admin, id, func(*compute.Server) bool { return false })
	require.ErrorIs(t, err, compute.ErrNotFound)
}
