package architecture_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/kintoun/kintoun/internal/lab/labtest"
	"github.com/stretchr/testify/require"
)

// Modules that packages may drag along, each with what it is there for. What they need themselves is named with them:
// it is weight too.
const (
	uuid     = "github.com/google/uuid"                 // identifiers
	crypto   = "golang.org/x/crypto"                    // bcrypt for passwords, SSH's form of public keys
	system   = "golang.org/x/sys"                       // system calls that the standard library lacks
	enter    = "github.com/vishvananda/netns"           // network namespaces
	netlink  = "github.com/vishvananda/netlink"         // devices, addresses, routes
	nftables = "github.com/google/nftables"             // firewall rules, which brings a netlink of its own:
	netlink2 = "github.com/mdlayher/netlink"            //
	socket2  = "github.com/mdlayher/socket"             //
	xnet     = "golang.org/x/net"                       // that netlink's filters; DHCP's packet sockets
	xsync    = "golang.org/x/sync"                      //
	xtime    = "golang.org/x/time"                      // rate limits
	dhcp     = "github.com/insomniacslk/dhcp"           // DHCP's messages, which brings, for byte order and a boot loader's:
	native   = "github.com/josharian/native"            //
	lz4      = "github.com/pierrec/lz4/v4"              //
	uio      = "github.com/u-root/uio"                  //
	vswitch  = "github.com/digitalocean/go-openvswitch" // Open vSwitch's flows
	qmp      = "github.com/digitalocean/go-qemu"        // QEMU's commands as types, which brings:
	libvirt  = "github.com/digitalocean/go-libvirt"     //
	s3client = "github.com/minio/minio-go/v7"           // S3's protocol, which brings s3needs
	swift    = "github.com/gophercloud/gophercloud/v2"  // OpenStack's protocols
	testify  = "github.com/stretchr/testify"            // what conformance suites require, which brings:
	yaml     = "go.yaml.in/yaml/v3"                     //
)

// s3needs are checksums, encodings and configuration files that the client of S3 knows.
var s3needs = []string{
	"github.com/cespare/xxhash/v2", "github.com/dustin/go-humanize", "github.com/klauspost/compress", "github.com/klauspost/cpuid/v2", "github.com/klauspost/crc32",
	"github.com/minio/crc64nvme", "github.com/minio/md5-simd", "github.com/philhofer/fwd", "github.com/rs/xid", "github.com/tinylib/msgp", "github.com/zeebo/xxh3",
	"golang.org/x/text", "gopkg.in/ini.v1", yaml, crypto, xnet, system,
}

// modulesOf is what each package that others embed may drag along of other modules. What is not in the table is alone
// with the standard library: contracts, in-memory drivers, metadata.
var modulesOf = map[string][]string{
	"identity": {uuid, crypto}, "identity/keystone": {uuid, crypto},
	"image": {uuid}, "image/filestore": {uuid, system}, "image/drivertest": {testify, yaml},
	"image/s3store": append([]string{uuid, s3client}, s3needs...),
	"compute":       {uuid, crypto}, "compute/qemu": {uuid, system, enter, qmp, libvirt}, "compute/qemu/qmp": {system, qmp, libvirt}, "compute/drivertest": {testify, yaml, uuid},
	"network": {uuid}, "network/drivertest": {testify, yaml},
	"network/bridge":      {system, enter, netlink},
	"network/ovsgre":      {system, enter, netlink, vswitch},
	"network/netnsrouter": {system, enter, netlink, nftables, netlink2, socket2, xnet, xsync},
	"network/nftfilter":   {system, enter, netlink, nftables, netlink2, socket2, xnet, xsync},
	"network/dhcp":        {system, enter, netlink, dhcp, native, lz4, uio, xnet},
	"lbaas":               {uuid}, "lbaas/haproxy": {system, enter, netlink}, "lbaas/drivertest": {testify, yaml, uuid},
	"metadata/proxy":           {system, enter},
	"objectstore/s3objects":    append([]string{uuid, s3client}, s3needs...),
	"objectstore/swiftobjects": {uuid, swift},
	"objectstore/fileobjects":  {system}, "objectstore/drivertest": {testify, yaml},
	"volume": {uuid}, "volume/filevolume": {system, enter, uuid}, "volume/lvmvolume": {system, enter, uuid}, "volume/qcow2volume": {system, enter, uuid}, "volume/rbdvolume": {system, enter}, "volume/drivertest": {testify, yaml, uuid},
	// Each asks identity who the caller is.
	"image/glance": {uuid, crypto}, "compute/nova": {uuid, crypto}, "network/neutron": {uuid, crypto}, "lbaas/lbaasv1": {uuid, crypto}, "volume/cinder": {uuid, crypto},
	"objectstore": {xtime}, "objectstore/s3": {xtime}, "objectstore/swift": {uuid, crypto, xtime},
}

func TestModules(t *testing.T) {
	of := moduleOf(t)
	seen := map[string]bool{}
	for _, p := range packages(t) {
		if k, _ := room(p.path()); k == example || k == shared || k == private {
			continue
		}
		seen[p.path()] = true
		got := map[string]bool{}
		for _, d := range p.Deps {
			if m := of[d]; m != "" && m != module {
				got[m] = true
			}
		}
		for m := range got {
			if !slices.Contains(modulesOf[p.path()], m) {
				t.Errorf("%s drags along %s: who embeds the package has to compile, ship and watch over it. Do without it, or add it to modulesOf with the reason", p.path(), m)
			}
		}
		for _, m := range modulesOf[p.path()] {
			if !got[m] {
				t.Errorf("%s no longer needs %s: take it out of modulesOf, so that it does not come back unseen", p.path(), m)
			}
		}
	}
	for path := range modulesOf {
		require.True(t, seen[path], "modulesOf has a package %s that there is not", path)
	}
}

// moduleOf says which module the packages that this one depends on are of; those of the standard library are of none.
func moduleOf(t *testing.T) map[string]string {
	t.Helper()
	out := command(t, nil, "go", "list", "-deps", "-json=ImportPath,Module", "./...")
	of := map[string]string{}
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		var p struct {
			ImportPath string
			Module     *struct{ Path string }
		}
		err := d.Decode(&p)
		if errors.Is(err, io.EOF) {
			return of
		}
		require.NoError(t, err)
		if p.Module != nil {
			of[p.ImportPath] = p.Module.Path
		}
	}
}

func command(t *testing.T, env []string, name string, args ...string) []byte {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Dir, cmd.Env = root(t), append(os.Environ(), env...)
	var problems bytes.Buffer
	cmd.Stderr = &problems
	out, err := cmd.Output()
	require.NoError(t, err, problems.String())
	return out
}

// heavy are parts of the standard library that not everybody is to carry, and who may, with the reason.
var heavy = map[string]map[string]string{
	"database/sql": {
		"identity": "state", "image": "state", "compute": "state", "network": "state", "lbaas": "state", "volume": "state", "objectstore": "state",
		"identity/keystone": "its domain", "image/glance": "its domain", "compute/nova": "its domain", "network/neutron": "its domain", "lbaas/lbaasv1": "its domain", "volume/cinder": "its domain",
		"objectstore/fileobjects": "its index",
		"objectstore/swift":       "its domain", "objectstore/s3": "its domain",
	},
	"net/http": {
		"identity/keystone": "its API", "image/glance": "its API", "image/webdownload": "its protocol", "compute/nova": "its API", "network/neutron": "its API", "lbaas/lbaasv1": "its API", "volume/cinder": "its API",
		"metadata": "its API", "metadata/memmetadata": "its domain", "metadata/proxy": "its API",
		"event/sse": "its protocol", "event/webhook": "its protocol",
		"inject/injecthttp": "faults that meet requests",
		"objectstore/swift": "its API", "objectstore/s3": "its API",
		"image/s3store": "its protocol", "objectstore/s3objects": "its protocol", "objectstore/swiftobjects": "its protocol",
	},
	"os/exec": {
		"compute/qemu": "QEMU", "volume/filevolume": "making file systems, LUKS containers, and servers of block devices", "volume/lvmvolume": "LVM's commands, servers of block devices", "volume/qcow2volume": "the storage daemon, servers of block devices", "volume/rbdvolume": "Ceph's commands, servers of block devices", "lbaas/haproxy": "HAProxy", "network/ovsgre": "Open vSwitch",
		"image/s3store": "its client can ask programs for credentials, which it is not told to", "objectstore/s3objects": "the same",
	},
}

func TestHeavyPartsOfTheStandardLibrary(t *testing.T) {
	for _, p := range packages(t) {
		if k, _ := room(p.path()); k == example || k == shared || k == private || k == suite {
			continue
		}
		for part, why := range heavy {
			if slices.Contains(p.Deps, part) && why[p.path()] == "" {
				t.Errorf("%s depends on %s, which is for %s: whoever embeds it carries that. Do without it, or add it to heavy with the reason", p.path(), part, strings.Join(slices.Sorted(maps.Keys(why)), ", "))
			}
		}
	}
}

// TestProgramsAreOutsiders has the examples show what anybody can do. allinone, the reference server, is ours.
func TestProgramsAreOutsiders(t *testing.T) {
	for _, p := range packages(t) {
		if !under(p.path(), "examples") || under(p.path(), "examples/allinone") {
			continue
		}
		for _, i := range p.Imports {
			if own := below(i); strings.Contains("/"+own+"/", "/internal/") {
				t.Errorf("%s may not import %s: nobody outside could. What it needs of it belongs in a package that all can import", p.path(), i)
			}
		}
	}
}

// bound says which packages exist on some systems only. All others build everywhere: a control plane, a test cloud and a
// program that talks to one have to run on a developer's own machine.
var bound = map[string]struct{ systems, why string }{
	"compute/qemu":            {"linux", "namespaces, cgroups, tap devices by descriptor"},
	"compute/qemu/qmp":        {"linux darwin", "descriptors passed over Unix sockets"},
	"image/filestore":         {"linux darwin", "a rename that replaces, a directory that is synced"},
	"lbaas/haproxy":           {"linux", "namespaces"},
	"metadata/proxy":          {"linux", "namespaces"},
	"network/bridge":          {"linux", "netlink"},
	"network/dhcp":            {"linux", "namespaces"},
	"network/netnsrouter":     {"linux", "namespaces, nf_tables"},
	"network/nftfilter":       {"linux", "nf_tables"},
	"network/ovsgre":          {"linux", "netlink"},
	"objectstore/fileobjects": {"linux darwin", "directories that are synced, locks that end with the process"},
	"volume/filevolume":       {"linux", "clones of files, loop devices"},
	"volume/lvmvolume":        {"linux", "device-mapper"},
	"volume/qcow2volume":      {"linux", "processes found by /proc, sockets by descriptors"},
	"volume/rbdvolume":        {"linux", "processes that end with this one"},
	"examples/balancer":       {"linux", "lbaas/haproxy"},
	"examples/metadata":       {"linux", "metadata/proxy"},
	"examples/s3bucket":       {"linux darwin", "objectstore/fileobjects"},
	"examples/twotenants":     {"linux", "network/bridge and netnsrouter"},
	"examples/vmrunner":       {"linux", "compute/qemu"},
}

func TestPortable(t *testing.T) {
	if testing.Short() {
		labtest.Skip(t, "compiles half of the standard library for other systems: run without -short")
	}
	all := packages(t)
	for _, system := range []string{"darwin", "windows"} {
		t.Run(system, func(t *testing.T) {
			env := []string{"GOOS=" + system, "CGO_ENABLED=0"}
			var portable []string
			for _, p := range all {
				k, _ := room(p.path())
				b, ok := bound[p.path()]
				switch {
				case k == shared || k == private || under(p.path(), "examples/allinone") || len(p.GoFiles) == 0:
				case !ok || slices.Contains(strings.Fields(b.systems), system):
					portable = append(portable, p.ImportPath)
				}
			}
			require.Contains(t, portable, module+"/network/memnet")
			command(t, env, "go", append([]string{"build"}, portable...)...)
		})
	}
	for path := range bound {
		require.True(t, slices.ContainsFunc(all, func(p listed) bool { return p.path() == path }), "bound has a package %s that there is not", path)
	}
}
