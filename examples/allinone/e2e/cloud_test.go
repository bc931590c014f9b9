//go:build linux

// Package e2e replays the walkthrough that the project grew from, on real virtual machines, with the clients that
// OpenStack's users have. Everything happens inside a lab.
package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/kintoun/kintoun/examples/allinone/cloud"
	"github.com/kintoun/kintoun/examples/allinone/server"
	"github.com/kintoun/kintoun/internal/lab"
	"github.com/kintoun/kintoun/internal/lab/labtest"
	"github.com/stretchr/testify/require"
)

func TestMain(m *testing.M) { os.Exit(lab.Main(m.Run)) }

// guestDir is what `make guest` fills.
const guestDir = "../../../build/guest"

// testCloud is a server under test and its clients.
type testCloud struct {
	t      testing.TB
	ctx    context.Context
	binary string
	args   []string
	server.Options
	running *exec.Cmd
}

// newCloud builds and starts the server on the given fabric, with more flags where they are given.
func newCloud(t testing.TB, fabric string, flags ...string) *testCloud {
	t.Helper()
	labtest.Require(t)
	for program, debian := range map[string]string{
		"qemu-system-x86_64": "qemu-system-x86", "ovs-vswitchd": "openvswitch-switch", "haproxy": "haproxy", "/usr/bin/openstack": "python3-openstackclient",
		"/usr/bin/nova": "python3-novaclient", "/usr/bin/neutron": "python3-neutronclient", "ping": "iputils-ping", "ssh": "openssh-client", "curl": "curl",
	} {
		labtest.RequireProgram(t, program, debian)
	}
	if _, err := os.Stat(filepath.Join(guestDir, "root.img")); err != nil {
		labtest.Skip(t, "needs the guest image: make guest")
	}
	// Other users' programs (QEMU's) have to reach the disks.
	dir, err := os.MkdirTemp("", "kintoun-e2e-")
	require.NoError(t, err)
	require.NoError(t, os.Chmod(dir, 0o755))
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	c := &testCloud{t: t, ctx: t.Context(), binary: filepath.Join(dir, "allinone")}
	build := exec.Command("go", "build", "-buildvcs=false", "-o", c.binary, "..")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	out, err := build.CombinedOutput()
	require.NoError(t, err, string(out))
	c.Host, c.Listen, c.Region = "walkthrough", "127.0.0.1", "RegionOne"
	c.DataDir, c.RunDir = filepath.Join(dir, "data"), filepath.Join(dir, "run")
	c.Ports = map[cloud.Service]int{cloud.Identity: 5000, cloud.Compute: 8774, cloud.Network: 9696, cloud.Image: 9292, cloud.Volume: 8776}
	c.args = append([]string{"serve", "-host", c.Host, "-data", c.DataDir, "-run", c.RunDir, "-fabric", fabric, "-external-address", "10.0.0.1/24"}, flags...)
	c.start()
	t.Cleanup(c.end)
	return c
}

// start runs the server and waits until it answers.
func (c *testCloud) start() {
	c.t.Helper()
	c.running = exec.Command(c.binary, c.args...)
	c.running.Stdout, c.running.Stderr = c.log(), c.log()
	require.NoError(c.t, c.running.Start())
	c.until(30*time.Second, 2*time.Millisecond, "the server answers", func() error {
		answer, err := http.Get(c.URL(cloud.Identity) + "/v3")
		if err != nil {
			return err
		}
		return answer.Body.Close()
	})
}

func (c *testCloud) log() *os.File {
	file, err := os.OpenFile(filepath.Join(filepath.Dir(c.binary), "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	require.NoError(c.t, err)
	return file
}

func (c *testCloud) kill() {
	require.NoError(c.t, c.running.Process.Signal(syscall.SIGKILL))
	_ = c.running.Wait()
}

// end stops the server and removes everything it made, so that the next cloud finds an empty lab.
func (c *testCloud) end() {
	_ = c.running.Process.Signal(syscall.SIGTERM)
	_ = c.running.Wait()
	if c.t.Failed() {
		log, _ := os.ReadFile(filepath.Join(filepath.Dir(c.binary), "log"))
		if len(log) > 8000 {
			log = log[len(log)-8000:]
		}
		c.t.Logf("the server's log ends with:\n%s", log)
	}
	out, err := exec.Command(c.binary, "down", "-data", c.DataDir, "-run", c.RunDir).CombinedOutput()
	require.NoError(c.t, err, string(out))
	left, err := exec.Command("ip", "netns", "list").Output()
	require.NoError(c.t, err)
	require.Empty(c.t, strings.TrimSpace(string(left)), "namespaces left behind")
}

// eventually tries until check succeeds; it fails the test with the last error when patience ends.
func (c *testCloud) eventually(patience time.Duration, what string, check func() error) {
	c.t.Helper()
	c.until(patience, 100*time.Millisecond, what, check)
}

func (c *testCloud) until(patience, pause time.Duration, what string, check func() error) {
	c.t.Helper()
	deadline := time.Now().Add(patience)
	for {
		err := check()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			require.NoError(c.t, err, "after %s: %s", patience, what)
		}
		time.Sleep(pause)
	}
}

// run runs a program of the machine and returns what it prints.
func (c *testCloud) run(command ...string) (string, error) {
	return c.runAs(nil, command...)
}

func (c *testCloud) runAs(env []string, command ...string) (string, error) {
	ctx, cancel := context.WithTimeout(c.ctx, 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, command[0], command[1:]...)
	cmd.Env = append([]string{"PATH=/usr/bin:/bin:/usr/sbin:/sbin", "HOME=" + filepath.Dir(c.binary), "LC_ALL=C.UTF-8", "PYTHONWARNINGS=ignore"}, env...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		return out.String(), fmt.Errorf("%s: %w: %s%s", strings.Join(command, " "), err, out.String(), errs.String())
	}
	return strings.TrimSpace(out.String()), nil
}

func (c *testCloud) must(command ...string) string {
	c.t.Helper()
	out, err := c.run(command...)
	require.NoError(c.t, err)
	return out
}

// in runs a program inside a network namespace.
func (c *testCloud) in(namespace string, command ...string) (string, error) {
	return c.run(append([]string{"ip", "netns", "exec", namespace}, command...)...)
}

func (c *testCloud) curl(namespace, url string) (string, error) {
	return c.in(namespace, "curl", "--silent", "--show-error", "--fail", "--max-time", "5", url)
}

// ssh logs in to a server with the injected key and runs a command there.
func (c *testCloud) ssh(namespace, key, address string, command string) (string, error) {
	return c.in(namespace, "ssh", "-i", key, "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null",
		"-o", "LogLevel=ERROR", "-o", "ConnectTimeout=5", "cirros@"+address, command)
}

// user is somebody with the command line clients.
type user struct {
	*testCloud
	cloud.Credentials
	token string
}

func (c *testCloud) admin() *user {
	credentials, err := c.Admin()
	require.NoError(c.t, err)
	return &user{testCloud: c, Credentials: credentials}
}

// newUser makes a project and a member of it.
func (c *testCloud) newUser(name string) *user {
	admin := c.admin()
	admin.cli("openstack", "project", "create", name)
	admin.cli("openstack", "user", "create", "--project", name, "--password", name+"-secret", name)
	admin.cli("openstack", "role", "add", "--project", name, "--user", name, "member")
	return &user{testCloud: c, Credentials: cloud.Credentials{AuthURL: admin.AuthURL, Region: admin.Region, User: name, Password: name + "-secret", Project: name}}
}

// try runs a client as the user.
func (u *user) try(command ...string) (string, error) {
	return u.runAs([]string{
		"OS_AUTH_URL=" + u.AuthURL, "OS_IDENTITY_API_VERSION=3", "OS_REGION_NAME=" + u.Region, "OS_USERNAME=" + u.User, "OS_PASSWORD=" + u.Password,
		"OS_PROJECT_NAME=" + u.Project, "OS_USER_DOMAIN_NAME=Default", "OS_PROJECT_DOMAIN_NAME=Default",
	}, append([]string{"/usr/bin/" + command[0]}, command[1:]...)...)
}

func (u *user) cli(command ...string) string {
	u.t.Helper()
	out, err := u.try(command...)
	require.NoError(u.t, err)
	return out
}

// api asks an API directly: the clients take a second of processor each, too much to wait with.
func (u *user) api(service cloud.Service, path string) (map[string]any, error) {
	return u.call(http.MethodGet, service, path, "")
}

// call makes a request as the user, and returns the answer's body, which is JSON or empty.
func (u *user) call(method string, service cloud.Service, path, body string) (map[string]any, error) {
	if u.token == "" {
		if err := u.login(); err != nil {
			return nil, err
		}
	}
	request, err := http.NewRequestWithContext(u.ctx, method, u.URL(service)+path, strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	request.Header.Set("X-Auth-Token", u.token)
	request.Header.Set("Content-Type", "application/json")
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, err
	}
	defer func() { _ = answer.Body.Close() }()
	data, err := io.ReadAll(answer.Body)
	if err == nil && answer.StatusCode >= http.StatusMultipleChoices {
		err = fmt.Errorf("%s %s: %s: %s", method, path, answer.Status, data)
	}
	var v map[string]any
	if err == nil && len(data) > 0 {
		err = json.Unmarshal(data, &v)
	}
	return v, err
}

func (u *user) login() error {
	body := fmt.Sprintf(`{"auth": {"identity": {"methods": ["password"], "password": {"user": {"name": %q, "domain": {"id": "default"}, "password": %q}}},
		"scope": {"project": {"name": %q, "domain": {"id": "default"}}}}}`, u.User, u.Password, u.Project)
	answer, err := http.Post(u.AuthURL+"/auth/tokens", "application/json", strings.NewReader(body))
	if err != nil {
		return err
	}
	if answer.StatusCode != http.StatusCreated {
		return errors.Join(fmt.Errorf("log in: %s", answer.Status), answer.Body.Close())
	}
	u.token = answer.Header.Get("X-Subject-Token")
	return answer.Body.Close()
}

// id runs a client that makes or shows something, and returns its identifier.
func (u *user) id(command ...string) string {
	u.t.Helper()
	out := u.cli(append(command, "-f", "value", "-c", "id")...)
	lines := strings.Split(out, "\n")
	return lines[len(lines)-1]
}

// object runs a client that shows something.
func (u *user) object(command ...string) map[string]any {
	u.t.Helper()
	return decode[map[string]any](u, command)
}

// rows runs a client that lists.
func (u *user) rows(command ...string) []map[string]any {
	u.t.Helper()
	return decode[[]map[string]any](u, command)
}

func decode[T any](u *user, command []string) T {
	u.t.Helper()
	out := u.cli(append(command, "-f", "json")...)
	// neutron says "Created a new pool:" before the JSON.
	if i := strings.IndexAny(out, "[{"); i > 0 {
		out = out[i:]
	}
	var v T
	require.NoError(u.t, json.Unmarshal([]byte(out), &v), out)
	return v
}
