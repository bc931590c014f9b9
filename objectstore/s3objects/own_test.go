package s3objects_test

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/kintoun/kintoun/internal/sqlitedb"
	"github.com/kintoun/kintoun/objectstore"
	"github.com/kintoun/kintoun/objectstore/driver"
	"github.com/kintoun/kintoun/objectstore/drivertest"
	"github.com/kintoun/kintoun/objectstore/memobjects"
	"github.com/kintoun/kintoun/objectstore/s3"
	"github.com/kintoun/kintoun/objectstore/s3objects"
	"github.com/stretchr/testify/require"
)

// TestStoreOverOwnS3 has the contents in a bucket of this house's own S3, over plain HTTP: all is signed, chunk by chunk.
func TestStoreOverOwnS3(t *testing.T) {
	drivertest.TestStore(t, func(t testing.TB) driver.Store {
		db, err := sqlitedb.Memory(t.Context())
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, db.Close()) })
		objects, err := objectstore.New(t.Context(), db, memobjects.New(nil), nil)
		require.NoError(t, err)
		caller := objectstore.Caller{Account: "demo"}
		_, _, err = objects.CreateContainer(t.Context(), caller, objectstore.Path{Account: "demo", Container: "contents"}, nil)
		require.NoError(t, err)
		keys := s3.StaticKeys{"access": {Secret: "secret", Caller: caller}}
		server := httptest.NewServer(s3.Handler(objects, keys, nil))
		transport := &http.Transport{}
		t.Cleanup(func() { transport.CloseIdleConnections(); server.Close() })
		s, err := s3objects.New(server.URL, "contents", &s3objects.Options{
			Prefix: "kintoun/", Region: "us-east-1", AccessKey: "access", SecretKey: "secret", PartSize: 5 << 20, Transport: transport,
		})
		require.NoError(t, err)
		return s
	})
}
