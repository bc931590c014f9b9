//go:build linux

package rbdvolume_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/kintoun/kintoun/internal/lab"
	"github.com/kintoun/kintoun/internal/lab/cephtest"
	"github.com/kintoun/kintoun/volume/driver"
	"github.com/kintoun/kintoun/volume/drivertest"
	"github.com/kintoun/kintoun/volume/rbdvolume"
	"github.com/stretchr/testify/require"
)

// ceph is a cluster that all tests share, with one pool; each test has a namespace in it.
type ceph struct {
	*cephtest.Cluster
	dir, pool string
	err       error
	once      sync.Once
}

var shared ceph

func TestMain(m *testing.M) {
	os.Exit(lab.Main(func() int {
		code := m.Run()
		if err := shared.stop(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		return code
	}))
}

func (c *ceph) start() {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	if c.dir, c.err = os.MkdirTemp("", "ceph-"); c.err != nil {
		return
	}
	if c.Cluster, c.err = cephtest.Start(ctx, c.dir); c.err != nil {
		return
	}
	c.pool, c.err = c.Pool(ctx, 2<<30)
}

func (c *ceph) stop() error {
	var err error
	if c.Cluster != nil {
		err = c.Stop()
	}
	if c.dir != "" {
		err = errors.Join(err, os.RemoveAll(c.dir))
	}
	return err
}

// cluster returns the cluster, and options for an empty place in it.
func cluster(t testing.TB) (*ceph, *rbdvolume.Options) {
	t.Helper()
	cephtest.Require(t)
	shared.once.Do(shared.start)
	require.NoError(t, shared.err)
	namespace, err := shared.Namespace(t.Context(), shared.pool)
	require.NoError(t, err)
	return &shared, &rbdvolume.Options{Config: shared.Config, Namespace: namespace}
}

func open(t testing.TB, o *rbdvolume.Options) *rbdvolume.Driver {
	t.Helper()
	d, err := rbdvolume.New(t.Context(), shared.pool, o)
	require.NoError(t, err)
	return d
}

func factory(t testing.TB) drivertest.Pool {
	c, o := cluster(t)
	return drivertest.Pool{
		Open: func(t testing.TB) driver.Volumes { return open(t, o) },
		Reach: func(t testing.TB, target driver.Target) driver.Device {
			d, err := rbdvolume.Reach(t.Context(), target)
			require.NoError(t, err)
			return d
		},
		Place: func(t testing.TB, bytes int64) string {
			name := "theirs-" + uuid.NewString()
			_, err := c.Run(t.Context(), "rbd", "create", c.pool+"/"+o.Namespace+"/"+name, "--size", fmt.Sprint(bytes, "B"))
			require.NoError(t, err)
			return name
		},
	}
}

func TestVolumes(t *testing.T) { drivertest.TestVolumes(t, factory) }

func BenchmarkVolumes(b *testing.B) { drivertest.BenchmarkVolumes(b, factory) }
