package glance_test

import (
	"context"
	"fmt"
	"net/http/httptest"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/kintoun/kintoun/image"
	"github.com/kintoun/kintoun/image/glance"
	"github.com/kintoun/kintoun/image/memstore"
	"github.com/kintoun/kintoun/inject"
	"github.com/kintoun/kintoun/internal/sqlitedb"
	"github.com/stretchr/testify/require"
)

// TestFullStore answers 413 where the store has no room, as Glance does, without a word of where the store is.
func TestFullStore(t *testing.T) {
	db, err := sqlitedb.Memory(context.Background())
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	faults := inject.New(1)
	service, err := image.New(context.Background(), db, memstore.New(&memstore.Options{Faults: faults}), nil)
	require.NoError(t, err)
	s := httptest.NewServer(glance.Handler(service, tokens{}, nil))
	t.Cleanup(s.Close)
	path := "/v2/images/" + create(t, s, "alice", bareRaw)["id"].(string)
	for _, what := range []string{"/file", "/stage"} {
		faults.Add(inject.Fault{Step: "image put", Err: fmt.Errorf("write /var/lib/images/x: %w", syscall.ENOSPC)})
		resp, text := call(t, s, "alice", "PUT", path+what, strings.Repeat("x", 1000), octets)
		require.Equal(t, 413, resp.StatusCode, text)
		require.Contains(t, text, "the image storage is full")
		require.NotContains(t, text, "/var/lib")
		require.Equal(t, "queued", get(t, s, "alice", path)["status"])
		faults.Clear()
	}
	resp, text := call(t, s, "alice", "PUT", path+"/file", "fits", octets)
	require.Equal(t, 204, resp.StatusCode, text)
}

// TestProtectedProperties has the caller's roles decide what becomes of properties.
func TestProtectedProperties(t *testing.T) {
	s := newServer(t, &image.Options{Protections: []image.Protection{
		{Names: regexp.MustCompile("^billing_"), Create: []string{"admin"}, Read: []string{"admin"}, Update: []string{"admin"}, Delete: []string{"admin"}},
		{Names: regexp.MustCompile("."), Create: []string{"@"}, Read: []string{"@"}, Update: []string{"@"}, Delete: []string{"@"}},
	}})
	resp, text := call(t, s, "alice", "POST", "/v2/images", `{"billing_code": "7"}`)
	require.Equal(t, 403, resp.StatusCode, text)
	require.Contains(t, text, "Property &#39;billing_code&#39; is protected")
	path := "/v2/images/" + create(t, s, "alice", `{"os_distro": "debian"}`)["id"].(string)
	add := `[{"op": "add", "path": "/billing_code", "value": "7"}]`
	resp, _ = call(t, s, "alice", "PATCH", path, add, "Content-Type: "+patch)
	require.Equal(t, 403, resp.StatusCode)
	resp, _ = call(t, s, "admin", "PATCH", path, add, "Content-Type: "+patch)
	require.Equal(t, 200, resp.StatusCode)
	require.Equal(t, "7", get(t, s, "admin", path)["billing_code"])
	require.NotContains(t, get(t, s, "alice", path), "billing_code")
	require.Equal(t, "debian", get(t, s, "alice", path)["os_distro"])
	resp, _ = call(t, s, "alice", "PATCH", path, `[{"op": "remove", "path": "/billing_code"}]`, "Content-Type: "+patch)
	require.Equal(t, 409, resp.StatusCode, "it does not exist for her")
}
