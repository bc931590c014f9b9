package server

import (
	"flag"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"

	"github.com/kintoun/kintoun/examples/allinone/cloud"
	"github.com/kintoun/kintoun/examples/allinone/machine"
)

// Options say what server to start. [Options.Register] has the defaults.
type Options struct {
	// Options of the machine: its name, its directories, its fabric.
	machine.Options
	// Listen is the address that the APIs listen on.
	Listen string
	// Ports are the API's ports.
	Ports map[cloud.Service]int
	// Listeners replace Listen and Ports where they are given. The first of a service is the one that clients are told.
	Listeners cloud.Listeners
	// Region is the name of the cloud's only region.
	Region string
	// AdminPassword is set at the first start; empty makes a random one.
	AdminPassword string
}

// Register makes a flag of each option. Defaults come from the environment (KINTOUN_DATA for -data) where it has one.
func (o *Options) Register(flags *flag.FlagSet) {
	hostname, err := os.Hostname()
	if err != nil {
		hostname = "localhost"
	}
	text := func(p *string, name, value, usage string) {
		flags.StringVar(p, name, fromEnv(name, value), usage)
	}
	text(&o.Host, "host", hostname, "this machine's `name` among the cloud's hosts")
	text(&o.DataDir, "data", "/var/lib/kintoun", "`directory` for everything that outlives the process")
	text(&o.RunDir, "run", "/run/kintoun", "`directory` for sockets; a short path")
	text(&o.Listen, "listen", "127.0.0.1", "`address` that the APIs listen on")
	text(&o.Region, "region", "RegionOne", "`name` of the cloud's region")
	text(&o.Fabric, "fabric", "auto", "`kind` of virtual network: openvswitch (GRE between hosts), bridge (VXLAN), or auto: openvswitch where the kernel has its datapath, else bridge")
	text(&o.Accelerator, "accelerator", "auto", "`kind` of virtual machine: kvm, tcg, or auto: kvm where it really runs a guest")
	text(&o.ExternalBridge, "external-bridge", "br-ex", "`bridge` that is the physical network \"public\"; made when missing")
	text(&o.AdminPassword, "admin-password", "", "admin's `password`, set at the first start (default: a random one, kept in the data directory)")
	o.Ports = cloud.DefaultPorts()
	for _, s := range cloud.Services() {
		name := string(s) + "-port"
		set := func(value string) error {
			var port int
			if _, err := fmt.Sscan(value, &port); err != nil || port < 1 || port > 65535 {
				return fmt.Errorf("%q is not a port from 1 to 65535", value)
			}
			o.Ports[s] = port
			return nil
		}
		flags.Func(name, fmt.Sprintf("`port` of the %s API (default %d)", s, o.Ports[s]), set)
		if value := fromEnv(name, ""); value != "" {
			_ = set(value)
		}
	}
	address := func(target interface{ UnmarshalText([]byte) error }, name, usage string) {
		flags.Func(name, usage, func(value string) error { return target.UnmarshalText([]byte(value)) })
		if value := fromEnv(name, ""); value != "" {
			_ = target.UnmarshalText([]byte(value))
		}
	}
	address(&o.TunnelAddress, "tunnel-address", "this host's `address` for the traffic between hosts (default: none, one host only)")
	address(&o.ExternalAddress, "external-address", "this host's own `address/bits` on the external bridge (default: none)")
}

func fromEnv(name, otherwise string) string {
	if value := os.Getenv("KINTOUN_" + strings.ToUpper(strings.ReplaceAll(name, "-", "_"))); value != "" {
		return value
	}
	return otherwise
}

// Path is a file or directory below the data directory.
func (o *Options) Path(elements ...string) string {
	return filepath.Join(append([]string{o.DataDir}, elements...)...)
}

// URL is the address that clients reach a service at.
func (o *Options) URL(s cloud.Service) string {
	if l := o.Listeners[s]; len(l) > 0 {
		return "http://" + l[0].Addr().String()
	}
	return "http://" + net.JoinHostPort(o.Listen, fmt.Sprint(o.Ports[s]))
}
