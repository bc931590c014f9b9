package nova_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/kintoun/kintoun/compute"
	"github.com/kintoun/kintoun/compute/internal/computetest"
	"github.com/kintoun/kintoun/compute/nova"
	"github.com/kintoun/kintoun/internal/sqlitedb"
	"github.com/stretchr/testify/require"
)

// FuzzBodies sends anything to the calls that read bodies: no answer may be the server's own failure.
func FuzzBodies(f *testing.F) {
	db, err := sqlitedb.Memory(f.Context())
	require.NoError(f, err)
	f.Cleanup(func() { require.NoError(f, db.Close()) })
	service, err := compute.New(f.Context(), db, computetest.NewImages(), computetest.NewNetworks(), nil)
	require.NoError(f, err)
	require.NoError(f, service.EnsureFlavors(f.Context(), compute.DefaultFlavors()...))
	handler := nova.Handler(service, tokens{}, &nova.Options{SecurityGroups: &groups{}})
	paths := []string{
		"/servers", "/os-keypairs", "/flavors", "/os-server-groups", "/os-aggregates", "/os-security-groups", "/os-security-group-rules",
		"/servers/70a599e0-31e7-49b7-b260-868f441e862b/action", "/flavors/1/action", "/flavors/1/os-extra_specs", "/os-aggregates/1/action",
	}
	for i, seed := range []string{
		`{"server":{"name":"x","flavorRef":"1","imageRef":"` + computetest.ImageID + `","networks":"auto","min_count":"2","block_device_mapping_v2":[{}]},"os:scheduler_hints":{"group":[]}}`,
		`{"keypair":{"name":"x","public_key":"ssh-rsa AAAA"}}`, `{"flavor":{"name":"x","ram":"1","vcpus":1e3,"disk":-0,"rxtx_factor":1.5}}`,
		`{"server_group":{"name":"x","policies":[]}}`, `{"reboot":{"type":null}}`, `{"addTenantAccess":{"tenant":"x"}}`, `{"extra_specs":{"a":1.5}}`, `{"set_metadata":{"metadata":{"a":null}}}`,
		`{"security_group_rule":{"parent_group_id":null,"from_port":"-1"}}`, `{"os-getConsoleOutput":{"length":"99999999999999999999"}}`,
	} {
		f.Add(uint8(i), uint8(i*9), seed)
	}
	f.Fuzz(func(t *testing.T, which, minor uint8, body string) {
		r := httptest.NewRequestWithContext(t.Context(), "POST", "/v2.1"+paths[int(which)%len(paths)], strings.NewReader(body))
		r.Header.Set("X-Auth-Token", "admin")
		r.Header.Set("OpenStack-API-Version", fmt.Sprintf("compute 2.%d", 1+minor%96))
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, r)
		require.NotEqual(t, http.StatusInternalServerError, w.Code, w.Body)
	})
}
