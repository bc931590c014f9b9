package glance_test

import (
	"bytes"
	"crypto/md5"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kintoun/kintoun/internal/lab/labtest"
	"github.com/stretchr/testify/require"
)

// keystone is as much of an identity service as the clients need to find the image service: every password is right,
// and the token is the project's name.
func keystone(t testing.TB, imageURL string) *httptest.Server {
	t.Helper()
	mux := http.NewServeMux()
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	version := map[string]any{"id": "v3.14", "status": "stable", "links": []any{map[string]any{"rel": "self", "href": server.URL + "/v3/"}}}
	answer := func(w http.ResponseWriter, status int, v any) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(v)
	}
	discover := func(w http.ResponseWriter, _ *http.Request) { answer(w, 200, map[string]any{"version": version}) }
	mux.HandleFunc("GET /v3", discover)
	mux.HandleFunc("GET /v3/{$}", discover)
	mux.HandleFunc("POST /v3/auth/tokens", func(w http.ResponseWriter, r *http.Request) {
		var body struct {
			Auth struct {
				Scope struct{ Project struct{ Name string } }
			}
		}
		_ = json.NewDecoder(r.Body).Decode(&body)
		name := body.Auth.Scope.Project.Name
		w.Header().Set("X-Subject-Token", name)
		domain := map[string]any{"id": "default", "name": "Default"}
		endpoint := map[string]any{"id": "e", "interface": "public", "region": "RegionOne", "region_id": "RegionOne", "url": imageURL}
		answer(w, 201, map[string]any{"token": map[string]any{
			"methods": []string{"password"}, "issued_at": "2026-01-01T00:00:00.000000Z", "expires_at": "2036-01-01T00:00:00.000000Z",
			"user":    map[string]any{"id": name, "name": name, "domain": domain},
			"project": map[string]any{"id": name, "name": name, "domain": domain},
			"roles":   []any{map[string]any{"id": "r", "name": "member"}},
			"catalog": []any{map[string]any{"id": "s", "type": "image", "name": "glance", "endpoints": []any{endpoint}}},
		}})
	})
	return server
}

// TestRealClients runs Debian's openstack and glance commands.
func TestRealClients(t *testing.T) {
	labtest.RequireProgram(t, "/usr/bin/openstack", "python3-openstackclient")
	labtest.RequireProgram(t, "/usr/bin/glance", "python3-glanceclient")
	labtest.RequireProgram(t, "qemu-img", "qemu-utils")
	s := newServer(t, nil)
	auth := keystone(t, s.URL)
	dir := t.TempDir()
	try := func(program string, args ...string) (string, error) {
		cmd := exec.CommandContext(t.Context(), "/usr/bin/"+program, args...)
		cmd.Dir = dir
		cmd.Env = []string{
			"PATH=/usr/bin:/bin", "HOME=" + dir, "PYTHONWARNINGS=ignore", "OS_AUTH_URL=" + auth.URL + "/v3", "OS_USERNAME=alice", "OS_PASSWORD=x",
			"OS_PROJECT_NAME=alice", "OS_USER_DOMAIN_NAME=Default", "OS_PROJECT_DOMAIN_NAME=Default", "OS_IDENTITY_API_VERSION=3", "OS_REGION_NAME=RegionOne",
		}
		var out, problems bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &problems
		err := cmd.Run()
		return out.String() + problems.String(), err
	}
	run := func(program string, args ...string) string {
		t.Helper()
		out, err := try(program, args...)
		require.NoError(t, err, "%s %v: %s", program, args, out)
		return out
	}
	qemuImg := func(args ...string) {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), "qemu-img", args...)
		cmd.Dir = dir
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, "%s", out)
	}
	qemuImg("create", "-q", "-f", "qcow2", "disk.qcow2", "64M")
	qemuImg("create", "-q", "-f", "qcow2", "-u", "-b", "/etc/passwd", "-F", "raw", "trap.qcow2", "64M")
	disk, err := os.ReadFile(filepath.Join(dir, "disk.qcow2"))
	require.NoError(t, err)
	sum := md5.Sum(disk)

	out := run("openstack", "image", "create", "--file", "disk.qcow2", "--disk-format", "qcow2", "--container-format", "bare",
		"--property", "os_distro=debian", "--tag", "blue", "-f", "json", "disk")
	var v map[string]any
	require.NoError(t, json.Unmarshal([]byte(out), &v), out)
	require.Equal(t, "active", showField(t, run("openstack", "image", "show", "-f", "json", "disk"), "status"))
	require.Equal(t, hex.EncodeToString(sum[:]), showField(t, run("openstack", "image", "show", "-f", "json", "disk"), "checksum"))
	require.Contains(t, run("openstack", "image", "list", "-f", "value"), "disk active")
	run("openstack", "image", "save", "--file", "copy", "disk")
	saved, err := os.ReadFile(filepath.Join(dir, "copy"))
	require.NoError(t, err)
	require.True(t, bytes.Equal(disk, saved))
	run("openstack", "image", "set", "--property", "os_version=12", "--tag", "red", "--min-ram", "64", "--name", "renamed", "disk")
	out = run("openstack", "image", "show", "-f", "json", "renamed")
	require.EqualValues(t, 64, showField(t, out, "min_ram"))
	require.ElementsMatch(t, []any{"blue", "red"}, showField(t, out, "tags"))
	run("openstack", "image", "unset", "--property", "os_version", "--tag", "red", "renamed")
	require.NotContains(t, run("openstack", "image", "show", "renamed"), "os_version")
	run("openstack", "image", "set", "--deactivate", "renamed")
	run("openstack", "image", "set", "--activate", "renamed")

	require.Contains(t, run("glance", "image-list"), "renamed")
	id := v["id"].(string)
	require.Contains(t, run("glance", "image-show", id), "renamed")
	require.Contains(t, run("glance", "image-update", "--property", "x=y", id), "| x ")
	run("glance", "image-tag-update", id, "green")
	run("glance", "member-create", id, "bob")
	require.Contains(t, run("glance", "member-list", "--image-id", id), "pending")

	out, err = try("openstack", "image", "create", "--file", "trap.qcow2", "--disk-format", "qcow2", "--container-format", "bare", "trap")
	require.Error(t, err)
	require.Contains(t, out, "backing file")
	out, err = try("glance", "image-upload", "--file", filepath.Join(dir, "disk.qcow2"), id)
	require.Error(t, err)
	require.Contains(t, out, "409")
	out, err = try("openstack", "image", "show", "nothing")
	require.Error(t, err)
	require.Contains(t, out, "No Image found for nothing")

	run("openstack", "image", "delete", "renamed")
	require.NotContains(t, run("openstack", "image", "list", "-f", "value"), "renamed")
}

func showField(t testing.TB, out, name string) any {
	t.Helper()
	var v map[string]any
	require.NoError(t, json.Unmarshal([]byte(out[strings.IndexByte(out, '{'):]), &v), out)
	return v[name]
}
