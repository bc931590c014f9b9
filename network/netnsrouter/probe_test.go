//go:build linux

package netnsrouter_test

import (
	"context"
	"testing"

	"github.com/kintoun/kintoun/internal/lab/labtest"
	"github.com/kintoun/kintoun/network/netnsrouter"
	"github.com/kintoun/kintoun/probe"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

func TestProbe(t *testing.T) {
	labtest.Require(t)
	t.Run("without CAP_SYS_ADMIN", func(t *testing.T) {
		says := labtest.Deprived(t, []uintptr{unix.CAP_SYS_ADMIN}, func() error { return netnsrouter.Probe(t.Context(), nil) })
		require.Contains(t, says, "CAP_SYS_ADMIN: missing, needed for network namespaces: run as root")
	})
	t.Run("without CAP_NET_ADMIN", func(t *testing.T) {
		says := labtest.Deprived(t, []uintptr{unix.CAP_NET_ADMIN}, func() error { return netnsrouter.Probe(t.Context(), nil) })
		require.Contains(t, says, "CAP_NET_ADMIN: missing, needed for address translation: run as root")
	})
	labtest.Traceless(t, func(ctx context.Context) error { return netnsrouter.Probe(ctx, nil) })
}

// What cannot be written is said with what to do about it, and is not the only thing that is looked at.
func TestProbeWithReadOnlySysctls(t *testing.T) {
	labtest.Require(t)
	require.NoError(t, unix.Mount("/proc/sys", "/proc/sys", "", unix.MS_BIND, ""))
	defer func() { require.NoError(t, unix.Unmount("/proc/sys", 0)) }()
	require.NoError(t, unix.Mount("", "/proc/sys", "", unix.MS_BIND|unix.MS_REMOUNT|unix.MS_RDONLY, ""))
	err := netnsrouter.Probe(t.Context(), nil)
	require.ErrorIs(t, err, netnsrouter.ErrUnavailable)
	require.ErrorContains(t, err, "writable sysctls below /proc/sys/net: missing, needed for forwarding between networks: mount /proc/sys writable")
	require.Len(t, probe.All(err), 1)
}
