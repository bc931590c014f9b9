//go:build linux

package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kintoun/kintoun/examples/allinone/cloud"
	"github.com/stretchr/testify/require"
)

const (
	vm1Address = "172.24.17.2"
	vm2Address = "172.24.17.3"
	vipAddress = "172.24.17.4"
	// bootPatience covers a guest under emulation on a busy machine.
	bootPatience = 3 * time.Minute
)

// walk is the state of one replay.
type walk struct {
	*testCloud
	demo                          *user
	key                           string
	network, subnet, router, pool string
	vip                           map[string]any
	dhcp                          string
	// Checksums of what was written to a volume, before and after a snapshot of it.
	first, second string
}

func TestWalkthroughOnOpenVSwitch(t *testing.T) { replay(t, "openvswitch") }
func TestWalkthroughOnBridge(t *testing.T)      { replay(t, "bridge") }

// replay goes through the walkthrough's rows in order; each stands on those before it.
func replay(t *testing.T, fabric string) {
	w := &walk{testCloud: newCloud(t, fabric)}
	w.inOrder([]row{
		{"images and networks", w.prepare},
		{"row 2: security group rules", w.rules},
		{"row 3: two servers", w.boot},
		{"row 4: namespaces", w.namespaces},
		{"row 5: ping", w.ping},
		{"row 6: SSH and HTTP", w.login},
		{"rows 7 to 10: a balancer", w.balance},
		{"row 11: HAProxy as nobody", w.haproxy},
		{"row 12: strict alternation", func() { w.alternates(24) }},
		{"row 13: agents", w.agents},
		{"row 15: metadata", w.metadata},
		{"a floating IP", w.floating},
		{"another project with the same addresses", w.neighbour},
		{"a dead member", w.deadMember},
		{"the server is killed", w.killed},
	})
}

// row is a step that stands on those before it.
type row struct {
	name string
	do   func()
}

// inOrder goes through the rows, each a test of its own, and ends with the first that fails.
func (w *walk) inOrder(rows []row) {
	t := w.t.(*testing.T)
	for _, row := range rows {
		ok := t.Run(row.name, func(t *testing.T) {
			w.t = t
			if w.demo != nil {
				w.demo.t = t
			}
			row.do()
		})
		w.t = t
		if !ok {
			t.FailNow()
		}
	}
}

func (w *walk) prepare() {
	admin := w.admin()
	kernel := admin.id("openstack", "image", "create", "--public", "--disk-format", "aki", "--container-format", "aki", "--file", guestDir+"/kernel", "cirros-kernel")
	initrd := admin.id("openstack", "image", "create", "--public", "--disk-format", "ari", "--container-format", "ari", "--file", guestDir+"/initrd", "cirros-ramdisk")
	line, err := os.ReadFile(guestDir + "/cmdline")
	require.NoError(w.t, err)
	admin.id("openstack", "image", "create", "--public", "--disk-format", "ami", "--container-format", "ami", "--file", guestDir+"/root.img",
		"--property", "kernel_id="+kernel, "--property", "ramdisk_id="+initrd, "--property", "os_command_line="+strings.TrimSpace(string(line)), "cirros")
	admin.id("openstack", "network", "create", "--external", "--provider-network-type", "flat", "--provider-physical-network", "public", "public")
	admin.id("openstack", "subnet", "create", "--network", "public", "--subnet-range", "10.0.0.0/24", "--gateway", "10.0.0.1", "--no-dhcp", "public-subnet")

	w.demo = w.newUser("demo")
	w.key = filepath.Join(filepath.Dir(w.binary), "id")
	w.must("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", w.key)
	w.demo.cli("openstack", "keypair", "create", "--public-key", w.key+".pub", "demo")
	w.network, w.subnet, w.router = w.demo.networkWithRouter("private")
	w.dhcp = "qdhcp-" + w.network
}

// networkWithRouter makes 172.24.17.0/24 and a router from it to the external network.
func (u *user) networkWithRouter(name string) (network, subnet, router string) {
	network = u.id("openstack", "network", "create", name)
	subnet = u.id("openstack", "subnet", "create", "--network", network, "--subnet-range", "172.24.17.0/24", "--gateway", "172.24.17.254", name+"-subnet")
	router = u.id("openstack", "router", "create", name+"-router")
	u.cli("openstack", "router", "add", "subnet", router, subnet)
	u.cli("openstack", "router", "set", "--external-gateway", "public", router)
	return network, subnet, router
}

func (w *walk) rules() {
	w.demo.cli("openstack", "security", "group", "rule", "create", "--protocol", "icmp", "default")
	w.demo.cli("openstack", "security", "group", "rule", "create", "--protocol", "tcp", "--dst-port", "22", "default")
	w.demo.cli("openstack", "security", "group", "rule", "create", "--protocol", "tcp", "--dst-port", "80", "default")
	var seen []string
	for _, rule := range w.demo.rows("openstack", "security", "group", "rule", "list", "--ingress", "default") {
		seen = append(seen, fmt.Sprint(rule["IP Protocol"], " ", rule["Port Range"], " ", rule["IP Range"], " ", rule["Remote Security Group"] != nil))
	}
	for _, want := range []string{"icmp  0.0.0.0/0 false", "tcp 22:22 0.0.0.0/0 false", "tcp 80:80 0.0.0.0/0 false"} {
		require.Contains(w.t, seen, want)
	}
	require.Len(w.t, seen, 5, "the group's own two rules and these")
}

func (w *walk) boot() {
	image := w.demo.id("openstack", "image", "show", "cirros")
	w.demo.cli("nova", "boot", "--flavor", "m1.tiny", "--image", image, "--nic", "net-id="+w.network, "--key-name", "demo", "vm1")
	w.demo.cli("openstack", "server", "create", "--flavor", "m1.tiny", "--image", "cirros", "--network", "private", "--key-name", "demo", "vm2")
	for name, address := range map[string]string{"vm1": vm1Address, "vm2": vm2Address} {
		w.demo.becomes(name, "ACTIVE")
		require.Equal(w.t, map[string]any{"private": []any{address}}, w.demo.object("openstack", "server", "show", name)["addresses"])
	}
	require.Regexp(w.t, `vm1 .*ACTIVE.*private=172\.24\.17\.2`, w.demo.cli("nova", "list"))
}

// becomes waits until the server has the status, and sees with the client that it has.
func (u *user) becomes(name, status string) {
	u.t.Helper()
	u.eventually(bootPatience, name+" is "+status, func() error {
		found, err := u.api(cloud.Compute, "/v2.1/servers/detail?name="+name)
		if err != nil {
			return err
		}
		list, _ := found["servers"].([]any)
		if len(list) != 1 {
			return fmt.Errorf("%d servers are named %s", len(list), name)
		}
		server, _ := list[0].(map[string]any)
		require.NotEqual(u.t, "ERROR", server["status"], "%v", server["fault"])
		if server["status"] != status {
			return fmt.Errorf("%s is %v", name, server["status"])
		}
		return nil
	})
	require.Equal(u.t, status, u.object("openstack", "server", "show", name)["status"])
}

func (w *walk) namespaces() {
	names := w.must("ip", "netns", "list")
	require.Contains(w.t, names, "qrouter-"+w.router)
	require.Contains(w.t, names, w.dhcp)
}

func (w *walk) ping() {
	for _, address := range []string{vm1Address, vm2Address} {
		w.answersPing(w.dhcp, address)
		out, err := w.in(w.dhcp, "ping", "-q", "-c", "1", address)
		require.NoError(w.t, err)
		require.Contains(w.t, out, " 0% packet loss")
	}
}

func (w *walk) answersPing(namespace, address string) {
	w.t.Helper()
	w.eventually(bootPatience, address+" answers pings", func() error {
		_, err := w.in(namespace, "ping", "-q", "-c", "1", "-W", "2", address)
		return err
	})
}

func (w *walk) login() {
	for name, address := range map[string]string{"vm1": vm1Address, "vm2": vm2Address} {
		w.loggedIn(w.dhcp, address, name)
		w.eventually(bootPatience, name+" serves HTTP", func() error { return w.answers(w.dhcp, address, name) })
	}
	// The servers reach each other, too.
	_, err := w.ssh(w.dhcp, w.key, vm1Address, "ping -c 1 "+vm2Address)
	require.NoError(w.t, err)
}

func (w *walk) loggedIn(namespace, address, name string) {
	w.t.Helper()
	w.eventually(bootPatience, "SSH into "+name, func() error {
		out, err := w.ssh(namespace, w.key, address, "hostname")
		if err == nil && out != name {
			err = fmt.Errorf("%s calls itself %q", name, out)
		}
		return err
	})
}

func (w *walk) answers(namespace, address, want string) error {
	out, err := w.curl(namespace, "http://"+address+"/")
	if err == nil && out != want {
		err = fmt.Errorf("%s answers %q, not %q", address, out, want)
	}
	return err
}

func (w *walk) balance() {
	pool := w.demo.object("neutron", "lb-pool-create", "--lb-method", "ROUND_ROBIN", "--name", "mypool", "--protocol", "HTTP", "--subnet-id", w.subnet)
	w.pool = fmt.Sprint(pool["id"])
	require.Equal(w.t, "PENDING_CREATE", pool["status"])
	for _, field := range []string{"admin_state_up", "description", "health_monitors", "lb_method", "members", "name", "protocol", "subnet_id", "tenant_id", "vip_id"} {
		require.Contains(w.t, pool, field)
	}
	for _, address := range []string{vm1Address, vm2Address} {
		member := w.demo.object("neutron", "lb-member-create", "--address", address, "--protocol-port", "80", "mypool")
		require.Equal(w.t, []any{address, float64(80), float64(1), "PENDING_CREATE"}, []any{member["address"], member["protocol_port"], member["weight"], member["status"]})
	}
	monitor := w.demo.object("neutron", "lb-healthmonitor-create", "--delay", "3", "--type", "HTTP", "--max-retries", "3", "--timeout", "3")
	require.Equal(w.t, []any{"200", "GET", "/"}, []any{monitor["expected_codes"], monitor["http_method"], monitor["url_path"]})
	w.demo.cli("neutron", "lb-healthmonitor-associate", fmt.Sprint(monitor["id"]), "mypool")
	w.vip = w.demo.object("neutron", "lb-vip-create", "--name", "myvip", "--protocol-port", "80", "--protocol", "HTTP", "--subnet-id", w.subnet, "mypool")
	require.Equal(w.t, vipAddress, w.vip["address"])
	require.NotEmpty(w.t, w.vip["port_id"])
	for _, kind := range []string{"vips", "pools", "members"} {
		w.statuses(kind, "ACTIVE")
	}
}

// statuses waits until those in the list have these statuses, and sees with the client that they have.
func (w *walk) statuses(kind string, want ...string) {
	w.t.Helper()
	w.eventually(time.Minute, "all "+kind+" are "+strings.Join(want, ", "), func() error {
		found, err := w.demo.api(cloud.Network, "/v2.0/lb/"+kind)
		if err != nil {
			return err
		}
		var got []string
		list, _ := found[kind].([]any)
		for _, item := range list {
			one, _ := item.(map[string]any)
			got = append(got, fmt.Sprint(one["status"]))
		}
		slices.Sort(got)
		if !slices.Equal(slices.Compact(got), want) {
			return fmt.Errorf("%s: %v", kind, got)
		}
		return nil
	})
	for _, row := range w.demo.rows("neutron", "lb-"+strings.TrimSuffix(kind, "s")+"-list", "-c", "id", "-c", "status") {
		require.Contains(w.t, want, row["status"])
	}
}

func (w *walk) haproxy() {
	require.Regexp(w.t, `nobody .*haproxy -f \S+/lbaas/`+w.pool+`/conf -p \S+/lbaas/`+w.pool+`/pid`, w.must("ps", "-eo", "user,args"))
	out, err := w.in("qlbaas-"+w.pool, "ip", "addr")
	require.NoError(w.t, err)
	require.Contains(w.t, out, "tap"+fmt.Sprint(w.vip["port_id"])[:11])
	require.Contains(w.t, out, vipAddress+"/24")
}

// alternates asks the balancer and wants the other server each time.
func (w *walk) alternates(requests int) {
	w.t.Helper()
	last := ""
	for range requests {
		out, err := w.curl(w.dhcp, "http://"+vipAddress+"/")
		require.NoError(w.t, err)
		require.Contains(w.t, []string{"vm1", "vm2"}, out)
		require.NotEqual(w.t, last, out, "strict alternation")
		last = out
	}
}

func (w *walk) agents() {
	kinds := map[string]bool{}
	admin := w.admin()
	admin.t = w.t
	for _, agent := range admin.rows("neutron", "agent-list") {
		require.Equal(w.t, w.Host, agent["host"])
		require.Equal(w.t, ":-)", agent["alive"])
		kinds[fmt.Sprint(agent["agent_type"])] = true
	}
	require.True(w.t, kinds["DHCP agent"] && kinds["L3 agent"], "%v", kinds)
	require.Len(w.t, admin.rows("neutron", "dhcp-agent-list-hosting-net", "private"), 1)
	require.Len(w.t, admin.rows("neutron", "l3-agent-list-hosting-router", w.router), 1)
}

const (
	versions = "1.0\n2007-01-19\n2007-03-01\n2007-08-29\n2007-10-10\n2007-12-15\n2008-02-01\n2008-09-01\n2009-04-04"
	leaves   = "ami-id\nami-launch-index\nami-manifest-path\nblock-device-mapping/\nhostname\ninstance-action\ninstance-id\ninstance-type\nkernel-id\nlocal-hostname\nlocal-ipv4\nplacement/\npublic-hostname\npublic-ipv4\npublic-keys/\nramdisk-id\nreservation-id"
)

func (w *walk) metadata() {
	for path, want := range map[string]string{
		"":                                versions,
		"2009-04-04":                      "meta-data/",
		"2009-04-04/meta-data/":           leaves,
		"2009-04-04/meta-data/placement/": "availability-zone",
		"2009-04-04/meta-data/placement/availability-zone": "nova",
		"2009-04-04/meta-data/local-ipv4":                  vm1Address,
	} {
		out, err := w.ssh(w.dhcp, w.key, vm1Address, "wget -q -O - http://169.254.169.254/"+path)
		require.NoError(w.t, err)
		// The walkthrough lists "latest" nowhere; whether a server has keys decides public-keys/.
		require.Equal(w.t, want, strings.TrimSuffix(out, "\nlatest"), path)
	}
	// The other server is told of itself.
	for path, want := range map[string]string{"local-ipv4": vm2Address, "hostname": "vm2"} {
		out, err := w.ssh(w.dhcp, w.key, vm2Address, "wget -q -O - http://169.254.169.254/2009-04-04/meta-data/"+path)
		require.NoError(w.t, err)
		require.Regexp(w.t, "^"+want, out)
	}
}

func (w *walk) floating() {
	address := fmt.Sprint(w.demo.object("openstack", "floating", "ip", "create", "public")["floating_ip_address"])
	require.Regexp(w.t, `^10\.0\.0\.`, address)
	w.demo.cli("openstack", "server", "add", "floating", "ip", "vm1", address)
	w.eventually(30*time.Second, "vm1 answers from outside", func() error {
		out, err := w.run("curl", "--silent", "--show-error", "--fail", "--max-time", "3", "http://"+address+"/")
		if err == nil && out != "vm1" {
			err = fmt.Errorf("%s answers %q", address, out)
		}
		return err
	})
	// And from inside to the outside.
	_, err := w.ssh(w.dhcp, w.key, vm2Address, "ping -c 1 10.0.0.1")
	require.NoError(w.t, err)
}

// neighbour has the same addresses in another project, and a group that lets port 80 in and nothing else.
func (w *walk) neighbour() {
	other := w.newUser("other")
	network, _, _ := other.networkWithRouter("private")
	other.cli("openstack", "keypair", "create", "--public-key", w.key+".pub", "other")
	other.cli("openstack", "security", "group", "create", "web")
	other.cli("openstack", "security", "group", "rule", "create", "--protocol", "tcp", "--dst-port", "80", "web")
	script := filepath.Join(filepath.Dir(w.binary), "user-data")
	require.NoError(w.t, os.WriteFile(script, []byte("#!/bin/sh\nwget -q -O /var/www/self http://169.254.169.254/2009-04-04/meta-data/instance-id\nwget -q -O /var/www/name http://169.254.169.254/2009-04-04/meta-data/hostname\n"), 0o600))
	id := other.id("openstack", "server", "create", "--flavor", "m1.tiny", "--image", "cirros", "--network", network, "--security-group", "web", "--key-name", "other", "--user-data", script, "stranger")
	other.becomes("stranger", "ACTIVE")
	require.Equal(w.t, map[string]any{"private": []any{vm1Address}}, other.object("openstack", "server", "show", "stranger")["addresses"])
	theirs := "qdhcp-" + network
	w.eventually(bootPatience, "the stranger answers", func() error { return w.answers(theirs, vm1Address, "stranger") })
	require.NoError(w.t, w.answers(w.dhcp, vm1Address, "vm1"), "each project reaches its own")
	_, err := w.in(theirs, "ping", "-q", "-c", "1", "-W", "2", vm2Address)
	require.Error(w.t, err, "the first project's vm2 is not here")

	// Its metadata is its own: it asked for it from inside, at boot.
	var name string
	w.eventually(time.Minute, "the stranger knows itself", func() error {
		name, err = w.curl(theirs, "http://"+vm1Address+"/name")
		return err
	})
	require.Regexp(w.t, `^stranger`, name)
	self, err := w.curl(theirs, "http://"+vm1Address+"/self")
	require.NoError(w.t, err)
	ours, err := w.ssh(w.dhcp, w.key, vm1Address, "wget -q -O - http://169.254.169.254/2009-04-04/meta-data/instance-id")
	require.NoError(w.t, err)
	require.NotEqual(w.t, ours, self)

	// Port 80 and nothing else.
	_, err = w.in(theirs, "ping", "-q", "-c", "1", "-W", "2", vm1Address)
	require.Error(w.t, err, "ping is not let in")
	_, err = w.in(theirs, "curl", "--silent", "--max-time", "3", "telnet://"+vm1Address+":22")
	require.Error(w.t, err, "SSH is not let in")

	// Neither project sees what the other has.
	_, err = w.demo.try("openstack", "server", "show", id)
	require.Error(w.t, err)
	_, err = w.demo.try("openstack", "network", "show", network)
	require.Error(w.t, err)
	other.cli("openstack", "server", "delete", "--wait", "stranger")
}

func (w *walk) deadMember() {
	_, err := w.ssh(w.dhcp, w.key, vm1Address, "sudo killall httpd")
	require.NoError(w.t, err)
	w.statuses("members", "ACTIVE", "INACTIVE")
	for range 6 {
		require.NoError(w.t, w.answers(w.dhcp, vipAddress, "vm2"))
	}
	_, err = w.ssh(w.dhcp, w.key, vm1Address, "sudo httpd -p 80 -h /var/www")
	require.NoError(w.t, err)
	w.statuses("members", "ACTIVE")
	w.alternates(20)
}

// killed checks that nothing but the APIs depends on the server's process.
func (w *walk) killed() {
	before := w.processes()
	require.Len(w.t, before, 3, "two servers and a balancer")
	stop, failures := make(chan struct{}), make(chan error, 1)
	go func() { failures <- w.clients(stop) }()

	w.kill()
	require.NoError(w.t, w.answers(w.dhcp, vm1Address, "vm1"))
	time.Sleep(2 * time.Second) // time for the clients, with no server there
	_, err := w.ssh(w.dhcp, w.key, vm2Address, "ping -c 1 10.0.0.1")
	require.NoError(w.t, err, "the router routes")
	w.start()
	w.demo.becomes("vm1", "ACTIVE")
	w.demo.becomes("vm2", "ACTIVE")
	w.statuses("vips", "ACTIVE")
	w.statuses("members", "ACTIVE")

	close(stop)
	require.NoError(w.t, <-failures, "a client of the balancer was failed")
	require.Equal(w.t, before, w.processes(), "everything was adopted")
	// And the new server governs what the old one made.
	w.demo.cli("openstack", "server", "stop", "vm2")
	w.demo.becomes("vm2", "SHUTOFF")
}

// clients asks the balancer ten times a second until stop: each request is answered, and by the other server each time.
func (w *walk) clients(stop <-chan struct{}) error {
	last := ""
	for n := 0; ; n++ {
		select {
		case <-stop:
			if n < 20 {
				return fmt.Errorf("%d requests are too few to say anything", n)
			}
			return nil
		case <-time.After(100 * time.Millisecond):
		}
		out, err := w.curl(w.dhcp, "http://"+vipAddress+"/")
		if err != nil {
			return fmt.Errorf("request %d: %w", n, err)
		}
		if out == last {
			return fmt.Errorf("request %d: %s twice in a row", n, out)
		}
		last = out
	}
}

// processes are the servers' and the balancers' process identifiers, with what they are.
func (w *walk) processes() map[string]string {
	found := map[string]string{}
	for line := range strings.Lines(w.must("ps", "-eo", "pid,comm")) {
		fields := strings.Fields(line)
		if len(fields) == 2 && (strings.HasPrefix(fields[1], "qemu-system") || fields[1] == "haproxy") {
			found[fields[0]] = fields[1]
		}
	}
	return found
}
