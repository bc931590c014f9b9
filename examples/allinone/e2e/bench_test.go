//go:build linux

package e2e

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kintoun/kintoun/examples/allinone/cloud"
	"github.com/kintoun/kintoun/internal/netns"
	"github.com/stretchr/testify/require"
)

// BenchmarkStart is a server's first start on an empty directory, until somebody has a token.
func BenchmarkStart(b *testing.B) {
	c := newCloud(b, "auto")
	c.kill()
	b.ResetTimer()
	for b.Loop() {
		b.StopTimer()
		require.NoError(b, os.RemoveAll(c.DataDir))
		b.StartTimer()
		c.start()
		require.NoError(b, c.admin().login())
		b.StopTimer()
		c.kill()
		b.StartTimer()
	}
	c.start()
}

// BenchmarkMemory is a server's resident memory, idle, with the walkthrough's two networks and no servers.
func BenchmarkMemory(b *testing.B) {
	c := newCloud(b, "auto")
	prepared(c)
	for b.Loop() {
		time.Sleep(time.Second) // idle is what is measured
	}
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", c.running.Process.Pid))
	require.NoError(b, err)
	var kib float64
	_, rest, _ := strings.Cut(string(status), "VmRSS:")
	_, err = fmt.Sscan(rest, &kib)
	require.NoError(b, err)
	b.ReportMetric(kib/1024, "MiB-resident")
}

func BenchmarkTokens(b *testing.B) {
	c := newCloud(b, "auto")
	admin := c.admin()
	require.NoError(b, admin.login())
	byToken := fmt.Sprintf(`{"auth": {"identity": {"methods": ["token"], "token": {"id": %q}}, "scope": {"project": {"name": "admin", "domain": {"id": "default"}}}}}`, admin.token)
	parallel := func(b *testing.B, ask func() error) {
		var failed atomic.Pointer[error]
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				if err := ask(); err != nil {
					failed.Store(&err)
				}
			}
		})
		require.Nil(b, failed.Load())
		b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "per-second")
	}
	b.Run("issue", func(b *testing.B) {
		parallel(b, func() error {
			answer, err := http.Post(admin.AuthURL+"/auth/tokens", "application/json", strings.NewReader(byToken))
			if err == nil && answer.StatusCode != http.StatusCreated {
				err = fmt.Errorf("status %s", answer.Status)
			}
			return drop(answer, err)
		})
	})
	b.Run("validate", func(b *testing.B) {
		parallel(b, func() error {
			request, err := http.NewRequest(http.MethodGet, admin.AuthURL+"/auth/tokens?nocatalog", nil)
			if err != nil {
				return err
			}
			request.Header.Set("X-Auth-Token", admin.token)
			request.Header.Set("X-Subject-Token", admin.token)
			answer, err := http.DefaultClient.Do(request)
			if err == nil && answer.StatusCode != http.StatusOK {
				err = fmt.Errorf("status %s", answer.Status)
			}
			return drop(answer, err)
		})
	})
}

func drop(answer *http.Response, err error) error {
	if err != nil {
		return err
	}
	defer func() { _ = answer.Body.Close() }()
	_, err = io.Copy(io.Discard, answer.Body)
	return err
}

// bench is a cloud with an image and the walkthrough's private network.
type bench struct {
	*walk
	image string
}

func prepared(c *testCloud) *bench {
	w := &walk{testCloud: c}
	w.prepare()
	image, err := w.demo.api(cloud.Image, "/v2/images?name=cirros")
	require.NoError(c.t, err)
	first, _ := image["images"].([]any)[0].(map[string]any)
	return &bench{walk: w, image: fmt.Sprint(first["id"])}
}

// post makes something and returns its identifier.
func (w *bench) post(service cloud.Service, path, kind, body string) string {
	w.t.Helper()
	made, err := w.demo.call(http.MethodPost, service, path, `{"`+kind+`": `+body+`}`)
	require.NoError(w.t, err)
	one, _ := made[kind].(map[string]any)
	return fmt.Sprint(one["id"])
}

func (w *bench) delete(service cloud.Service, path string) {
	w.t.Helper()
	_, err := w.demo.call(http.MethodDelete, service, path, "")
	require.NoError(w.t, err)
}

// soon waits, looking often: what is measured takes milliseconds.
func (w *bench) soon(what string, check func() error) {
	w.t.Helper()
	w.until(bootPatience, 2*time.Millisecond, what, check)
}

// BenchmarkServer is a server from the request until it is ACTIVE, answers a ping, and greets by SSH; and the same guest on
// the same network, started with QEMU by hand, until it answers a ping. (It finds no metadata and looks for it before it serves
// SSH, so that there is nothing to compare.) The two take turns, since a busy machine changes its pace by the minute. The medians
// are told, and the fastest of the pings, which say best what a server costs beside its guest's boot.
func BenchmarkServer(b *testing.B) {
	w := prepared(newCloud(b, "auto"))
	w.demo.cli("openstack", "security", "group", "rule", "create", "--protocol", "icmp", "default")
	w.demo.cli("openstack", "security", "group", "rule", "create", "--protocol", "tcp", "default")
	// An address is looked for once a second, which is longer than what is compared.
	w.must("ip", "netns", "exec", w.dhcp, "sh", "-c", "for wait in /proc/sys/net/ipv4/neigh/*/retrans_time_ms; do echo 20 >$wait; done")
	w.serverOnce() // the KVM probe, and the first use of the image
	took := map[string][]time.Duration{}
	for b.Loop() {
		active, ping, ssh := w.serverOnce()
		byHand := w.byHand()
		for what, t := range map[string]time.Duration{"ACTIVE": active, "ping": ping, "SSH": ssh, "ping-by-hand": byHand} {
			took[what] = append(took[what], t)
		}
	}
	for what, all := range took {
		slices.Sort(all)
		b.ReportMetric(float64(all[len(all)/2].Milliseconds()), "ms-"+what)
		if strings.HasPrefix(what, "ping") {
			b.ReportMetric(float64(all[0].Milliseconds()), "ms-fastest-"+what)
		}
	}
}

// serverOnce makes a server and removes it, and says what it took to be ACTIVE, to answer a ping, and to greet by SSH.
func (w *bench) serverOnce() (active, ping, ssh time.Duration) {
	start := time.Now()
	id, address, active := w.booted(fmt.Sprintf(`"imageRef": %q`, w.image))
	ping = time.Since(start)
	w.greeted(address)
	ssh = time.Since(start)
	w.removed(id)
	return active, ping, ssh
}

// booted makes a server from something and waits until it answers a ping.
func (w *bench) booted(from string) (id, address string, active time.Duration) {
	w.t.Helper()
	start := time.Now()
	id = w.post(cloud.Compute, "/v2.1/servers", "server", fmt.Sprintf(`{"name": "b", %s, "flavorRef": "1", "key_name": "demo", "networks": [{"uuid": %q}]}`, from, w.network))
	w.soon("ACTIVE", func() error {
		v, err := w.demo.api(cloud.Compute, "/v2.1/servers/"+id)
		if err != nil {
			return err
		}
		server, _ := v["server"].(map[string]any)
		if server["status"] != "ACTIVE" {
			return fmt.Errorf("status %v: %v", server["status"], server["fault"])
		}
		addresses, _ := server["addresses"].(map[string]any)["private"].([]any)
		first, _ := addresses[0].(map[string]any)
		address = fmt.Sprint(first["addr"])
		return nil
	})
	active = time.Since(start)
	w.pinged(address)
	return id, address, active
}

// removed deletes a server and waits until it is gone.
func (w *bench) removed(id string) {
	w.t.Helper()
	w.delete(cloud.Compute, "/v2.1/servers/"+id)
	w.soon("gone", func() error {
		if _, err := w.demo.api(cloud.Compute, "/v2.1/servers/"+id); err == nil {
			return fmt.Errorf("server %s is still there", id)
		}
		return nil
	})
}

// pinged waits for the first answer. The cloud tells everybody where an address is before it answers, so that each request waits
// for its own: a short time, or it would be the time that is measured.
func (w *bench) pinged(address string) {
	w.t.Helper()
	w.soon("ping", func() error {
		_, err := w.in(w.dhcp, "ping", "-q", "-W", "0.05", "-c", "1", address)
		return err
	})
}

// greeted waits until an SSH server introduces itself.
func (w *bench) greeted(address string) {
	w.t.Helper()
	w.soon("SSH", func() error {
		return netns.Do(w.dhcp, func() error {
			conn, err := net.DialTimeout("tcp", address+":22", time.Second)
			if err != nil {
				return err
			}
			defer func() { _ = conn.Close() }()
			_ = conn.SetReadDeadline(time.Now().Add(5 * time.Second))
			greeting := make([]byte, 4)
			if _, err := conn.Read(greeting); err != nil {
				return err
			}
			if string(greeting) != "SSH-" {
				return fmt.Errorf("greeting %q", greeting)
			}
			return nil
		})
	})
}

// byHand starts the guest as somebody would who has a tap on the network: a port that the cloud believes to be a server's.
func (w *bench) byHand() time.Duration {
	admin := w.admin()
	admin.t = w.t
	made, err := admin.call(http.MethodPost, cloud.Network, "/v2.0/ports", fmt.Sprintf(`{"port": {"network_id": %q, "device_owner": "compute:hand", "device_id": "hand", "binding:host_id": %q, "port_security_enabled": false}}`, w.network, w.Host))
	require.NoError(w.t, err)
	port, _ := made["port"].(map[string]any)
	id := fmt.Sprint(port["id"])
	fixed, _ := port["fixed_ips"].([]any)[0].(map[string]any)
	tap := "tap" + id[:11]
	w.soon("the tap", func() error { _, err := net.InterfaceByName(tap); return err })
	disk := filepath.Join(w.DataDir, "hand.qcow2")
	w.must("qemu-img", "create", "-q", "-f", "qcow2", "-F", "raw", "-b", absolute(w.t, guestDir+"/root.img"), disk, "1G")
	line, err := os.ReadFile(guestDir + "/cmdline")
	require.NoError(w.t, err)

	start := time.Now()
	qemu := exec.Command("qemu-system-x86_64", "-nodefaults", "-machine", "q35", "-accel", "tcg,tb-size=32", "-cpu", "qemu64", "-m", "128", "-display", "none",
		"-kernel", guestDir+"/kernel", "-initrd", guestDir+"/initrd", "-append", strings.TrimSpace(string(line)),
		"-drive", "if=virtio,format=qcow2,file="+disk, "-netdev", "tap,id=n,script=no,downscript=no,ifname="+tap, "-device", "virtio-net-pci,netdev=n,mac="+fmt.Sprint(port["mac_address"]),
		"-serial", "file:"+filepath.Join(w.DataDir, "hand.log"), "-device", "virtio-rng-pci")
	require.NoError(w.t, qemu.Start())
	defer func() { _ = qemu.Process.Kill(); _ = qemu.Wait() }()
	address := fmt.Sprint(fixed["ip_address"])
	w.pinged(address)
	took := time.Since(start)
	_, err = admin.call(http.MethodDelete, cloud.Network, "/v2.0/ports/"+id, "")
	require.NoError(w.t, err)
	return took
}

func absolute(t testing.TB, path string) string {
	t.Helper()
	full, err := filepath.Abs(path)
	require.NoError(t, err)
	return full
}

// BenchmarkRouter is a router from the request until its namespace has both legs: gateway and inner network.
func BenchmarkRouter(b *testing.B) {
	w := prepared(newCloud(b, "auto"))
	public, err := w.demo.api(cloud.Network, "/v2.0/networks?name=public")
	require.NoError(b, err)
	external, _ := public["networks"].([]any)[0].(map[string]any)
	network := w.post(cloud.Network, "/v2.0/networks", "network", `{"name": "r"}`)
	subnet := w.post(cloud.Network, "/v2.0/subnets", "subnet", fmt.Sprintf(`{"network_id": %q, "cidr": "10.9.0.0/24", "ip_version": 4}`, network))
	for b.Loop() {
		id := w.post(cloud.Network, "/v2.0/routers", "router", fmt.Sprintf(`{"external_gateway_info": {"network_id": %q}}`, external["id"]))
		_, err := w.demo.call(http.MethodPut, cloud.Network, "/v2.0/routers/"+id+"/add_router_interface", fmt.Sprintf(`{"subnet_id": %q}`, subnet))
		require.NoError(b, err)
		w.soon("legs", func() error { return legs("qrouter-" + id) })
		b.StopTimer()
		_, err = w.demo.call(http.MethodPut, cloud.Network, "/v2.0/routers/"+id+"/remove_router_interface", fmt.Sprintf(`{"subnet_id": %q}`, subnet))
		require.NoError(b, err)
		w.delete(cloud.Network, "/v2.0/routers/"+id)
		b.StartTimer()
	}
}

// legs says whether the namespace has the address of an inner leg, which is given last.
func legs(namespace string) error {
	return netns.Do(namespace, func() error {
		all, err := net.InterfaceAddrs()
		if err != nil {
			return err
		}
		for _, a := range all {
			if strings.HasPrefix(a.String(), "10.9.0.1/") {
				return nil
			}
		}
		return fmt.Errorf("%s has only %v", namespace, all)
	})
}

// BenchmarkBalancer is a balancer from the first request until its VIP is ACTIVE.
func BenchmarkBalancer(b *testing.B) {
	w := prepared(newCloud(b, "auto"))
	for b.Loop() {
		pool := w.post(cloud.Network, "/v2.0/lb/pools", "pool", fmt.Sprintf(`{"name": "p", "protocol": "HTTP", "lb_method": "ROUND_ROBIN", "subnet_id": %q}`, w.subnet))
		w.post(cloud.Network, "/v2.0/lb/members", "member", fmt.Sprintf(`{"pool_id": %q, "address": "172.24.17.99", "protocol_port": 80}`, pool))
		vip := w.post(cloud.Network, "/v2.0/lb/vips", "vip", fmt.Sprintf(`{"name": "v", "protocol": "HTTP", "protocol_port": 80, "subnet_id": %q, "pool_id": %q}`, w.subnet, pool))
		w.soon("ACTIVE", func() error {
			v, err := w.demo.api(cloud.Network, "/v2.0/lb/vips/"+vip)
			if err != nil {
				return err
			}
			one, _ := v["vip"].(map[string]any)
			if one["status"] != "ACTIVE" {
				return fmt.Errorf("status %v", one["status"])
			}
			return nil
		})
		b.StopTimer()
		w.delete(cloud.Network, "/v2.0/lb/vips/"+vip)
		w.delete(cloud.Network, "/v2.0/lb/pools/"+pool)
		b.StartTimer()
	}
}
