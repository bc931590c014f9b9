//go:build linux

package rbdvolume_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/kintoun/kintoun/internal/lab"
	"github.com/kintoun/kintoun/internal/lab/ceph"
	"github.com/kintoun/kintoun/internal/lab/labtest"
	"github.com/kintoun/kintoun/volume/driver"
	"github.com/kintoun/kintoun/volume/drivertest"
	"github.com/kintoun/kintoun/volume/rbdvolume"
	"github.com/stretchr/testify/require"
)

// sharedCluster is what all tests share, with one pool; each test has a namespace in it.
type sharedCluster struct {
	*ceph.Cluster
	dir, pool string
	err       error
	once      sync.Once
}

var shared sharedCluster

func TestMain(m *testing.M) {
	if pool := os.Getenv(killVariable); pool != "" {
		os.Exit(beKilled(pool))
	}
	os.Exit(lab.Main(func() int {
		code := m.Run()
		if err := shared.stop(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		return code
	}))
}

func (c *sharedCluster) start() {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	if c.dir, c.err = os.MkdirTemp("", "ceph-"); c.err != nil {
		return
	}
	if c.Cluster, c.err = ceph.Start(ctx, c.dir); c.err != nil {
		return
	}
	c.pool, c.err = c.Pool(ctx, 2<<30)
}

func (c *sharedCluster) stop() error {
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
func cluster(t testing.TB) (*sharedCluster, *rbdvolume.Options) {
	t.Helper()
	labtest.RequireCeph(t)
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

// factory's pools are used side by side: most of the time is waiting for commands.
func factory(t testing.TB) drivertest.Pool {
	if t, ok := t.(*testing.T); ok {
		t.Parallel()
	}
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

// TestChapter runs the lines of the package's first screen.
func TestChapter(t *testing.T) {
	c, _ := cluster(t)
	ctx, pool, config := t.Context(), c.pool, c.Config
	volume, snapshot, connection := uuid.NewString(), uuid.NewString(), uuid.NewString()
	volumes, err := rbdvolume.New(ctx, pool, &rbdvolume.Options{Config: config})
	require.NoError(t, err)
	err = volumes.Apply(ctx, driver.Volume{ID: volume, Bytes: 100 << 30})
	require.NoError(t, err)
	err = volumes.ApplySnapshots(ctx, driver.Snapshot{ID: snapshot, VolumeID: volume})
	require.NoError(t, err)
	target, err := volumes.Connect(ctx, driver.Connection{ID: connection, VolumeID: volume, Host: "host1"})
	require.NoError(t, err)
	require.Equal(t, []string{ceph.Monitor}, target.RBD.Monitors)
	require.NoError(t, volumes.Disconnect(ctx, volume, connection))
	require.NoError(t, volumes.Remove(ctx, volume))
	require.NoError(t, volumes.RemoveSnapshot(ctx, snapshot))
}

func TestProbe(t *testing.T) {
	c, o := cluster(t)
	require.NoError(t, rbdvolume.Probe(t.Context(), c.pool, o))
	require.ErrorIs(t, rbdvolume.Probe(t.Context(), "nowhere", o), rbdvolume.ErrUnavailable)
	require.ErrorIs(t, rbdvolume.Probe(t.Context(), "a/b", o), fs.ErrInvalid)
	d := open(t, o)
	all, err := d.Unmanaged(t.Context())
	require.NoError(t, err)
	require.Empty(t, all, "it took away what it made")
}

// TestANewDriverMends leaves what calls leave that are killed between two commands.
func TestANewDriverMends(t *testing.T) {
	c, o := cluster(t)
	d := open(t, o)
	ctx, place := t.Context(), c.pool+"/"+o.Namespace+"/"
	run := func(args ...string) {
		t.Helper()
		_, err := c.Run(ctx, args[0], args[1:]...)
		require.NoError(t, err)
	}
	key := func(name string) {
		run("rados", "--pool", c.pool, "--namespace", o.Namespace, "setomapval", "kintoun.index", name, "")
	}
	v, n, reverted, gone, lost, clone := uuid.NewString(), uuid.NewString(), uuid.NewString(), uuid.NewString(), uuid.NewString(), uuid.NewString()
	for _, id := range []string{v, reverted, gone} {
		require.NoError(t, d.Apply(ctx, driver.Volume{ID: id, Bytes: 1 << 20}))
	}
	// An image that never got its name, and a moment that was to be copied.
	run("rbd", "create", place+"making-"+clone, "--size", "1M")
	run("rbd", "snap", "create", place+"volume-"+v+"@copy-"+clone)
	// A snapshot whose key was written alone, and one whose key was lost.
	out, err := c.Run(ctx, "rbd", "info", place+"volume-"+v, "--format", "json")
	require.NoError(t, err)
	var image struct{ ID string }
	require.NoError(t, json.Unmarshal([]byte(out), &image))
	key("snapshot/" + lost + "/" + v + "/" + image.ID)
	run("rbd", "snap", "create", place+"volume-"+v+"@snapshot-"+n)
	// A volume that was renamed, and not yet deleted.
	run("rbd", "rename", place+"volume-"+gone, place+"kept-"+gone+".1234")
	// A revert between its two renames.
	key("revert/" + reverted)
	run("rbd", "rename", place+"volume-"+reverted, place+"kept-"+reverted+".5678")
	run("rbd", "create", place+"making-"+reverted, "--size", "2M")

	d = open(t, o)
	all, err := d.List(ctx)
	require.NoError(t, err)
	require.ElementsMatch(t, []driver.Observed{
		{Kind: driver.KindVolume, ID: v, Bytes: 1 << 20},
		{Kind: driver.KindSnapshot, ID: n, VolumeID: v, Bytes: 1 << 20},
		{Kind: driver.KindVolume, ID: reverted, Bytes: 2 << 20},
	}, all)
	names, err := c.Run(ctx, "rbd", "ls", strings.TrimSuffix(place, "/"))
	require.NoError(t, err)
	require.ElementsMatch(t, []string{"volume-" + v, "volume-" + reverted}, strings.Fields(names))
	keys, err := c.Run(ctx, "rados", "--pool", c.pool, "--namespace", o.Namespace, "listomapkeys", "kintoun.index")
	require.NoError(t, err)
	require.Equal(t, "snapshot/"+n+"/"+v+"/"+image.ID+"\n", keys)
	require.NoError(t, d.Apply(ctx, driver.Volume{ID: clone, Bytes: 1 << 20, Source: driver.Source{SnapshotID: n}}))
	require.NoError(t, d.RemoveSnapshot(ctx, n))
	require.NoError(t, d.Remove(ctx, v))
	require.NoError(t, d.Remove(ctx, clone))
	names, err = c.Run(ctx, "rbd", "ls", strings.TrimSuffix(place, "/"))
	require.NoError(t, err)
	require.Equal(t, "volume-"+reverted+"\n", names, "the images of clones and their sources are gone in the end")
}

// TestKilledCommands ends calls at all sorts of moments.
func TestKilledCommands(t *testing.T) {
	_, o := cluster(t)
	d := open(t, o)
	source := uuid.NewString()
	require.NoError(t, d.Apply(t.Context(), driver.Volume{ID: source, Bytes: 1 << 20}))
	for n := range 3 {
		ctx, cancel := context.WithTimeout(t.Context(), time.Duration(n)*300*time.Millisecond)
		want := driver.Volume{ID: uuid.NewString(), Bytes: 2 << 20, Source: driver.Source{VolumeID: source}}
		if err := d.Apply(ctx, want); err != nil {
			require.ErrorIs(t, err, context.DeadlineExceeded)
		}
		cancel()
		d = open(t, o)
		require.NoError(t, d.Apply(t.Context(), want))
		require.NoError(t, d.Remove(t.Context(), want.ID))
	}
	all, err := d.List(t.Context())
	require.NoError(t, err)
	require.Equal(t, []driver.Observed{{Kind: driver.KindVolume, ID: source, Bytes: 1 << 20}}, all)
}

// TestAServerReachesIt has a QEMU that may do little, as servers' may, open a target and write to it.
func TestAServerReachesIt(t *testing.T) {
	_, o := cluster(t)
	labtest.RequireProgram(t, "qemu-system-x86_64", "qemu-system-x86")
	d := open(t, o)
	c := driver.Connection{ID: uuid.NewString(), VolumeID: uuid.NewString(), Host: "host1"}
	require.NoError(t, d.Apply(t.Context(), driver.Volume{ID: c.VolumeID, Bytes: 1 << 20}))
	target, err := d.Connect(t.Context(), c)
	require.NoError(t, err)
	node, err := json.Marshal(rbdvolume.Node(target.RBD, false))
	require.NoError(t, err)

	cmd := exec.CommandContext(t.Context(), "qemu-system-x86_64", "-nodefaults", "-no-user-config", "-display", "none", "-machine", "none", "-monitor", "stdio",
		"-sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny",
		"-object", "secret,id=key,format=base64,data="+target.RBD.Key, "-blockdev", string(node))
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	in, err := cmd.StdinPipe()
	require.NoError(t, err)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	cmd.Stderr = os.Stderr
	require.NoError(t, cmd.Start())
	said := bufio.NewScanner(out)
	wait := func(part string) {
		t.Helper()
		for said.Scan() {
			t.Log(said.Text())
			if strings.Contains(said.Text(), part) {
				return
			}
		}
		require.Fail(t, "QEMU did not say "+part, "%v", cmd.Wait())
	}
	write := func(command string) {
		t.Helper()
		_, err := fmt.Fprintln(in, command)
		require.NoError(t, err)
	}
	write(`qemu-io image "write -P 7 0 4k"`)
	wait("wrote 4096/4096 bytes")
	write("quit")
	for said.Scan() {
		t.Log(said.Text())
	}
	require.NoError(t, cmd.Wait())
	require.NoError(t, d.Disconnect(t.Context(), c.VolumeID, c.ID))
	dev, err := d.Open(t.Context(), c.VolumeID, driver.ReadOnly)
	require.NoError(t, err)
	content := make([]byte, 4096)
	_, err = dev.ReadAt(content, 0)
	require.NoError(t, err)
	require.Equal(t, bytes.Repeat([]byte{7}, 4096), content)
	require.NoError(t, dev.Close())
}
