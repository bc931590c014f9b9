package clients_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/gophercloud/gophercloud/v2"
	imagedriver "github.com/kintoun/kintoun/image/driver"
	imagetest "github.com/kintoun/kintoun/image/drivertest"
	"github.com/kintoun/kintoun/image/s3store"
	"github.com/kintoun/kintoun/objectstore/driver"
	"github.com/kintoun/kintoun/objectstore/drivertest"
	"github.com/kintoun/kintoun/objectstore/s3objects"
	"github.com/kintoun/kintoun/objectstore/swiftobjects"
	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
	"github.com/stretchr/testify/require"
)

// TestStoresOverOurOwn has the drivers for other people's object storage pass their suites over this house's.
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
	admin, err := minio.New(strings.TrimPrefix(v.s3, "http://"), &minio.Options{
		Creds: credentials.NewStaticV4(benchAccess, benchSecret, ""), Region: "us-east-1", BucketLookup: minio.BucketLookupPath,
	})
	require.NoError(t, err)
	bucket := func(t testing.TB) string {
		name := fmt.Sprintf("contents%d", n.Add(1))
		require.NoError(t, admin.MakeBucket(t.Context(), name, minio.MakeBucketOptions{}))
		return name
	}
	t.Run("s3", func(t *testing.T) {
		drivertest.TestStore(t, func(t testing.TB) driver.Store {
			s, err := s3objects.New(v.s3, bucket(t), &s3objects.Options{
				Prefix: "kintoun/", Region: "us-east-1", AccessKey: benchAccess, SecretKey: benchSecret, PartSize: 5 << 20,
			})
			require.NoError(t, err)
			return s
		})
	})
	images := &s3store.Options{Prefix: "kintoun/", Region: "us-east-1", AccessKey: benchAccess, SecretKey: benchSecret, PartSize: 5 << 20}
	t.Run("images in s3", func(t *testing.T) {
		imagetest.TestStore(t, func(t testing.TB) imagedriver.Store {
			s, err := s3store.New(v.s3, bucket(t), images)
			require.NoError(t, err)
			return s
		})
	})
	t.Run("two that put one image in s3", func(t *testing.T) { oneOfTwo(t, v.s3, bucket(t), images) })
}

// oneOfTwo has two stores put one reference at the same time, in one piece and in parts: one of them does.
func oneOfTwo(t *testing.T, url, bucket string, options *s3store.Options) {
	for i, size := range []int{1 << 10, 11 << 20, 1 << 10, 11 << 20} {
		ref := fmt.Sprint("image-", i)
		var stores [2]*s3store.Store
		var errs [2]error
		var wg sync.WaitGroup
		for who := range stores {
			s, err := s3store.New(url, bucket, options)
			require.NoError(t, err)
			stores[who] = s
			wg.Go(func() {
				_, errs[who] = s.Put(context.Background(), ref, bytes.NewReader(bytes.Repeat([]byte{byte(who)}, size)))
			})
		}
		wg.Wait()
		won := 0
		if errs[0] != nil {
			won = 1
		}
		require.NoError(t, errs[won])
		require.ErrorIs(t, errs[1-won], fs.ErrExist)
		f, err := stores[1-won].Open(t.Context(), ref)
		require.NoError(t, err)
		content, err := io.ReadAll(f)
		require.NoError(t, err)
		require.NoError(t, f.Close())
		require.True(t, bytes.Equal(bytes.Repeat([]byte{byte(won)}, size), content))
		listed, err := stores[won].List(t.Context())
		require.NoError(t, err)
		require.Equal(t, []string{ref}, listed, "no upload is left")
		require.NoError(t, stores[won].Remove(t.Context(), ref))
	}
}
