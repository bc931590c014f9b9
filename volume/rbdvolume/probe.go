//go:build linux

package rbdvolume

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os/exec"
	"strings"

	"github.com/kintoun/kintoun/internal/process"
	"github.com/kintoun/kintoun/probe"
)

// Probe says what is missing for volumes in the pool, with a [probe.Missing] for each thing; nil if nothing. It makes an image of a
// few bytes, opens it as [Driver.Open] does, and deletes it.
func Probe(ctx context.Context, pool string, o *Options) error {
	d, err := prepare(pool, o)
	if err != nil {
		return fmt.Errorf("rbdvolume: %w", err)
	}
	if err := programs(ctx); err != nil {
		return err
	}
	if _, err := d.names(ctx); err != nil {
		return d.unreachable(ctx, err)
	}
	if err := d.tryImage(ctx); err != nil {
		return err
	}
	_, err = d.Capacity(ctx)
	if errors.Is(err, errNotCounted) {
		err = &probe.Missing{What: "an active ceph-mgr", Why: "how much the pool " + d.place() + " holds", How: "apt-get install ceph-mgr, and start one", Err: err}
	}
	return err
}

func programs(ctx context.Context) error {
	var errs []error
	for _, p := range [][3]string{
		{"rbd", "volumes in Ceph", "ceph-common"}, {"rados", "volumes in Ceph", "ceph-common"},
		{"ceph", "volumes in Ceph", "ceph-common"}, {"ceph-conf", "volumes in Ceph", "ceph-common"},
		{"qemu-img", "encrypted volumes", "qemu-utils"}, {"qemu-storage-daemon", "reading and writing volumes in Ceph", "qemu-system-common"},
	} {
		_, err := process.Program(p[0], p[1], p[2])
		errs = append(errs, err)
	}
	if python, err := python(); err == nil {
		args := append(python[1:], "-c", "import rados, rbd")
		if _, err = command(ctx, exec.CommandContext(ctx, python[0], args...)); err != nil && ctx.Err() == nil {
			err = &probe.Missing{What: "librbd for Python", Why: snapshotsTogether, How: "apt-get install python3-rbd", Err: err}
		}
		errs = append(errs, err)
	}
	return probe.Join(errs...)
}

// unreachable says why the pool cannot be listed.
func (d *Driver) unreachable(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return err
	}
	return &probe.Missing{
		What: "a Ceph cluster with the pool " + d.place(), Why: "volumes",
		How: fmt.Sprintf("look at %s and the keyring of client.%s; as the cluster's administrator: ceph osd pool create %s && rbd pool init %s", d.o.Config, d.o.User, d.pool, d.pool),
		Err: err,
	}
}

// tryImage does what making and opening a volume do.
func (d *Driver) tryImage(ctx context.Context) (err error) {
	name := "probe-" + strings.ToLower(rand.Text())
	if _, err := d.rbd(ctx, "create", d.spec(name), "--size", size(512)); err != nil {
		return &probe.Missing{
			What: "leave to make images in the pool " + d.place(), Why: "volumes",
			How: fmt.Sprintf("as the cluster's administrator: ceph auth caps client.%s mon 'profile rbd' osd 'profile rbd pool=%s' mgr 'profile rbd pool=%s'", d.o.User, d.pool, d.pool), Err: err,
		}
	}
	defer func() { err = errors.Join(err, d.remove(context.WithoutCancel(ctx), name)) }()
	qemuImg, err := exec.LookPath("qemu-img")
	if err != nil {
		return err
	}
	if _, err := command(ctx, exec.CommandContext(ctx, qemuImg, "info", d.qemuName(name))); err != nil && ctx.Err() == nil {
		return &probe.Missing{What: "QEMU's block driver rbd", Why: "reading and writing volumes in Ceph", How: "apt-get install qemu-block-extra", Err: err}
	}
	return ctx.Err()
}
