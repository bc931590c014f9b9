package server

import (
	"flag"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/kintoun/kintoun/examples/allinone/cloud"
	"github.com/stretchr/testify/require"
)

func parse(t *testing.T, args ...string) (*Options, error) {
	t.Helper()
	var o Options
	flags := flag.NewFlagSet("test", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	o.Register(flags)
	return &o, flags.Parse(args)
}

func TestFlagsOverrideTheEnvironmentAndBothTheDefaults(t *testing.T) {
	o, err := parse(t)
	require.NoError(t, err)
	require.Equal(t, "/var/lib/kintoun", o.DataDir)
	require.Equal(t, cloud.DefaultPorts(), o.Ports)

	t.Setenv("KINTOUN_DATA", "/data")
	t.Setenv("KINTOUN_IDENTITY_PORT", "15000")
	t.Setenv("KINTOUN_EXTERNAL_ADDRESS", "10.0.0.1/24")
	o, err = parse(t, "-compute-port", "18774")
	require.NoError(t, err)
	require.Equal(t, "/data", o.DataDir)
	require.Equal(t, 15000, o.Ports[cloud.Identity])
	require.Equal(t, 18774, o.Ports[cloud.Compute])
	require.Equal(t, "10.0.0.1/24", o.ExternalAddress.String())
	require.Equal(t, "http://127.0.0.1:15000", o.URL(cloud.Identity))
	o, err = parse(t, "-data", "/elsewhere")
	require.NoError(t, err)
	require.Equal(t, "/elsewhere/kintoun.db", o.Path("kintoun.db"))

	for _, wrong := range [][]string{{"-identity-port", "0"}, {"-identity-port", "x"}, {"-tunnel-address", "here"}, {"-external-address", "10.0.0.1"}} {
		_, err := parse(t, wrong...)
		require.Error(t, err, "%v", wrong)
	}
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
