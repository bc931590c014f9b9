//go:build linux

package haproxy_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/kintoun/kintoun/internal/lab/labtest"
	"github.com/kintoun/kintoun/internal/netns"
	"github.com/kintoun/kintoun/internal/netns/nl"
	"github.com/kintoun/kintoun/lbaas/driver"
	"github.com/kintoun/kintoun/lbaas/haproxy"
	"github.com/stretchr/testify/require"
	"github.com/vishvananda/netlink"
)

var (
	vip   = netip.MustParsePrefix("172.24.17.4/24")
	vip80 = netip.AddrPortFrom(vip.Addr(), 80)
)

// stage is a balancer over servers named vm1, vm2, …
type stage struct {
	host    *host
	network *network
	driver  *haproxy.Driver
	want    driver.Balancer
	servers []*server
}

func newStage(t testing.TB, servers int) *stage {
	s := &stage{host: newHost(t)}
	s.network, s.driver = s.host.network(t), s.host.open(t)
	s.want = driver.Balancer{ID: uuid.NewString(), Frontend: s.network.Frontend(t, vip), Method: driver.RoundRobin, Protocol: driver.HTTP}
	for i := range servers {
		address := netip.AddrFrom4([4]byte{172, 24, 17, byte(20 + i)})
		s.servers = append(s.servers, s.network.Serve(t, netip.AddrPortFrom(address, 80), fmt.Sprintf("vm%d", i+1)).(*server))
		s.want.Members = append(s.want.Members, driver.Member{ID: uuid.NewString(), Address: address, Port: 80, Weight: 1})
	}
	t.Cleanup(func() { require.NoError(t, s.driver.Remove(context.Background(), s.want.ID)) })
	return s
}

func (s *stage) apply(t testing.TB) {
	t.Helper()
	require.NoError(t, s.driver.Apply(context.Background(), s.want))
}

func (s *stage) pid(t testing.TB) int {
	t.Helper()
	status, err := s.driver.Status(context.Background(), s.want.ID)
	require.NoError(t, err)
	require.NotZero(t, status.PID)
	return status.PID
}

func (s *stage) dir() string { return filepath.Join(s.host.dir, "lbaas", s.want.ID) }

func (s *stage) awaitMember(t testing.TB, i int, up bool) {
	t.Helper()
	require.Eventually(t, func() bool {
		status, err := s.driver.Status(context.Background(), s.want.ID)
		now, known := status.Members[s.want.Members[i].ID]
		return err == nil && known && now == up
	}, 20*time.Second, 10*time.Millisecond)
}

// Row 11 of the walkthrough.
func TestWhatOperatorsSee(t *testing.T) {
	s := newStage(t, 1)
	s.apply(t)
	pid := s.pid(t)
	line, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	require.NoError(t, err)
	words := strings.Split(strings.TrimSuffix(string(line), "\x00"), "\x00")
	require.Equal(t, "haproxy", filepath.Base(words[0]))
	require.Equal(t, []string{"-f", s.dir() + "/conf", "-p", s.dir() + "/pid"}, words[1:])
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	require.NoError(t, err)
	require.Contains(t, string(status), "Uid:\t65534\t65534\t65534\t65534")
	require.Contains(t, string(status), "Gid:\t65534\t65534\t65534\t65534")
	require.Contains(t, string(status), "CapEff:\t0000000000000000")
	file, err := os.ReadFile(s.dir() + "/pid")
	require.NoError(t, err)
	require.Equal(t, fmt.Sprint(pid), strings.Fields(string(file))[0])

	nl, err := nl.Handle("qlbaas-" + s.want.ID)
	require.NoError(t, err)
	defer nl.Close()
	link, err := nl.LinkByName("tap" + s.want.Frontend.PortID[:11])
	require.NoError(t, err)
	require.Equal(t, "fa:16:3e:b2:2d:c8", link.Attrs().HardwareAddr.String())
	require.Equal(t, 1450, link.Attrs().MTU)
	v4, err := nl.AddrList(link, netlink.FAMILY_V4)
	require.NoError(t, err)
	require.Len(t, v4, 1)
	require.Equal(t, "172.24.17.4/24", v4[0].IPNet.String())
	require.Equal(t, "172.24.17.255", v4[0].Broadcast.String())
	v6, err := nl.AddrList(link, netlink.FAMILY_V6)
	require.NoError(t, err)
	require.Len(t, v6, 1)
	require.Equal(t, "fe80::f816:3eff:feb2:2dc8/64", v6[0].IPNet.String())
	routes, err := nl.RouteListFiltered(netlink.FAMILY_V4, &netlink.Route{Gw: net.ParseIP("172.24.17.1")}, netlink.RT_FILTER_GW)
	require.NoError(t, err)
	require.Len(t, routes, 1)
}

func TestAReloadHandsOverTheMembersHealthAndEndsTheOldProcess(t *testing.T) {
	s := newStage(t, 2)
	s.want.Monitors = []driver.Monitor{{ID: "m", Type: "TCP", Delay: 100 * time.Millisecond, Timeout: time.Second, MaxRetries: 1}}
	s.apply(t)
	s.servers[0].Stop(t)
	s.awaitMember(t, 0, false)
	before := s.pid(t)
	s.want.Frontend.ConnectionLimit = 100
	s.apply(t)
	status, err := s.driver.Status(t.Context(), s.want.ID)
	require.NoError(t, err)
	require.NotEqual(t, before, status.PID)
	require.False(t, status.Members[s.want.Members[0].ID], "the new process has to know at once")
	require.Eventually(t, func() bool { return syscall.Kill(before, 0) != nil || zombie(before) }, 20*time.Second, 10*time.Millisecond)
	after := s.pid(t)
	s.apply(t)
	require.Equal(t, after, s.pid(t))
	file, err := os.ReadFile(s.dir() + "/pid")
	require.NoError(t, err)
	require.Equal(t, fmt.Sprint(after), strings.Fields(string(file))[0])
}

func zombie(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err != nil || strings.Contains(string(stat), ") Z ")
}

// A request that takes long outlives both a member's removal and a reload.
func TestWhatIsUnderWayIsFinished(t *testing.T) {
	for name, change := range map[string]func(*driver.Balancer){
		"member removed": func(b *driver.Balancer) { b.Members = nil },
		"reload":         func(b *driver.Balancer) { b.Method = driver.LeastConnections },
	} {
		t.Run(name, func(t *testing.T) {
			s := newStage(t, 1)
			arrived, goOn := make(chan struct{}), make(chan struct{})
			s.servers[0].Stop(t)
			s.servers[0].handler = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				close(arrived)
				<-goOn
				_, _ = io.WriteString(w, "late")
			})
			s.servers[0].Start(t)
			s.apply(t)
			answer := make(chan string, 1)
			go func() {
				body, err := s.network.Get(context.Background(), vip80)
				answer <- fmt.Sprint(body, err)
			}()
			<-arrived
			change(&s.want)
			s.apply(t)
			close(goOn)
			require.Equal(t, "late<nil>", <-answer)
			s.apply(t)
		})
	}
}

func TestCookiesKeepAClientWithItsMember(t *testing.T) {
	for _, persistence := range []driver.Persistence{{Type: "HTTP_COOKIE"}, {Type: "APP_COOKIE", CookieName: "JSESSIONID"}} {
		t.Run(persistence.Type, func(t *testing.T) {
			s := newStage(t, 2)
			for i, server := range s.servers {
				server.Stop(t)
				server.handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					if _, err := r.Cookie("JSESSIONID"); err != nil {
						http.SetCookie(w, &http.Cookie{Name: "JSESSIONID", Value: uuid.NewString()})
					}
					_, _ = fmt.Fprintf(w, "vm%d", i+1)
				})
				server.Start(t)
			}
			s.want.Persistence = &persistence
			s.apply(t)
			for range 4 {
				body, cookies := s.ask(t, nil)
				require.NotEmpty(t, cookies)
				for range 4 {
					again, _ := s.ask(t, cookies)
					require.Equal(t, body, again)
				}
			}
			// A new member comes in without losing anybody.
			body, cookies := s.ask(t, nil)
			s.want.Members = append(s.want.Members, driver.Member{ID: uuid.NewString(), Address: netip.MustParseAddr("172.24.17.22"), Port: 80, Weight: 1})
			s.network.Serve(t, netip.MustParseAddrPort("172.24.17.22:80"), "vm3")
			s.apply(t)
			if persistence.Type == "HTTP_COOKIE" {
				again, _ := s.ask(t, cookies)
				require.Equal(t, body, again)
			}
		})
	}
}

func (s *stage) ask(t testing.TB, cookies []*http.Cookie) (string, []*http.Cookie) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+vip80.String(), nil)
	require.NoError(t, err)
	for _, c := range cookies {
		request.AddCookie(c)
	}
	client := http.Client{Transport: &http.Transport{DialContext: s.network.dial, DisableKeepAlives: true}, Timeout: 10 * time.Second}
	response, err := client.Do(request)
	require.NoError(t, err)
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	return string(body), response.Cookies()
}

// tlsServer serves HTTPS with a certificate that nobody has signed.
func tlsServer(t testing.TB, n *network, at netip.AddrPort, status int) {
	n.address(t, netip.PrefixFrom(at.Addr(), 24))
	var listener net.Listener
	require.NoError(t, netns.Do(n.namespace, func() (err error) {
		listener, err = net.Listen("tcp", at.String())
		return err
	}))
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) }))
	require.NoError(t, s.Listener.Close())
	s.Listener = listener
	s.StartTLS()
	t.Cleanup(s.Close)
}

func TestHTTPSIsCheckedWithoutTrustAndPassedThrough(t *testing.T) {
	s := newStage(t, 0)
	s.want.Protocol = driver.HTTPS
	s.want.Frontend.Port = 443
	s.want.Monitors = []driver.Monitor{{
		ID: "m", Type: "HTTPS", Delay: 100 * time.Millisecond, Timeout: time.Second, MaxRetries: 1,
		HTTPMethod: "HEAD", URLPath: "/alive?a=1", ExpectedCodes: "200, 204",
	}}
	for i, code := range []int{http.StatusNoContent, http.StatusTeapot} {
		at := netip.AddrPortFrom(netip.AddrFrom4([4]byte{172, 24, 17, byte(30 + i)}), 443)
		tlsServer(t, s.network, at, code)
		s.want.Members = append(s.want.Members, driver.Member{ID: uuid.NewString(), Address: at.Addr(), Port: 443, Weight: 1})
	}
	s.apply(t)
	s.awaitMember(t, 1, false)
	s.awaitMember(t, 0, true)
	conn, err := s.network.dial(t.Context(), "tcp", netip.AddrPortFrom(vip.Addr(), 443).String())
	require.NoError(t, err)
	defer func() { _ = conn.Close() }()
	client := tls.Client(conn, &tls.Config{InsecureSkipVerify: true}) //nolint:gosec // a test's certificate
	require.NoError(t, client.HandshakeContext(t.Context()))

	// A member that comes later is checked in the same way.
	at := netip.MustParseAddrPort("172.24.17.33:443")
	tlsServer(t, s.network, at, http.StatusTeapot)
	before := s.pid(t)
	s.want.Members = append(s.want.Members, driver.Member{ID: uuid.NewString(), Address: at.Addr(), Port: 443, Weight: 1})
	s.apply(t)
	s.awaitMember(t, 2, false)
	require.Equal(t, before, s.pid(t))
}

func TestSeveralMonitorsMustAllBePassed(t *testing.T) {
	s := newStage(t, 1)
	s.servers[0].Stop(t)
	s.servers[0].handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/broken" {
			w.WriteHeader(http.StatusInternalServerError)
		}
	})
	s.servers[0].Start(t)
	check := func(path string) driver.Monitor {
		return driver.Monitor{ID: path, Type: "HTTP", Delay: 100 * time.Millisecond, Timeout: time.Second, MaxRetries: 1, HTTPMethod: "GET", URLPath: path, ExpectedCodes: "200-299"}
	}
	s.want.Monitors = []driver.Monitor{check("/fine"), check("/broken")}
	s.apply(t)
	s.awaitMember(t, 0, false)
	s.want.Monitors = []driver.Monitor{check("/fine"), {ID: "p", Type: "PING", Delay: 100 * time.Millisecond, Timeout: time.Second, MaxRetries: 1}, check("/other")}
	s.apply(t)
	s.awaitMember(t, 0, true)
}

func TestIPv6(t *testing.T) {
	s := newStage(t, 0)
	s.want.Frontend = s.network.Frontend(t, netip.MustParsePrefix("fd00:17::4/64"))
	s.want.Frontend.Gateway = netip.MustParseAddr("fd00:17::1")
	s.network.address(t, netip.MustParsePrefix("fd00:17::1/64"))
	member := netip.MustParseAddrPort("[fd00:17::20]:80")
	s.network.Serve(t, member, "six")
	s.want.Members = []driver.Member{{ID: "six", Address: member.Addr(), Port: 80, Weight: 1}}
	s.want.Persistence = &driver.Persistence{Type: "SOURCE_IP"}
	s.apply(t)
	s.apply(t)
	body, err := s.network.Get(t.Context(), netip.MustParseAddrPort("[fd00:17::4]:80"))
	require.NoError(t, err)
	require.Equal(t, "six", body)
	// A member without a configuration file's help.
	s.want.Members = append(s.want.Members, driver.Member{ID: "second", Address: netip.MustParseAddr("fd00:17::21"), Port: 80, Weight: 1})
	s.apply(t)
}

func TestTCP(t *testing.T) {
	s := newStage(t, 0)
	var listener net.Listener
	require.NoError(t, netns.Do(s.network.namespace, func() (err error) {
		listener, err = net.Listen("tcp", "172.24.17.1:7")
		return err
	}))
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			_, _ = io.WriteString(conn, "hello\n")
			_ = conn.Close()
		}
	}()
	s.want.Protocol, s.want.Frontend.Port = driver.TCP, 7777
	s.want.Members = []driver.Member{{ID: "echo", Address: netip.MustParseAddr("172.24.17.1"), Port: 7, Weight: 1}}
	s.apply(t)
	conn, err := s.network.dial(t.Context(), "tcp", "172.24.17.4:7777")
	require.NoError(t, err)
	defer func() { _ = conn.Close() }()
	line, err := bufio.NewReader(conn).ReadString('\n')
	require.NoError(t, err)
	require.Equal(t, "hello\n", line)
}

func TestWhatCouldBecomeADirectiveIsRefusedBeforeAnythingIsMade(t *testing.T) {
	s := newStage(t, 1)
	good := driver.Monitor{ID: "m", Type: "HTTP", Delay: time.Second, Timeout: time.Second, MaxRetries: 1, HTTPMethod: "GET", URLPath: "/", ExpectedCodes: "200"}
	for name, spoil := range map[string]func(*driver.Balancer){
		"identifier":    func(b *driver.Balancer) { b.ID = "../../etc" },
		"port":          func(b *driver.Balancer) { b.Frontend.PortID = "x/../y" },
		"no port":       func(b *driver.Balancer) { b.Frontend.Port = 0 },
		"MAC":           func(b *driver.Balancer) { b.Frontend.MAC = "fa:16" },
		"address":       func(b *driver.Balancer) { b.Frontend.Address = netip.Prefix{} },
		"gateway":       func(b *driver.Balancer) { b.Frontend.Gateway = netip.MustParseAddr("fd00::1") },
		"method":        func(b *driver.Balancer) { b.Method = "roundrobin\n\tserver x 1.1.1.1" },
		"protocol":      func(b *driver.Balancer) { b.Protocol = "http\n" },
		"member":        func(b *driver.Balancer) { b.Members[0].ID = "a b" },
		"member twice":  func(b *driver.Balancer) { b.Members = append(b.Members, b.Members[0]) },
		"member's zone": func(b *driver.Balancer) { b.Members[0].Address = netip.MustParseAddr("fe80::1%eth0 check") },
		"weight":        func(b *driver.Balancer) { b.Members[0].Weight = 257 },
		"monitor":       func(b *driver.Balancer) { b.Monitors[0].Type = "LUA" },
		"tries":         func(b *driver.Balancer) { b.Monitors[0].MaxRetries = 0 },
		"path":          func(b *driver.Balancer) { b.Monitors[0].URLPath = "/'\n\tbind :22" },
		"quote":         func(b *driver.Balancer) { b.Monitors[0].URLPath = "/'" },
		"blank":         func(b *driver.Balancer) { b.Monitors[0].URLPath = "/ HTTP/1.1" },
		"HTTP method":   func(b *driver.Balancer) { b.Monitors[0].HTTPMethod = "GET\r\n" },
		"codes":         func(b *driver.Balancer) { b.Monitors[0].ExpectedCodes = "200\n" },
		"persistence":   func(b *driver.Balancer) { b.Persistence = &driver.Persistence{Type: "MAGIC"} },
		"cookie":        func(b *driver.Balancer) { b.Persistence = &driver.Persistence{Type: "APP_COOKIE", CookieName: "a) b"} },
		"cookie in TCP": func(b *driver.Balancer) {
			b.Protocol, b.Persistence = driver.TCP, &driver.Persistence{Type: "HTTP_COOKIE"}
		},
	} {
		bad := s.want
		bad.Members = append([]driver.Member(nil), s.want.Members...)
		bad.Monitors = []driver.Monitor{good}
		spoil(&bad)
		require.ErrorIs(t, s.driver.Apply(t.Context(), bad), haproxy.ErrInvalid, name)
	}
	ids, err := s.driver.List(t.Context())
	require.NoError(t, err)
	require.Empty(t, ids)
	require.ErrorIs(t, s.driver.Remove(t.Context(), ".."), haproxy.ErrInvalid)
	_, err = s.driver.Status(t.Context(), "a/b")
	require.ErrorIs(t, err, haproxy.ErrInvalid)
}

func TestAProgramThatDoesNotStartIsReportedWithItsWords(t *testing.T) {
	s := newStage(t, 1)
	program := filepath.Join(s.host.dir, "broken")
	require.NoError(t, os.WriteFile(program, []byte("#!/bin/sh\necho '[NOTICE] hello'\necho '[ALERT] cannot bind'\nexit 1\n"), 0o755)) //nolint:gosec // a program
	broken, err := haproxy.New(s.host, &haproxy.Options{Dir: s.host.dir, Program: program})
	require.NoError(t, err)
	err = broken.Apply(t.Context(), s.want)
	require.ErrorIs(t, err, haproxy.ErrUnavailable)
	require.ErrorContains(t, err, "cannot bind")

	// A reload that fails leaves what ran running, and is tried again.
	s.apply(t)
	before := s.pid(t)
	s.want.Method = driver.LeastConnections
	require.ErrorIs(t, broken.Apply(t.Context(), s.want), haproxy.ErrUnavailable)
	body, err := s.network.Get(t.Context(), vip80)
	require.NoError(t, err)
	require.Equal(t, "vm1", body)
	require.Equal(t, before, s.pid(t))
	s.apply(t)
	require.NotEqual(t, before, s.pid(t))
	require.Eventually(t, func() bool { return syscall.Kill(before, 0) != nil || zombie(before) }, 20*time.Second, 10*time.Millisecond)
}

func TestOutputIsBounded(t *testing.T) {
	s := newStage(t, 1)
	s.apply(t)
	require.NoError(t, os.Truncate(s.dir()+"/output", 2<<20))
	s.apply(t)
	stat, err := os.Stat(s.dir() + "/output")
	require.NoError(t, err)
	require.Zero(t, stat.Size())
}

func TestNew(t *testing.T) {
	labtest.RequireProgram(t, "haproxy", "haproxy")
	_, err := haproxy.New(nil, &haproxy.Options{Program: "no-such-haproxy"})
	require.ErrorIs(t, err, haproxy.ErrUnavailable)
	require.ErrorContains(t, err, "apt-get install haproxy")
	_, err = haproxy.New(nil, &haproxy.Options{Dir: "/" + strings.Repeat("x", 60)})
	require.ErrorIs(t, err, haproxy.ErrInvalid)
}
