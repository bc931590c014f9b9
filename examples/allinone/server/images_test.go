package server

import (
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kintoun/kintoun/image"
	"github.com/kintoun/kintoun/image/driver"
	"github.com/kintoun/kintoun/internal/sqlitedb"
	"github.com/kintoun/kintoun/objectstore"
	"github.com/kintoun/kintoun/objectstore/memobjects"
	"github.com/kintoun/kintoun/objectstore/s3"
	"github.com/kintoun/kintoun/probe"
	"github.com/stretchr/testify/require"
)

// TestImagesInABucket has another Kintoun's S3 keep images, and files of this host for QEMU to open.
func TestImagesInABucket(t *testing.T) {
	db, err := sqlitedb.Memory(t.Context())
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	objects, err := objectstore.New(t.Context(), db, memobjects.New(nil), nil)
	require.NoError(t, err)
	caller := objectstore.Caller{Account: "demo"}
	_, _, err = objects.CreateContainer(t.Context(), caller, objectstore.Path{Account: "demo", Container: "disks"}, nil)
	require.NoError(t, err)
	theirs := httptest.NewServer(s3.Handler(objects, s3.StaticKeys{"access": {Secret: "whispered", Caller: caller}}, nil))
	t.Cleanup(theirs.Close)
	copies := filepath.Join(t.TempDir(), "copies")
	open := func(flags ...string) (map[string]driver.Store, error) {
		o, err := parse(t, []string{"KINTOUN_IMAGE_S3_SECRET_KEY=whispered"}, append([]string{"-image-s3-access-key", "access", "-image-s3-region", "us-east-1"}, flags...)...)
		require.NoError(t, err)
		return o.Images.open(t.Context(), copies)
	}

	stores, err := open()
	require.NoError(t, err)
	require.Empty(t, stores, "nobody asked for one")
	_, err = open("-image-stores", "s3,file")
	require.ErrorContains(t, err, "image-s3-url must say where that is")
	_, err = open("-image-stores", "s3", "-image-s3-url", theirs.URL, "-image-s3-bucket", "nowhere")
	require.ErrorIs(t, err, probe.ErrUnavailable)
	require.ErrorContains(t, err, "image-stores has s3: bucket nowhere at "+theirs.URL+": missing, needed for the contents of images: create the bucket")
	require.NotContains(t, err.Error(), "whispered")
	require.NoDirExists(t, copies)

	stores, err = open("-image-stores", "file,s3", "-image-s3-url", theirs.URL, "-image-s3-bucket", "disks", "-image-s3-prefix", "kintoun/")
	require.NoError(t, err)
	store := stores[S3Images]
	_, err = store.Put(t.Context(), "image-1", strings.NewReader("a disk"))
	require.NoError(t, err)
	_, err = objects.Open(t.Context(), caller, objectstore.Path{Account: "demo", Container: "disks", Object: "kintoun/image-1"}, objectstore.OpenSpec{})
	require.NoError(t, err)
	name, err := store.(driver.LocalFiles).Path(t.Context(), "image-1")
	require.NoError(t, err)
	content, err := os.ReadFile(name)
	require.NoError(t, err)
	require.Equal(t, "a disk", string(content))
}

func TestWhoMayDoWhatWithImagesProperties(t *testing.T) {
	file := filepath.Join(t.TempDir(), "protections.conf")
	protections := func(content string, flags ...string) ([]image.Protection, error) {
		require.NoError(t, os.WriteFile(file, []byte(content), 0o600))
		o, err := parse(t, nil, flags...)
		require.NoError(t, err)
		return o.ImageProperties.Protections()
	}
	all, err := protections("[x]\nread = @")
	require.NoError(t, err)
	require.Empty(t, all, "nobody named the file")
	flag := "-image-property-protections=" + file
	all, err = protections("[^billing_]\nread = @\n[.*]\nread = @", flag)
	require.NoError(t, err)
	require.Len(t, all, 2)
	_, err = protections("# nothing", flag)
	require.ErrorContains(t, err, "nobody could do anything")
	_, err = protections("read = @", flag)
	require.ErrorContains(t, err, "image-property-protections: "+file+": property protections: line 1")
	require.NoError(t, os.Remove(file))
	o, err := parse(t, nil, flag)
	require.NoError(t, err)
	_, err = o.ImageProperties.Protections()
	require.ErrorIs(t, err, os.ErrNotExist)
}
