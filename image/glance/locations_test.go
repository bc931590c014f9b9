package glance_test

import (
	"context"
	"crypto/md5" //nolint:gosec // Glance's checksum
	"crypto/sha512"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/kintoun/kintoun/image"
	"github.com/kintoun/kintoun/image/driver"
	"github.com/kintoun/kintoun/image/filestore"
	"github.com/kintoun/kintoun/image/glance"
	"github.com/kintoun/kintoun/image/memstore"
	"github.com/kintoun/kintoun/internal/fault"
	"github.com/kintoun/kintoun/internal/sqlitedb"
	"github.com/stretchr/testify/require"
)

// web is one page.
type web struct{ address, content string }

func (w web) Check(address string) error {
	if address != w.address {
		return fault.Wrap(fault.ErrInvalid, "the address is not allowed")
	}
	return nil
}

func (w web) Open(_ context.Context, address string) (io.ReadCloser, int64, error) {
	if address != w.address {
		return nil, 0, errors.New("no such page")
	}
	return io.NopCloser(strings.NewReader(w.content)), int64(len(w.content)), nil
}

// located serves images in files and in memory, and says where they are.
func located(t *testing.T, page web) (*httptest.Server, *image.Service, *filestore.Store) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	db, err := sqlitedb.Memory(ctx)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	files, err := filestore.New(t.TempDir(), nil)
	require.NoError(t, err)
	service, err := image.New(ctx, db, files, &image.Options{Stores: map[string]driver.Store{"far": memstore.New(nil)}, Web: page, AllowUnknownContent: true})
	require.NoError(t, err)
	ended := make(chan error, 1)
	go func() { ended <- service.Run(ctx) }()
	t.Cleanup(func() { cancel(); require.NoError(t, <-ended) })
	server := httptest.NewServer(glance.Handler(service, tokens{}, &glance.Options{ShowLocations: true}))
	t.Cleanup(server.Close)
	return server, service, files
}

func TestLocations(t *testing.T) {
	page := web{"http://images.example/disk", "a disk"}
	s, service, files := located(t, page)
	img := create(t, s, "alice", bareRaw)
	path := "/v2/images/" + img["id"].(string)
	require.Equal(t, []any{}, img["locations"])
	require.NotContains(t, img, "direct_url")
	sum, hash := md5.Sum([]byte(page.content)), sha512.Sum512([]byte(page.content)) //nolint:gosec // Glance's
	good := `"checksum": "` + hex.EncodeToString(sum[:]) + `", "os_hash_algo": "sha512", "os_hash_value": "` + hex.EncodeToString(hash[:]) + `"`
	for body, status := range map[string]int{
		`{}`: 400, `{"url": 1}`: 400, `{"url": "http://other.example/"}`: 400, `{"url": "file:///etc/shadow"}`: 400,
		`{"url": "` + page.address + `", "validation_data": {"os_hash_algo": "md5", "os_hash_value": "00"}}`:    400,
		`{"url": "` + page.address + `", "validation_data": {"os_hash_algo": "sha512", "os_hash_value": "00"}}`: 400,
		`{"url": "` + page.address + `", "validation_data": {"checksum": "xyz"}}`:                               400,
	} {
		resp, text := call(t, s, "alice", "POST", path+"/locations", body)
		require.Equal(t, status, resp.StatusCode, "%s: %s", body, text)
	}
	require.Equal(t, "queued", get(t, s, "alice", path)["status"])

	resp, text := call(t, s, "alice", "POST", path+"/locations", `{"url": "`+page.address+`", "validation_data": {"checksum": "`+strings.Repeat("1", 32)+`"}}`)
	require.Equal(t, 202, resp.StatusCode, text)
	settle(t, service, func() bool { return get(t, s, "alice", path)["os_glance_failed_import"] == "file" })
	require.Equal(t, "queued", get(t, s, "alice", path)["status"], "another content than was expected")
	left, err := files.List(t.Context())
	require.NoError(t, err)
	require.Empty(t, left)

	resp, text = call(t, s, "alice", "POST", path+"/locations", `{"url": "`+page.address+`", "validation_data": {`+good+`}}`)
	require.Equal(t, 202, resp.StatusCode, text)
	settle(t, service, func() bool { return get(t, s, "alice", path)["status"] == "active" })
	shown := get(t, s, "alice", path)
	require.Len(t, shown["locations"], 1)
	at := shown["locations"].([]any)[0].(map[string]any)
	require.Equal(t, shown["direct_url"], at["url"])
	require.True(t, strings.HasPrefix(at["url"].(string), "file:///"), at["url"])
	require.Equal(t, map[string]any{"store": "file"}, at["metadata"])
	_, content := call(t, s, "alice", "GET", path+"/file", "")
	require.Equal(t, page.content, content)
	resp, _ = call(t, s, "alice", "POST", path+"/locations", `{"url": "`+page.address+`"}`)
	require.Equal(t, 409, resp.StatusCode, "only queued images")
	resp, _ = call(t, s, "bob", "POST", path+"/locations", `{"url": "`+page.address+`"}`)
	require.Equal(t, 404, resp.StatusCode)

	resp, _ = call(t, s, "alice", "POST", path+"/import", `{"method": {"name": "copy-image"}, "stores": ["far"]}`)
	require.Equal(t, 202, resp.StatusCode)
	settle(t, service, func() bool { return len(get(t, s, "alice", path)["locations"].([]any)) == 2 })
	resp, _ = call(t, s, "alice", "GET", path+"/locations", "")
	require.Equal(t, 403, resp.StatusCode, "for services")
	resp, text = call(t, s, "admin", "GET", path+"/locations", "")
	require.Equal(t, 200, resp.StatusCode, text)
	var all []map[string]any
	require.NoError(t, json.Unmarshal([]byte(text), &all))
	require.Equal(t, at, all[0])
	require.Equal(t, map[string]any{"store": "far"}, all[1]["metadata"])

	resp, _ = call(t, s, "admin", "POST", path+"/actions/deactivate", "")
	require.Equal(t, 204, resp.StatusCode)
	require.NotContains(t, get(t, s, "alice", path), "locations", "a deactivated image's are for administrators")
	require.Contains(t, get(t, s, "admin", path), "locations")

	plain, _ := newCluster(t)
	require.NotContains(t, create(t, plain, "alice", bareRaw), "locations", "not shown unless it is said")
}
