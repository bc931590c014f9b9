package server

import (
	"testing"
	"time"

	"github.com/kintoun/kintoun/objectstore"
	"github.com/stretchr/testify/require"
)

func TestRatesOfObjects(t *testing.T) {
	limits := func(flags ...string) (objectstore.RateLimits, error) {
		o, err := parse(t, nil, flags...)
		require.NoError(t, err)
		return o.ObjectRates.Limits()
	}
	got, err := limits()
	require.NoError(t, err)
	require.Equal(t, objectstore.RateLimits{Patience: time.Minute}, got, "none by default")
	got, err = limits("-objects-account-rate", "5", "-objects-container-rate", "0=100, 1000000=2.5", "-objects-listing-rate", "10=1", "-objects-rate-wait", "2s")
	require.NoError(t, err)
	require.Equal(t, objectstore.RateLimits{
		Account: 5, Patience: 2 * time.Second,
		Container: []objectstore.SizeRate{{PerSecond: 100}, {Objects: 1_000_000, PerSecond: 2.5}},
		Listing:   []objectstore.SizeRate{{Objects: 10, PerSecond: 1}},
	}, got)
	for _, wrong := range []string{"100", "=5", "0=", "0=fast", "-1=5", "0=0", "0=-3"} {
		_, err = limits("-objects-container-rate", wrong)
		require.ErrorContains(t, err, "objects-container-rate: \""+wrong+"\" is no number of objects with a rate: write 0=100,1000000=20")
	}
	_, err = limits("-objects-listing-rate", "10=1,5=2")
	require.ErrorContains(t, err, "objects-listing-rate: rate limits of containers: not in order of sizes")
}
