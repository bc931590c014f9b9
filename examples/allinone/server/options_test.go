package server

import (
	"flag"
	"os"
	"path/filepath"
	"testing"

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
