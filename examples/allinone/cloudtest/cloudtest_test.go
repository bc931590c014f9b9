package cloudtest_test

import (
	"testing"

	"github.com/gophercloud/gophercloud/v2/openstack"
	"github.com/kintoun/kintoun/examples/allinone/cloudtest"
	"github.com/kintoun/kintoun/examples/allinone/memcloud"
	"github.com/stretchr/testify/require"
)

func BenchmarkNew(b *testing.B) {
	for b.Loop() {
		c, err := memcloud.Start(b.Context(), nil)
		require.NoError(b, err)
		o := (&cloudtest.Cloud{Cloud: c}).AuthOptions()
		_, err = openstack.AuthenticatedClient(b.Context(), o)
		require.NoError(b, err)
		require.NoError(b, c.Stop())
	}
}
