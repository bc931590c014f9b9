//go:build linux

package nftfilter_test

import (
	"os"
	"testing"

	"github.com/kintoun/kintoun/internal/lab"
	"github.com/kintoun/kintoun/internal/lab/labtest"
	"github.com/kintoun/kintoun/network/driver"
	"github.com/kintoun/kintoun/network/drivertest"
	"github.com/kintoun/kintoun/network/internal/portlab"
	"github.com/kintoun/kintoun/network/nftfilter"
)

func TestMain(m *testing.M) { os.Exit(lab.Main(m.Run)) }

func TestConformance(t *testing.T) {
	labtest.Require(t)
	drivertest.TestFilters(t, func(t *testing.T) drivertest.FilterLab {
		return portlab.NewFilterLab(t, func(namespace string) driver.Filters {
			return nftfilter.New(&nftfilter.Options{Namespace: namespace})
		})
	})
}
