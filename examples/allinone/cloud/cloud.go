package cloud

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/kintoun/kintoun/compute"
	"github.com/kintoun/kintoun/identity"
	"github.com/kintoun/kintoun/identity/fernet"
	"github.com/kintoun/kintoun/image"
	"github.com/kintoun/kintoun/image/filestore"
	"github.com/kintoun/kintoun/internal/sqlitedb"
	"github.com/kintoun/kintoun/lbaas"
	"github.com/kintoun/kintoun/network"
	"golang.org/x/sync/errgroup"
)

// Cloud is a running cloud.
type Cloud struct {
	options Options
	db      *sql.DB

	identity *identity.Service
	image    *image.Service
	network  *network.Service
	compute  *compute.Service
	lbaas    *lbaas.Service
	host     *host

	running *errgroup.Group
	stop    context.CancelFunc
}

// Start starts the cloud and returns when its APIs answer. It runs until ctx ends; see [Cloud.Wait].
//
// Whatever runs on this host already, from an earlier process, is adopted as it is.
func Start(ctx context.Context, o Options) (*Cloud, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	c := &Cloud{options: o}
	if err := c.open(ctx); err != nil {
		return nil, errors.Join(err, c.close())
	}
	ctx, stop := context.WithCancel(ctx)
	group, ctx := errgroup.WithContext(ctx)
	c.running, c.stop = group, stop
	if err := c.begin(ctx); err != nil {
		stop()
		return nil, errors.Join(err, c.Wait())
	}
	c.host.run(ctx, group)
	return c, nil
}

// begin makes each service and has its API answer as soon as it can; requests for the others wait in their sockets.
// The APIs need nothing of the host: what is wanted of it is recorded until it is ready.
func (c *Cloud) begin(ctx context.Context) error {
	if err := c.startIdentity(ctx); err != nil {
		return diskFull(err, c.options.DataDir)
	}
	c.serveIdentity(ctx)
	if err := c.startServices(ctx); err != nil {
		return diskFull(err, c.options.DataDir)
	}
	c.serve(ctx)
	var err error
	c.host, err = c.newHost(ctx)
	return err
}

// Wait returns when the cloud has stopped. Servers, routers and balancers go on.
func (c *Cloud) Wait() error {
	err := c.running.Wait()
	c.stop()
	return errors.Join(err, c.close())
}

func (c *Cloud) close() error {
	var failures []error
	if c.host != nil {
		failures = append(failures, c.host.close())
	}
	if c.db != nil {
		failures = append(failures, c.db.Close())
	}
	return errors.Join(append(failures, c.options.closeListeners())...)
}

// open takes hold of the directories, ports and database.
func (c *Cloud) open(ctx context.Context) error {
	o := &c.options
	if err := makeDirectories(o); err != nil {
		return err
	}
	if err := o.listen(); err != nil {
		return err
	}
	db, err := sqlitedb.Open(ctx, o.Path("kintoun.db"))
	if err != nil {
		return fmt.Errorf("%w (if the file is damaged, put back a copy of it, or move it away to begin with an empty cloud)", err)
	}
	c.db = db
	return nil
}

func makeDirectories(o *Options) error {
	for _, dir := range []string{o.DataDir, o.RunDir} {
		// QEMU and HAProxy run as other users and have to pass through.
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return fmt.Errorf("%w: choose other directories with -data and -run", diskFull(err, dir))
		}
	}
	return nil
}

func diskFull(err error, dir string) error {
	// SQLite has words of its own for a full disk.
	if err != nil && (errors.Is(err, syscall.ENOSPC) || strings.Contains(err.Error(), "database or disk is full")) {
		return fmt.Errorf("the disk that holds %s is full: make room, or choose another with -data (%w)", dir, err)
	}
	return err
}

func (c *Cloud) startIdentity(ctx context.Context) error {
	keys, err := fernet.Open(c.options.Path("fernet-keys"), nil)
	if err != nil {
		return err
	}
	if c.identity, err = identity.New(ctx, c.db, keys, &identity.Options{BcryptCost: bcryptCost}); err != nil {
		return err
	}
	return c.bootstrap(ctx)
}

// startServices makes the rest of the control plane, which touches nothing but the database and the image store.
func (c *Cloud) startServices(ctx context.Context) error {
	o := &c.options
	store, err := filestore.New(o.Path("images"), nil)
	if err != nil {
		return err
	}
	if c.image, err = image.New(ctx, c.db, store, &image.Options{Host: o.Host, AllowUnknownContent: true, Log: o.Log}); err != nil {
		return err
	}
	tunnel, mtu := o.tunnel()
	if c.network, err = network.New(ctx, c.db, &network.Options{TunnelType: tunnel, MTU: mtu, PhysicalNetworks: []string{physicalNetwork}}); err != nil {
		return err
	}
	if c.compute, err = compute.New(ctx, c.db, computeImages{c.image}, computeNetworks{c.network}, nil); err != nil {
		return err
	}
	if err := c.compute.EnsureFlavors(ctx, flavors()...); err != nil {
		return err
	}
	c.lbaas, err = lbaas.New(ctx, c.db, balancerPorts{c.network}, nil)
	return err
}

func (c *Cloud) bootstrap(ctx context.Context) error {
	o := &c.options
	_, missing := os.Stat(o.adminPasswordFile())
	admin, err := o.Admin()
	if err != nil {
		return err
	}
	random := missing != nil && o.AdminPassword == ""
	return c.identity.Bootstrap(ctx, identity.BootstrapSpec{AdminPassword: admin.Password, AdminPasswordRandom: random, Region: o.Region, Services: []identity.BootstrapService{
		{Type: "identity", Name: "keystone", Public: o.URL(Identity) + "/v3"},
		{Type: "compute", Name: "nova", Public: o.URL(Compute) + "/v2.1"},
		{Type: "network", Name: "neutron", Public: o.URL(Network)},
		{Type: "image", Name: "glance", Public: o.URL(Image)},
	}})
}

// flavors are devstack's, with as little memory as the small guest needs.
func flavors() []compute.Flavor {
	public := func(id, name string, vcpus, memory, disk int) compute.Flavor {
		return compute.Flavor{ID: id, Name: name, VCPUs: vcpus, MemoryMiB: memory, DiskGiB: disk, Public: true}
	}
	return []compute.Flavor{
		public("1", "m1.tiny", 1, 128, 1), public("2", "m1.small", 1, 512, 5), public("3", "m1.medium", 2, 2048, 20), public("4", "m1.large", 4, 4096, 40),
	}
}

// bcryptCost is what checking a user's password costs: about 60 ms of a processor.
const bcryptCost = 10

const (
	headerPatience   = 10 * time.Second
	shutdownPatience = 5 * time.Second
)

// listenAndServe answers on the service's listener until ctx ends, and then finishes what is under way.
func (c *Cloud) listenAndServe(ctx context.Context, s Service, handler http.Handler) {
	server := &http.Server{
		Handler: handler, ReadHeaderTimeout: headerPatience, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 64 << 10,
		ErrorLog: slog.NewLogLogger(c.options.Log.Handler(), slog.LevelDebug), BaseContext: func(net.Listener) context.Context { return context.WithoutCancel(ctx) },
	}
	for _, l := range c.options.Listeners[s] {
		c.running.Go(func() error {
			if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
				return fmt.Errorf("%s API: %w", s, err)
			}
			return nil
		})
	}
	c.running.Go(func() error {
		<-ctx.Done()
		ending, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownPatience)
		defer cancel()
		if err := server.Shutdown(ending); err != nil {
			return server.Close()
		}
		return nil
	})
}
