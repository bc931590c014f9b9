package machine

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/kintoun/kintoun/probe"
	volumedriver "github.com/kintoun/kintoun/volume/driver"
	"github.com/kintoun/kintoun/volume/filevolume"
	"github.com/kintoun/kintoun/volume/lvmvolume"
	"github.com/kintoun/kintoun/volume/qcow2volume"
	"github.com/kintoun/kintoun/volume/rbdvolume"
)

// The formats of volumes: VolumesFormat is one of them, or "auto".
const (
	formatRaw   = "raw"
	formatQCOW2 = "qcow2"
	formatRBD   = "rbd"
	formatLVM   = "lvm"
)

// The pools of volumes below the data directory, by their formats, and the file that a pool of raw files may be in. Of volumes in LVM
// that is what belongs to connections.
const (
	rawPool     = "volumes"
	rawBacking  = "volumes.img"
	qcow2Pool   = "volumes.qcow2"
	qcow2Layers = "layers"
	lvmPool     = "volumes.lvm"
)

// RBD says where volumes are that a Ceph cluster keeps.
type RBD struct {
	// Pool is the cluster's pool, Namespace one of its namespaces or empty.
	Pool, Namespace string
	// Config is the cluster's configuration file, User the cephx user without "client.".
	Config, User string
}

func (r *RBD) options() *rbdvolume.Options {
	return &rbdvolume.Options{Config: r.Config, Namespace: r.Namespace, User: r.User}
}

// LVM says where volumes are that LVM keeps.
type LVM struct {
	// Group is the volume group, ThinPool the thin pool in it; empty is the driver's own name for one.
	Group, ThinPool string
}

// volumes is this machine's pool.
type volumes interface {
	volumedriver.Volumes
	// stop ends what runs for the pool, when nobody uses it any more.
	stop(ctx context.Context) error
}

type rawVolumes struct{ *filevolume.Driver }

func (v rawVolumes) stop(ctx context.Context) error { return v.Unmount(ctx) }

type qcow2Volumes struct{ *qcow2volume.Driver }

func (v qcow2Volumes) stop(ctx context.Context) error { return v.Stop(ctx) }

type rbdVolumes struct{ *rbdvolume.Driver }

// stop has nothing to end: the cluster is somebody else's.
func (rbdVolumes) stop(context.Context) error { return nil }

type lvmVolumes struct{ *lvmvolume.Driver }

// stop has nothing to end: the kernel has the devices.
func (lvmVolumes) stop(context.Context) error { return nil }

// newVolumes opens the pool of volumes, below the data directory, in a volume group or in a cluster.
func newVolumes(ctx context.Context, o *Options) (volumes, error) {
	listen := o.volumesListen()
	format, err := volumesFormat(o)
	if err != nil {
		return nil, err
	}
	switch format {
	case formatRBD:
		d, err := rbdvolume.New(ctx, o.VolumesRBD.Pool, o.VolumesRBD.options())
		if err != nil {
			return nil, err
		}
		return rbdVolumes{d}, nil
	case formatLVM:
		d, err := lvmvolume.New(ctx, o.VolumesLVM.Group, o.Path(lvmPool), o.lvm())
		if err != nil {
			return nil, err
		}
		return lvmVolumes{d}, nil
	case formatQCOW2:
		d, err := qcow2volume.New(ctx, o.Path(qcow2Pool), &qcow2volume.Options{Host: o.Host, Listen: listen})
		if err != nil {
			return nil, err
		}
		return qcow2Volumes{d}, nil
	}
	d, err := newRawVolumes(ctx, o, filevolume.Options{Host: o.Host, Listen: listen, BackingBytes: int64(o.VolumesGiB) << 30})
	if err != nil {
		return nil, err
	}
	return rawVolumes{d}, nil
}

// volumesListen is where other hosts reach this one's volumes; empty for one host alone.
func (o *Options) volumesListen() string {
	if !o.TunnelAddress.IsValid() {
		return ""
	}
	return o.TunnelAddress.String()
}

func (o *Options) lvm() *lvmvolume.Options {
	return &lvmvolume.Options{ThinPool: o.VolumesLVM.ThinPool, Host: o.Host, Listen: o.volumesListen()}
}

// volumesFormat is the format that the machine's volumes have. It does not change: volumes of the other would not be found.
func volumesFormat(o *Options) (string, error) {
	qcow2, err := holds(o.Path(qcow2Pool, qcow2Layers))
	if err != nil {
		return "", err
	}
	elsewhere := o.VolumesFormat == formatRBD || o.VolumesFormat == formatLVM
	switch {
	case o.VolumesFormat == formatLVM && o.VolumesLVM.Group == "":
		return "", errors.New("volumes-format lvm: volumes-lvm-group is missing: name a volume group (vgs lists them, vgcreate NAME /dev/DISK makes one)")
	case qcow2 && (o.VolumesFormat == formatRaw || elsewhere):
		return "", fmt.Errorf("volumes-format %s: volumes are qcow2 files already, in %s", o.VolumesFormat, o.Path(qcow2Pool))
	case qcow2:
		return formatQCOW2, nil
	case o.VolumesFormat != formatQCOW2 && !elsewhere:
		return formatRaw, nil
	}
	raw, err := holds(o.Path(rawPool))
	if _, statErr := os.Stat(o.Path(rawBacking)); raw || statErr == nil {
		err = errors.Join(err, fmt.Errorf("volumes-format %s: volumes are raw files already, in %s", o.VolumesFormat, o.Path(rawPool)))
	}
	return o.VolumesFormat, err
}

// holds says whether there is anything but directories.
func holds(dir string) (bool, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	for _, e := range entries {
		if !e.IsDir() {
			return true, err
		}
	}
	return false, err
}

// newRawVolumes opens a pool on the file system that is there where that shares blocks between files, and otherwise on one of its own
// in a file.
func newRawVolumes(ctx context.Context, o *Options, options filevolume.Options) (*filevolume.Driver, error) {
	backing := o.Path(rawBacking)
	if _, err := os.Stat(backing); errors.Is(err, os.ErrNotExist) {
		d, err := filevolume.New(ctx, o.Path(rawPool), &options)
		var missing *probe.Missing
		if !errors.As(err, &missing) {
			return d, err
		}
	}
	options.BackingFile = backing
	return filevolume.New(ctx, o.Path(rawPool), &options)
}
