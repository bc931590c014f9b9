package cloud

import (
	"context"
	"net/http"

	"github.com/kintoun/kintoun/compute/nova"
	"github.com/kintoun/kintoun/identity/keystone"
	"github.com/kintoun/kintoun/image/glance"
	"github.com/kintoun/kintoun/lbaas/lbaasv1"
	"github.com/kintoun/kintoun/network/neutron"
)

func (c *Cloud) serveIdentity(ctx context.Context) {
	options := keystone.Options{PublicURL: c.options.URL(Identity), Log: c.options.Log}
	c.listenAndServe(ctx, Identity, keystone.Handler(c.identity, &options))
}

// serve puts the other services' dialects on their ports.
func (c *Cloud) serve(ctx context.Context) {
	o := &c.options
	authURL := o.URL(Identity)
	c.listenAndServe(ctx, Image, glance.Handler(c.image, c.identity, &glance.Options{AuthURL: authURL, PublicURL: o.URL(Image), Log: o.Log}))
	groups := securityGroups{c.network}
	c.listenAndServe(ctx, Compute, nova.Handler(c.compute, c.identity, &nova.Options{AuthURL: authURL, SecurityGroups: groups, Log: o.Log}))
	c.listenAndServe(ctx, Network, c.networkAPI(authURL))
}

// networkAPI is Neutron with LBaaS v1 under the same address.
func (c *Cloud) networkAPI(authURL string) http.Handler {
	log := c.options.Log
	options := neutron.Options{AuthURL: authURL, Log: log}
	for _, e := range lbaasv1.Extensions() {
		options.Extensions = append(options.Extensions, neutron.Extension{Alias: e.Alias, Name: e.Name, Description: e.Description})
	}
	mux := http.NewServeMux()
	mux.Handle("/", neutron.Handler(c.network, c.identity, &options))
	balancers := lbaasv1.Handler(c.lbaas, c.identity, &lbaasv1.Options{AuthURL: authURL, Log: log})
	for _, pattern := range lbaasv1.Patterns() {
		mux.Handle(pattern, balancers)
	}
	return mux
}
