package cinder_test

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestVersions(t *testing.T) {
	c := newCloud(t)
	for path, code := range map[string]int{"/": http.StatusMultipleChoices, "/v3/": http.StatusOK, "/v3": http.StatusOK} {
		a := c.send(t, "GET", path, "", nil)
		require.Equal(t, code, a.code, path)
		v := a.get(t, "versions").([]any)[0].(map[string]any)
		require.Equal(t, "3.70", v["version"])
		require.Equal(t, "3.0", v["min_version"])
		require.Equal(t, c.url+"/v3/", v["links"].([]any)[1].(map[string]any)["href"])
	}
	for asked, want := range map[string]struct {
		code    int
		version string
	}{
		"":                        {200, "volume 3.0"},
		"volume 3.0":              {200, "volume 3.0"},
		"volume 3.70":             {200, "volume 3.70"},
		"volume latest":           {200, "volume 3.70"},
		"compute 2.90":            {200, "volume 3.0"},
		"compute 2.1, volume 3.7": {200, "volume 3.7"},
		"volume 3.71":             {406, ""},
		"volume 2.0":              {406, ""},
		"volume 4.0":              {406, ""},
		"volume three":            {400, ""},
		"volume 3.01":             {400, ""},
	} {
		a := c.send(t, "GET", "/v3/extensions", "", map[string]string{"X-Auth-Token": "red", "OpenStack-API-Version": asked})
		require.Equal(t, want.code, a.code, asked)
		require.Equal(t, want.version, a.header.Get("OpenStack-API-Version"), asked)
		if want.code == 200 {
			require.Contains(t, a.header.Values("Vary"), "OpenStack-API-Version")
			require.Equal(t, a.header.Get("X-Openstack-Request-Id"), a.header.Get("X-Compute-Request-Id"))
		}
	}
}

// TestSince asks for what a microversion brought just before it did, and then.
func TestSince(t *testing.T) {
	c := newCloud(t)
	for _, one := range []struct {
		method, path  string
		before, since string
	}{
		{"GET", "/messages", "3.2", "3.3"},
		{"GET", "/clusters", "3.6", "3.7"},
		{"GET", "/manageable_volumes?host=host1@mem%23mem", "3.7", "3.8"},
		{"GET", "/group_types", "3.10", "3.11"},
		{"GET", "/volumes/summary", "3.11", "3.12"},
		{"GET", "/groups", "3.12", "3.13"},
		{"GET", "/group_snapshots", "3.13", "3.14"},
		{"POST", "/workers/cleanup", "3.23", "3.24"},
		{"GET", "/attachments", "3.26", "3.27"},
		{"GET", "/resource_filters", "3.32", "3.33"},
		{"GET", "/volume-transfers", "3.54", "3.55"},
	} {
		body := ""
		if one.method == "POST" {
			body = "{}"
		}
		before := c.call(t, "admin", one.before, one.method, "/v3"+one.path, body)
		require.Equal(t, http.StatusNotFound, before.code, one)
		require.Less(t, c.call(t, "admin", one.since, one.method, "/v3"+one.path, body).code, 300, one)
	}
}

func TestAddresses(t *testing.T) {
	c := newCloud(t)
	for path, code := range map[string]int{
		"/v3/" + redProject + "/extensions":  200,
		"/v3/extensions":                     200,
		"/v3/default-types/nobody/":          404,
		"/v3/" + redProject + "/volumes/":    404, // a volume with an empty identifier
		"/v3/" + blueProject + "/extensions": 400,
		"/v3/" + redProject + "/nothing":     404,
		"/v3/nothing":                        404,
		"/v2/volumes":                        404,
	} {
		require.Equal(t, code, c.call(t, "red", "", "GET", path, "").code, path)
	}
	require.Equal(t, http.StatusMethodNotAllowed, c.call(t, "red", "", "PATCH", "/v3/volumes", "").code)
	a := c.send(t, "GET", "/v3/extensions", "", nil)
	require.Equal(t, http.StatusUnauthorized, a.code)
	require.Equal(t, `Keystone uri="http://identity/"`, a.header.Get("WWW-Authenticate"))
}
