//go:build linux

package dhcp_test

import (
	"context"
	"testing"

	"github.com/kintoun/kintoun/internal/lab/labtest"
	"github.com/kintoun/kintoun/network/dhcp"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

func TestProbe(t *testing.T) {
	labtest.Require(t)
	t.Run("without CAP_SYS_ADMIN", func(t *testing.T) {
		says := labtest.Deprived(t, []uintptr{unix.CAP_SYS_ADMIN}, func() error { return dhcp.Probe(t.Context(), nil) })
		require.Contains(t, says, "CAP_SYS_ADMIN: missing, needed for network namespaces: run as root")
	})
	t.Run("without CAP_NET_BIND_SERVICE", func(t *testing.T) {
		says := labtest.Deprived(t, []uintptr{unix.CAP_NET_BIND_SERVICE}, func() error { return dhcp.Probe(t.Context(), nil) })
		require.Contains(t, says, "CAP_NET_BIND_SERVICE: missing, needed for ports below 1024: run as root")
	})
	labtest.Traceless(t, func(ctx context.Context) error { return dhcp.Probe(ctx, nil) })
}
