//go:build linux

package filevolume_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/google/uuid"
	"github.com/kintoun/kintoun/internal/lab/labtest"
	"github.com/kintoun/kintoun/volume/driver"
	"github.com/kintoun/kintoun/volume/drivertest"
	"github.com/kintoun/kintoun/volume/filevolume"
	"github.com/kintoun/kintoun/volume/internal/nbd"
	"github.com/kintoun/kintoun/volume/internal/volumetest"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// connected is a pool with a volume that another host has connected.
func connected(t *testing.T) (dir string, o *filevolume.Options, d *filevolume.Driver, c driver.Connection, target driver.Target) {
	t.Helper()
	labtest.RequireProgram(t, "qemu-storage-daemon", "qemu-system-common")
	dir, o = pool(t, 1<<30)
	remote(o)
	d = driverOf(t, dir, o)
	c = driver.Connection{ID: uuid.NewString(), VolumeID: uuid.NewString(), Host: drivertest.Host}
	require.NoError(t, d.Apply(t.Context(), driver.Volume{ID: c.VolumeID, Bytes: 64 << 20}))
	target, err := d.Connect(t.Context(), c)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, driverOf(t, dir, o).Disconnect(cleanup(t), c.VolumeID, c.ID)) })
	return dir, o, d, c, target
}

// pidOf is the process number of a connection's server.
func pidOf(t *testing.T, dir string, c driver.Connection) int {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(dir, "connections", c.VolumeID, c.ID, "pid"))
	require.NoError(t, err)
	pid, err := strconv.Atoi(strings.Fields(string(data))[0])
	require.NoError(t, err)
	return pid
}

// TestServersOutlive has servers that go on without the driver, are found by the next one, and are started again when they were
// killed: at the same address, with the same certificates.
func TestServersOutlive(t *testing.T) {
	dir, o, _, c, target := connected(t)
	pid := pidOf(t, dir, c)
	dev := volumetest.Reach(t, target)
	_, err := dev.WriteAt([]byte("before"), 0)
	require.NoError(t, err)
	require.NoError(t, dev.Sync())
	d := driverOf(t, dir, o)
	again, err := d.Connect(t.Context(), c)
	require.NoError(t, err)
	require.Equal(t, target, again)
	require.Equal(t, pid, pidOf(t, dir, c))
	_, err = dev.WriteAt([]byte("after!"), 0)
	require.NoError(t, err, "nobody disturbed it")
	require.NoError(t, dev.Sync())

	require.NoError(t, syscall.Kill(pid, syscall.SIGKILL))
	_, err = dev.ReadAt(make([]byte, 6), 0)
	require.Error(t, err)
	require.NoError(t, dev.Close())
	again, err = d.Connect(t.Context(), c)
	require.NoError(t, err)
	require.Equal(t, target, again)
	require.NotEqual(t, pid, pidOf(t, dir, c))
	dev = volumetest.Reach(t, again)
	b := make([]byte, 6)
	_, err = dev.ReadAt(b, 0)
	require.NoError(t, err)
	require.Equal(t, "after!", string(b))
	require.NoError(t, dev.Close())

	pid = pidOf(t, dir, c)
	require.NoError(t, d.Disconnect(t.Context(), c.VolumeID, c.ID))
	volumetest.Gone(t, pid)
	_, err = nbd.Dial(t.Context(), "tcp", target.NBD.Address, nil)
	require.ErrorIs(t, err, syscall.ECONNREFUSED)
}

// TestServersAreUnprivileged has them run as the account that they were told, with nothing but the volume.
func TestServersAreUnprivileged(t *testing.T) {
	dir, _, d, c, _ := connected(t)
	data, err := os.ReadFile("/proc/" + strconv.Itoa(pidOf(t, dir, c)) + "/status")
	require.NoError(t, err)
	require.Regexp(t, `(?m)^Uid:\t65534\t65534\t65534\t65534$`, string(data))
	require.Regexp(t, `(?m)^Groups:\t\s*$`, string(data))
	require.Regexp(t, `(?m)^CapEff:\t0000000000000000$`, string(data))
	devices, err := os.ReadFile("/proc/" + strconv.Itoa(pidOf(t, dir, c)) + "/net/dev")
	require.NoError(t, err)
	require.Equal(t, 1, strings.Count(string(devices), ":"), "a network with a loopback device alone")

	owner := func() uint32 {
		var stat unix.Stat_t
		require.NoError(t, unix.Stat(filepath.Join(dir, "volume-"+c.VolumeID), &stat))
		return stat.Uid
	}
	require.Equal(t, uint32(65534), owner())
	require.NoError(t, d.Disconnect(t.Context(), c.VolumeID, c.ID))
	require.Zero(t, owner())
}

// TestOnlyTheConnectionsHostIsLetIn tries without a certificate, with another connection's, and without TLS.
func TestOnlyTheConnectionsHostIsLetIn(t *testing.T) {
	_, _, d, c, target := connected(t)
	other := driver.Connection{ID: uuid.NewString(), VolumeID: uuid.NewString(), Host: drivertest.Host}
	require.NoError(t, d.Apply(t.Context(), driver.Volume{ID: other.VolumeID, Bytes: 64 << 20}))
	theirs, err := d.Connect(t.Context(), other)
	require.NoError(t, err)
	pair, err := tls.X509KeyPair(theirs.NBD.TLS.Certificate, theirs.NBD.TLS.Key)
	require.NoError(t, err)
	roots := x509.NewCertPool()
	require.True(t, roots.AppendCertsFromPEM(target.NBD.TLS.CA))
	for name, config := range map[string]*tls.Config{
		"no TLS":                       nil,
		"no certificate":               {RootCAs: roots, ServerName: "127.0.0.1", MinVersion: tls.VersionTLS12},
		"another connection's":         {RootCAs: roots, ServerName: "127.0.0.1", MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{pair}},
		"another connection's, forced": {RootCAs: roots, ServerName: "127.0.0.1", MinVersion: tls.VersionTLS12, GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &pair, nil }},
	} {
		_, err := nbd.Dial(t.Context(), "tcp", target.NBD.Address, &nbd.Options{Export: c.VolumeID, TLS: config})
		require.Error(t, err, name)
	}
	require.NoError(t, volumetest.Reach(t, target).Close(), "the right one")
	require.NoError(t, d.Disconnect(t.Context(), other.VolumeID, other.ID))
}

// TestQEMUConnects has QEMU's own client read what ours wrote.
func TestQEMUConnects(t *testing.T) {
	labtest.RequireProgram(t, "qemu-img", "qemu-utils")
	_, _, _, c, target := connected(t)
	dev := volumetest.Reach(t, target)
	_, err := dev.WriteAt([]byte("kintoun"), 1<<20)
	require.NoError(t, err)
	require.NoError(t, dev.Close())
	dir := t.TempDir()
	for name, content := range map[string][]byte{"ca-cert.pem": target.NBD.TLS.CA, "client-cert.pem": target.NBD.TLS.Certificate, "client-key.pem": target.NBD.TLS.Key} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), content, 0o600))
	}
	_, port, _ := strings.Cut(target.NBD.Address, ":")
	out, err := exec.CommandContext(t.Context(), "qemu-img", "convert", "-O", "raw", "--object", "tls-creds-x509,id=t,endpoint=client,verify-peer=on,dir="+dir,
		"--image-opts", "driver=nbd,host=127.0.0.1,port="+port+",tls-creds=t,export="+c.VolumeID, filepath.Join(dir, "raw")).CombinedOutput()
	require.NoError(t, err, "%s", out)
	content, err := os.ReadFile(filepath.Join(dir, "raw"))
	require.NoError(t, err)
	require.Equal(t, "kintoun", string(content[1<<20:][:7]))
	require.Len(t, content, 64<<20)
}

// TestNoAddressForOthers refuses, and leaves no connection.
func TestNoAddressForOthers(t *testing.T) {
	dir, o := pool(t, 1<<30)
	d := driverOf(t, dir, o)
	c := driver.Connection{ID: uuid.NewString(), VolumeID: uuid.NewString(), Host: "elsewhere"}
	require.NoError(t, d.Apply(t.Context(), driver.Volume{ID: c.VolumeID, Bytes: 1 << 20}))
	_, err := d.Connect(t.Context(), c)
	require.ErrorIs(t, err, filevolume.ErrUnavailable)
	require.NoError(t, d.Remove(t.Context(), c.VolumeID))
}

// TestAKilledServerIsTold has a watcher hear of a server that was killed, of the one that takes its place, and of none when the
// connection is over.
func TestAKilledServerIsTold(t *testing.T) {
	dir, o, _, c, _ := connected(t)
	d := driverOf(t, dir, o)
	ctx, cancel := context.WithCancel(t.Context())
	heard, done := make(chan string, 8), make(chan error, 1)
	go func() { done <- d.Watch(ctx, func(id string) { heard <- id }) }()
	for range 3 {
		pid := pidOf(t, dir, c)
		require.NoError(t, syscall.Kill(pid, syscall.SIGKILL))
		require.Equal(t, c.ID, <-heard)
		_, err := d.Connect(t.Context(), c)
		require.NoError(t, err)
		require.NotEqual(t, pid, pidOf(t, dir, c))
	}
	cancel()
	require.ErrorIs(t, <-done, context.Canceled)
}
