package cinder_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kintoun/kintoun/internal/sqlitedb"
	"github.com/kintoun/kintoun/volume"
	"github.com/kintoun/kintoun/volume/cinder"
)

func fuzzed(f *testing.F) http.Handler {
	f.Helper()
	db, err := sqlitedb.Memory(f.Context())
	require.NoError(f, err)
	f.Cleanup(func() { require.NoError(f, db.Close()) })
	service, err := volume.New(f.Context(), db, nil)
	require.NoError(f, err)
	return cinder.Handler(service, tokens{}, nil)
}

// FuzzBodies sends anything to the calls that read bodies: no answer may be the server's own failure.
func FuzzBodies(f *testing.F) {
	handler := fuzzed(f)
	const id = "/70a599e0-31e7-49b7-b260-868f441e862b"
	paths := []string{
		"POST /volumes", "POST /volumes" + id + "/action", "POST /volumes" + id + "/metadata", "PUT /volumes" + id, "POST /snapshots",
		"POST /snapshots" + id + "/action", "POST /attachments", "PUT /attachments" + id, "POST /types", "PUT /types" + id + "/extra_specs/a",
		"POST /types" + id + "/encryption", "PUT /os-quota-sets/p", "PUT /os-quota-class-sets/default", "PUT /os-services/disable", "POST /groups",
		"PUT /groups" + id, "POST /groups/action", "POST /group_types", "POST /group_snapshots", "POST /backups", "POST /backups/import_record",
		"POST /backups" + id + "/restore", "POST /volume-transfers", "POST /qos-specs", "PUT /qos-specs" + id, "POST /manageable_volumes", "POST /manageable_snapshots",
		"PUT /default-types/p", "POST /workers/cleanup",
	}
	for i, seed := range []string{
		`{"volume":{"size":"1","name":null,"metadata":{"a":"b"},"imageRef":"http://x/y","multiattach":"no"},"OS-SCH-HNT:scheduler_hints":{"same_host":"x"}}`,
		`{"os-initialize_connection":{"connector":"host"}}`, `{"metadata":{"a":null}}`, `{"volume":{"description":" x "}}`, `{"snapshot":{"volume_id":null,"force":"t"}}`,
		`{"os-reset_status":{"status":"ERROR"}}`, `{"attachment":{"volume_uuid":"70a599e031e749b7b260868f441e862b","connector":{"host":1}}}`, `{"attachment":{"connector":{"a":[]}}}`,
		`{"volume_type":{"name":"x","os-volume-type-access:is_public":"on"}}`, `{"a":null}`, `{"encryption":{"provider":"","control_location":"front-end","key_size":"99999999999999999999"}}`,
		`{"quota_set":{"volumes":1e3,"x":{}}}`, `{"quota_class_set":{"volumes":"-1"}}`, `{"host":"[::1]","service":"x"}`, `{"group":{"group_type":"x","volume_types":["a","a"]}}`,
		`{"group":{"add_volumes":",,"}}`, `{"create-from-src":{}}`, `{"group_type":{"name":"x","group_specs":null}}`, `{"group_snapshot":{"group_id":"x"}}`,
		`{"backup":{"volume_id":"x","incremental":1}}`, `{"backup-record":{"backup_service":"","backup_url":"eyJ9"}}`, `{"restore":null}`, `{"transfer":{"name":" "}}`,
		`{"qos_specs":{"name":"x","consumer":1,"y":1.5}}`, `{"qos_specs":{"consumer":null}}`, `{"volume":{"ref":{"source-name":1},"host":"h"}}`, `{"snapshot":{"ref":{"source-id":null},"volume_id":"70a599e031e749b7b260868f441e862b"}}`, `{"default_type":{"volume_type":"x"}}`, `{"service_id":-1}`,
	} {
		f.Add(uint8(i), uint8(70-i), seed)
	}
	f.Fuzz(func(t *testing.T, which, minor uint8, body string) {
		method, path, _ := strings.Cut(paths[int(which)%len(paths)], " ")
		r := httptest.NewRequestWithContext(t.Context(), method, "/v3"+path, strings.NewReader(body))
		r.Header.Set("X-Auth-Token", "admin")
		r.Header.Set("OpenStack-API-Version", fmt.Sprintf("volume 3.%d", minor%71))
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, r)
		require.NotEqual(t, http.StatusInternalServerError, w.Code, w.Body)
	})
}

// FuzzQueries lists by anything.
func FuzzQueries(f *testing.F) {
	handler := fuzzed(f)
	for _, seed := range []string{
		"limit=1&marker=x", "sort=name:asc,size", "metadata={'a': 'b', \"c\": 1}", "metadata={'a'", "created_at=gt:2026-01-01T00:00:00,lt:x", "name~=x&bootable=t",
		"all_tenants=1&project_id=p&with_count=1", "is_public=none&extra_specs={'a':'b'}", "host=h%40b%23p&detail=1", "sort_key=id&sort_dir=up", "offset=-0",
	} {
		f.Add(uint8(len(seed)), true, seed)
	}
	paths := []string{"/volumes", "/volumes/detail", "/volumes/summary", "/snapshots/detail", "/attachments", "/types", "/messages", "/backups", "/groups", "/group_snapshots", "/os-volume-transfer", "/qos-specs", "/manageable_volumes", "/manageable_snapshots", "/scheduler-stats/get_pools", "/limits", "/os-services"}
	f.Fuzz(func(t *testing.T, which uint8, admin bool, query string) {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/v3"+paths[int(which)%len(paths)], nil)
		r.URL.RawQuery = query
		if _, err := url.ParseQuery(query); err != nil {
			return
		}
		r.Header.Set("X-Auth-Token", map[bool]string{true: "admin", false: "red"}[admin])
		r.Header.Set("OpenStack-API-Version", "volume 3.70")
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, r)
		require.NotEqual(t, http.StatusInternalServerError, w.Code, w.Body)
	})
}
