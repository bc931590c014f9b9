//go:build linux

package qemu_test

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/kintoun/kintoun/compute/driver"
	"github.com/kintoun/kintoun/compute/drivertest"
	"github.com/kintoun/kintoun/compute/qemu"
	"github.com/kintoun/kintoun/internal/lab/labtest"
	"github.com/stretchr/testify/require"
)

// shell is a guest's, on its serial console.
type shell struct {
	t    *testing.T
	conn net.Conn
	in   *bufio.Reader
	n    int
}

// login boots the small guest with the volumes and logs in.
func login(t *testing.T, d *qemu.Driver, o *qemu.Options, volumes ...driver.Volume) (*shell, driver.Server) {
	t.Helper()
	labtest.Require(t)
	want := guest(t)
	want.Hard, want.Volumes = true, volumes
	t.Cleanup(func() { require.NoError(t, d.Remove(context.WithoutCancel(t.Context()), want.ID)) })
	require.NoError(t, d.Apply(t.Context(), want))
	awaitConsole(t, d, want.ID, "login:", 1)
	conn, err := net.Dial("unix", filepath.Join(o.Dir, "run", want.ID, "serial"))
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	s := &shell{t: t, conn: conn, in: bufio.NewReader(conn)}
	s.say("cirros\n")
	s.await(regexp.MustCompile(`assword:`))
	s.say("gocubsgo\n")
	s.await(regexp.MustCompile(`\$ `))
	s.run("stty -echo")
	return s, want
}

func (s *shell) say(text string) {
	s.t.Helper()
	_, err := s.conn.Write([]byte(text))
	require.NoError(s.t, err)
}

// await reads until something matches, and returns what was read.
func (s *shell) await(what *regexp.Regexp) string {
	s.t.Helper()
	require.NoError(s.t, s.conn.SetReadDeadline(time.Now().Add(2*time.Minute)))
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

// awaitDisk waits until the guest has a disk of that serial number with that size.
func (s *shell) awaitDisk(v driver.Volume, bytes int64) string {
	s.t.Helper()
	var name string
	require.Eventually(s.t, func() bool {
		out := s.run("cd /sys/block; for d in vd*; do echo =$d $(cat $d/serial) $(cat $d/size)=; done")
		for _, line := range strings.Split(out, "\n") {
			fields := strings.Fields(strings.Trim(strings.TrimSpace(line), "="))
			if len(fields) == 3 && fields[1] == v.ID[:20] && fields[2] == fmt.Sprint(bytes/512) {
				name = "/dev/" + fields[0]
			}
		}
		return name != ""
	}, time.Minute, 50*time.Millisecond)
	return name
}

func TestGuestUsesVolumes(t *testing.T) {
	o := options(t)
	d, err := qemu.New(t.Context(), o)
	require.NoError(t, err)
	dir := t.TempDir()
	early := fileVolume(t, dir, 8<<20, nil)
	s, want := login(t, d, o, early)
	require.Equal(t, "/dev/vdb", s.awaitDisk(early, early.Bytes))
	late := fileVolume(t, dir, 8<<20, nil)
	late.Limits = driver.DiskLimits{IOPS: 1000, WriteBytes: 4 << 20}
	start := time.Now()
	want.Volumes = []driver.Volume{early, late}
	require.NoError(t, d.Apply(t.Context(), want))
	name := s.awaitDisk(late, late.Bytes)
	t.Logf("attached until the guest sees it: %v", time.Since(start))
	s.run("echo hello-from-the-guest | dd of=" + name + " conv=fsync")
	content, err := os.ReadFile(late.Path)
	require.NoError(t, err)
	require.True(t, strings.HasPrefix(string(content), "hello-from-the-guest\n"))

	require.NoError(t, os.Truncate(late.Path, 16<<20))
	want.Volumes[1].Bytes = 16 << 20
	require.NoError(t, d.Apply(t.Context(), want))
	require.Equal(t, name, s.awaitDisk(late, 16<<20))

	readOnly := fileVolume(t, dir, 1<<20, []byte("mine"))
	readOnly.ReadOnly = true
	want.Volumes = []driver.Volume{want.Volumes[1], readOnly}
	require.NoError(t, d.Apply(t.Context(), want))
	require.Contains(t, s.run("cat /sys/block/"+filepath.Base(s.awaitDisk(readOnly, 1<<20))+"/ro"), "1")
	require.NotContains(t, s.run("cat /sys/block/vd*/serial"), early.ID[:20])
	// The file is free: another server may have it.
	require.NoError(t, exec.Command("qemu-io", "-f", "raw", "-c", "write 0 512", early.Path).Run())
	require.Error(t, exec.Command("qemu-io", "-f", "raw", "-c", "write 0 512", late.Path).Run(), "one that is attached is locked")
}

// TestBlockDevices are volumes as LVM has them: a guest has one from the start, another comes, grows, and goes.
func TestBlockDevices(t *testing.T) {
	labtest.RequireProgram(t, "losetup", "mount")
	o := options(t)
	d, err := qemu.New(t.Context(), o)
	require.NoError(t, err)
	dir := t.TempDir()
	var volumes []driver.Volume
	var files []string
	for range 2 {
		v := fileVolume(t, dir, 8<<20, nil)
		files = append(files, v.Path)
		out, err := exec.Command("losetup", "--find", "--show", v.Path).Output()
		require.NoError(t, err)
		v.Path = strings.TrimSpace(string(out))
		t.Cleanup(func() { require.NoError(t, exec.Command("losetup", "--detach", v.Path).Run()) })
		volumes = append(volumes, v)
	}
	s, want := login(t, d, o, volumes[0])
	s.awaitDisk(volumes[0], 8<<20)
	want.Volumes = volumes
	require.NoError(t, d.Apply(t.Context(), want))
	require.NoError(t, os.Truncate(files[1], 16<<20))
	require.NoError(t, exec.Command("losetup", "--set-capacity", volumes[1].Path).Run())
	s.awaitDisk(volumes[1], 8<<20)
	want.Volumes[1].Bytes = 16 << 20
	require.NoError(t, d.Apply(t.Context(), want))
	s.run("echo at-the-end | dd bs=512 seek=32767 of=" + s.awaitDisk(volumes[1], 16<<20) + " conv=fsync")
	want.Volumes = want.Volumes[:1]
	require.NoError(t, d.Apply(t.Context(), want))
	content, err := os.ReadFile(files[1])
	require.NoError(t, err)
	require.True(t, strings.HasPrefix(string(content[16<<20-512:]), "at-the-end\n"))
}

// TestEncryptedVolumes are LUKS containers, opened at the start and while the server runs.
func TestEncryptedVolumes(t *testing.T) {
	o := options(t)
	d, err := qemu.New(t.Context(), o)
	require.NoError(t, err)
	make := func() driver.Volume {
		v := driver.Volume{ID: uuid.NewString(), Format: "raw", Bytes: 4 << 20, Passphrase: []byte("open sesame")}
		v.Path = filepath.Join(t.TempDir(), "volume")
		// On a busy machine qemu-img may fail to measure how fast it is.
		require.Eventually(t, func() bool {
			return exec.Command("qemu-img", "create", "-f", "luks", "--object", "secret,id=s,data=open sesame", "-o", "key-secret=s,iter-time=10", v.Path, "4M").Run() == nil
		}, time.Minute, time.Millisecond)
		return v
	}
	early, late := make(), make()
	s, want := login(t, d, o, early)
	line, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", processes(t, want.ID)[0]))
	require.NoError(t, err)
	require.NotContains(t, string(line), "sesame")
	require.NotContains(t, string(line), "b3BlbiBzZXNhbWU", "nor in base64")
	want.Volumes = []driver.Volume{early, late}
	require.NoError(t, d.Apply(t.Context(), want))
	for _, v := range want.Volumes {
		s.run("echo secret-of-the-guest | dd of=" + s.awaitDisk(v, v.Bytes) + " conv=fsync")
		content, err := os.ReadFile(v.Path)
		require.NoError(t, err)
		require.NotContains(t, string(content), "secret-of-the-guest")
	}
	wrong := make()
	wrong.Passphrase = []byte("open barley")
	want.Volumes = append(want.Volumes, wrong)
	require.ErrorContains(t, d.Apply(t.Context(), want), "Invalid password")
	wrong.Passphrase = []byte("open sesame")
	want.Volumes[2] = wrong
	require.NoError(t, d.Apply(t.Context(), want), "nothing is left of the first try")
}

// daemon serves a file by NBD; it can be killed and started again.
type daemon struct {
	t    *testing.T
	args []string
	cmd  *exec.Cmd
}

func (s *daemon) start(ready func() bool) {
	s.t.Helper()
	s.cmd = exec.Command("qemu-storage-daemon", s.args...)
	s.cmd.Stderr = os.Stderr
	require.NoError(s.t, s.cmd.Start())
	require.Eventually(s.t, ready, time.Minute, 10*time.Millisecond)
}

func (s *daemon) kill() {
	_ = s.cmd.Process.Kill()
	_ = s.cmd.Wait()
}

// TestVolumesOfAServer are reached by a socket below a directory that QEMU's account cannot enter. The daemon's death only
// stalls the guest.
func TestVolumesOfAServer(t *testing.T) {
	labtest.RequireProgram(t, "qemu-storage-daemon", "qemu-system-common")
	o := options(t)
	d, err := qemu.New(t.Context(), o)
	require.NoError(t, err)
	dir, err := os.MkdirTemp("", "n")
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	require.NoError(t, os.Mkdir(filepath.Join(dir, "s"), 0o711))
	socket := filepath.Join(dir, "s", "nbd")
	file := fileVolume(t, dir, 8<<20, nil)
	server := &daemon{t: t, args: []string{
		"--blockdev", "file,node-name=disk,filename=" + file.Path, "--nbd-server", "addr.type=unix,addr.path=" + socket,
		"--export", "nbd,id=e,node-name=disk,name=volume,writable=on",
	}}
	ready := func() bool { return os.Chmod(socket, 0o666) == nil }
	server.start(ready)
	t.Cleanup(func() { server.kill() })
	v := driver.Volume{ID: file.ID, Format: "raw", Bytes: file.Bytes, NBD: &driver.NBD{Socket: socket, Export: "volume"}}

	s, want := login(t, d, o)
	want.Volumes = []driver.Volume{v}
	require.NoError(t, d.Apply(t.Context(), want))
	name := s.awaitDisk(v, v.Bytes)
	s.run("echo first | dd of=" + name + " conv=fsync")
	server.kill()
	s.say("sudo sh -c 'echo second | dd of=" + name + " conv=fsync'; echo E''ND=$?.\n")
	require.NoError(t, os.Remove(socket))
	server.start(ready)
	require.Contains(t, s.await(regexp.MustCompile(`END=\d+\.`)), "END=0.")
	content, err := os.ReadFile(file.Path)
	require.NoError(t, err)
	require.Equal(t, "second\n", string(content[:7]))

	// It grows: the daemon is told by being started anew.
	server.kill()
	require.NoError(t, os.Truncate(file.Path, 16<<20))
	require.NoError(t, os.Remove(socket))
	server.start(ready)
	want.Volumes[0].Bytes = 16 << 20
	require.NoError(t, d.Apply(t.Context(), want))
	s.awaitDisk(v, 16<<20)
	s.run("dd if=" + name + " of=/dev/null bs=1M skip=15")

	want.Volumes = nil
	require.NoError(t, d.Apply(t.Context(), want))
	disks, err := d.Disks(t.Context(), want.ID)
	require.NoError(t, err)
	require.Empty(t, disks)
	want.Volumes, want.Boots = []driver.Volume{v}, 2
	want.Volumes[0].Bytes = 16 << 20
	require.NoError(t, d.Apply(t.Context(), want), "at the start, too")
}

// TestVolumesOverTLS authenticate both ends.
func TestVolumesOverTLS(t *testing.T) {
	labtest.Require(t)
	labtest.RequireProgram(t, "qemu-storage-daemon", "qemu-system-common")
	o, image := options(t), drivertest.BootSectorImage(t)
	d, err := qemu.New(t.Context(), o)
	require.NoError(t, err)
	dir := t.TempDir()
	file := fileVolume(t, dir, 4<<20, nil)
	ca, cert, key := certificates(t)
	for name, data := range map[string][]byte{"ca-cert.pem": ca, "server-cert.pem": cert, "server-key.pem": key} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), data, 0o600))
	}
	const address = "127.0.0.1:10809"
	server := &daemon{t: t, args: []string{
		"--object", "tls-creds-x509,id=tls,endpoint=server,verify-peer=on,dir=" + dir,
		"--blockdev", "file,node-name=disk,filename=" + file.Path, "--nbd-server", "addr.type=inet,addr.host=127.0.0.1,addr.port=10809,tls-creds=tls",
		"--export", "nbd,id=e,node-name=disk,name=volume,writable=on",
	}}
	server.start(func() bool {
		conn, err := net.Dial("tcp", address)
		return err == nil && conn.Close() == nil
	})
	t.Cleanup(server.kill)
	v := driver.Volume{ID: file.ID, Format: "raw", Bytes: file.Bytes, NBD: &driver.NBD{Address: address, Export: "volume", CA: ca, Certificate: cert, Key: key}}
	want := driver.Server{ID: uuid.NewString(), VCPUs: 1, MemoryMiB: 16, Running: true, Boots: 1, Hard: true, Root: driver.Disk{Base: image, Format: "raw"}, Volumes: []driver.Volume{v}}
	t.Cleanup(func() { require.NoError(t, d.Remove(context.WithoutCancel(t.Context()), want.ID)) })
	require.NoError(t, d.Apply(t.Context(), want))
	disks, err := d.Disks(t.Context(), want.ID)
	require.NoError(t, err)
	require.Equal(t, []driver.ObservedVolume{{ID: v.ID, Bytes: v.Bytes}}, disks)
	left, err := filepath.Glob(filepath.Join(o.Dir, "run", want.ID, "tls-*"))
	require.NoError(t, err)
	require.Empty(t, left, "keys are not left lying about")

	other := driver.Server{ID: uuid.NewString(), VCPUs: 1, MemoryMiB: 16, Running: true, Boots: 1, Hard: true, Root: driver.Disk{Base: image, Format: "raw"}}
	t.Cleanup(func() { require.NoError(t, d.Remove(context.WithoutCancel(t.Context()), other.ID)) })
	require.NoError(t, d.Apply(t.Context(), other))
	bad := *v.NBD
	bad.CA, _, _ = certificates(t)
	v.NBD, v.Shared = &bad, true
	other.Volumes = []driver.Volume{v}
	require.Error(t, d.Apply(t.Context(), other), "another authority's server is not talked to")
}

// certificates are an authority's and one that is good for both ends.
func certificates(t *testing.T) (ca, cert, key []byte) {
	t.Helper()
	authorityKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	authority := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "volumes"}, NotAfter: time.Now().Add(time.Hour), IsCA: true,
		BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	caDER, err := x509.CreateCertificate(rand.Reader, authority, authority, &authorityKey.PublicKey, authorityKey)
	require.NoError(t, err)
	peerKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	peer := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "host"}, NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, peer, authority, &peerKey.PublicKey, authorityKey)
	require.NoError(t, err)
	pkcs8, err := x509.MarshalPKCS8PrivateKey(peerKey)
	require.NoError(t, err)
	encode := func(kind string, data []byte) []byte { return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: data}) }
	return encode("CERTIFICATE", caDER), encode("CERTIFICATE", der), encode("PRIVATE KEY", pkcs8)
}

// TestGuestThatKeepsADisk has no system that would let go of one.
func TestGuestThatKeepsADisk(t *testing.T) {
	o, image := options(t), drivertest.BootSectorImage(t)
	d, err := qemu.New(t.Context(), o)
	require.NoError(t, err)
	v := fileVolume(t, t.TempDir(), 1<<20, nil)
	want := driver.Server{ID: uuid.NewString(), VCPUs: 1, MemoryMiB: 16, Running: true, Boots: 1, Hard: true, Root: driver.Disk{Base: image, Format: "raw"}, Volumes: []driver.Volume{v}}
	t.Cleanup(func() { require.NoError(t, d.Remove(context.WithoutCancel(t.Context()), want.ID)) })
	require.NoError(t, d.Apply(t.Context(), want))
	want.Volumes = nil
	err = d.Apply(t.Context(), want)
	require.ErrorIs(t, err, qemu.ErrUnavailable)
	require.ErrorContains(t, err, "the guest does not let go of volume "+v.ID)
	disks, err := d.Disks(t.Context(), want.ID)
	require.NoError(t, err)
	require.Len(t, disks, 1)
	want.Boots = 2
	require.NoError(t, d.Apply(t.Context(), want))
	disks, err = d.Disks(t.Context(), want.ID)
	require.NoError(t, err)
	require.Empty(t, disks)
}
