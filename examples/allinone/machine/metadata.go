package machine

import (
	"context"
	"net/netip"

	"github.com/kintoun/kintoun/metadata/proxy"
	"github.com/kintoun/kintoun/network"
)

// routerMetadataPort is where routers redirect servers' metadata requests to; Neutron's.
const routerMetadataPort = 9697

// metadataNamespaces listens for metadata requests in each namespace that serves networks.
type metadataNamespaces struct{ proxy *proxy.Proxy }

var _ network.Namespaces = metadataNamespaces{}

func (m metadataNamespaces) Serving(ctx context.Context, ns network.ServedNamespace) error {
	want := proxy.Want{ID: ns.Name, Namespace: ns.Name}
	switch {
	case !ns.Metadata:
		return m.proxy.Remove(ctx, ns.Name)
	case ns.Kind == network.NamespaceDHCP:
		want.Listen, want.NetworkID = proxy.NetworkListen(), ns.ID
	default:
		want.Listen, want.Legs = proxy.RouterListen(routerMetadataPort), map[netip.Addr]string{}
		for prefix, networkID := range ns.Networks {
			want.Legs[prefix.Addr()] = networkID
		}
	}
	return m.proxy.Apply(ctx, want)
}

func (m metadataNamespaces) Gone(ctx context.Context, name string) error {
	return m.proxy.Remove(ctx, name)
}
