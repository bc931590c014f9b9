package cloud

import (
	"context"
	"net/http"
	"sync"

	"github.com/kintoun/kintoun/compute/nova"
	"github.com/kintoun/kintoun/identity/keystone"
	"github.com/kintoun/kintoun/image/glance"
	"github.com/kintoun/kintoun/lbaas/lbaasv1"
	"github.com/kintoun/kintoun/network/neutron"
	"github.com/kintoun/kintoun/objectstore/s3"
	"github.com/kintoun/kintoun/objectstore/swift"
	"github.com/kintoun/kintoun/volume/cinder"
)

func (c *Cloud) serveIdentity(ctx context.Context) {
	o := &c.options
	c.listenAndServe(ctx, Identity, keystone.Handler(c.Identity, &keystone.Options{PublicURL: o.URL(Identity), Before: o.Before, Log: o.Log}))
}

// serve puts the other services' dialects on their ports.
func (c *Cloud) serve(ctx context.Context) {
	o := &c.options
	authURL := o.URL(Identity)
	c.listenAndServe(ctx, Image, lazily(func() http.Handler {
		return glance.Handler(c.Image, c.Identity, &glance.Options{
			AuthURL: authURL, PublicURL: o.URL(Image), ShowLocations: o.ShowImageLocations, Before: o.Before, Log: o.Log,
		})
	}))
	c.listenAndServe(ctx, Compute, lazily(func() http.Handler {
		return nova.Handler(c.Compute, c.Identity, &nova.Options{
			AuthURL: authURL, SecurityGroups: securityGroups{c.Network}, Volumes: novaVolumes{c.Volumes}, Images: novaImages{c.Image}, Before: o.Before, Log: o.Log,
		})
	}))
	c.listenAndServe(ctx, Network, lazily(func() http.Handler { return c.networkAPI(authURL) }))
	c.listenAndServe(ctx, Volume, lazily(func() http.Handler {
		return cinder.Handler(c.Volumes, c.Identity, &cinder.Options{AuthURL: authURL, Before: o.Before, Log: o.Log})
	}))
	objects := &swift.Options{AuthURL: authURL, PublicURL: o.URL(ObjectStore), Before: o.Before, Log: o.Log}
	c.listenAndServe(ctx, ObjectStore, lazily(func() http.Handler { return swift.Handler(c.Objects, c.Identity, objects) }))
	c.listenAndServe(ctx, S3, lazily(func() http.Handler {
		return s3.Handler(c.Objects, s3Keys{c.Identity, objects}, &s3.Options{Region: o.Region, Now: o.Now, Before: o.Before, Log: o.Log})
	}))
}

// lazily makes a handler when it is first asked: that reads the schemas of what it takes.
func lazily(handler func() http.Handler) http.Handler {
	made := sync.OnceValue(handler)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { made().ServeHTTP(w, r) })
}

// networkAPI is Neutron with LBaaS v1 under the same address.
func (c *Cloud) networkAPI(authURL string) http.Handler {
	o := &c.options
	options := neutron.Options{AuthURL: authURL, Before: o.Before, Log: o.Log}
	for _, e := range lbaasv1.Extensions() {
		options.Extensions = append(options.Extensions, neutron.Extension{Alias: e.Alias, Name: e.Name, Description: e.Description})
	}
	mux := http.NewServeMux()
	mux.Handle("/", neutron.Handler(c.Network, c.Identity, &options))
	balancers := lbaasv1.Handler(c.LBaaS, c.Identity, &lbaasv1.Options{AuthURL: authURL, Before: o.Before, Log: o.Log})
	for _, pattern := range lbaasv1.Patterns() {
		mux.Handle(pattern, balancers)
	}
	return mux
}
