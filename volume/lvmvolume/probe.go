//go:build linux

package lvmvolume

import (
	"context"
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
	missing := []error{programs(), deviceMapper()}
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

// deviceMapper tries the kernel's.
func deviceMapper() error {
	f, err := os.OpenFile("/dev/mapper/control", os.O_RDWR, 0)
	if err != nil {
		return &probe.Missing{
			What: "device-mapper in the kernel", Why: "volumes in LVM",
			How: "run as root on a kernel with dm-mod and dm-thin-pool (modprobe dm-thin-pool)", Err: err,
		}
	}
	return f.Close()
}
