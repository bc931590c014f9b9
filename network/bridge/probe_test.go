//go:build linux

package bridge_test

import (
	"context"
	"net/netip"
	"testing"

	"github.com/kintoun/kintoun/internal/lab/labtest"
	"github.com/kintoun/kintoun/network/bridge"
	"github.com/kintoun/kintoun/probe"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

func TestProbe(t *testing.T) {
	labtest.Require(t)
	t.Run("without CAP_NET_ADMIN", func(t *testing.T) {
		says := labtest.Deprived(t, []uintptr{unix.CAP_NET_ADMIN}, func() error { return bridge.Probe(t.Context(), nil) })
		require.Contains(t, says, "CAP_NET_ADMIN: missing, needed for network devices: run as root")
	})
	t.Run("without CAP_SYS_ADMIN", func(t *testing.T) {
		says := labtest.Deprived(t, []uintptr{unix.CAP_SYS_ADMIN}, func() error { return bridge.Probe(t.Context(), nil) })
		require.Contains(t, says, "CAP_SYS_ADMIN: missing, needed for network namespaces: run as root")
	})
	labtest.Traceless(t, func(ctx context.Context) error { return bridge.Probe(ctx, nil) })
	require.NoError(t, bridge.Probe(t.Context(), &bridge.Options{LocalAddress: netip.MustParseAddr("10.0.0.1")}))
}

// The device is hidden in the lab's own mount namespace.
func TestProbeWithoutTapDevices(t *testing.T) {
	labtest.Require(t)
	require.NoError(t, unix.Mount("/dev/null", "/dev/net/tun", "", unix.MS_BIND, ""))
	defer func() { require.NoError(t, unix.Unmount("/dev/net/tun", 0)) }()
	err := bridge.Probe(t.Context(), nil)
	require.ErrorIs(t, err, bridge.ErrUnavailable)
	var missing *probe.Missing
	require.ErrorAs(t, err, &missing)
	require.Equal(t, "the kernel's tun devices", missing.What)
	require.Contains(t, missing.How, "modprobe tun")
	require.Len(t, probe.All(err), 1)
}
