package clients_test

import (
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/kintoun/kintoun/objectstore/driver"
	"github.com/kintoun/kintoun/objectstore/drivertest"
	"github.com/kintoun/kintoun/objectstore/s3objects"
	"github.com/kintoun/kintoun/objectstore/swiftobjects"
	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
	"github.com/stretchr/testify/require"
)

// TestStoresOverOurOwn has the drivers for other people's object storage pass their suite over this house's.
func TestStoresOverOurOwn(t *testing.T) {
	v := startVictim(t, t.TempDir())
	var n atomic.Int64
	t.Run("swift", func(t *testing.T) {
		client := &gophercloud.ServiceClient{
			ProviderClient: &gophercloud.ProviderClient{TokenID: "t"}, Endpoint: strings.TrimSuffix(v.swift, "box"), Type: "object-store",
		}
		drivertest.TestStore(t, func(t testing.TB) driver.Store {
			name := fmt.Sprintf("contents%d", n.Add(1))
			response, err := client.Put(t.Context(), client.ServiceURL(name), nil, nil, &gophercloud.RequestOpts{OkCodes: []int{http.StatusCreated}})
			require.NoError(t, err)
			require.NoError(t, response.Body.Close())
			s, err := swiftobjects.New(client, name, &swiftobjects.Options{Prefix: "kintoun/", SegmentSize: 1 << 20})
			require.NoError(t, err)
			return s
		})
	})
	t.Run("s3", func(t *testing.T) {
		admin, err := minio.New(strings.TrimPrefix(v.s3, "http://"), &minio.Options{
			Creds: credentials.NewStaticV4(benchAccess, benchSecret, ""), Region: "us-east-1", BucketLookup: minio.BucketLookupPath,
		})
		require.NoError(t, err)
		drivertest.TestStore(t, func(t testing.TB) driver.Store {
			name := fmt.Sprintf("contents%d", n.Add(1))
			require.NoError(t, admin.MakeBucket(t.Context(), name, minio.MakeBucketOptions{}))
			s, err := s3objects.New(v.s3, name, &s3objects.Options{
				Prefix: "kintoun/", Region: "us-east-1", AccessKey: benchAccess, SecretKey: benchSecret, PartSize: 5 << 20,
			})
			require.NoError(t, err)
			return s
		})
	})
}
