//go:build linux

package qemu

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"

	"github.com/google/uuid"
	"github.com/kintoun/kintoun/compute/driver"
	"github.com/kintoun/kintoun/internal/fault"
	"golang.org/x/sys/unix"
)

const (
	// volumePrefix begins the identifier of a volume's device, which its volume's follows.
	volumePrefix = "volume-"
	// serialLength is how much of a volume's identifier a virtio disk's serial number takes.
	serialLength = 20
	// reconnectSeconds is how long a guest's requests wait for the server of a block device to come back.
	reconnectSeconds = 24 * 60 * 60
	// openSeconds bounds the first connection to it.
	openSeconds = 10
)

// volumeKey names everything of a volume in QEMU, whose node names have at most 31 bytes.
func volumeKey(id string) string { return strings.ReplaceAll(id, "-", "")[:28] }

// The names of a volume's objects in QEMU; node is the one that its device is on.
func volumeDevice(id string) string    { return volumePrefix + id }
func volumeNode(id string) string      { return "v-" + volumeKey(id) }
func volumeThrottle(id string) string  { return "t-" + volumeKey(id) }
func volumeSecret(id string) string    { return "s-" + volumeKey(id) }
func volumeKeySecret(id string) string { return "k-" + volumeKey(id) }
func volumeTLS(id string) string       { return "c-" + volumeKey(id) }

func validateVolumes(want driver.Server) error {
	seen, boots := map[string]bool{}, 0
	for _, v := range want.Volumes {
		wrong := func(format string, args ...any) error {
			return fault.Wrap(ErrInvalid, "qemu: server %s: volume %q: %s", want.ID, v.ID, fmt.Sprintf(format, args...))
		}
		if parsed, err := uuid.Parse(v.ID); err != nil || parsed.String() != v.ID {
			return wrong("the identifier is not a UUID in lower case")
		}
		if v.Boot {
			boots++
		}
		switch {
		case seen[v.ID]:
			return wrong("named twice")
		case places(v) != 1:
			return wrong("it is one of a file, a server's and a cluster's")
		case v.RBD != nil && (len(v.RBD.Monitors) == 0 || v.RBD.Pool == "" || v.RBD.Image == ""):
			return wrong("its cluster's monitors, pool or image are missing")
		case v.NBD != nil && (v.NBD.Socket == "") == (v.NBD.Address == ""):
			return wrong("its server has either a socket or an address")
		case v.Format != "raw" && v.Format != "qcow2":
			return wrong("format %q", v.Format)
		case v.Bytes <= 0 || v.Bytes%512 != 0:
			return wrong("%d bytes", v.Bytes)
		case boots > 1:
			return wrong("the server boots from another already")
		}
		for _, address := range addresses(v) {
			if _, _, err := net.SplitHostPort(address); err != nil {
				return wrong("address %q: %v", address, err)
			}
		}
		seen[v.ID] = true
	}
	return nil
}

// places is how many places a volume is said to be at.
func places(v driver.Volume) int {
	n := 0
	for _, at := range []bool{v.Path != "", v.NBD != nil, v.RBD != nil} {
		if at {
			n++
		}
	}
	return n
}

// addresses are the servers that QEMU connects to for a volume.
func addresses(v driver.Volume) []string {
	switch {
	case v.RBD != nil:
		return v.RBD.Monitors
	case v.NBD != nil && v.NBD.Address != "":
		return []string{v.NBD.Address}
	}
	return nil
}

// backend is an open volume in terms of what its QEMU can name: what a volume needs of files, objects and block nodes.
type backend struct {
	volume driver.Volume
	// block says that the file is a block device.
	block bool
	// file is "/dev/fdset/N"; directory, "/dev/fd/N", holds the server's socket.
	file, directory string
	objects         []map[string]any
}

// handOver gives QEMU a file and says what it calls it: "/dev/fdset/N" for block nodes, "/dev/fd/N" for what is opened otherwise.
type handOver func(file *os.File, node bool) (path string, err error)

// open opens what the volume is made of and gives it to QEMU, which opens nothing by a path of its own. Secrets are given as
// files in memory (inline false: QEMU is yet to be started, and its command line is everybody's to read) or as they are.
// The returned directory of credentials is to be removed once QEMU has read them.
func (d *Driver) openVolume(server string, v driver.Volume, inline bool, give handOver) (b *backend, credentials string, err error) {
	b = &backend{volume: v}
	switch {
	case v.Path != "":
		err = b.openFile(give)
	case v.NBD != nil:
		credentials, err = d.openServer(server, b, give)
	case v.RBD.Key != "":
		err = b.openSecret(volumeKeySecret(v.ID), v.RBD.Key, inline, give)
	}
	if err == nil && len(v.Passphrase) > 0 {
		err = b.openSecret(volumeSecret(v.ID), base64.StdEncoding.EncodeToString(v.Passphrase), inline, give)
	}
	if err != nil {
		return nil, credentials, fmt.Errorf("volume %s: %w", v.ID, err)
	}
	if limits := limitOptions(v.Limits); len(limits) > 0 {
		b.objects = append(b.objects, map[string]any{"qom-type": "throttle-group", "id": volumeThrottle(v.ID), "limits": limits})
	}
	return b, credentials, nil
}

func (b *backend) openFile(give handOver) error {
	flag := os.O_RDWR
	if b.volume.ReadOnly {
		flag = os.O_RDONLY
	}
	file, err := os.OpenFile(b.volume.Path, flag, 0)
	if err != nil {
		return fault.Wrap(ErrUnavailable, "%v", err)
	}
	info, err := file.Stat()
	if err == nil && b.volume.Format == "qcow2" {
		_, err = qcow2Size(file) // QEMU opens no other file
	}
	if err != nil {
		return errors.Join(err, file.Close())
	}
	b.block = info.Mode()&os.ModeDevice != 0
	b.file, err = give(file, true)
	return err
}

func (d *Driver) openServer(server string, b *backend, give handOver) (credentials string, err error) {
	n := b.volume.NBD
	if n.Socket != "" {
		directory, err := os.Open(filepath.Dir(n.Socket))
		if err != nil {
			return "", fault.Wrap(ErrUnavailable, "%v", err)
		}
		b.directory, err = give(directory, false)
		return "", err
	}
	if len(n.CA) == 0 {
		return "", nil
	}
	if credentials, err = d.keepCredentials(server, n); err != nil {
		return credentials, err
	}
	directory, err := os.Open(credentials)
	if err != nil {
		return credentials, err
	}
	path, err := give(directory, false)
	b.objects = append(b.objects, map[string]any{
		"qom-type": "tls-creds-x509", "id": volumeTLS(b.volume.ID), "dir": path, "endpoint": "client", "verify-peer": true,
	})
	return credentials, err
}

// keepCredentials writes what QEMU authenticates with where it alone can read it.
func (d *Driver) keepCredentials(server string, n *driver.NBD) (string, error) {
	dir, err := os.MkdirTemp(d.run(server), "tls-")
	if err != nil {
		return "", err
	}
	for name, data := range map[string][]byte{"ca-cert.pem": n.CA, "client-cert.pem": n.Certificate, "client-key.pem": n.Key, "": nil} {
		path := filepath.Join(dir, name)
		if name != "" && len(data) > 0 {
			err = errors.Join(err, os.WriteFile(path, data, 0o600))
		} else if name != "" {
			continue
		}
		if d.credential != nil {
			err = errors.Join(err, os.Chown(path, int(d.credential.Uid), int(d.credential.Gid)))
		}
	}
	return dir, err
}

// openSecret gives QEMU a secret that is in base64.
func (b *backend) openSecret(id, encoded string, inline bool, give handOver) error {
	secret := map[string]any{"qom-type": "secret", "id": id, "format": "base64"}
	b.objects = append(b.objects, secret)
	if inline {
		secret["data"] = encoded
		return nil
	}
	fd, err := unix.MemfdCreate("passphrase", unix.MFD_CLOEXEC)
	if err != nil {
		return err
	}
	file := os.NewFile(uintptr(fd), "passphrase")
	if _, err := file.WriteString(encoded); err != nil {
		return errors.Join(err, file.Close())
	}
	secret["file"], err = give(file, false)
	return err
}

// node is the volume's tree of block nodes: the device is on its top. What the files' own headers name is never opened.
func (b *backend) node() map[string]any {
	v := b.volume
	key := volumeKey(v.ID)
	at := map[string]any{"driver": "file", "filename": b.file, "node-name": "f-" + key}
	switch {
	case v.NBD != nil:
		at = map[string]any{
			"driver": "nbd", "server": b.server(), "export": v.NBD.Export, "node-name": "f-" + key,
			"reconnect-delay": reconnectSeconds, "open-timeout": openSeconds,
		}
		if v.NBD.Address != "" && len(v.NBD.CA) > 0 {
			at["tls-creds"] = volumeTLS(v.ID)
		}
	case v.RBD != nil:
		at = b.cluster()
	case b.block:
		at["driver"] = "host_device"
	}
	at["discard"] = "unmap"
	at = map[string]any{"driver": v.Format, "node-name": "r-" + key, "file": at, "discard": "unmap"}
	if v.Format == "qcow2" {
		at["backing"] = nil
	}
	if len(v.Passphrase) > 0 {
		at = map[string]any{"driver": "luks", "node-name": "l-" + key, "key-secret": volumeSecret(v.ID), "file": at, "discard": "unmap"}
	}
	if len(limitOptions(v.Limits)) > 0 {
		at = map[string]any{"driver": "throttle", "throttle-group": volumeThrottle(v.ID), "file": at}
	}
	at["node-name"] = volumeNode(v.ID)
	for below, ok := at, true; ok && v.ReadOnly; below, ok = below["file"].(map[string]any) {
		below["read-only"] = true
	}
	return at
}

// cluster is the node of an image in a Ceph cluster.
func (b *backend) cluster() map[string]any {
	r := b.volume.RBD
	at := map[string]any{"driver": "rbd", "node-name": "f-" + volumeKey(b.volume.ID), "pool": r.Pool, "image": r.Image, "auth-client-required": []string{"none"}}
	if r.Namespace != "" {
		at["namespace"] = r.Namespace
	}
	if r.User != "" {
		at["user"] = r.User
	}
	if r.Key != "" {
		at["key-secret"], at["auth-client-required"] = volumeKeySecret(b.volume.ID), []string{"cephx"}
	}
	var monitors []map[string]string
	for _, address := range r.Monitors {
		host, port, _ := net.SplitHostPort(address)
		monitors = append(monitors, map[string]string{"host": host, "port": port})
	}
	at["server"] = monitors
	return at
}

func (b *backend) server() map[string]any {
	n := b.volume.NBD
	if n.Socket != "" {
		return map[string]any{"type": "unix", "path": b.directory + "/" + filepath.Base(n.Socket)}
	}
	host, port, _ := net.SplitHostPort(n.Address)
	return map[string]any{"type": "inet", "host": host, "port": port}
}

// device is the disk that the guest sees, on a port.
func volumeOptions(v driver.Volume, port string) map[string]any {
	o := map[string]any{
		"driver": "virtio-blk-pci", "id": volumeDevice(v.ID), "drive": volumeNode(v.ID), "bus": port, "serial": v.ID[:serialLength],
		// A full pool is the guest's to see: nobody would set a stopped one going again.
		"werror": "report", "rerror": "report",
	}
	if v.Shared {
		o["share-rw"] = true
	}
	return o
}

// limitOptions are a throttle group's, without those that are no limit.
func limitOptions(l driver.DiskLimits) map[string]any {
	options := map[string]any{}
	for name, limit := range map[string]int64{
		"iops-total": l.IOPS, "iops-read": l.ReadIOPS, "iops-write": l.WriteIOPS,
		"bps-total": l.Bytes, "bps-read": l.ReadBytes, "bps-write": l.WriteBytes,
	} {
		if limit > 0 {
			options[name] = limit
		}
	}
	return options
}

// arguments are the volume on QEMU's command line.
func (b *backend) arguments(port string, boot int) []string {
	var args []string
	for _, o := range b.objects {
		args = append(args, "-object", object(o))
	}
	device := volumeOptions(b.volume, port)
	if b.volume.Boot {
		device["bootindex"] = boot
	}
	return append(args, "-blockdev", object(b.node()), "-device", object(device))
}
