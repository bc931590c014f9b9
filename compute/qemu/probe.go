//go:build linux

package qemu

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"time"

	"github.com/kintoun/kintoun/internal/process"
	"github.com/kintoun/kintoun/probe"
)

// trialTime is how long an emulated guest may take for its first instructions, and qemu-img to say its version.
const trialTime = 30 * time.Second

// Probe says what this host lacks to run servers as the options say, with a [probe.Missing] for each thing; nil if nothing.
// It starts a guest for an instant, as the account that servers would run as, and leaves nothing of it; it takes half a
// second, and 5 s more where KVM is asked for and hangs. A host without KVM lacks it only where Accelerator is "kvm"; what
// would make servers faster or safer a [Driver] tells by its method Advice. Dir need not be given, and is not touched.
// Options that cannot be are [ErrInvalid].
func Probe(ctx context.Context, options *Options) error {
	d := &Driver{}
	if options != nil {
		d.o = *options
	}
	setDefault(&d.o.Dir, "/")
	if err := d.setDefaults(); err != nil {
		return err
	}
	var errs []error
	if err := d.findImageBinary(); err != nil {
		errs = append(errs, err)
	} else {
		errs = append(errs, probeImageBinary(ctx, d.o.ImageBinary))
	}
	account, err := credential(d.o.User)
	if err != nil {
		account = nil
		errs = append(errs, &probe.Missing{What: "an account for servers", Why: "guests without privileges", How: "adduser --system kintoun, and name it in Options.User", Err: err})
	}
	d.credential = account
	if err := d.findBinary(); err != nil {
		errs = append(errs, err)
	} else {
		errs = append(errs, d.probeGuest(ctx))
	}
	return probe.Join(errs...)
}

func (d *Driver) findBinary() (err error) {
	d.o.Binary, err = process.Program(d.o.Binary, "servers", "qemu-system-x86")
	return err
}

func (d *Driver) findImageBinary() (err error) {
	d.o.ImageBinary, err = process.Program(d.o.ImageBinary, "servers' disks", "qemu-utils")
	return err
}

func probeImageBinary(ctx context.Context, path string) error {
	ctx, cancel := context.WithTimeout(ctx, trialTime)
	defer cancel()
	if out, err := exec.CommandContext(ctx, path, "--version").CombinedOutput(); err != nil {
		return &probe.Missing{What: path, Why: "servers' disks", How: "apt-get install --reinstall qemu-utils, this one does not run", Err: fmt.Errorf("%w: %.200s", err, out)}
	}
	return nil
}

func (d *Driver) probeGuest(ctx context.Context) error {
	why, err := d.tryGuest(ctx, acceleratorTCG, "qemu64", trialTime)
	if err != nil {
		return err
	}
	if why != "" {
		return &probe.Missing{What: "a QEMU that runs a guest", Why: "servers", How: "apt-get install qemu-system-x86 (7.2 or later)", Err: errors.New(why)}
	}
	if d.o.Accelerator != acceleratorKVM {
		return nil
	}
	if why, err = d.probeKVM(ctx); err != nil || why == "" {
		return err
	}
	return missingKVM("servers with Accelerator kvm", why)
}

func missingKVM(why, reason string) *probe.Missing {
	return &probe.Missing{
		What: "KVM", Why: why, Err: errors.New(reason),
		How: "modprobe kvm_intel or kvm_amd on a machine with hardware virtualization, and let the servers' account open /dev/kvm",
	}
}

// Advice names what this host lacks to run servers faster or safer than it does; none is best. Nothing of it keeps servers
// from running.
func (d *Driver) Advice() []*probe.Missing {
	var advice []*probe.Missing
	if d.accelerator != acceleratorKVM {
		advice = append(advice, missingKVM("servers at the processor's speed; they are emulated, many times slower", d.verdict().Reason))
	}
	for _, device := range []struct{ path, why, module string }{
		{"/dev/net/tun", "servers' NICs", "tun"}, {"/dev/vhost-net", "faster NICs", "vhost_net"},
	} {
		if _, err := os.Stat(device.path); err != nil {
			advice = append(advice, &probe.Missing{What: device.path, Why: device.why, How: "modprobe " + device.module, Err: err})
		}
	}
	if d.cgroup == "" {
		advice = append(advice, &probe.Missing{What: "a cgroup of one's own", Why: "bounds on servers' memory", How: "run as root on a host with cgroup v2 at /sys/fs/cgroup"})
	}
	if d.UID() == 0 {
		advice = append(advice, &probe.Missing{What: "an account for servers", Why: "guests without privileges", How: "name one other than root in Options.User"})
	}
	return advice
}
