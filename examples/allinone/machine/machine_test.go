package machine_test

import (
	"context"
	"net/netip"
	"os"
	"testing"

	"github.com/kintoun/kintoun/examples/allinone/machine"
	"github.com/kintoun/kintoun/internal/lab"
	"github.com/kintoun/kintoun/internal/lab/labtest"
	"github.com/kintoun/kintoun/probe"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

func TestMain(m *testing.M) { os.Exit(lab.Main(m.Run)) }

func options(t *testing.T) machine.Options {
	dir, err := os.MkdirTemp("", "m")
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return machine.Options{
		Host: "one", DataDir: dir + "/data", RunDir: dir + "/run", Fabric: "bridge", Accelerator: "tcg",
		TunnelAddress: netip.MustParseAddr("127.0.0.1"), ExternalBridge: "br-ex",
	}
}

// An unprepared host is told everything at once.
func TestOpenNamesEverythingThatIsMissing(t *testing.T) {
	labtest.Require(t)
	t.Setenv("PATH", t.TempDir())
	o := options(t)
	t.Run("without privileges", func(t *testing.T) {
		says := labtest.Deprived(t, []uintptr{unix.CAP_SYS_ADMIN, unix.CAP_NET_ADMIN}, func() error {
			_, err := machine.Open(t.Context(), o)
			return err
		})
		for _, what := range []string{"qemu-img: missing", "qemu-system-x86_64: missing", "haproxy: missing", "CAP_SYS_ADMIN: missing"} {
			require.Contains(t, says, what)
		}
	})
	_, err := machine.Open(t.Context(), o)
	var packages []string
	for _, m := range probe.All(err) {
		packages = append(packages, m.How)
	}
	require.Equal(t, []string{"apt-get install qemu-utils", "apt-get install qemu-system-x86", "apt-get install haproxy"}, packages)

	o.Fabric = "openvswitch"
	require.ErrorContains(t, machine.Probe(t.Context(), o), "apt-get install openvswitch-switch")
	require.NoDirExists(t, o.DataDir)
}

func TestProbeOfAPreparedMachine(t *testing.T) {
	labtest.Require(t)
	labtest.RequireProgram(t, "qemu-system-x86_64", "qemu-system-x86")
	labtest.RequireProgram(t, "haproxy", "haproxy")
	o := options(t)
	labtest.Traceless(t, func(ctx context.Context) error { return machine.Probe(ctx, o) })
	require.NoDirExists(t, o.DataDir)
}
