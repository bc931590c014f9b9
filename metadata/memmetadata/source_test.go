package memmetadata_test

import (
	"context"
	"errors"
	"net/netip"
	"testing"
	"time"

	"github.com/kintoun/kintoun/metadata"
	"github.com/kintoun/kintoun/metadata/memmetadata"
	"github.com/stretchr/testify/require"
)

var address = netip.MustParseAddr("172.24.17.2")

func TestServersAreKnownByNetworkAndAddress(t *testing.T) {
	s := memmetadata.New(nil)
	s.Put("one", address, &metadata.Instance{Name: "of one"})
	s.Put("two", address, &metadata.Instance{Name: "of two"})
	for network, want := range map[string]string{"one": "of one", "two": "of two"} {
		got, err := s.Instance(t.Context(), network, address)
		require.NoError(t, err)
		require.Equal(t, want, got.Name)
	}
	s.Delete("one", address)
	_, err := s.Instance(t.Context(), "one", address)
	require.ErrorIs(t, err, metadata.ErrNotFound)
}

func TestFaultsToOrder(t *testing.T) {
	broken := errors.New("broken")
	_, err := memmetadata.New(&memmetadata.Options{Err: broken}).Instance(t.Context(), "one", address)
	require.ErrorIs(t, err, broken)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = memmetadata.New(&memmetadata.Options{Delay: time.Hour}).Password(ctx, "x")
	require.ErrorIs(t, err, context.Canceled)
}
