//go:build linux

package haproxy

import (
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/kintoun/kintoun/internal/lab/labtest"
	"github.com/kintoun/kintoun/lbaas/driver"
	"github.com/stretchr/testify/require"
)

const (
	infoText    = "Name: HAProxy\nVersion: 2.6.12\nPid: 4711\nnode: vm\ndescription: 0123abcd\n"
	serversText = "1\n# be_id be_name srv_id srv_name srv_addr srv_op_state srv_admin_state srv_uweight srv_iweight srv_port\n" +
		"3 pool 1 m1 127.0.0.1 2 0 1 1 80\n3 pool 2 m2 ::1 0 5 256 1 8080\n"
	statText = "# pxname,svname,qcur,qmax,scur,smax,slim,stot,bin,bout,status\n" +
		"front,FRONTEND,,,2,3,100,7,11,13,OPEN\npool,m1,0,0,0,0,,0,0,0,UP\npool,m2,0,0,0,0,,0,0,0,DOWN 1/2\n" +
		"pool,gone,0,0,0,0,,0,0,0,MAINT\npool,BACKEND,0,0,0,0,1,0,0,0,UP\n"
)

func TestAnswersAreUnderstood(t *testing.T) {
	who, err := parseInfo(infoText)
	require.NoError(t, err)
	require.Equal(t, info{PID: 4711, Description: "0123abcd"}, who)
	_, err = parseInfo("Unknown command")
	require.Error(t, err)

	servers, err := parseServers(serversText)
	require.NoError(t, err)
	require.Equal(t, map[string]server{
		"m1": {address: netip.MustParseAddrPort("127.0.0.1:80"), weight: 1},
		"m2": {address: netip.MustParseAddrPort("[::1]:8080"), weight: 256, maintenance: true},
	}, servers)
	_, err = parseServers("2\n# srv_name\n")
	require.Error(t, err)

	status, err := parseStatus(statText, map[string]bool{"m1": true, "m2": true})
	require.NoError(t, err)
	require.Equal(t, driver.Status{
		Members: map[string]bool{"m1": true, "m2": false},
		Stats:   driver.Stats{BytesIn: 11, BytesOut: 13, ActiveConnections: 2, TotalConnections: 7},
	}, status)

	for state, up := range map[string]bool{
		"UP": true, "UP 1/3": true, "no check": true, "DRAIN": true, "NOLB": true, "DOWN": false, "DOWN 1/2": false, "MAINT": false, "MAINT (via x/y)": false,
	} {
		require.Equal(t, up, answers(state), state)
	}
}

func FuzzAnswers(f *testing.F) {
	f.Add(infoText)
	f.Add(serversText)
	f.Add(statText)
	f.Fuzz(func(t *testing.T, text string) {
		if who, err := parseInfo(text); err == nil {
			require.Positive(t, who.PID)
		}
		_, _ = parseServers(text)
		if status, err := parseStatus(text, map[string]bool{"m1": true}); err == nil {
			require.LessOrEqual(t, len(status.Members), 1)
		}
	})
}

func TestVersions(t *testing.T) {
	require.NoError(t, checkVersion("HAProxy version 2.6.12-1+deb12u4 2026/10/17 - https://haproxy.org/"))
	require.NoError(t, checkVersion("HAProxy version 3.0.0"))
	require.ErrorIs(t, checkVersion("HAProxy version 2.4.22"), ErrUnavailable)
	require.ErrorIs(t, checkVersion("HA-Proxy version 1.8"), ErrUnavailable)
	require.ErrorIs(t, checkVersion("nginx"), ErrUnavailable)
}

// every calls do with every combination of what a balancer may be.
func every(do func(driver.Balancer)) {
	monitors := []driver.Monitor{
		{ID: "p", Type: "PING"}, {ID: "t", Type: "TCP"},
		{ID: "h", Type: "HTTP", HTTPMethod: "GET", URLPath: `/a"b\c#d$e{f}%20[g]?h=1&i=2`, ExpectedCodes: "200-204"},
		{ID: "s", Type: "HTTPS", HTTPMethod: "OPTIONS", URLPath: "/", ExpectedCodes: "200,  302"},
	}
	for i := range monitors {
		monitors[i].Delay, monitors[i].Timeout, monitors[i].MaxRetries = 3*time.Second, 3*time.Second, 3
	}
	for _, protocol := range []driver.Protocol{driver.HTTP, driver.HTTPS, driver.TCP} {
		for _, method := range []driver.Method{driver.RoundRobin, driver.LeastConnections, driver.SourceIP} {
			for _, persistence := range []*driver.Persistence{nil, {Type: "SOURCE_IP"}, {Type: "HTTP_COOKIE"}, {Type: "APP_COOKIE", CookieName: "JSESSIONID"}} {
				for set := range 1 << len(monitors) {
					if method != driver.RoundRobin && set%5 != 0 {
						continue
					}
					b := driver.Balancer{ID: "b", Protocol: protocol, Method: method, Persistence: persistence, Frontend: driver.Frontend{
						PortID: "p", Address: netip.MustParsePrefix("172.24.17.4/24"), Port: 80, ConnectionLimit: set%2 - 1, Disabled: set == 7,
					}, Members: []driver.Member{
						{ID: "m1", Address: netip.MustParseAddr("172.24.17.2"), Port: 80, Weight: 1},
						{ID: "m2", Address: netip.MustParseAddr("fd00::2"), Port: 80, Weight: 0, Disabled: true},
					}}
					for i, m := range monitors {
						if set&(1<<i) != 0 {
							b.Monitors = append(b.Monitors, m)
						}
					}
					do(b)
				}
			}
		}
	}
}

func TestHAProxyAcceptsWhatIsGenerated(t *testing.T) {
	labtest.Require(t)
	labtest.RequireProgram(t, "haproxy", "haproxy")
	dir, err := os.MkdirTemp("", "lb")
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	d, err := New(nil, &Options{Dir: dir})
	require.NoError(t, err)
	f := d.files("b")
	require.NoError(t, os.MkdirAll(f.root(), 0o755))
	require.NoError(t, os.WriteFile(f.state(), []byte("1\n"), 0o600))
	n := 0
	every(func(b driver.Balancer) {
		if validate(b) != nil {
			return
		}
		n++
		path := filepath.Join(dir, "conf")
		text := d.render(f, b).text
		require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
		out, err := exec.CommandContext(t.Context(), d.program, "-c", "-f", path).CombinedOutput()
		require.NoError(t, err, "%s\n%s", out, text)
		require.NotContains(t, string(out), "[WARNING]", text)
	})
	require.Greater(t, n, 50)
}

func TestTheFingerprintIsOfWhatCannotBeChangedAtRunTime(t *testing.T) {
	d := &Driver{options: (*Options)(nil).withDefaults()}
	base := driver.Balancer{
		ID: "b", Protocol: driver.HTTP, Method: driver.RoundRobin, Frontend: driver.Frontend{Address: netip.MustParsePrefix("10.0.0.1/8"), Port: 80},
		Members:  []driver.Member{{ID: "m", Address: netip.MustParseAddr("10.0.0.2"), Port: 80, Weight: 1}},
		Monitors: []driver.Monitor{{Type: "TCP", Delay: time.Second, Timeout: time.Second, MaxRetries: 3}},
	}
	of := func(change func(*driver.Balancer)) string {
		b := base
		b.Members = append([]driver.Member(nil), base.Members...)
		b.Monitors = append([]driver.Monitor(nil), base.Monitors...)
		change(&b)
		return d.render(d.files("b"), b).fingerprint
	}
	same := of(func(*driver.Balancer) {})
	require.Equal(t, same, of(func(b *driver.Balancer) { b.Members[0].Weight = 9; b.Members[0].Disabled = true }))
	require.Equal(t, same, of(func(b *driver.Balancer) { b.Members = nil }))
	for _, change := range []func(*driver.Balancer){
		func(b *driver.Balancer) { b.Monitors[0].Delay *= 2 },
		func(b *driver.Balancer) { b.Monitors[0].MaxRetries = 1 },
		func(b *driver.Balancer) { b.Monitors[0].Timeout *= 2 },
		func(b *driver.Balancer) { b.Monitors = nil },
		func(b *driver.Balancer) { b.Method = driver.SourceIP },
		func(b *driver.Balancer) { b.Frontend.Port = 81 },
		func(b *driver.Balancer) { b.Frontend.Disabled = true },
		func(b *driver.Balancer) { b.Frontend.ConnectionLimit = 3 },
	} {
		require.NotEqual(t, same, of(change))
	}
}
