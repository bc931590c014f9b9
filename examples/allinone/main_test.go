package main

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"runtime/debug"
	"strings"
	"testing"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/gophercloud/gophercloud/v2/openstack"
	"github.com/gophercloud/gophercloud/v2/openstack/compute/v2/servers"
	openstackconfig "github.com/gophercloud/gophercloud/v2/openstack/config"
	"github.com/gophercloud/gophercloud/v2/openstack/config/clouds"
	"github.com/kintoun/kintoun/examples/allinone/cloud"
	"github.com/kintoun/kintoun/internal/lab/labtest"
	"github.com/stretchr/testify/require"
)

// call runs a command and returns what it prints.
func call(t *testing.T, environ []string, args ...string) (string, error) {
	t.Helper()
	s := newOptions("allinone", environ)
	var b strings.Builder
	s.out = &b
	err := s.run(t.Context(), args)
	return b.String(), err
}

func TestCommands(t *testing.T) {
	usage, err := call(t, nil, "-h")
	require.NoError(t, err)
	for name := range actions() {
		require.Contains(t, usage, "\n  "+name+" ", "every command is told of")
		help, err := call(t, nil, name, "-h")
		require.NoError(t, err)
		require.Contains(t, help, "usage: allinone "+name)
	}
	require.Len(t, commands(), len(actions()), "every command can be called")

	_, err = call(t, nil, "servve")
	require.ErrorContains(t, err, "there is no command \"servve\": `allinone -h` lists them")
	_, err = call(t, nil, "serve", "-fabrik", "x")
	require.ErrorContains(t, err, "`allinone serve -h` tells what can be set")
	_, err = call(t, nil, "version", "now")
	require.ErrorContains(t, err, "takes no arguments")
	_, err = call(t, []string{"KINTOUN_HOSTS=many"}, "simulate", "-config=")
	require.ErrorContains(t, err, "KINTOUN_HOSTS")
}

func TestVersion(t *testing.T) {
	for _, flag := range []string{"version", "-version", "--version"} {
		out, err := call(t, nil, flag)
		require.NoError(t, err)
		require.Regexp(t, `^allinone .+ \(.*go1\..+, linux/.+\)\n$`, out)
	}
	info := &debug.BuildInfo{GoVersion: "go1.99", Settings: []debug.BuildSetting{
		{Key: "vcs.revision", Value: "0123456789abcdef"}, {Key: "vcs.time", Value: "2026-01-02T03:04:05Z"}, {Key: "vcs.modified", Value: "true"},
	}}
	require.Contains(t, describeBuild(info, "1.2.3"), "1.2.3 (commit 0123456789ab, 2026-01-02T03:04:05Z, with changes, go1.99, ")
	info.Main.Version = "v0.1.0"
	require.Contains(t, describeBuild(info, ""), "v0.1.0 (")
	require.Contains(t, describeBuild(nil, ""), "(devel) (")
}

// TestTheHandbookIsCurrent keeps docs/configuration.md true.
func TestTheHandbookIsCurrent(t *testing.T) {
	written, err := os.ReadFile("../../docs/configuration.md")
	require.NoError(t, err)
	text, err := call(t, nil, "config", "-as", "markdown")
	require.NoError(t, err)
	require.Equal(t, text, string(written), "run make generate")
}

func TestConfigBeginsAFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "kintoun.yaml")
	_, err := call(t, nil, "config", "-out", path)
	require.NoError(t, err)
	// As it is, it sets nothing; with what stands in it uncommented, the defaults.
	s := newOptions("allinone", nil)
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	var set strings.Builder
	for line := range strings.Lines(string(text)) {
		if line, ok := strings.CutPrefix(line, "#"); ok && !strings.HasPrefix(line, " ") && len(line) > 1 && !strings.HasSuffix(line, ":\n") {
			set.WriteString(line)
		}
	}
	require.Contains(t, set.String(), "fabric: auto\n")
	require.NoError(t, os.WriteFile(path, []byte(set.String()), 0o600))
	_, err = call(t, nil, "exec", "-config", path, "-h")
	require.NoError(t, err)
	flags, secrets := s.program.Source.Arguments("serve", s.program.Table)
	require.Empty(t, append(flags, secrets...))
}

func TestCompletionOfTheProgram(t *testing.T) {
	for _, shell := range []string{"bash", "zsh", "fish"} {
		script, err := call(t, nil, "completion", shell)
		require.NoError(t, err)
		require.Contains(t, script, "auto openvswitch bridge")
	}
	_, err := call(t, nil, "completion")
	require.ErrorContains(t, err, "bash|zsh|fish")
	_, err = call(t, nil, "completion", "csh")
	require.ErrorContains(t, err, "choose one of bash, zsh, fish")
}

// TestTheServerInTheBackgroundHasTheSameSettings is what `allinone up` gives to `allinone serve`.
func TestTheServerInTheBackgroundHasTheSameSettings(t *testing.T) {
	if os.Geteuid() != 0 {
		labtest.Skip(t, "up wants root before anything else: run as root")
	}
	s := newOptions("allinone", []string{"KINTOUN_ADMIN_PASSWORD=whispered", "KINTOUN_REGION=Here"})
	err := s.run(t.Context(), []string{"up", "-config=", "-lab", "-guest", t.TempDir(), "-metrics", "127.0.0.1:1", "-data", t.TempDir(), "-image-port", "9000"})
	require.ErrorContains(t, err, "the guest image is missing")
	flags, secrets := s.program.Source.Arguments("serve", s.program.Table)
	require.Contains(t, flags, "-lab=true")
	require.Contains(t, flags, "-region=Here")
	require.Contains(t, flags, "-image-port=9000")
	require.Contains(t, flags, "-external-address="+labExternal)
	require.Contains(t, flags, "-config=")
	require.Equal(t, []string{"KINTOUN_ADMIN_PASSWORD=whispered"}, secrets)
	require.NotContains(t, strings.Join(flags, " "), "whispered")

	err = newOptions("allinone", nil).run(t.Context(), []string{"up", "-config=", "-image-port", "0"})
	require.ErrorContains(t, err, "choose one with -image-port")
}

// printed tells when something was.
type printed struct{ text chan string }

func (p printed) Write(text []byte) (int, error) {
	p.text <- string(text)
	return len(text), nil
}

// TestSimulate uses the command as its users do: by the files that it writes.
func TestSimulate(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "kintoun.yaml")
	require.NoError(t, os.WriteFile(file, []byte("hosts: 3\nadmin-password: simple\nfabric: bridge\n"), 0o600))
	s := newOptions("allinone", []string{"KINTOUN_CONFIG=" + file, "KINTOUN_EVENTS=127.0.0.1:0"})
	out := printed{make(chan string, 1)}
	s.out = out
	args := []string{"simulate", "-credentials", dir, "-metrics", "127.0.0.1:0"}
	for _, service := range cloud.Services() {
		args = append(args, "-"+string(service)+"-port=0")
	}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	ended := make(chan error, 1)
	go func() { ended <- s.run(ctx, args) }()
	var told string
	select {
	case told = <-out.text:
	case err := <-ended:
		t.Fatal(err)
	}
	require.Contains(t, told, "/events\n")
	require.Contains(t, told, "/metrics\n")
	require.Contains(t, told, filepath.Join(dir, "openrc"))

	for name, wrong := range map[string]bool{"kintoun": false, "kintoun-admin": false, "another": true} {
		auth, endpoint, _, err := clouds.Parse(clouds.WithLocations(filepath.Join(dir, "clouds.yaml")), clouds.WithCloudName(name))
		require.Equal(t, wrong, err != nil, name)
		if wrong {
			continue
		}
		provider, err := openstackconfig.NewProviderClient(t.Context(), auth)
		require.NoError(t, err)
		compute, err := openstack.NewComputeV2(provider, endpoint)
		require.NoError(t, err)
		_, err = servers.List(compute, servers.ListOpts{}).AllPages(t.Context())
		require.NoError(t, err)
	}
	auth, _, _, err := clouds.Parse(clouds.WithLocations(filepath.Join(dir, "clouds.yaml")), clouds.WithCloudName("kintoun-admin"))
	require.NoError(t, err)
	require.Equal(t, "simple", auth.Password)
	stop()
	require.NoError(t, <-ended)
	_, err = openstack.AuthenticatedClient(t.Context(), gophercloud.AuthOptions{IdentityEndpoint: auth.IdentityEndpoint, Username: "admin", Password: "simple", TenantName: "admin", DomainName: "Default"})
	require.Error(t, err, "it has ended")
}

func TestSimulatePrintsCredentials(t *testing.T) {
	s := newOptions("allinone", nil)
	out := printed{make(chan string, 1)}
	s.out = out
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	args := []string{"simulate", "-config=", "-public-host", "cloud.example"}
	for _, service := range cloud.Services() {
		args = append(args, "-"+string(service)+"-port=0")
	}
	go func() { ended <- s.run(ctx, args) }()
	told := <-out.text
	require.Contains(t, told, "export OS_AUTH_URL='http://cloud.example:")
	require.Contains(t, told, "export OS_USERNAME='admin'")
	stop()
	require.NoError(t, <-ended)

	// What is taken is told, and nothing is left open.
	_, err := call(t, nil, "simulate", "-config=", "-metrics", "203.0.113.1:1")
	require.ErrorContains(t, err, "-metrics")
}

// TestPackagingNamesSettings keeps the image and the unit to variables and commands that there are.
func TestPackagingNamesSettings(t *testing.T) {
	s := newOptions("kintoun", nil)
	variables := map[string]bool{}
	for _, one := range s.program.Table {
		variables[s.program.Source.Variable(one.Name)] = true
	}
	for _, name := range []string{"build", "Containerfile", "kintoun.service"} {
		text, err := os.ReadFile(filepath.Join("../../packaging", name))
		require.NoError(t, err)
		for _, variable := range regexp.MustCompile(`KINTOUN_\w+`).FindAllString(string(text), -1) {
			require.True(t, variables[variable], "%s: %s", name, variable)
		}
	}
	unit, err := os.ReadFile("../../packaging/kintoun.service")
	require.NoError(t, err)
	require.Contains(t, string(unit), "\nExecStart=/usr/bin/kintoun serve\n")
	require.Contains(t, string(unit), "\nKillMode=process\n", "servers outlive the service")
}

func TestSystemdIsTold(t *testing.T) {
	require.NoError(t, notifyReady(), "nobody waits")
	dir, err := os.MkdirTemp("", "")
	require.NoError(t, err)
	defer func() { _ = os.RemoveAll(dir) }()
	manager, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: dir + "/notify", Net: "unixgram"})
	require.NoError(t, err)
	defer func() { _ = manager.Close() }()
	t.Setenv("NOTIFY_SOCKET", dir+"/notify")
	require.NoError(t, notifyReady())
	told := make([]byte, 100)
	n, err := manager.Read(told)
	require.NoError(t, err)
	require.Equal(t, "READY=1", string(told[:n]))
	t.Setenv("NOTIFY_SOCKET", dir+"/nobody")
	require.Error(t, notifyReady())
}
