//go:build linux

// Package ceph_test has servers that are real virtual machines use volumes in a real Ceph cluster of one node, through the APIs that
// OpenStack's users have.
package ceph_test

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/gophercloud/gophercloud/v2/openstack"
	"github.com/gophercloud/gophercloud/v2/openstack/blockstorage/v3/snapshots"
	"github.com/gophercloud/gophercloud/v2/openstack/blockstorage/v3/volumes"
	"github.com/gophercloud/gophercloud/v2/openstack/compute/v2/servers"
	"github.com/gophercloud/gophercloud/v2/openstack/compute/v2/volumeattach"
	"github.com/gophercloud/gophercloud/v2/openstack/image/v2/imagedata"
	"github.com/gophercloud/gophercloud/v2/openstack/image/v2/images"
	"github.com/kintoun/kintoun/compute"
	"github.com/kintoun/kintoun/compute/qemu"
	"github.com/kintoun/kintoun/examples/allinone/cloud"
	"github.com/kintoun/kintoun/examples/allinone/cloudtest"
	"github.com/kintoun/kintoun/examples/allinone/memcloud"
	"github.com/kintoun/kintoun/internal/lab"
	"github.com/kintoun/kintoun/internal/lab/ceph"
	"github.com/kintoun/kintoun/internal/lab/labtest"
	"github.com/kintoun/kintoun/network"
	"github.com/kintoun/kintoun/network/memnet"
	volumedriver "github.com/kintoun/kintoun/volume/driver"
	"github.com/kintoun/kintoun/volume/rbdvolume"
	"github.com/stretchr/testify/require"
)

func TestMain(m *testing.M) { os.Exit(lab.Main(m.Run)) }

const (
	// guestDisk is what `make guest` makes.
	guestDisk = "../../../build/guest/disk.qcow2"
	patience  = 3 * time.Minute
	tick      = 100 * time.Millisecond
)

// testCloud is a cloud with one host: networks are data, servers are QEMU's, volumes are Ceph's.
type testCloud struct {
	t       *testing.T
	ctx     context.Context //nolint:containedctx // of one test
	pool    *rbdvolume.Driver
	servers string // the directory of QEMU's driver
	seed    memcloud.Seed

	compute, volume, image *gophercloud.ServiceClient
}

func newCloud(t *testing.T) *testCloud {
	t.Helper()
	labtest.RequireCeph(t)
	labtest.RequireProgram(t, "qemu-system-x86_64", "qemu-system-x86")
	if _, err := os.Stat(guestDisk); err != nil {
		labtest.Skip(t, "needs the guest's disk: make guest")
	}
	c := &testCloud{t: t, ctx: t.Context(), servers: directory(t), pool: pool(t)}
	machine := memnet.NewMachine(&memnet.MachineOptions{Physical: []string{cloud.PhysicalNetwork}})
	fabric := memnet.NewFabric(machine, memnet.NewFilters(machine))
	kvm, err := qemu.New(c.ctx, &qemu.Options{Dir: c.servers, Accelerator: "tcg"})
	require.NoError(t, err)
	whole := cloudtest.NewWith(t, &memcloud.Options{Hosts: -1})
	c.seed = whole.Seed
	_, err = whole.Cloud.Cloud.AddHost(c.ctx, cloud.Host{
		Name: "host1", Resources: compute.Resources{VCPUs: 4, MemoryMiB: 4096, DiskGiB: 100, Address: "127.0.0.1", Type: "QEMU"},
		Servers: kvm, Volumes: map[string]volumedriver.Volumes{"ceph": c.pool},
		Network: network.Drivers{Fabric: fabric, Routers: memnet.NewRouters(fabric.Ports(), nil), DHCP: memnet.NewDHCPServers(fabric.Ports(), nil)},
	})
	require.NoError(t, err)
	provider, err := openstack.AuthenticatedClient(c.ctx, whole.AuthOptions())
	require.NoError(t, err)
	c.compute, err = openstack.NewComputeV2(provider, whole.EndpointOpts())
	require.NoError(t, err)
	c.compute.Microversion = "2.60" // servers without networks, and volumes that are attached
	c.volume, err = openstack.NewBlockStorageV3(provider, whole.EndpointOpts())
	require.NoError(t, err)
	c.image, err = openstack.NewImageV2(provider, whole.EndpointOpts())
	require.NoError(t, err)
	return c
}

// directory is an empty one with a short path, for sockets, that other users may enter.
func directory(t *testing.T) string {
	dir, err := os.MkdirTemp("", "c")
	require.NoError(t, err)
	require.NoError(t, os.Chmod(dir, 0o755)) //nolint:gosec // QEMU's account
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(dir)) })
	return dir
}

// pool is an empty one in a cluster of its own.
func pool(t *testing.T) *rbdvolume.Driver {
	cluster, err := ceph.Start(t.Context(), directory(t))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, cluster.Stop()) })
	name, err := cluster.Pool(t.Context(), 4<<30)
	require.NoError(t, err)
	d, err := rbdvolume.New(t.Context(), name, &rbdvolume.Options{Config: cluster.Config})
	require.NoError(t, err)
	return d
}

// until waits until a status is the wanted one; "error" is the end.
func (c *testCloud) until(want string, status func() (string, error)) {
	c.t.Helper()
	last := ""
	require.Eventually(c.t, func() bool {
		var err error
		last, err = status()
		return err == nil && strings.EqualFold(last, want) || strings.EqualFold(last, "error")
	}, patience, tick, "it is %s and not %s", &last, want)
	require.True(c.t, strings.EqualFold(last, want), "it is %s and not %s", last, want)
}

func (c *testCloud) becomes(volume, status string) {
	c.t.Helper()
	c.until(status, func() (string, error) {
		v, err := volumes.Get(c.ctx, c.volume, volume).Extract()
		if err != nil {
			return "", err
		}
		return v.Status, nil
	})
}

func (c *testCloud) create(o volumes.CreateOpts) string {
	c.t.Helper()
	v, err := volumes.Create(c.ctx, c.volume, o, nil).Extract()
	require.NoError(c.t, err)
	c.becomes(v.ID, "available")
	return v.ID
}

// guest makes an image of the small guest.
func (c *testCloud) guest() string {
	c.t.Helper()
	i, err := images.Create(c.ctx, c.image, images.CreateOpts{Name: "guest", DiskFormat: "qcow2", ContainerFormat: "bare"}).Extract()
	require.NoError(c.t, err)
	file, err := os.Open(guestDisk)
	require.NoError(c.t, err)
	defer func() { _ = file.Close() }() // the client closes it, too
	require.NoError(c.t, imagedata.Upload(c.ctx, c.image, i.ID, file).ExtractErr())
	return i.ID
}

// boot starts a server from a volume, and logs in to it.
func (c *testCloud) boot(volume string) (server string, s *shell) {
	c.t.Helper()
	made, err := servers.Create(c.ctx, c.compute, servers.CreateOpts{
		Name: "vm1", FlavorRef: c.seed.FlavorID, Networks: "none",
		BlockDevice: []servers.BlockDevice{{SourceType: servers.SourceVolume, DestinationType: servers.DestinationVolume, UUID: volume}},
	}, nil).Extract()
	require.NoError(c.t, err)
	c.until("active", func() (string, error) {
		s, err := servers.Get(c.ctx, c.compute, made.ID).Extract()
		if err != nil {
			return "", err
		}
		return s.Status, nil
	})
	return made.ID, login(c.t, filepath.Join(c.servers, "run", made.ID, "serial"))
}

// shell is a guest's, on its serial console.
type shell struct {
	t    *testing.T
	conn net.Conn
	in   *bufio.Reader
	n    int
}

func login(t *testing.T, socket string) *shell {
	t.Helper()
	conn, err := (&net.Dialer{}).DialContext(t.Context(), "unix", socket)
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	s := &shell{t: t, conn: conn, in: bufio.NewReader(conn)}
	for _, turn := range [][2]string{{`login:`, "cirros\n"}, {`assword:`, "gocubsgo\n"}, {`\$ `, "stty -echo\n"}, {`\$ `, ""}} {
		s.await(regexp.MustCompile(turn[0]))
		s.say(turn[1])
	}
	return s
}

func (s *shell) say(text string) {
	s.t.Helper()
	_, err := io.WriteString(s.conn, text)
	require.NoError(s.t, err)
}

// await reads until something matches, and returns what was read.
func (s *shell) await(what *regexp.Regexp) string {
	s.t.Helper()
	require.NoError(s.t, s.conn.SetReadDeadline(time.Now().Add(patience)))
	var read strings.Builder
	for !what.MatchString(read.String()) {
		b, err := s.in.ReadByte()
		require.NoError(s.t, err, "read so far: %q", read.String())
		read.WriteByte(b)
	}
	return read.String()
}

// run runs a command as root, and returns what it printed.
func (s *shell) run(command string) string {
	s.t.Helper()
	s.n++
	s.say(fmt.Sprintf("sudo sh -c '%s'; echo E''ND%d=$?.\n", command, s.n))
	end := regexp.MustCompile(fmt.Sprintf(`END%d=(\d+)\.`, s.n))
	out := s.await(end)
	require.Equal(s.t, "0", end.FindStringSubmatch(out)[1], "%s: %s", command, out)
	return end.ReplaceAllString(out, "")
}

// disk waits until the guest has the volume, and returns the device's name.
func (s *shell) disk(volume string) (name string) {
	s.t.Helper()
	found := regexp.MustCompile(`=(vd[a-z]) ` + volume[:20] + `=`)
	require.Eventually(s.t, func() bool {
		match := found.FindStringSubmatch(s.run("cd /sys/block; for d in vd*; do echo =$d $(cat $d/serial)=; done"))
		if match != nil {
			name = "/dev/" + match[1]
		}
		return name != ""
	}, patience, tick)
	return name
}

// sum is the SHA-256 of the device's first 8 MiB.
func (s *shell) sum(device string) string {
	s.t.Helper()
	return regexp.MustCompile(`[0-9a-f]{64}`).FindString(s.run("dd if=" + device + " bs=1M count=8 2>/dev/null | sha256sum"))
}

// holds fails unless the volume's, or snapshot's, first 8 MiB have that sum.
func (c *testCloud) holds(id, sum string) {
	c.t.Helper()
	device, err := c.pool.Open(c.ctx, id, volumedriver.ReadOnly)
	require.NoError(c.t, err)
	hash := sha256.New()
	_, err = io.Copy(hash, io.NewSectionReader(device, 0, 8<<20))
	require.NoError(c.t, err)
	require.NoError(c.t, device.Close())
	require.Equal(c.t, sum, hex.EncodeToString(hash.Sum(nil)))
}

// TestServersHaveVolumesInCeph boots a guest from a volume, attaches another, which is written to, photographed and written to again,
// and finds what the guest wrote when it has let go.
func TestServersHaveVolumesInCeph(t *testing.T) {
	c := newCloud(t)
	root := c.create(volumes.CreateOpts{Name: "root", Size: 1, ImageID: c.guest()})
	data := c.create(volumes.CreateOpts{Name: "data", Size: 1})
	server, s := c.boot(root)
	require.Equal(t, "/dev/vda", s.disk(root))

	start := time.Now()
	_, err := volumeattach.Create(c.ctx, c.compute, server, volumeattach.CreateOpts{VolumeID: data}).Extract()
	require.NoError(t, err)
	device := s.disk(data)
	t.Logf("attached until the guest sees it: %v", time.Since(start))
	write := "dd if=/dev/urandom of=" + device + " bs=1M count=8 conv=fsync"
	s.run(write)
	first := s.sum(device)
	require.Len(t, first, 64)
	photo, err := snapshots.Create(c.ctx, c.volume, snapshots.CreateOpts{VolumeID: data, Name: "photo", Force: true}).Extract()
	require.NoError(t, err)
	c.until("available", func() (string, error) {
		s, err := snapshots.Get(c.ctx, c.volume, photo.ID).Extract()
		if err != nil {
			return "", err
		}
		return s.Status, nil
	})
	s.run(write)
	second := s.sum(device)
	require.NotEqual(t, first, second)
	require.NoError(t, volumes.ExtendSize(c.ctx, withMicroversion(c.volume, "3.42"), data, volumes.ExtendSizeOpts{NewSize: 2}).ExtractErr())
	require.Eventually(t, func() bool {
		return strings.Contains(s.run("cat /sys/block/"+filepath.Base(device)+"/size"), "4194304")
	}, patience, tick, "the guest sees the new size")

	require.NoError(t, volumeattach.Delete(c.ctx, c.compute, server, data).ExtractErr())
	c.becomes(data, "available")
	c.holds(data, second)
	c.holds(photo.ID, first)

	require.NoError(t, servers.Delete(c.ctx, c.compute, server).ExtractErr())
	c.becomes(root, "available")
	require.NoError(t, snapshots.Delete(c.ctx, c.volume, photo.ID).ExtractErr())
	require.Eventually(t, func() bool {
		_, err := snapshots.Get(c.ctx, c.volume, photo.ID).Extract()
		return gophercloud.ResponseCodeIs(err, 404)
	}, patience, tick)
	for _, v := range []string{root, data} {
		require.NoError(t, volumes.Delete(c.ctx, c.volume, v, nil).ExtractErr())
	}
	require.Eventually(t, func() bool {
		left, err := c.pool.List(c.ctx)
		return err == nil && len(left) == 0
	}, patience, tick)
}

func withMicroversion(client *gophercloud.ServiceClient, version string) *gophercloud.ServiceClient {
	with := *client
	with.Microversion = version
	return &with
}
