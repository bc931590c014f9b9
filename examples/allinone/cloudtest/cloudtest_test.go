package cloudtest_test

import (
	"testing"

	"github.com/gophercloud/gophercloud/v2/openstack"
	"github.com/gophercloud/gophercloud/v2/openstack/identity/v3/tokens"
	"github.com/kintoun/kintoun/examples/allinone/cloudtest"
	"github.com/stretchr/testify/require"
)

func BenchmarkNew(b *testing.B) {
	for b.Loop() {
		b.Run("", func(b *testing.B) {})
		c := cloudtest.New(b)
		provider, err := openstack.AuthenticatedClient(b.Context(), c.AuthOptions())
		require.NoError(b, err)
		client, err := openstack.NewIdentityV3(provider, c.EndpointOpts())
		require.NoError(b, err)
		_, err = tokens.Get(b.Context(), client, provider.Token()).Extract()
		require.NoError(b, err)
		require.NoError(b, c.Stop())
	}
}
