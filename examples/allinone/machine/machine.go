// Package machine is this Linux machine as a host of a cloud: QEMU for servers, Open vSwitch or the kernel's bridge as
// fabric, network namespaces for routers and DHCP, HAProxy for balancers, each by its driver.
//
// It needs root, and the programs qemu-system-x86_64, haproxy and, for that fabric, ovs-vswitchd; [Open] says what is missing,
// all at once, and [Probe] asks only that. Whatever it makes goes on when the process ends, and is found again by the next
// one; [Purge] removes it.
package machine

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"

	"github.com/kintoun/kintoun/compute"
	"github.com/kintoun/kintoun/compute/qemu"
	"github.com/kintoun/kintoun/examples/allinone/cloud"
	lbaasdriver "github.com/kintoun/kintoun/lbaas/driver"
	"github.com/kintoun/kintoun/lbaas/haproxy"
	"github.com/kintoun/kintoun/metadata"
	"github.com/kintoun/kintoun/metadata/proxy"
	"github.com/kintoun/kintoun/network"
	"github.com/kintoun/kintoun/network/dhcp"
	"github.com/kintoun/kintoun/network/netnsrouter"
	"github.com/kintoun/kintoun/volume"
	volumedriver "github.com/kintoun/kintoun/volume/driver"
	"golang.org/x/sys/unix"
)

// Options say what part of the machine the cloud gets.
type Options struct {
	// Host is this machine's name among the cloud's hosts.
	Host string
	// DataDir keeps everything that outlives the process: database, images, disks, keys.
	DataDir string
	// RunDir keeps sockets; its path must be short.
	RunDir string
	// Fabric is "auto", "openvswitch" or "bridge".
	Fabric string
	// Accelerator is "auto", "kvm" or "tcg".
	Accelerator string
	// HotPlugPorts is how many ports are kept free in each server for volumes to come; zero is as package qemu has it.
	HotPlugPorts int
	// TunnelAddress is this host's address for the traffic between hosts.
	TunnelAddress netip.Addr
	// VolumesFormat is "auto", "raw" or "qcow2": what files volumes are; empty is auto, raw where none are qcow2 files already. Or it is
	// "rbd": they are images of VolumesRBD; or "lvm": they are logical volumes of VolumesLVM.
	VolumesFormat string
	VolumesRBD    RBD
	VolumesLVM    LVM
	// VolumesGiB is how large the file system for volumes is that is made in a (sparse) file where DataDir's own cannot share
	// blocks between files.
	VolumesGiB int
	// VolumesFilter says which volumes this machine takes, VolumesGoodness how good it is for one: see [volume.AgentOptions].
	VolumesFilter, VolumesGoodness string
	// ExternalBridge is the bridge that stands for the physical network "public".
	ExternalBridge string
	// ExternalAddress is this host's own address on the external bridge; invalid for none.
	ExternalAddress netip.Prefix
	// Log hears what happens; nil discards it.
	Log *slog.Logger
}

// Path is a file or directory below the data directory.
func (o *Options) Path(elements ...string) string {
	return filepath.Join(append([]string{o.DataDir}, elements...)...)
}

// Prepare makes the directories.
func (o *Options) Prepare() error {
	for _, dir := range []string{o.DataDir, o.RunDir} {
		// QEMU and HAProxy run as other users and have to pass through.
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return fmt.Errorf("%w: choose other directories with -data and -run", err)
		}
	}
	return nil
}

// Machine is this machine's drivers.
type Machine struct {
	options   Options
	fabric    fabric
	dhcp      *dhcp.Driver
	routers   *netnsrouter.Driver
	servers   *qemu.Driver
	volumes   volumes
	balancers *haproxy.Driver
	proxy     *proxy.Proxy
}

// Open prepares this machine, after [Probe] found nothing missing.
func Open(ctx context.Context, o Options) (*Machine, error) {
	if err := Probe(ctx, o); err != nil {
		return nil, err
	}
	return closedUnlessOpen(ctx, o)
}

func closedUnlessOpen(ctx context.Context, o Options) (*Machine, error) {
	m, err := open(ctx, &o)
	if err != nil {
		return nil, errors.Join(err, m.Close())
	}
	return m, nil
}

func open(ctx context.Context, o *Options) (*Machine, error) {
	m := &Machine{options: *o}
	var err error
	if m.servers, err = qemu.New(ctx, &qemu.Options{Dir: o.DataDir, RunDir: o.RunDir, Accelerator: o.Accelerator, HotPlugPorts: o.HotPlugPorts}); err != nil {
		return m, err
	}
	if m.volumes, err = newVolumes(ctx, o); err != nil {
		return m, err
	}
	if m.fabric, err = newFabric(ctx, o); err != nil {
		return m, err
	}
	m.routers, m.dhcp = netnsrouter.New(m.fabric.Ports(), nil), dhcp.New(m.fabric.Ports(), nil)
	return m, nil
}

// volumesName is the back end of this machine's volumes.
const volumesName = "files"

// Host is the machine for [cloud.Cloud.AddHost].
func (m *Machine) Host() cloud.Host {
	return cloud.Host{
		Name: m.options.Host, Resources: resources(&m.options), Servers: m.servers,
		Volumes: map[string]volumedriver.Volumes{volumesName: m.volumes},
		VolumePools: map[string]volume.AgentOptions{
			volumesName: {FilterFunction: m.options.VolumesFilter, GoodnessFunction: m.options.VolumesGoodness},
		},
		Network: network.Drivers{Fabric: m.fabric, Routers: m.routers, DHCP: m.dhcp}, Balancers: m.newBalancers,
		Metadata: m.newMetadata, MetadataAddress: proxy.NetworkListen().Addr(), MetadataPort: routerMetadataPort,
		TunnelAddress: m.options.TunnelAddress, TapOwner: m.servers.UID(),
	}
}

func (m *Machine) newBalancers(plugger lbaasdriver.Plugger) (lbaasdriver.Balancers, error) {
	var err error
	m.balancers, err = haproxy.New(plugger, &haproxy.Options{Dir: m.options.RunDir})
	return m.balancers, err
}

// newMetadata puts a proxy before the service, in this process.
func (m *Machine) newMetadata(service *metadata.Service, secret []byte) (network.Namespaces, error) {
	var err error
	m.proxy, err = proxy.New(proxy.InProcess(service), secret, &proxy.Options{Log: m.options.Log})
	return metadataNamespaces{m.proxy}, err
}

// Close lets go of the machine without undoing anything on it.
func (m *Machine) Close() error {
	var failures []error
	if m.dhcp != nil {
		failures = append(failures, m.dhcp.Close())
	}
	if m.proxy != nil {
		failures = append(failures, m.proxy.Close())
	}
	if m.fabric != nil {
		failures = append(failures, m.fabric.Close())
	}
	return errors.Join(failures...)
}

// resources are what this machine can give to servers.
func resources(o *Options) compute.Resources {
	r := compute.Resources{VCPUs: runtime.NumCPU(), Address: "127.0.0.1", Type: "QEMU"}
	if o.TunnelAddress.IsValid() {
		r.Address = o.TunnelAddress.String()
	}
	var memory unix.Sysinfo_t
	if unix.Sysinfo(&memory) == nil {
		r.MemoryMiB = int(memory.Totalram * uint64(memory.Unit) >> 20)
	}
	var disk unix.Statfs_t
	if unix.Statfs(o.DataDir, &disk) == nil {
		r.DiskGiB = int(disk.Blocks * uint64(disk.Bsize) >> 30)
	}
	return r
}
