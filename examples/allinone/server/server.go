// Package server is the all-in-one server: a cloud (package cloud) whose only host is this machine (package machine), with
// its state in a directory. It is what the command allinone runs, and can be embedded as a whole:
//
//	var options server.Options
//	table := options.Settings() // the defaults; package settings sets them from flags, the environment and a file
//	s, err := server.Start(ctx, options)
//
// It needs root and what package machine needs of the host. The process may be killed at any moment; the next one with
// the same directories goes on, and adopts the servers, routers and balancers that run.
package server

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"syscall"

	"github.com/kintoun/kintoun/event/webhook"
	"github.com/kintoun/kintoun/examples/allinone/cloud"
	"github.com/kintoun/kintoun/examples/allinone/machine"
	"github.com/kintoun/kintoun/examples/allinone/observe"
	"github.com/kintoun/kintoun/identity/fernet"
	"github.com/kintoun/kintoun/image/filestore"
	"github.com/kintoun/kintoun/internal/sqlitedb"
	"github.com/kintoun/kintoun/objectstore/fileobjects"
	"golang.org/x/sync/errgroup"
)

// Server is a running server.
type Server struct {
	*cloud.Cloud
	kept     []io.Closer // what the data directory keeps, in the order of opening
	machine  *machine.Machine
	observer *observe.Observer
	running  *errgroup.Group
	stop     context.CancelFunc
}

// Start starts the server and returns when its APIs answer and the machine takes servers. It runs until ctx ends; see
// [Server.Wait].
func Start(ctx context.Context, o Options) (*Server, error) {
	s := &Server{}
	ctx, s.stop = context.WithCancel(ctx)
	s.running, ctx = errgroup.WithContext(ctx)
	if err := s.start(ctx, &o); err != nil {
		return nil, errors.Join(diskFull(err, o.DataDir), s.Stop(), o.Listeners.Close())
	}
	return s, nil
}

func (s *Server) start(ctx context.Context, o *Options) error {
	if err := o.Prepare(); err != nil {
		return err
	}
	// The APIs need nothing of the host: what is wanted of it is recorded until it is ready.
	options, err := s.keep(ctx, o)
	if err != nil {
		return err
	}
	observed := o.Observe(o.Listeners)
	observed.Log, observed.Cursor = o.Log, webhook.FileCursor(o.Path("webhooks"))
	if s.observer, err = observe.New(ctx, observed); err != nil {
		return err
	}
	options.Wrap = s.observer.Wrap
	if s.Cloud, err = cloud.Start(ctx, *options); err != nil {
		return err
	}
	s.running.Go(s.Cloud.Wait)
	s.running.Go(func() error { return s.observer.Run(ctx, s.Cloud) })
	if s.machine, err = machine.Open(ctx, o.Options); err == nil {
		_, err = s.AddHost(ctx, s.machine.Host())
	}
	return err
}

// keep opens what the cloud keeps in the data directory.
func (s *Server) keep(ctx context.Context, o *Options) (*cloud.Options, error) {
	if err := o.open(); err != nil {
		return nil, err
	}
	tunnel, mtu := o.Tunnel()
	c := &cloud.Options{
		Listeners: o.Listeners, PublicHost: o.PublicHost, Region: o.Region, Name: o.Options.Host, TunnelType: tunnel, MTU: mtu, Log: o.Log,
		AdminPasswordRandom: o.AdminPassword == "" && !exists(o.adminPasswordFile()),
		ImageStores:         o.Images.Stores, ImageCopies: o.Path("image-copies"), ShowImageLocations: o.Images.ShowLocations,
	}
	web, err := o.ImageWeb.Downloader()
	if err != nil {
		return c, err
	}
	c.ImageWeb = web
	if c.ImageProtections, err = o.ImageProperties.Protections(); err != nil {
		return c, err
	}
	if c.ObjectRates, err = o.ObjectRates.Limits(); err != nil {
		return c, err
	}
	admin, err := o.Admin()
	if err != nil {
		return c, err
	}
	c.AdminPassword = admin.Password
	secret, err := Secret(o.Path("metadata-secret"), "")
	if err != nil {
		return c, err
	}
	c.MetadataSecret = []byte(secret)
	if c.SecretsKey, err = o.secretsKey(); err != nil {
		return c, err
	}
	if c.Keys, err = fernet.Open(o.Path("fernet-keys"), nil); err != nil {
		return c, err
	}
	if c.Images, err = filestore.New(o.Path("images"), nil); err != nil {
		return c, err
	}
	if c.MoreImages, err = o.Images.open(ctx, o.Path("image-copies-"+S3Images)); err != nil {
		return c, err
	}
	if c.DB, err = s.openDatabase(ctx, o.Path("kintoun.db")); err != nil {
		return c, err
	}
	// Objects are written far more often than anything else, and wait for nobody else's writes.
	objectNames, err := s.openDatabase(ctx, o.Path("objects.db"))
	if err != nil {
		return c, err
	}
	c.DBs = map[string]*sql.DB{"objectstore": objectNames}
	contents, err := s.openDatabase(ctx, o.Path("contents.db"))
	if err != nil {
		return c, err
	}
	objects, err := fileobjects.New(ctx, o.Path("objects"), contents, nil)
	if err != nil {
		return c, err
	}
	s.kept = append(s.kept, objects)
	c.Objects, err = o.seal(objects)
	return c, err
}

// openDatabase opens a database that is closed with the server.
func (s *Server) openDatabase(ctx context.Context, path string) (*sql.DB, error) {
	db, err := sqlitedb.Open(ctx, path)
	if err != nil {
		return nil, fmt.Errorf("%w (if the file is damaged, put back a copy of it, or move it away to begin anew)", err)
	}
	s.kept = append(s.kept, db)
	return db, nil
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// Wait returns when the server has stopped. Servers, routers and balancers go on.
func (s *Server) Wait() error {
	err := s.running.Wait()
	s.stop()
	return errors.Join(err, s.close())
}

// Stop ends the server and waits until it has stopped.
func (s *Server) Stop() error {
	s.stop()
	return s.Wait()
}

func (s *Server) close() error {
	var failures []error
	if s.machine != nil {
		failures = append(failures, s.machine.Close())
	}
	if s.observer != nil {
		failures = append(failures, s.observer.Close())
	}
	for _, one := range slices.Backward(s.kept) {
		failures = append(failures, one.Close())
	}
	return errors.Join(failures...)
}

func diskFull(err error, dir string) error {
	// SQLite has words of its own for a full disk.
	if err != nil && (errors.Is(err, syscall.ENOSPC) || strings.Contains(err.Error(), "database or disk is full")) {
		return fmt.Errorf("the disk that holds %s is full: make room, or choose another with -data (%w)", dir, err)
	}
	return err
}
