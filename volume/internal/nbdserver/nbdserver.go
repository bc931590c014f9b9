//go:build linux

// Package nbdserver runs qemu-storage-daemons, each of which serves one block node to the host of one connection, by the Network
// Block Device protocol over TLS on a port of its own.
//
//	server := nbdserver.Server{Dir: dir, ID: connection, Export: volume, Listen: "192.0.2.1", Bytes: 1 << 30, …}
//	target, err := server.Serve(ctx)
//
// A server runs in namespaces of its own, where the only network is the socket that it is given; it lets in who has its
// connection's certificate, outlives this process, is found again by its directory, and is started again at the same address.
//
// It needs qemu-storage-daemon. It does not know what it serves: a [Backend] says. Errors are of the system, and [probe.Missing].
// Calls for different directories may be made at once.
package nbdserver

import (
	"cmp"
	"context"
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

	"github.com/kintoun/kintoun/internal/process"
	"github.com/kintoun/kintoun/volume/driver"
	"golang.org/x/sys/unix"
)

const (
	// answerTime is how long a server may take to start by default; patience is how long one that runs may take to say that it lives.
	answerTime, patience = 10 * time.Second, time.Second
	// stopGrace is how long it may take to write what is under way.
	stopGrace = 10 * time.Second
	serverLog = "log"
)

// Server is a connection's.
type Server struct {
	// Dir is its state directory, which exists.
	Dir string
	// ID is the connection's identifier, Export the name of what it exports, of so many bytes.
	ID, Export string
	Bytes      int64
	ReadOnly   bool
	// Listen is the IP address that it listens at; Address is the "host:port" that it had before, if it had one.
	Listen, Address string
	// Keep is told a new address before anybody can connect to it.
	Keep func(address string) error
	// Started is told of the process when one is started; it may be nil.
	Started func(*process.Process)
	// Account is whom it runs as; nil is who we are.
	Account *syscall.Credential
	// AnswerTime is how long it may take to start; 10 seconds by default.
	AnswerTime time.Duration
	// Backend says what it serves, when it is started.
	Backend Backend
}

// Backend opens a file, which the server has as /proc/self/fd/3, and says by the options of qemu-storage-daemon's --blockdev how the
// node "volume" is on it. The file is closed when the server has it.
type Backend func() (file *os.File, node string, err error)

// Program finds the server of block devices.
func Program(why string) (string, error) {
	return process.Program("qemu-storage-daemon", why, "qemu-system-common")
}

// Serve has the server run, and says how it is reached. One that runs and exports so many bytes is left alone.
func (s *Server) Serve(ctx context.Context) (*driver.NBD, error) {
	running, err := process.Find(s.Dir)
	if err != nil {
		return nil, err
	}
	if running != nil && s.Address != "" {
		target, err := s.answers(ctx, patience)
		if err == nil || ctx.Err() != nil {
			return target, err
		}
	}
	if running != nil {
		if err := running.Stop(ctx, stopGrace); err != nil {
			return nil, err
		}
	}
	if err := s.start(ctx); err != nil {
		return nil, err
	}
	target, err := s.answers(ctx, cmp.Or(s.AnswerTime, answerTime))
	if err != nil {
		return nil, fmt.Errorf("qemu-storage-daemon does not answer: %w: %s", err, Said(filepath.Join(s.Dir, serverLog)))
	}
	return target, nil
}

// Said is the end of a server's log.
func Said(path string) string {
	log, _ := os.ReadFile(path)
	return strings.TrimSpace(string(log[max(0, len(log)-1000):]))
}

// start starts one at the address that the connection had before, if that is free.
func (s *Server) start(ctx context.Context) error {
	program, err := Program("volumes of servers on other hosts")
	if err != nil {
		return err
	}
	listener, err := s.listen(ctx)
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
	certificates, err := os.Open(s.Dir)
	if err != nil {
		return err
	}
	defer func() { _ = certificates.Close() }()
	if err := s.give(); err != nil {
		return err
	}
	backend, node, err := s.Backend()
	if err != nil {
		return err
	}
	defer func() { _ = backend.Close() }()
	writable := "on"
	if s.ReadOnly {
		writable = "off"
	}
	p, err := process.Start(process.Spec{
		Dir: s.Dir, Path: program, Output: filepath.Join(s.Dir, serverLog), Credential: s.Account, Cloneflags: Sandbox(),
		// By descriptors: the directories above may be closed to its account.
		Files: []*os.File{backend, certificates, socket},
		Args: []string{
			"--object", "tls-creds-x509,id=tls,endpoint=server,verify-peer=on,dir=/proc/self/fd/4",
			"--blockdev", node,
			"--nbd-server", "addr.type=fd,addr.str=5,tls-creds=tls",
			"--export", "type=nbd,id=volume,node-name=volume,name=" + s.Export + ",writable=" + writable,
		},
	})
	if err == nil && s.Started != nil {
		s.Started(p)
	}
	return err
}

// Sandbox are the namespaces of a server's own: the network it has is the sockets that it is given.
func Sandbox() uintptr {
	if os.Geteuid() != 0 {
		return 0
	}
	return unix.CLONE_NEWNET | unix.CLONE_NEWIPC | unix.CLONE_NEWUTS
}

// listen opens the connection's address, and keeps a new one, with certificates for it.
func (s *Server) listen(ctx context.Context) (*net.TCPListener, error) {
	var config net.ListenConfig
	if s.Address != "" {
		if l, err := config.Listen(ctx, "tcp", s.Address); err == nil {
			return asTCP(l)
		}
	}
	l, err := config.Listen(ctx, "tcp", net.JoinHostPort(s.Listen, "0"))
	if err != nil {
		return nil, err
	}
	s.Address = l.Addr().String()
	if err := errors.Join(makeCertificates(s.Dir, s.ID, s.Address), s.Keep(s.Address)); err != nil {
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

// Account is whom servers run as by a user's name; nil, who we are, for none.
func Account(name string) (*syscall.Credential, error) {
	if name == "" {
		return nil, nil //nolint:nilnil // nobody else
	}
	u, err := user.Lookup(name)
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

// give lets the account read its own certificate.
func (s *Server) give() error {
	if s.Account == nil {
		return nil
	}
	var errs []error
	for _, name := range []string{"", caFile, serverCertFile, serverKeyFile} {
		errs = append(errs, os.Chown(filepath.Join(s.Dir, name), int(s.Account.Uid), int(s.Account.Gid)))
	}
	return errors.Join(errs...)
}

// Stop ends the server of a directory, if there is one, when what it was told to write is written.
func Stop(ctx context.Context, dir string) error {
	running, err := process.Find(dir)
	if err != nil || running == nil {
		return err
	}
	return running.Stop(ctx, stopGrace)
}
