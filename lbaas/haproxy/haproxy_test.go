//go:build linux

package haproxy_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/kintoun/kintoun/internal/lab"
	"github.com/kintoun/kintoun/internal/lab/labtest"
	"github.com/kintoun/kintoun/internal/netns"
	"github.com/kintoun/kintoun/internal/netns/nl"
	"github.com/kintoun/kintoun/lbaas/driver"
	"github.com/kintoun/kintoun/lbaas/drivertest"
	"github.com/kintoun/kintoun/lbaas/haproxy"
	"github.com/stretchr/testify/require"
	"github.com/vishvananda/netlink"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	os.Exit(lab.Main(func() int {
		code := m.Run()
		if err := goleak.Find(); err != nil && code == 0 {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		return code
	}))
}

func TestConformance(t *testing.T) {
	drivertest.TestBalancers(t, func(t testing.TB) drivertest.Host { return newHost(t) })
}

// host is a state directory and a plugger that joins balancers to bridges, each in a namespace of its own.
type host struct {
	dir     string
	options haproxy.Options

	mu    sync.Mutex
	ports map[string]*network
	count int
}

func newHost(t testing.TB) *host {
	labtest.Require(t)
	labtest.RequireProgram(t, "haproxy", "haproxy")
	// Shorter than t.TempDir, for the sockets' sake.
	dir, err := os.MkdirTemp("", "lb")
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return &host{dir: dir, ports: map[string]*network{}}
}

func (h *host) Open(t testing.TB) driver.Balancers { return h.open(t) }

func (h *host) open(t testing.TB) *haproxy.Driver {
	options := h.options
	options.Dir = h.dir
	d, err := haproxy.New(h, &options)
	require.NoError(t, err)
	return d
}

func (h *host) Kill(t testing.TB, id string) {
	status, err := h.open(t).Status(t.Context(), id)
	require.NoError(t, err)
	require.NoError(t, syscall.Kill(status.PID, syscall.SIGKILL))
	require.Eventually(t, func() bool {
		status, err := h.open(t).Status(context.Background(), id)
		return err == nil && status.PID == 0
	}, 10*time.Second, 5*time.Millisecond)
}

func (h *host) HalfMake(t testing.TB, id string) {
	dir := filepath.Join(h.dir, "lbaas", id)
	require.NoError(t, os.MkdirAll(dir, 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "conf"), []byte("global\n\tchroot"), 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "pid"), []byte("1"), 0o600))
	require.NoError(t, netns.Create(haproxy.Namespace(id)))
}

func (h *host) Network(t testing.TB) drivertest.Network { return h.network(t) }

func (h *host) network(t testing.TB) *network {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.count++
	n := &network{host: h, namespace: fmt.Sprintf("net-%d-%s", h.count, filepath.Base(h.dir))}
	require.NoError(t, netns.Create(n.namespace))
	t.Cleanup(func() { _ = netns.Delete(n.namespace) })
	nl := n.netlink(t)
	defer nl.Close()
	require.NoError(t, nl.LinkAdd(&netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: "br"}}))
	bridge, err := nl.LinkByName("br")
	require.NoError(t, err)
	require.NoError(t, nl.LinkSetUp(bridge))
	n.address(t, netip.MustParsePrefix("172.24.17.1/24"))
	return n
}

// Plug makes a veth whose other end is on the bridge of the port's network.
func (h *host) Plug(_ context.Context, portID, namespace, device string) error {
	h.mu.Lock()
	n := h.ports[portID]
	h.mu.Unlock()
	if n == nil {
		return fmt.Errorf("no port %s", portID)
	}
	inside, err := nl.Handle(namespace)
	if err != nil {
		return err
	}
	defer inside.Close()
	if _, err := inside.LinkByName(device); err == nil {
		return nil
	}
	outside, err := nl.Handle(n.namespace)
	if err != nil {
		return err
	}
	defer outside.Close()
	target, err := os.Open(netns.Path(namespace))
	if err != nil {
		return err
	}
	defer func() { _ = target.Close() }()
	bridge, err := outside.LinkByName("br")
	if err != nil {
		return err
	}
	return outside.LinkAdd(&netlink.Veth{
		LinkAttrs: netlink.LinkAttrs{Name: device, MasterIndex: bridge.Attrs().Index, Flags: net.FlagUp},
		PeerName:  device, PeerNamespace: netlink.NsFd(int(target.Fd())),
	})
}

func (h *host) Unplug(_ context.Context, portID string) error {
	h.mu.Lock()
	n := h.ports[portID]
	h.mu.Unlock()
	nl, err := nl.Handle(n.namespace)
	if err != nil {
		return err
	}
	defer nl.Close()
	link, err := nl.LinkByName(device(portID))
	if err != nil {
		return nil
	}
	return nl.LinkDel(link)
}

func device(portID string) string { return "tap" + portID[:11] }

type network struct {
	host      *host
	namespace string
}

func (n *network) netlink(t testing.TB) *netlink.Handle {
	nl, err := nl.Handle(n.namespace)
	require.NoError(t, err)
	return nl
}

func (n *network) address(t testing.TB, p netip.Prefix) {
	nl := n.netlink(t)
	defer nl.Close()
	bridge, err := nl.LinkByName("br")
	require.NoError(t, err)
	addr := &netlink.Addr{IPNet: &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}}
	if p.Addr().Is6() {
		addr.Flags = syscall.IFA_F_NODAD
	}
	require.NoError(t, nl.AddrReplace(bridge, addr))
}

func (n *network) Frontend(_ testing.TB, address netip.Prefix) driver.Frontend {
	id := uuid.NewString()
	n.host.mu.Lock()
	defer n.host.mu.Unlock()
	n.host.ports[id] = n
	return driver.Frontend{
		PortID: id, MAC: "fa:16:3e:b2:2d:c8", MTU: 1450, Address: address, Gateway: netip.MustParseAddr("172.24.17.1"), Port: 80, ConnectionLimit: -1,
	}
}

func (n *network) Get(ctx context.Context, at netip.AddrPort) (string, error) {
	client := http.Client{Transport: &http.Transport{DialContext: n.dial, DisableKeepAlives: true}, Timeout: 10 * time.Second}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+at.String(), nil)
	if err != nil {
		return "", err
	}
	response, err := client.Do(request)
	if err != nil {
		return "", err
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", response.Status, body)
	}
	return string(body), err
}

func (n *network) dial(ctx context.Context, kind, address string) (conn net.Conn, err error) {
	err = netns.Do(n.namespace, func() (err error) {
		var dialer net.Dialer
		conn, err = dialer.DialContext(ctx, kind, address)
		return err
	})
	return conn, err
}

func (n *network) Serve(t testing.TB, at netip.AddrPort, name string) drivertest.Server {
	bits := 24
	if at.Addr().Is6() {
		bits = 64
	}
	n.address(t, netip.PrefixFrom(at.Addr(), bits))
	s := &server{network: n, at: at, handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, name) })}
	s.Start(t)
	t.Cleanup(func() { s.Stop(t) })
	return s
}

type server struct {
	network *network
	at      netip.AddrPort
	handler http.Handler
	server  *http.Server
	done    sync.WaitGroup
}

func (s *server) Start(t testing.TB) {
	var listener net.Listener
	require.NoError(t, netns.Do(s.network.namespace, func() (err error) {
		listener, err = net.Listen("tcp", s.at.String())
		return err
	}))
	s.server = &http.Server{Handler: s.handler, ReadHeaderTimeout: time.Minute}
	s.done.Go(func() { _ = s.server.Serve(listener) })
}

func (s *server) Stop(testing.TB) {
	_ = s.server.Close()
	s.done.Wait()
}
