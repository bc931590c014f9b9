package server

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/kintoun/kintoun/examples/allinone/cloud"
	"github.com/kintoun/kintoun/examples/allinone/machine"
	"github.com/kintoun/kintoun/examples/allinone/settings"
)

// Options say what server to start. [Options.Settings] has the defaults.
type Options struct {
	// Options of the machine: its name, its directories, its fabric.
	machine.Options
	// API says where the APIs are.
	API
	// Observed says how the cloud may be watched and measured.
	Observed
	// Images says where images are kept, ImageWeb where they may be downloaded from.
	Images   Images
	ImageWeb ImageWeb
	// ImageProperties says who may do what with images' properties.
	ImageProperties ImageProperties
	// Listeners replace Listen and Ports where they are given. The first of a service is the one that clients are told.
	Listeners cloud.Listeners
	// Region is the name of the cloud's only region.
	Region string
	// ObjectsKey is a file with the key that the contents of objects are encrypted with, 64 hexadecimal digits; empty for none.
	ObjectsKey string
	// ObjectRates says how fast objects may be changed.
	ObjectRates ObjectRates
}

// Settings are what can be set of the options, with their defaults. Set them by [settings.Source.Load].
func (o *Options) Settings() settings.Table {
	return slices.Concat(o.HostSettings(), o.Images.Settings(), o.ImageWeb.Settings(), o.ImageProperties.Settings(), o.ObjectRates.Settings(), o.API.Settings(), o.Observed.Settings())
}

// HostSettings are those of this machine and its cloud, without those of API and Observed.
func (o *Options) HostSettings() settings.Table {
	return settings.Table{
		{Name: "host", Kind: "name", Help: "this machine's name among the cloud's hosts", Default: "the machine's own", Value: settings.Text(&o.Host, hostname())},
		{Name: "data", Kind: "directory", Help: "everything that outlives the process", Value: settings.Text(&o.DataDir, "/var/lib/kintoun")},
		{Name: "run", Kind: "directory", Help: "sockets; a short path", Value: settings.Text(&o.RunDir, "/run/kintoun")},
		{Name: "region", Kind: "name", Help: "the cloud's region", Value: settings.Text(&o.Region, "RegionOne")},
		{Name: "objects-key", Kind: "file", Value: settings.Text(&o.ObjectsKey, ""), Default: "none, they are not encrypted",
			Help: "has the key that objects are encrypted with, 64 hexadecimal digits; from the first start on, and for ever"},
		{Name: "fabric", Kind: "kind", Value: settings.Choice(&o.Fabric, "auto", "auto", "openvswitch", "bridge"),
			Help: "virtual network: openvswitch has GRE between hosts, bridge VXLAN; auto takes openvswitch where the kernel has its datapath"},
		{Name: "accelerator", Kind: "kind", Value: settings.Choice(&o.Accelerator, "auto", "auto", "kvm", "tcg"),
			Help: "virtual machine: auto takes kvm where it really runs a guest"},
		{Name: "hot-plug-ports", Kind: "number", Default: "16, without KVM 4", Value: settings.Number(&o.HotPlugPorts, 0, 0, 64),
			Help: "how many volumes can be attached to a server while it runs, beside those that it was started with; without KVM each costs 25 ms of its start"},
		{Name: "volumes-format", Kind: "kind", Value: settings.Choice(&o.VolumesFormat, "auto", "auto", "raw", "qcow2", "lvm", "rbd"),
			Help: "what volumes are, from the first one on: raw files share blocks, on a file system that can, and servers use them directly; qcow2 files lie on any, and a storage daemon serves them; auto takes what is there, raw at first; lvm is thin logical volumes in a volume group; rbd is images in a Ceph cluster"},
		{Name: "volumes-lvm-group", Kind: "name", Value: settings.Text(&o.VolumesLVM.Group, ""), Default: "none; lvm needs one", Help: "volume group of LVM for volumes"},
		{Name: "volumes-lvm-pool", Kind: "name", Value: settings.Text(&o.VolumesLVM.ThinPool, "kintoun"), Help: "thin pool in that group, this cloud's alone; made when missing, of 95 % of what is free there"},
		{Name: "volumes-rbd-pool", Kind: "name", Value: settings.Text(&o.VolumesRBD.Pool, "volumes"), Help: "pool of the Ceph cluster for volumes, this cloud's alone"},
		{Name: "volumes-rbd-namespace", Kind: "name", Value: settings.Text(&o.VolumesRBD.Namespace, ""), Default: "none, the unnamed one", Help: "namespace of that pool"},
		{Name: "volumes-rbd-config", Kind: "file", Value: settings.Text(&o.VolumesRBD.Config, "/etc/ceph/ceph.conf"), Help: "configuration of the cluster, with the user's keyring"},
		{Name: "volumes-rbd-user", Kind: "name", Value: settings.Text(&o.VolumesRBD.User, "admin"), Help: "cephx user that may use the pool; servers' QEMU uses its key"},
		{Name: "volumes-size", Kind: "GiB", Value: settings.Number(&o.VolumesGiB, 20, 1, 1<<20),
			Help: "raw volumes where the file system of -data cannot share blocks between files (ext4): one that can is made in a file of this size, which takes room as volumes are written to"},
		{Name: "volumes-filter", Kind: "formula", Value: settings.Text(&o.VolumesFilter, ""), Default: "none, all of them",
			Help: "which volumes are kept here, as Cinder's filter_function: volume.size < 500 and stats.free_capacity_gb > 20"},
		{Name: "volumes-goodness", Kind: "formula", Value: settings.Text(&o.VolumesGoodness, ""), Default: "none, 0",
			Help: "how good this machine is for a volume, 0 to 100, as Cinder's goodness_function: volume.size < 5 ? 100 : 50"},
		{Name: "external-bridge", Kind: "bridge", Help: "what is the physical network \"public\"; made when missing", Value: settings.Text(&o.ExternalBridge, "br-ex")},
		{Name: "external-address", Kind: "address/bits", Help: "this host's own address on the external bridge", Default: "none", Value: settings.Prefix(&o.ExternalAddress)},
		{Name: "tunnel-address", Kind: "address", Help: "this host's address for the traffic between hosts", Default: "none, one host only", Value: settings.Address(&o.TunnelAddress)},
	}
}

// API says where the APIs are.
type API struct {
	// Listen is the address that the APIs listen on.
	Listen string
	// PublicHost is the host name or address that clients are told; empty is that of the listener.
	PublicHost string
	// Ports are the APIs' ports, zero for a free one.
	Ports map[cloud.Service]int
	// AdminPassword is set at the first start; empty makes a random one.
	AdminPassword string
}

// Settings are what can be set of it.
func (a *API) Settings() settings.Table {
	table := settings.Table{
		{Name: "listen", Kind: "address", Help: "what the APIs listen on", Value: settings.Text(&a.Listen, "127.0.0.1")},
		{Name: "public-host", Kind: "host", Value: settings.Text(&a.PublicHost, ""), Default: "where the APIs listen",
			Help: "name or address that clients are told to reach the APIs at; needed with -listen 0.0.0.0 and behind forwarded ports"},
	}
	a.Ports = cloud.DefaultPorts()
	for _, s := range cloud.Services() {
		table = append(table, &settings.Setting{Name: string(s) + "-port", Kind: "port", Help: fmt.Sprintf("port of the %s API", s), Value: a.port(s)})
	}
	return append(table, &settings.Setting{
		Name: "admin-password", Kind: "password", Secret: true, Help: "admin's password, set at the first start",
		Default: "a random one", Value: settings.Text(&a.AdminPassword, ""),
	})
}

// port is the setting's value of a port that is in a map.
func (a *API) port(s cloud.Service) settings.Value {
	port := new(int)
	return &mappedPort{Value: settings.Number(port, a.Ports[s], 0, 65535), ports: a.Ports, service: s, port: port}
}

type mappedPort struct {
	settings.Value
	ports   map[cloud.Service]int
	service cloud.Service
	port    *int
}

// Set sets the port in the map.
func (p *mappedPort) Set(text string) error {
	if err := p.Value.Set(text); err != nil {
		return err
	}
	p.ports[p.service] = *p.port
	return nil
}

func hostname() string {
	name, err := os.Hostname()
	if err != nil {
		return "localhost"
	}
	return name
}

// Path is a file or directory below the data directory.
func (o *Options) Path(elements ...string) string {
	return filepath.Join(append([]string{o.DataDir}, elements...)...)
}

// URL is the address that clients reach a service at.
func (o *Options) URL(s cloud.Service) string {
	c := cloud.Options{Listen: o.Listen, PublicHost: o.PublicHost, Ports: o.Ports, Listeners: o.Listeners}
	return c.URL(s)
}
