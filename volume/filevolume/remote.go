//go:build linux

package filevolume

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/kintoun/kintoun/internal/fault"
	"github.com/kintoun/kintoun/internal/process"
	"github.com/kintoun/kintoun/volume/driver"
	"github.com/kintoun/kintoun/volume/internal/nbd"
	"golang.org/x/sys/unix"
)

const (
	// answerTime is how long a server may take to start, or to say that it lives.
	answerTime = 10 * time.Second
	// stopGrace is how long it may take to write what is under way.
	stopGrace = 10 * time.Second
	serverLog = "log"
)

// serve has a server of the volume run for a connection from another host, and returns how it is reached.
func (d *Driver) serve(ctx context.Context, c *connection, x described) (*driver.NBD, error) {
	if d.o.Listen == "" {
		return nil, fault.Wrap(ErrUnavailable, "host %s is not the pool's, %s, and Options.Listen names no address for others", c.Host, d.o.Host)
	}
	dir := d.connectionDir(*c)
	running, err := process.Find(dir)
	if err != nil {
		return nil, err
	}
	if running != nil && c.Address != "" {
		target, err := d.answers(ctx, c, x, time.Second)
		if err == nil || ctx.Err() != nil {
			return target, err
		}
	}
	if running != nil {
		if err := running.Stop(ctx, stopGrace); err != nil {
			return nil, err
		}
	}
	if err := d.startServer(ctx, c); err != nil {
		return nil, err
	}
	target, err := d.answers(ctx, c, x, answerTime)
	if err != nil {
		log, _ := os.ReadFile(filepath.Join(dir, serverLog))
		return nil, fmt.Errorf("qemu-storage-daemon does not answer: %w: %s", err, strings.TrimSpace(string(log[max(0, len(log)-1000):])))
	}
	return target, nil
}

// startServer starts one at the address that the connection had before, if that is free.
func (d *Driver) startServer(ctx context.Context, c *connection) error {
	program, err := findServer()
	if err != nil {
		return err
	}
	listener, err := d.listen(ctx, c)
	if err != nil {
		return err
	}
	// The server is given another descriptor of the same socket.
	defer func() { _ = listener.Close() }()
	socket, err := listener.File()
	if err != nil {
		return err
	}
	defer func() { _ = socket.Close() }()
	dir := d.connectionDir(*c)
	certificates, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer func() { _ = certificates.Close() }()
	volume, err := open(d.volumePath(c.VolumeID), os.O_RDWR)
	if err != nil {
		return err
	}
	defer func() { _ = volume.Close() }()
	account, err := d.account()
	if err == nil {
		err = d.give(account, dir, volume)
	}
	if err != nil {
		return err
	}
	onOff := map[bool]string{true: "on", false: "off"}
	_, err = process.Start(process.Spec{
		Dir: dir, Path: program, Output: filepath.Join(dir, serverLog), Credential: account, Cloneflags: sandbox(),
		// By descriptors: the directories above may be closed to its account. Who may write is ours to say, not a lock's.
		Files: []*os.File{volume, certificates, socket},
		Args: []string{
			"--object", "tls-creds-x509,id=tls,endpoint=server,verify-peer=on,dir=/proc/self/fd/4",
			"--blockdev", "driver=file,node-name=volume,filename=/proc/self/fd/3,cache.direct=on,discard=unmap,locking=off,read-only=" + onOff[c.ReadOnly],
			"--nbd-server", "addr.type=fd,addr.str=5,tls-creds=tls",
			"--export", "type=nbd,id=volume,node-name=volume,name=" + c.VolumeID + ",writable=" + onOff[!c.ReadOnly],
		},
	})
	return err
}

// sandbox are the namespaces of a server's own: the network it has is the socket that it is given.
func sandbox() uintptr {
	if os.Geteuid() != 0 {
		return 0
	}
	return unix.CLONE_NEWNET | unix.CLONE_NEWIPC | unix.CLONE_NEWUTS
}

// listen opens the connection's address, and keeps a new one in its file, with certificates for it.
func (d *Driver) listen(ctx context.Context, c *connection) (*net.TCPListener, error) {
	var config net.ListenConfig
	if c.Address != "" {
		if l, err := config.Listen(ctx, "tcp", c.Address); err == nil {
			return asTCP(l)
		}
	}
	l, err := config.Listen(ctx, "tcp", net.JoinHostPort(d.o.Listen, "0"))
	if err != nil {
		return nil, err
	}
	c.Address = l.Addr().String()
	if err := errors.Join(makeCertificates(d.connectionDir(*c), c.ID, c.Address), d.keep(*c)); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return asTCP(l)
}

func asTCP(l net.Listener) (*net.TCPListener, error) {
	tcp, ok := l.(*net.TCPListener)
	if !ok {
		return nil, errors.Join(fmt.Errorf("listening on %s is not TCP", l.Addr()), l.Close())
	}
	return tcp, nil
}

// account is whom servers run as; nil is who we are.
func (d *Driver) account() (*syscall.Credential, error) {
	if d.o.User == "" {
		return nil, nil //nolint:nilnil // nobody else
	}
	u, err := user.Lookup(d.o.User)
	if err != nil {
		return nil, err
	}
	uid, err := strconv.ParseUint(u.Uid, 10, 32)
	if err != nil {
		return nil, err
	}
	gid, err := strconv.ParseUint(u.Gid, 10, 32)
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, err
}

// give lets the account open the volume, and its own certificate.
func (d *Driver) give(account *syscall.Credential, dir string, volume *os.File) error {
	if account == nil {
		return nil
	}
	uid, gid := int(account.Uid), int(account.Gid)
	return errors.Join(volume.Chown(uid, gid), os.Chown(dir, uid, gid),
		os.Chown(filepath.Join(dir, caFile), uid, gid), os.Chown(filepath.Join(dir, serverCertFile), uid, gid), os.Chown(filepath.Join(dir, serverKeyFile), uid, gid))
}

// answers asks the server what it exports, as the connected host will.
func (d *Driver) answers(ctx context.Context, c *connection, x described, patience time.Duration) (*driver.NBD, error) {
	credentials, err := clientTLS(d.connectionDir(*c))
	if err != nil {
		return nil, err
	}
	target := &driver.NBD{Address: c.Address, Export: c.VolumeID, TLS: credentials}
	config, err := config(target)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	client, err := nbd.Dial(ctx, "tcp", c.Address, &nbd.Options{Export: c.VolumeID, TLS: config})
	if err != nil {
		return nil, err
	}
	size := client.Size()
	if err := client.Close(); err != nil {
		return nil, err
	}
	if size != x.outside+x.bytes {
		return nil, fmt.Errorf("an export of %d bytes, not %d", size, x.outside+x.bytes)
	}
	return target, nil
}

// config is a client's, of what a target says.
func config(target *driver.NBD) (*tls.Config, error) {
	host, _, err := net.SplitHostPort(target.Address)
	if err != nil {
		return nil, err
	}
	pair, err := tls.X509KeyPair(target.TLS.Certificate, target.TLS.Key)
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(target.TLS.CA)
	return &tls.Config{RootCAs: roots, Certificates: []tls.Certificate{pair}, ServerName: host, MinVersion: tls.VersionTLS13}, nil
}

// stopServer ends a connection's server, if it has one, when what it was told to write is written. The last one's account gives
// the volume back.
func (d *Driver) stopServer(ctx context.Context, c connection) error {
	running, err := process.Find(d.connectionDir(c))
	if err != nil {
		return err
	}
	if running != nil {
		if err := running.Stop(ctx, stopGrace); err != nil {
			return err
		}
	}
	list, err := d.connectionsOf(c.VolumeID)
	if err != nil || d.o.User == "" || len(list) > 1 {
		return err
	}
	return unlessMissing(os.Lchown(d.volumePath(c.VolumeID), os.Geteuid(), os.Getegid()))
}
