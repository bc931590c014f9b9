package machine

import (
	"context"
	"errors"
	"os"

	"github.com/kintoun/kintoun/probe"
	"github.com/kintoun/kintoun/volume/filevolume"
)

// newVolumes opens the pool of volumes below the data directory: on the file system that is there where that shares blocks
// between files, and otherwise on one of its own in a file.
func newVolumes(ctx context.Context, o *Options) (*filevolume.Driver, error) {
	options := filevolume.Options{Host: o.Host, BackingBytes: int64(o.VolumesGiB) << 30}
	if o.TunnelAddress.IsValid() {
		options.Listen = o.TunnelAddress.String()
	}
	backing := o.Path("volumes.img")
	if _, err := os.Stat(backing); errors.Is(err, os.ErrNotExist) {
		volumes, err := filevolume.New(ctx, o.Path("volumes"), &options)
		var missing *probe.Missing
		if !errors.As(err, &missing) {
			return volumes, err
		}
	}
	options.BackingFile = backing
	return filevolume.New(ctx, o.Path("volumes"), &options)
}
