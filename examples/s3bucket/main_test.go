package main

import (
	"context"
	"io"
	"net"
	"strings"
	"testing"

	"github.com/kintoun/kintoun/objectstore"
	"github.com/kintoun/kintoun/objectstore/s3"
	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
	"github.com/stretchr/testify/require"
)

// What was put is there when the program starts again.
func TestBucketsOutliveTheProgram(t *testing.T) {
	dir := t.TempDir()
	keys := s3.StaticKeys{"me": {Secret: "secret", Caller: objectstore.Caller{Account: "me"}}}
	start := func() (*minio.Client, func()) {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- run(ctx, listener, dir, keys) }()
		client, err := minio.New(listener.Addr().String(), &minio.Options{Creds: credentials.NewStaticV4("me", "secret", ""), Region: "us-east-1"})
		require.NoError(t, err)
		return client, func() {
			stop()
			require.NoError(t, <-ended)
		}
	}
	song := strings.Repeat("la ", 100000)
	client, stop := start()
	require.NoError(t, client.MakeBucket(t.Context(), "first", minio.MakeBucketOptions{}))
	_, err := client.PutObject(t.Context(), "first", "songs/one", strings.NewReader(song), int64(len(song)), minio.PutObjectOptions{})
	require.NoError(t, err)
	stop()

	client, stop = start()
	defer stop()
	o, err := client.GetObject(t.Context(), "first", "songs/one", minio.GetObjectOptions{})
	require.NoError(t, err)
	defer func() { _ = o.Close() }()
	got, err := io.ReadAll(o)
	require.NoError(t, err)
	require.Equal(t, song, string(got))
}
