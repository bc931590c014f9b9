//go:build linux

package ovsgre

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"time"

	"github.com/kintoun/kintoun/internal/fault"
	"github.com/kintoun/kintoun/internal/process"
	"github.com/kintoun/kintoun/network/internal/link"
	"github.com/kintoun/kintoun/probe"
	"github.com/vishvananda/netlink"
)

// Probe says what this host lacks for the fabric, with a [probe.Missing] for each thing; nil if nothing. It makes devices in
// a network namespace that is thrown away, and has each program say its version, so it changes nothing. A kernel without a
// datapath of Open vSwitch is no lack, only slow: see [KernelDatapath]. Options do not change what is needed.
func Probe(ctx context.Context, _ *Options) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	errs := []error{link.Probe("bridge", "veth", "tun")}
	for _, p := range programs {
		errs = append(errs, probeProgram(ctx, p.name, p.why))
	}
	if _, err := os.Stat(schema); err != nil {
		errs = append(errs, &probe.Missing{What: schema, Why: "a database of one's own", How: "apt-get install openvswitch-common", Err: err})
	}
	return probe.Join(errs...)
}

// debianPackage has Open vSwitch's programs.
const debianPackage = "openvswitch-switch"

// programs are those of Open vSwitch that are run.
var programs = []struct{ name, why string }{
	{"ovsdb-server", "the switch's database"},
	{"ovs-vswitchd", "the switch"},
	{"ovsdb-tool", "a database of one's own"},
	{"ovs-ofctl", "flows"},
}

// versionTime is how long a program may take to say its version.
const versionTime = 10 * time.Second

func probeProgram(ctx context.Context, name, why string) error {
	path, err := process.Program(name, why, debianPackage)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, versionTime)
	defer cancel()
	if out, err := exec.CommandContext(ctx, path, "--version").CombinedOutput(); err != nil {
		return &probe.Missing{What: name, Why: why, How: "apt-get install --reinstall " + debianPackage + ", this one does not run", Err: fmt.Errorf("%w: %.200s", err, out)}
	}
	return nil
}

// KernelDatapath says why the kernel has no datapath of Open vSwitch; nil if it has. An automatic choice takes this
// fabric where it has one, and the kernel's bridge otherwise, which is then ten times as fast.
func KernelDatapath() error {
	if _, err := netlink.GenlFamilyGet("ovs_datapath"); err != nil {
		return fault.Wrap(ErrUnavailable, "the kernel has no Open vSwitch datapath (modprobe openvswitch): %v", err)
	}
	return nil
}
