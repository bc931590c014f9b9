package server

import (
	"flag"
	"net"
	"os"
	"path/filepath"
	"testing"

	"github.com/kintoun/kintoun/event"
	"github.com/kintoun/kintoun/event/webhook"
	"github.com/kintoun/kintoun/examples/allinone/cloud"
	"github.com/kintoun/kintoun/examples/allinone/settings"
	"github.com/stretchr/testify/require"
)

func parse(t *testing.T, environ []string, args ...string) (*Options, error) {
	t.Helper()
	var o Options
	source := settings.Source{Prefix: "KINTOUN_", Environ: environ}
	return &o, source.Load("serve", o.Settings(), flag.NewFlagSet("test", flag.ContinueOnError), args)
}

func TestSettings(t *testing.T) {
	o, err := parse(t, nil)
	require.NoError(t, err)
	require.Equal(t, "/var/lib/kintoun", o.DataDir)
	require.Equal(t, cloud.DefaultPorts(), o.Ports)

	o, err = parse(t, []string{"KINTOUN_DATA=/data", "KINTOUN_IDENTITY_PORT=15000", "KINTOUN_EXTERNAL_ADDRESS=10.0.0.1/24"}, "-compute-port", "18774")
	require.NoError(t, err)
	require.Equal(t, "/data", o.DataDir)
	require.Equal(t, 15000, o.Ports[cloud.Identity])
	require.Equal(t, 18774, o.Ports[cloud.Compute])
	require.Equal(t, "10.0.0.1/24", o.ExternalAddress.String())
	require.Equal(t, "http://127.0.0.1:15000", o.URL(cloud.Identity))
	o, err = parse(t, nil, "-data", "/elsewhere", "-listen", "0.0.0.0", "-public-host", "cloud.example")
	require.NoError(t, err)
	require.Equal(t, "/elsewhere/kintoun.db", o.Path("kintoun.db"))
	require.Equal(t, "http://cloud.example:8774", o.URL(cloud.Compute))
}

func TestSecretsAreMadeOnceAndForTheOwnerOnly(t *testing.T) {
	path := filepath.Join(t.TempDir(), "secret")
	first, err := Secret(path, "")
	require.NoError(t, err)
	require.Len(t, first, 26, "130 random bits")
	again, err := Secret(path, "another")
	require.NoError(t, err)
	require.Equal(t, first, again)
	info, err := os.Stat(path)
	require.NoError(t, err)
	require.EqualValues(t, 0o600, info.Mode().Perm())
}

func TestWebhooksComeFromTheFile(t *testing.T) {
	dir := t.TempDir()
	secret := webhook.NewSecret()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "secret"), []byte(secret+"\n"), 0o600))
	load := func(file string) (*Options, error) {
		path := filepath.Join(dir, "kintoun.yaml")
		require.NoError(t, os.WriteFile(path, []byte(file), 0o600))
		var o Options
		source := settings.Source{Prefix: "KINTOUN_", File: path}
		table := append(o.Settings(), source.Config(new(string)))
		return &o, source.Load("serve", table, flag.NewFlagSet("test", flag.ContinueOnError), nil)
	}
	o, err := load("events: 127.0.0.1:9465\nwebhooks:\n- name: billing\n  url: https://billing.example/\n  secret-file: " + dir + "/secret\n  types: [server]\n  projects: p1\n" +
		"- {name: all, url: 'http://127.0.0.1/', secret: " + secret + "}\n")
	require.NoError(t, err)
	require.Equal(t, "127.0.0.1:9465", o.Events)
	require.Equal(t, []webhook.Hook{
		{Name: "billing", URL: "https://billing.example/", Secret: secret, Filter: event.Filter{Types: []string{"server"}, ProjectIDs: []string{"p1"}}},
		{Name: "all", URL: "http://127.0.0.1/", Secret: secret},
	}, o.Webhooks)

	hook := "- {name: a, url: 'https://a.example/', secret: " + secret + "}\n"
	for file, problem := range map[string]string{
		hook + hook: `:3: webhooks: two hooks have the name "a": rename one`,
		"- {name: a, url: 'https://a.example/'}\n":                                        ":2: webhooks: it has no secret: add one, such as whsec_",
		"- {name: a, url: 'https://a.example/', secret: x}\n":                             ":2: webhooks: ",
		"- {name: a, url: 'ftp://a.example/', secret: " + secret + "}\n":                  ":2: webhooks: ",
		"- {name: a, url: 'https://a.example/', secret-file: " + dir + "/none}\n":         "no such file",
		"- {name: a, url: 'https://a.example/', secret: x, secret-file: " + dir + "/x}\n": "remove one",
	} {
		_, err := load("webhooks:\n" + file)
		require.ErrorContains(t, err, problem)
		require.NotContains(t, err.Error(), secret)
	}
}

// TestListenersForAnotherProcess passes them on as systemd does, by descriptor and name.
func TestListenersForAnotherProcess(t *testing.T) {
	var o Options
	o.Settings()
	o.Ports = map[cloud.Service]int{}
	o.Events, o.Metrics = "127.0.0.1:0", "127.0.0.1:0"
	files, env, err := o.ListenFiles()
	require.NoError(t, err)
	for _, file := range files {
		require.NoError(t, file.Close())
	}
	require.Equal(t, []string{"LISTEN_FDS=9", "LISTEN_FDNAMES=identity:compute:network:image:object-store:s3:volume:events:metrics"}, env)

	taken, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer func() { _ = taken.Close() }()
	o.Listeners, o.Metrics = nil, taken.Addr().String()
	_, _, err = o.ListenFiles()
	require.ErrorContains(t, err, "is taken: end what listens there, or choose another address with -metrics")
}
