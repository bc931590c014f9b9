package machine

import (
	"context"

	"github.com/kintoun/kintoun/compute/qemu"
	"github.com/kintoun/kintoun/lbaas/haproxy"
	"github.com/kintoun/kintoun/metadata/proxy"
	"github.com/kintoun/kintoun/network/bridge"
	"github.com/kintoun/kintoun/network/dhcp"
	"github.com/kintoun/kintoun/network/netnsrouter"
	"github.com/kintoun/kintoun/network/nftfilter"
	"github.com/kintoun/kintoun/network/ovsgre"
	"github.com/kintoun/kintoun/probe"
	"github.com/kintoun/kintoun/volume/lvmvolume"
	"github.com/kintoun/kintoun/volume/qcow2volume"
	"github.com/kintoun/kintoun/volume/rbdvolume"
)

// Probe says everything that this machine lacks to be a host, with a [probe.Missing] for each thing; nil if nothing. It asks
// every driver that [Open] would open, changes nothing, and takes about a second.
func Probe(ctx context.Context, o Options) error {
	errs := []error{
		qemu.Probe(ctx, &qemu.Options{Dir: o.DataDir, RunDir: o.RunDir, Accelerator: o.Accelerator}),
		nftfilter.Probe(ctx, nil), netnsrouter.Probe(ctx, nil), dhcp.Probe(ctx, nil), proxy.Probe(ctx, nil), haproxy.Probe(ctx, nil),
	}
	switch o.fabricKind() {
	case "openvswitch":
		errs = append(errs, ovsgre.Probe(ctx, nil))
	case "bridge":
		errs = append(errs, bridge.Probe(ctx, &bridge.Options{LocalAddress: o.TunnelAddress}))
	}
	switch format, err := volumesFormat(&o); {
	case err != nil:
		errs = append(errs, err)
	case format == formatRBD:
		errs = append(errs, rbdvolume.Probe(ctx, o.VolumesRBD.Pool, o.VolumesRBD.options()))
	case format == formatLVM:
		errs = append(errs, lvmvolume.Probe(ctx, o.VolumesLVM.Group, o.lvm()))
	case format == formatQCOW2:
		errs = append(errs, qcow2volume.Probe(ctx, o.Path(qcow2Pool), nil))
	}
	return probe.Join(errs...)
}
