//go:build linux

package nftfilter_test

import (
	"context"
	"testing"

	"github.com/kintoun/kintoun/internal/lab/labtest"
	"github.com/kintoun/kintoun/network/nftfilter"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

func TestProbe(t *testing.T) {
	labtest.Require(t)
	t.Run("without CAP_SYS_ADMIN", func(t *testing.T) {
		says := labtest.Deprived(t, []uintptr{unix.CAP_SYS_ADMIN}, func() error { return nftfilter.Probe(t.Context(), nil) })
		require.Contains(t, says, "CAP_SYS_ADMIN: missing, needed for network namespaces: run as root")
	})
	t.Run("without CAP_NET_ADMIN", func(t *testing.T) {
		says := labtest.Deprived(t, []uintptr{unix.CAP_NET_ADMIN}, func() error { return nftfilter.Probe(t.Context(), nil) })
		require.Contains(t, says, "CAP_NET_ADMIN: missing, needed for the packet filter: run as root")
	})
	labtest.Traceless(t, func(ctx context.Context) error { return nftfilter.Probe(ctx, nil) })
}
