//go:build linux

// Package ovsgre is a fabric of Open vSwitch and GRE, laid out as OpenStack's agents do. It is a [driver.Fabric].
//
//	if ovsgre.KernelDatapath() == nil && ovsgre.Probe(ctx, nil) == nil {
//		fabric, err = ovsgre.New(ctx, filters, nil)
//	} else {
//		fabric, err = bridge.New(filters, nil)
//	}
//
// All ports of a host meet on the bridge br-int, where a VLAN tag per network, good only inside the host, keeps
// networks apart. br-tun carries frames between hosts: one GRE port (RFC 2784, keys of RFC 2890) whose key and remote
// address each flow sets; frames for everybody go to each of a network's peers, and who is where is learned from what
// arrives. A virtual machine's port is a tap on a small Linux bridge of its own (qbrXXXXXXXX-XX), joined to br-int by a
// veth pair (qvb…, qvo…), so that filters see it; a namespace's port is one veth pair. A physical network is a Linux
// bridge of the host's.
//
// The kernel's datapath is used where it exists, and the one in ovs-vswitchd's process where not ([KernelDatapath]).
// The latter wants the tunnels' network device inside a bridge of its own, br-phy, with the address on that bridge:
// this package moves it there when [Options.Underlay] names it. There, too, checksums are finished before frames reach
// the switch, which leaves them unfinished otherwise.
//
// # What it needs
//
// Root, openvswitch-switch (ovsdb-server, ovs-vswitchd, ovsdb-tool, ovs-ofctl), the kernel's bridge, veth and tun;
// [Probe] names what is missing. The system's ovsdb-server and ovs-vswitchd are used when they run; else a pair of our
// own is started. The path between hosts must carry the networks' MTU and 42 bytes more: 1458 for 1500.
//
// # What it does not do
//
// It guards no ports itself: a [driver.Filters] does. Tunnels run over IPv4 and are not encrypted. It does not touch
// bridges of Open vSwitch that are not its own. The first packet to a peer can be lost while the switch asks for its
// MAC; Apply asks beforehand.
//
// # Errors
//
// [ErrInvalid], [ErrConflict], [ErrNotFound] (a port of a network that was not applied), [ErrUnavailable] (Open vSwitch
// is missing or does not answer), [ErrUnsupported] (a physical network that the host has not, or a guarded port without
// filters). What is missing is a [probe.Missing], found with errors.As.
//
// # Concurrency
//
// A [Fabric] is safe for concurrent use, and holds a goroutine that watches the switch until [Fabric.Close]. Several
// processes must not change one host's fabric at once.
//
// # When the process ends
//
// Frames pass on: the daemons outlive this process and are found again, and what exists is read from the database and
// the kernel. ovs-vswitchd forgets flows when it restarts: a Fabric notices, within moments, and pushes them again; it
// also starts its own daemons again. [Fabric.Teardown] takes everything away.
package ovsgre

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"
	"sync"

	"github.com/kintoun/kintoun/internal/fault"
	"github.com/kintoun/kintoun/internal/process"
	"github.com/kintoun/kintoun/network/driver"
	"github.com/kintoun/kintoun/network/internal/link"
)

// The kinds of error that this package returns.
var (
	ErrInvalid     = fault.ErrInvalid
	ErrConflict    = fault.ErrConflict
	ErrNotFound    = fault.ErrNotFound
	ErrUnavailable = fault.ErrUnavailable
	ErrUnsupported = fault.ErrUnsupported
	ErrExhausted   = fault.ErrExhausted
)

// DefaultRunDir is where our own daemons live unless told otherwise.
const DefaultRunDir = "/run/kintoun-ovs"

// maxRunDir leaves room for the sockets in it: their paths end at 108 bytes.
const maxRunDir = 80

// Options of a [Fabric].
type Options struct {
	// Namespace is the network namespace that plays the host; empty is the process's own.
	Namespace string
	// RunDir is where our own daemons keep database and sockets, at most 80 bytes; empty is [DefaultRunDir].
	RunDir string
	// LocalAddress is where the other hosts send this one's tunnelled frames, an IPv4 address. Without it there are no
	// tunnels: networks stay on this host, and one with peers is refused.
	LocalAddress netip.Addr
	// Underlay is the device that has LocalAddress. Only the datapath in user space needs it: the device is put into
	// br-phy, and its IPv4 addresses and routes are moved there.
	Underlay string
	// Physical maps the names of physical networks to the host's Linux bridges. One that does not exist is made.
	Physical map[string]string
}

// Fabric is the layer 2 of one host.
type Fabric struct {
	host      link.Host
	filters   driver.Filters
	opts      Options
	daemons   *daemons
	userspace bool

	// mu keeps changes of networks apart: tags are given out, and flows belong to tags.
	mu   sync.Mutex
	stop context.CancelFunc
	done chan struct{}
}

var _ driver.Fabric = (*Fabric)(nil)

// New finds or starts Open vSwitch and makes its bridges. Filters guard the fabric's ports; nil, and ports that want to
// be guarded are refused. The fabric looks after the switch until ctx is done or Close is called.
func New(ctx context.Context, filters driver.Filters, opts *Options) (*Fabric, error) {
	f := &Fabric{filters: filters, done: make(chan struct{})}
	if opts != nil {
		f.opts = *opts
	}
	if f.opts.RunDir == "" {
		f.opts.RunDir = DefaultRunDir
	}
	if err := f.opts.check(); err != nil {
		return nil, err
	}
	f.host = link.Host{Namespace: f.opts.Namespace}
	f.userspace = KernelDatapath() != nil
	if f.userspace && f.opts.LocalAddress.IsValid() && f.opts.Underlay == "" {
		return nil, fault.Wrap(ErrInvalid, "the kernel has no Open vSwitch datapath; tunnels through the one in user space need the device of %s: set Options.Underlay", f.opts.LocalAddress)
	}
	var err error
	if f.daemons, err = findDaemons(ctx, &f.opts); err != nil {
		return nil, err
	}
	if err := f.prepare(ctx); err != nil {
		return nil, err
	}
	watching, cancel := context.WithCancel(ctx)
	f.stop = cancel
	go f.watch(watching)
	return f, nil
}

func (o *Options) check() error {
	if len(o.RunDir) > maxRunDir || !filepath.IsAbs(o.RunDir) {
		return fault.Wrap(ErrInvalid, "run directory %q must be an absolute path of at most %d bytes", o.RunDir, maxRunDir)
	}
	if o.LocalAddress.IsValid() && !o.LocalAddress.Is4() {
		return fault.Wrap(ErrInvalid, "local address %s: GRE tunnels run over IPv4 here", o.LocalAddress)
	}
	for name, device := range o.Physical {
		if name == "" || device == "" || len(device) > 15 {
			return fault.Wrap(ErrInvalid, "physical network %q: bridge name %q must have 1 to 15 bytes", name, device)
		}
	}
	return nil
}

// prepare makes the bridges, moves the underlay, and pushes the flows if the switch has none.
func (f *Fabric) prepare(ctx context.Context) error {
	if err := f.ensureBridges(ctx); err != nil {
		return fmt.Errorf("bridges of Open vSwitch: %w", err)
	}
	if err := f.settle(ctx); err != nil {
		return err
	}
	if err := f.ensureUnderlay(ctx); err != nil {
		return fmt.Errorf("underlay of the tunnels: %w", err)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.ensureFlows(ctx)
}

// Kind is "openvswitch".
func (f *Fabric) Kind() string { return "openvswitch" }

// Networks makes networks exist on the host.
func (f *Fabric) Networks() driver.Networks { return networks{f} }

// Ports plugs ports into them.
func (f *Fabric) Ports() driver.Ports { return ports{f} }

// Close stops looking after the switch. Everything goes on working, daemons included.
func (f *Fabric) Close() error {
	f.stop()
	<-f.done
	return nil
}

// Teardown takes Open vSwitch's bridges away, gives the underlay its addresses back and ends our own daemons. Ports
// and networks should have been removed before. Where it was done already, nothing happens.
func (f *Fabric) Teardown(ctx context.Context) error {
	if err := f.Close(); err != nil {
		return err
	}
	if f.daemons.own {
		if running, err := process.Find(f.daemons.state("db")); err == nil && running == nil {
			return f.daemons.stop(ctx)
		}
	}
	return errors.Join(f.releaseUnderlay(ctx), f.removeBridges(ctx), f.daemons.stop(ctx))
}
