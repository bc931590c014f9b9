package nova_test

import (
	"net/http"
	"testing"

	"github.com/kintoun/kintoun/compute"
	"github.com/kintoun/kintoun/compute/internal/computetest"
	"github.com/stretchr/testify/require"
)

// BenchmarkServerToActive is the control plane's part of booting a server: the request, the host's agent, the report.
func BenchmarkServerToActive(b *testing.B) {
	c := newCloud(b)
	unbounded(b, c)
	for b.Loop() {
		id := c.boot(b, "vm")
		b.StopTimer()
		require.NoError(b, c.Delete(b.Context(), compute.Scope{Admin: true}, id))
		b.StartTimer()
	}
}

// BenchmarkListServers lists a hundred servers in detail.
func BenchmarkListServers(b *testing.B) {
	c := newCloud(b)
	unbounded(b, c)
	scope := compute.Scope{ProjectID: redProject, UserID: "ruby"}
	_, err := c.CreateServers(b.Context(), scope, compute.ServerSpec{
		Name: "vm", FlavorID: "1", ImageID: computetest.ImageID, MinCount: 100, MaxCount: 100,
	})
	require.NoError(b, err)
	for b.Loop() {
		a := c.call(b, "red", "2.96", "GET", "/v2.1/servers/detail", "")
		require.Equal(b, http.StatusOK, a.code)
		require.Len(b, a.body["servers"], 100)
	}
}

func unbounded(b *testing.B, c *cloud) {
	b.Helper()
	a := c.call(b, "admin", "2.96", "PUT", "/v2.1/os-quota-sets/"+redProject, `{"quota_set":{"instances":-1,"cores":-1,"ram":-1,"force":true}}`)
	require.Equal(b, http.StatusOK, a.code, a.text)
}
