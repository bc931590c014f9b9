package swift_test

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kintoun/kintoun/internal/lab/labtest"
	"github.com/kintoun/kintoun/objectstore/swift"
	"github.com/stretchr/testify/require"
)

// keystone is as much of an identity service as the clients need to find the object storage: every password is right, and the
// token is the project's name.
func keystone(t testing.TB, storageURL string) *httptest.Server {
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
		endpoint := map[string]any{"id": "e", "interface": "public", "region": "RegionOne", "region_id": "RegionOne", "url": storageURL + "/v1/AUTH_" + name}
		answer(w, 201, map[string]any{"token": map[string]any{
			"methods": []string{"password"}, "issued_at": "2026-01-01T00:00:00.000000Z", "expires_at": "2036-01-01T00:00:00.000000Z",
			"user":    map[string]any{"id": name, "name": name, "domain": domain},
			"project": map[string]any{"id": name, "name": name, "domain": domain},
			"roles":   []any{map[string]any{"id": "r", "name": "member"}},
			"catalog": []any{map[string]any{"id": "s", "type": "object-store", "name": "swift", "endpoints": []any{endpoint}}},
		}})
	})
	return server
}

// terminal runs programs in a directory of its own.
type terminal struct {
	t   testing.TB
	dir string
	env []string
}

func (c *terminal) try(program string, args ...string) (string, error) {
	cmd := exec.CommandContext(c.t.Context(), program, args...)
	cmd.Dir = c.dir
	cmd.Env = append([]string{"PATH=/usr/bin:/bin", "HOME=" + c.dir, "PYTHONWARNINGS=ignore", "LC_ALL=C.UTF-8"}, c.env...)
	var out, problems bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &problems
	err := cmd.Run()
	return out.String() + problems.String(), err
}

func (c *terminal) run(program string, args ...string) string {
	c.t.Helper()
	out, err := c.try(program, args...)
	require.NoError(c.t, err, "%s %v: %s", program, args, out)
	return out
}

func (c *terminal) write(name string, content []byte) {
	c.t.Helper()
	path := filepath.Join(c.dir, name)
	require.NoError(c.t, os.MkdirAll(filepath.Dir(path), 0o755))
	require.NoError(c.t, os.WriteFile(path, content, 0o600))
}

func (c *terminal) same(a, b string) {
	c.t.Helper()
	one, err := os.ReadFile(filepath.Join(c.dir, a))
	require.NoError(c.t, err)
	other, err := os.ReadFile(filepath.Join(c.dir, b))
	require.NoError(c.t, err)
	require.True(c.t, bytes.Equal(one, other), "%s is not %s", a, b)
}

// TestDebiansSwift runs Debian's swift command with a login of TempAuth.
func TestDebiansSwift(t *testing.T) {
	labtest.RequireProgram(t, "/usr/bin/swift", "python3-swiftclient")
	s := newSite(t, &swift.Options{Users: []swift.User{{Account: "test", Name: "tester", Key: "testing", Groups: []string{".admin"}}}})
	c := &terminal{t: t, dir: t.TempDir(), env: []string{"ST_AUTH=" + s.URL + "/auth/v1.0", "ST_USER=test:tester", "ST_KEY=testing"}}
	run := func(args ...string) string { t.Helper(); return c.run("/usr/bin/swift", args...) }
	big := make([]byte, 3_000_000)
	_, _ = rand.Read(big)
	c.write("big", big)
	c.write("dir/sub/é b", []byte("yo"))
	c.write("dir/a", []byte("hi"))

	require.Contains(t, run("stat"), "Containers: 0")
	run("upload", "c", "big", "dir")
	run("upload", "-S", "1000000", "--object-name", "dlo", "c", "big")
	run("upload", "-S", "1000000", "--use-slo", "--object-name", "slo", "c", "big")
	require.Equal(t, "big\ndir/a\ndir/sub/é b\ndlo\nslo\n", run("list", "c"))
	require.Equal(t, "dir/\ndlo\n", run("list", "-d", "/", "-p", "d", "c"))
	for _, name := range []string{"big", "dlo", "slo"} {
		run("download", "-o", name+".out", "c", name)
		c.same("big", name+".out")
	}
	run("download", "-o", "odd", "c", "dir/sub/é b")
	c.same("dir/sub/é b", "odd")
	run("upload", "--skip-identical", "c", "big")
	require.Contains(t, run("stat", "c", "slo"), "3000000")

	run("post", "-r", ".r:*", "-m", "color:red", "c")
	out := run("stat", "c")
	require.Contains(t, out, "Read ACL: .r:*")
	require.Contains(t, out, "Meta Color: red")
	run("post", "-m", "x:y", "-H", "X-Delete-After: 1000", "c", "big")
	out = run("stat", "c", "big")
	require.Contains(t, out, "Meta X: y")
	require.Contains(t, out, "X-Delete-At")
	run("copy", "-d", "/c/big2", "c", "big")
	run("download", "-o", "big2", "c", "big2")
	c.same("big", "big2")
	run("post", "-m", "Temp-URL-Key:k")
	url := strings.TrimSpace(run("tempurl", "GET", "1000", "/v1/AUTH_test/c/dir/a", "k"))
	require.Equal(t, "hi", s.do("GET", url, nil, "").body)
	require.Contains(t, run("capabilities"), "max_manifest_segments: 1000")

	run("post", "-H", "X-Versions-Enabled: true", "v")
	run("upload", "v", "dir/a")
	run("upload", "v", "dir/a")
	require.Equal(t, 2, strings.Count(run("list", "--versions", "v"), "dir/a"))
	run("delete", "--versions", "v")
	run("delete", "c", "slo")
	require.NotContains(t, run("list", "c_segments"), "slo/slo")
	run("delete", "c", "dir/a", "big")
	run("delete", "--all")
	require.Empty(t, run("list"))
	_, err := c.try("/usr/bin/swift", "stat", "nothing")
	require.Error(t, err)
	c.env[2] = "ST_KEY=wrong"
	out, err = c.try("/usr/bin/swift", "stat")
	require.Error(t, err)
	require.Contains(t, out, "Auth GET failed")
}

// TestDebiansOpenstack runs Debian's openstack command with Keystone's tokens.
func TestDebiansOpenstack(t *testing.T) {
	labtest.RequireProgram(t, "/usr/bin/openstack", "python3-openstackclient")
	s := newSite(t, nil)
	auth := keystone(t, s.URL)
	c := &terminal{t: t, dir: t.TempDir(), env: []string{
		"OS_AUTH_URL=" + auth.URL + "/v3", "OS_USERNAME=alice", "OS_PASSWORD=x", "OS_PROJECT_NAME=alice", "OS_USER_DOMAIN_NAME=Default",
		"OS_PROJECT_DOMAIN_NAME=Default", "OS_IDENTITY_API_VERSION=3", "OS_REGION_NAME=RegionOne",
	}}
	run := func(args ...string) string { t.Helper(); return c.run("/usr/bin/openstack", args...) }
	c.write("a b", []byte("content"))
	require.Contains(t, run("container", "create", "photos", "-f", "value"), "AUTH_alice photos tx")
	require.Contains(t, run("object", "create", "photos", "a b", "-f", "value"), md5Of("content"))
	require.Equal(t, "a b\n", run("object", "list", "photos", "-f", "value"))
	run("container", "set", "--property", "color=red", "photos")
	require.Contains(t, run("container", "show", "photos"), "red")
	run("object", "set", "--property", "x=y", "photos", "a b")
	require.Contains(t, run("object", "show", "photos", "a b"), "X='y'")
	run("object", "save", "--file", "out", "photos", "a b")
	c.same("a b", "out")
	require.Contains(t, run("object", "store", "account", "show"), "AUTH_alice")
	run("container", "delete", "--recursive", "photos")
	require.NotContains(t, run("container", "list"), "photos")
}

// TestRclone runs Debian's rclone command.
func TestRclone(t *testing.T) {
	labtest.RequireProgram(t, "/usr/bin/rclone", "rclone")
	s := newSite(t, &swift.Options{Users: []swift.User{{Account: "test", Name: "tester", Key: "testing", Groups: []string{".admin"}}}})
	c := &terminal{t: t, dir: t.TempDir(), env: []string{
		"RCLONE_CONFIG_S_TYPE=swift", "RCLONE_CONFIG_S_USER=test:tester", "RCLONE_CONFIG_S_KEY=testing", "RCLONE_CONFIG_S_AUTH=" + s.URL + "/auth/v1.0",
		"RCLONE_CONFIG_S_CHUNK_SIZE=1Mi", "RCLONE_CONFIG=/dev/null",
	}}
	run := func(args ...string) string { t.Helper(); return c.run("/usr/bin/rclone", args...) }
	big := make([]byte, 3<<20)
	_, _ = rand.Read(big)
	c.write("tree/big", big)
	c.write("tree/empty", nil)
	c.write("tree/dir/é ?#%+&b", []byte("odd"))
	run("sync", "tree", "s:c/tree")
	run("check", "--download", "tree", "s:c/tree")
	run("sync", "s:c/tree", "back")
	c.same("tree/big", "back/big")
	c.same("tree/dir/é ?#%+&b", "back/dir/é ?#%+&b")
	run("moveto", "s:c/tree/big", "s:c/elsewhere")
	run("copyto", "s:c/elsewhere", "big")
	c.same("tree/big", "big")
	require.Contains(t, run("ls", "s:c/elsewhere"), "3145728 elsewhere")
	run("purge", "s:c")
	require.NotContains(t, run("lsd", "s:"), " c\n")
}
