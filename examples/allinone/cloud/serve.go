package cloud

import (
	"context"

	"github.com/kintoun/kintoun/identity/keystone"
	"github.com/kintoun/kintoun/image/glance"
)

// serve puts each service's dialect on its port.
func (c *Cloud) serve(ctx context.Context) error {
	o := &c.options
	authURL := o.URL(Identity)
	c.listenAndServe(ctx, Identity, keystone.Handler(c.identity, &keystone.Options{PublicURL: authURL, Log: o.Log}))
	images := glance.Options{Auth: c.identity, AuthURL: authURL, PublicURL: o.URL(Image), Log: o.Log}
	c.listenAndServe(ctx, Image, glance.Handler(c.image, images))
	return nil
}
