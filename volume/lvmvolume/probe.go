//go:build linux

package lvmvolume

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/kintoun/kintoun/internal/process"
	"github.com/kintoun/kintoun/probe"
	"github.com/kintoun/kintoun/volume/internal/nbdserver"
)

// packages are Debian's with the programs that are run.
var packages = map[string]string{"lvm": "lvm2", "dmsetup": "dmsetup", "thin_check": "thin-provisioning-tools"}

// Probe says what is missing for a pool in the volume group, with a [probe.Missing] for each thing; nil if nothing. It changes
// nothing.
func Probe(ctx context.Context, group string, options *Options) error {
	d, err := prepare(group, os.TempDir(), options)
	if err != nil {
		return fmt.Errorf("lvmvolume: %w", err)
	}
	missing := []error{programs(), d.deviceMapper(ctx)}
	if d.o.Listen != "" {
		_, err := nbdserver.Program("volumes of servers on other hosts")
		missing = append(missing, err)
	}
	if err := probe.Join(missing...); err != nil {
		return err
	}
	if err := d.measureGroup(ctx); err != nil {
		return &probe.Missing{What: "the volume group " + group, Why: "volumes in LVM", How: "vgcreate " + group + " /dev/DISK", Err: err}
	}
	return nil
}

// programs are those that commands of LVM's need, too.
func programs() error {
	var errs []error
	for _, name := range []string{"lvm", "dmsetup", "thin_check"} {
		_, err := process.Program(name, "volumes in LVM", packages[name])
		errs = append(errs, err)
	}
	return probe.Join(errs...)
}

// deviceMapper tries the kernel's, and has it load the target of thin pools if that is a module.
func (d *Driver) deviceMapper(ctx context.Context) error {
	f, err := os.OpenFile("/dev/mapper/control", os.O_RDWR, 0)
	if err != nil {
		return &probe.Missing{
			What: "device-mapper in the kernel", Why: "volumes in LVM",
			How: "run as root on a kernel with dm-mod and dm-thin-pool (modprobe dm-thin-pool)", Err: err,
		}
	}
	if err := f.Close(); err != nil {
		return err
	}
	return d.thinPools(ctx)
}

func (d *Driver) thinPools(ctx context.Context) error {
	_, err := d.run(ctx, "dmsetup", "target-version", "thin-pool")
	var failed *commandError
	if !errors.As(err, &failed) {
		return err
	}
	return &probe.Missing{
		What: "device-mapper's target thin-pool in the kernel", Why: "volumes in LVM",
		How: "modprobe dm-thin-pool, or run a kernel that has it (CONFIG_DM_THIN_PROVISIONING)", Err: err,
	}
}
