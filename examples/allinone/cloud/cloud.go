// Package cloud composes every domain of Kintoun into one OpenStack-compatible cloud in one process: the one place that
// knows all domains and says how they are wired.
//
// [Start] makes the services over one database, or several, and puts their APIs on HTTP. Hosts come after, with [Cloud.AddHost]: a
// [Host] is a set of drivers, this machine's own (package machine, as the server allinone has them) or in-memory ones
// (package cloudtest, for tests). A cloud without hosts answers everything and starts nothing.
//
// The package needs nothing of the machine beyond the ports that it listens on, and runs wherever Go does. A Cloud is
// safe for concurrent use. State is in the database and in the image store: a process may be killed at any moment, and a
// new one that starts over the same goes on.
package cloud

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/kintoun/kintoun/compute"
	"github.com/kintoun/kintoun/identity"
	"github.com/kintoun/kintoun/image"
	"github.com/kintoun/kintoun/image/cachestore"
	imagedriver "github.com/kintoun/kintoun/image/driver"
	"github.com/kintoun/kintoun/internal/secrets"
	"github.com/kintoun/kintoun/lbaas"
	"github.com/kintoun/kintoun/metadata"
	"github.com/kintoun/kintoun/network"
	"github.com/kintoun/kintoun/objectstore"
	"github.com/kintoun/kintoun/volume"
	"golang.org/x/sync/errgroup"
)

// Cloud is a running cloud. Its services are there to be called from Go, past the APIs.
type Cloud struct {
	Identity *identity.Service
	Image    *image.Service
	Network  *network.Service
	Compute  *compute.Service
	LBaaS    *lbaas.Service
	Metadata *metadata.Service
	Objects  *objectstore.Service
	Volumes  *volume.Service

	options Options
	ctx     context.Context //nolint:containedctx // what the hosts that are added later run under
	running *errgroup.Group
	stop    context.CancelFunc
}

// Start starts the cloud and returns when its APIs answer. It runs until ctx ends; see [Cloud.Wait].
func Start(ctx context.Context, o Options) (*Cloud, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	c := &Cloud{options: o.withDefaults()}
	if c.options.Listeners == nil {
		c.options.Listeners = Listeners{}
	}
	if err := c.options.Listeners.OpenMissing(c.options.Listen, c.options.Ports); err != nil {
		return nil, err
	}
	ctx, c.stop = context.WithCancel(ctx)
	c.running, c.ctx = errgroup.WithContext(ctx)
	if err := c.begin(c.ctx); err != nil {
		c.stop()
		return nil, errors.Join(err, c.Wait())
	}
	return c, nil
}

// begin makes each service and has its API answer as soon as it can; requests for the others wait in their sockets.
func (c *Cloud) begin(ctx context.Context) error {
	var making errgroup.Group
	making.Go(func() error {
		if err := c.startIdentity(ctx); err != nil {
			return err
		}
		c.serveIdentity(ctx)
		return nil
	})
	making.Go(func() error { return c.startServices(ctx) })
	if err := making.Wait(); err != nil {
		return err
	}
	c.serve(ctx)
	return nil
}

// Wait returns when the cloud has stopped. What runs on its hosts goes on.
func (c *Cloud) Wait() error {
	err := c.running.Wait()
	c.stop()
	return errors.Join(err, c.options.Listeners.Close())
}

// Stop ends the cloud and waits until it has stopped.
func (c *Cloud) Stop() error {
	c.stop()
	return c.Wait()
}

// URL is the address that clients reach a service at.
func (c *Cloud) URL(s Service) string { return c.options.URL(s) }

// Admin are the credentials of the administrator, as long as nobody changed the password that the options had.
func (c *Cloud) Admin() Credentials {
	return Credentials{AuthURL: c.URL(Identity) + "/v3", Region: c.options.Region, User: identity.AdminUser, Project: identity.AdminProject, Password: c.options.AdminPassword}
}

func (c *Cloud) startIdentity(ctx context.Context) error {
	o := &c.options
	var err error
	if c.Identity, err = identity.New(ctx, o.db("identity"), o.Keys, &identity.Options{BcryptCost: o.BcryptCost, Now: o.Now}); err != nil {
		return err
	}
	if o.AdminPassword == "" {
		o.AdminPassword, o.AdminPasswordRandom = rand.Text(), true
	}
	return c.Identity.Bootstrap(ctx, identity.BootstrapSpec{
		AdminPassword: o.AdminPassword, AdminPasswordRandom: o.AdminPasswordRandom, Region: o.Region, Services: []identity.BootstrapService{
			{Type: "identity", Name: "keystone", Public: o.URL(Identity) + "/v3"},
			{Type: "compute", Name: "nova", Public: o.URL(Compute) + "/v2.1"},
			{Type: "network", Name: "neutron", Public: o.URL(Network)},
			{Type: "image", Name: "glance", Public: o.URL(Image)},
			{Type: "object-store", Name: "swift", Public: o.URL(ObjectStore) + "/v1/AUTH_$(project_id)s"},
			{Type: "s3", Name: "s3", Public: o.URL(S3)},
			{Type: "volumev3", Name: "cinderv3", Public: o.URL(Volume) + "/v3/$(project_id)s"},
			{Type: "block-storage", Name: "cinder", Public: o.URL(Volume) + "/v3/$(project_id)s"},
		}})
}

// startServices makes the rest of the control plane, which touches nothing but databases and stores.
func (c *Cloud) startServices(ctx context.Context) error {
	var making errgroup.Group
	making.Go(func() error { return c.startStorage(ctx) })
	making.Go(func() error { return c.startNetworks(ctx) })
	if err := making.Wait(); err != nil {
		return err
	}
	o := &c.options
	var err error
	if c.Compute, err = compute.New(ctx, o.db("compute"), computeImages{c.Image}, computeNetworks{c.Network}, &compute.Options{Volumes: computeVolumes{c.Volumes}, Now: o.Now}); err != nil {
		return err
	}
	if err := c.Compute.EnsureFlavors(ctx, flavors()...); err != nil {
		return err
	}
	if len(o.MetadataSecret) == 0 {
		o.MetadataSecret = []byte(rand.Text())
	}
	source := metadataSource{network: c.Network, compute: c.Compute, ports: computeNetworks{c.Network}}
	c.Metadata, err = metadata.New(source, o.MetadataSecret, &metadata.Options{Log: o.Log})
	return err
}

// startNetworks makes networks, and balancers, which take ports from them.
func (c *Cloud) startNetworks(ctx context.Context) error {
	o := &c.options
	var err error
	networks := network.Options{TunnelType: o.TunnelType, MTU: o.MTU, PhysicalNetworks: []string{PhysicalNetwork}, Now: o.Now}
	if c.Network, err = network.New(ctx, o.db("network"), &networks); err != nil {
		return err
	}
	c.LBaaS, err = lbaas.New(ctx, o.db("lbaas"), balancerPorts{c.Network}, &lbaas.Options{Now: o.Now})
	return err
}

// startStorage makes objects, images, which can lie in them, and volumes, which take from both what they need.
func (c *Cloud) startStorage(ctx context.Context) error {
	o := &c.options
	var err error
	if c.Objects, err = objectstore.New(ctx, o.db("objectstore"), o.Objects, &objectstore.Options{Host: o.Name, RateLimits: o.ObjectRates, Now: o.Now, Log: o.Log}); err != nil {
		return err
	}
	c.running.Go(func() error { return c.Objects.Run(c.ctx) })
	if err := c.startImages(ctx); err != nil {
		return err
	}
	return c.startVolumes(ctx)
}

// startVolumes makes the volume service, with a place for its keys.
func (c *Cloud) startVolumes(ctx context.Context) error {
	o := &c.options
	if len(o.SecretsKey) == 0 {
		o.SecretsKey = make([]byte, secrets.KeySize)
		_, _ = rand.Read(o.SecretsKey) // it never fails
	}
	keys, err := secrets.Open(ctx, o.db("volume"), o.SecretsKey)
	if err != nil {
		return err
	}
	c.Volumes, err = volume.New(ctx, o.db("volume"), &volume.Options{
		Images: volumeImages{c.Image}, Backups: volumeBackups{c.Objects}, Servers: extendedVolumes{c}, Keys: keys, Now: o.Now,
	})
	return err
}

// startImages makes the image service, with the stores that the options name.
func (c *Cloud) startImages(ctx context.Context) error {
	o := &c.options
	settings := image.Options{
		Host: o.Name, AllowUnknownContent: true, Quota: o.ImageQuota, InUse: o.ImageInUse, Protections: o.ImageProtections, Now: o.Now, Log: o.Log,
		Stores: map[string]imagedriver.Store{},
	}
	if o.ImageWeb != nil {
		settings.Web = o.ImageWeb
	}
	first := o.Images
	if len(o.ImageStores) > 0 {
		objects, err := c.objectImages()
		if err != nil {
			return err
		}
		all := map[string]imagedriver.Store{o.Images.Kind(): o.Images, ObjectImages: objects}
		maps.Copy(all, o.MoreImages)
		for i, name := range o.ImageStores {
			store, ok := all[name]
			if !ok {
				return fmt.Errorf("there is no store of images %q: there are %s", name, strings.Join(slices.Sorted(maps.Keys(all)), ", "))
			}
			if i == 0 {
				first, settings.StoreName = store, name
			} else {
				settings.Stores[name] = store
			}
		}
	}
	var err error
	if c.Image, err = image.New(ctx, o.db("image"), first, &settings); err != nil {
		return err
	}
	c.running.Go(func() error { return c.Image.Run(c.ctx) })
	return nil
}

// objectImages keeps images as objects, with local copies of those that servers boot from where there is a directory for
// them.
func (c *Cloud) objectImages() (imagedriver.Store, error) {
	objects := newImageObjects(c.Objects)
	if c.options.ImageCopies == "" {
		return objects, nil
	}
	return cachestore.New(c.options.ImageCopies, objects)
}

// SmallestFlavor is the identifier of m1.tiny.
const SmallestFlavor = "1"

// flavors are devstack's, with as little memory as the small guest needs.
func flavors() []compute.Flavor {
	public := func(id, name string, vcpus, memory, disk int) compute.Flavor {
		return compute.Flavor{ID: id, Name: name, VCPUs: vcpus, MemoryMiB: memory, DiskGiB: disk, Public: true}
	}
	return []compute.Flavor{
		public(SmallestFlavor, "m1.tiny", 1, 128, 1), public("2", "m1.small", 1, 512, 5), public("3", "m1.medium", 2, 2048, 20), public("4", "m1.large", 4, 4096, 40),
	}
}

const (
	headerPatience   = 10 * time.Second
	shutdownPatience = 5 * time.Second
)

// listenAndServe answers on the service's listeners until ctx ends, and then finishes what is under way.
func (c *Cloud) listenAndServe(ctx context.Context, s Service, handler http.Handler) {
	server := &http.Server{
		Handler: c.options.Wrap(s, handler), ReadHeaderTimeout: headerPatience, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 64 << 10,
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
