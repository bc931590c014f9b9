// Package memcloud is a whole OpenStack-compatible cloud in memory: the real services and APIs of package cloud on real
// HTTP, over databases in memory, with hosts that exist only as data. It starts in a few milliseconds, needs no rights
// and no programs, and runs wherever Go does. Tests use it through package cloudtest; `allinone simulate` is the same as
// a program.
//
// What a real cloud does to its users is data too. Servers take [Options].BuildTime to become ACTIVE, or as long as a
// fault holds them; any request and any step of a driver can be made slow, fail or hang (package inject); hosts can be
// added, cut off and killed ([Host]); the clock can be moved ([Cloud.Advance]).
//
// Nothing answers behind a server's addresses: there is no guest in it. Everything is safe for concurrent use, and many
// clouds run side by side in one process.
package memcloud

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/kintoun/kintoun/examples/allinone/cloud"
	"github.com/kintoun/kintoun/image"
	"github.com/kintoun/kintoun/image/memstore"
	"github.com/kintoun/kintoun/inject"
	"github.com/kintoun/kintoun/inject/injecthttp"
	"github.com/kintoun/kintoun/network/memnet"
	"github.com/kintoun/kintoun/objectstore"
	"github.com/kintoun/kintoun/objectstore/memobjects"
)

// Options are optional.
type Options struct {
	// Hosts is how many hosts there are in the beginning, named host1, host2, …; 1 by default, negative for none.
	Hosts int
	// VolumeBackends is how many back ends of volumes each host has, called memory, memory2, …; 1 by default.
	VolumeBackends int
	// BuildTime is how long it takes to start, stop or reboot a server. By default it happens at once: a request that
	// changes something is answered when the cloud has done it, so that the next one finds the server ACTIVE.
	BuildTime time.Duration
	// Faults are what goes wrong; more can be added at any time, see [Cloud].Faults. By default an empty set
	// with the seed 1; give inject.New(seed) for other strikes of faults with a probability.
	Faults *inject.Set
	// Listen and Ports are where the APIs listen; free ports of 127.0.0.1 by default.
	Listen string
	Ports  map[cloud.Service]int
	// PublicHost is the host name or address that clients are told; by default that of the listener.
	PublicHost string
	// AdminPassword is the administrator's; random by default.
	AdminPassword string
	// Wrap goes around the APIs' handlers; nil is nothing.
	Wrap func(service cloud.Service, handler http.Handler) http.Handler
	// ImageWeb is what images can be downloaded with; nil is not at all.
	ImageWeb image.Downloader
	// ImageProtections say who may do what with images' properties; none leaves them to the images' owners.
	ImageProtections []image.Protection
	// ObjectRates bound how fast accounts and containers of objects may be changed; none by default.
	ObjectRates objectstore.RateLimits
	// Log hears what happens; nil discards it.
	Log *slog.Logger
}

// Cloud is a running cloud in memory.
type Cloud struct {
	*cloud.Cloud
	// Faults can be added to and taken from at any time.
	Faults *inject.Set
	// Seed is what the cloud began with.
	Seed Seed

	options  Options
	dbs      databases
	secret   []byte
	clock    clock
	demo     string
	underlay *memnet.Underlay

	mu    sync.Mutex
	hosts map[string]*Host
}

// Seed are the identifiers of what a new cloud has, so that nobody need look for them. They are the same in many clouds.
type Seed struct {
	// ProjectID and UserID are those of the ordinary user demo.
	ProjectID, UserID string
	// FlavorID is the smallest flavor, m1.tiny.
	FlavorID string
	// ImageID is the public image cirros.
	ImageID string
	// NetworkID is the project's network private, SubnetID its subnet 10.0.0.0/24; RouterID is the router from there to
	// the external network public, which is ExternalID.
	NetworkID, SubnetID, RouterID, ExternalID string
}

// Names that a new cloud has, besides the administrator and devstack's flavors (m1.tiny, …).
const (
	// DemoUser has the role member in the project of the same name.
	DemoUser = "demo"
	// ImageName is a public image, NetworkName the demo project's network, with the subnet 10.0.0.0/24 and a router to
	// the external network.
	ImageName    = "cirros"
	NetworkName  = "private"
	ExternalName = "public"
)

const firstHost = "host1"

// Start starts a cloud and returns when its APIs answer and its hosts take servers. It runs until ctx ends or
// [Cloud.Stop].
func Start(ctx context.Context, o *Options) (*Cloud, error) {
	c := &Cloud{hosts: map[string]*Host{}, underlay: memnet.NewUnderlay()}
	if o != nil {
		c.options = *o
	}
	if c.Faults = c.options.Faults; c.Faults == nil {
		c.Faults = inject.New(1)
	}
	if c.options.Hosts == 0 {
		c.options.Hosts = 1
	}
	t, err := c.template(ctx)
	if err != nil {
		return nil, err
	}
	if err := c.start(ctx, t); err != nil {
		if c.Cloud != nil {
			err = errors.Join(err, c.Cloud.Stop())
		}
		return nil, errors.Join(err, c.dbs.Close())
	}
	for n := range c.options.Hosts {
		name := firstHost
		if n > 0 {
			name = fmt.Sprintf("host%d", n+1)
		}
		if _, err := c.AddHost(name, nil); err != nil {
			return nil, errors.Join(err, c.Stop())
		}
	}
	return c, nil
}

// template is what the cloud begins with.
func (c *Cloud) template(ctx context.Context) (*template, error) {
	if c.options.AdminPassword == "" && c.options.Hosts > 0 {
		return shared()
	}
	return newTemplate(ctx, cmp.Or(c.options.AdminPassword, rand.Text()), false)
}

func (c *Cloud) start(ctx context.Context, t *template) error {
	var err error
	if c.dbs, err = t.copy(ctx); err != nil {
		return err
	}
	images := memstore.New(&memstore.Options{Faults: c.Faults})
	if err := t.fill(ctx, images); err != nil {
		return err
	}
	ports := c.options.Ports
	if ports == nil {
		ports = map[cloud.Service]int{}
	}
	c.demo, c.secret, c.Seed = t.demo, t.secret, t.seed
	c.Seed.FlavorID = cloud.SmallestFlavor
	c.Cloud, err = cloud.Start(ctx, cloud.Options{
		DBs: c.dbs, Images: images, ImageStores: []string{images.Kind(), cloud.ObjectImages}, ImageWeb: c.options.ImageWeb, ImageProtections: c.options.ImageProtections, Objects: memobjects.New(&memobjects.Options{Faults: c.Faults}), ObjectRates: c.options.ObjectRates, Listen: c.options.Listen, Ports: ports, PublicHost: c.options.PublicHost, AdminPassword: t.admin, AdminPasswordRandom: true,
		MetadataSecret: t.secret, PollBalancers: 20 * time.Millisecond, Before: injecthttp.Before(c.Faults), Wrap: c.wrap, Now: c.clock.now, Log: c.options.Log,
	})
	return err
}

// wrap has requests that change something wait until the cloud has done it.
func (c *Cloud) wrap(service cloud.Service, handler http.Handler) http.Handler {
	if c.options.BuildTime == 0 && (service == cloud.Compute || service == cloud.Network || service == cloud.Volume) {
		handler = c.settling(handler)
	}
	if c.options.Wrap != nil {
		handler = c.options.Wrap(service, handler)
	}
	return handler
}

const (
	// settlePatience bounds the wait for what is done.
	settlePatience = 5 * time.Second
	// faultPatience bounds it where a fault holds something up.
	faultPatience = 50 * time.Millisecond
)

func (c *Cloud) settling(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		struck := c.Faults.Struck()
		next.ServeHTTP(w, r)
		if r.Method == http.MethodGet || r.Method == http.MethodHead {
			return
		}
		// The answer is small and leaves when this handler returns.
		ctx, cancel := context.WithTimeout(r.Context(), settlePatience)
		defer cancel()
		done := make(chan struct{})
		go func() {
			defer close(done)
			_ = c.Settle(ctx)
		}()
		c.await(done, cancel, struck)
	})
}

// await waits until all is done, or a fault is seen at work.
func (c *Cloud) await(done <-chan struct{}, cancel func(), struck int) {
	look := time.NewTicker(faultPatience)
	defer look.Stop()
	for {
		select {
		case <-done:
			return
		case <-look.C:
			if c.Faults.Waiting() > 0 || c.Faults.Struck() > struck {
				cancel()
			}
		}
	}
}

// Stop ends the cloud and forgets everything.
func (c *Cloud) Stop() error { return errors.Join(c.Cloud.Stop(), c.dbs.Close()) }

// Wait returns when the cloud has stopped because its context ended, and forgets everything.
func (c *Cloud) Wait() error { return errors.Join(c.Cloud.Wait(), c.dbs.Close()) }

// Demo are the credentials of the ordinary user that a new cloud has.
func (c *Cloud) Demo() cloud.Credentials {
	demo := c.Admin()
	demo.User, demo.Project, demo.Password = DemoUser, DemoUser, c.demo
	return demo
}

// CloudsYAML is a clouds.yaml with the ordinary user as "kintoun" and the administrator as "kintoun-admin".
func (c *Cloud) CloudsYAML() string {
	return cloud.CloudsYAML(map[string]cloud.Credentials{"kintoun": c.Demo(), "kintoun-admin": c.Admin()})
}
