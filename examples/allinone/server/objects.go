package server

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/kintoun/kintoun/examples/allinone/settings"
	"github.com/kintoun/kintoun/objectstore"
)

// ObjectRates say how fast accounts and containers of the object store may be changed: as fast as they can, unless it is set.
type ObjectRates struct {
	// Account is how many containers an account may make and delete per second; zero is any number.
	Account int
	// Container and Listing have a rate for each size of containers, as "10000=50".
	Container, Listing []string
	Wait               time.Duration
}

// Settings are what can be set of it.
func (r *ObjectRates) Settings() settings.Table {
	return settings.Table{
		{Name: "objects-account-rate", Kind: "number", Default: "0, any number", Value: settings.Number(&r.Account, 0, 0, 1_000_000),
			Help: "how many containers an account may make and delete per second, as Swift's account_ratelimit"},
		{Name: "objects-container-rate", Kind: "rates", Default: "none", Value: settings.Words(&r.Container),
			Help: "how many objects of a container may be written and deleted per second, by how many it has, as Swift's container_ratelimit_SIZE: 0=100,1000000=20 is 100 at first, 20 from a million on, and 60 for half a million"},
		{Name: "objects-listing-rate", Kind: "rates", Default: "none", Value: settings.Words(&r.Listing),
			Help: "how often a container may be listed per second, as Swift's container_listing_ratelimit_SIZE"},
		{Name: "objects-rate-wait", Kind: "time", Value: settings.Duration(&r.Wait, time.Minute),
			Help: "how long a request that comes too fast may wait; one that would wait longer is answered with 498, and in S3 with SlowDown"},
	}
}

// Limits are those of the object store.
func (r *ObjectRates) Limits() (objectstore.RateLimits, error) {
	// 0s is not to wait, where the object store takes nothing for the default.
	limits := objectstore.RateLimits{Account: float64(r.Account), Patience: max(r.Wait, 1)}
	var err error
	if limits.Container, err = sizeRates("objects-container-rate", r.Container); err != nil {
		return limits, err
	}
	limits.Listing, err = sizeRates("objects-listing-rate", r.Listing)
	return limits, err
}

func sizeRates(setting string, words []string) ([]objectstore.SizeRate, error) {
	var rates []objectstore.SizeRate
	for _, word := range words {
		size, rate, _ := strings.Cut(word, "=")
		objects, err := strconv.ParseInt(size, 10, 64)
		perSecond, err2 := strconv.ParseFloat(rate, 64)
		if err != nil || err2 != nil || objects < 0 || perSecond <= 0 {
			return nil, fmt.Errorf("%s: %q is no number of objects with a rate: write 0=100,1000000=20", setting, word)
		}
		rates = append(rates, objectstore.SizeRate{Objects: objects, PerSecond: perSecond})
	}
	if err := (&objectstore.RateLimits{Container: rates}).Check(); err != nil {
		return nil, fmt.Errorf("%s: %w", setting, err)
	}
	return rates, nil
}
