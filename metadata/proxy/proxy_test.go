//go:build linux

package proxy_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/kintoun/kintoun/internal/lab"
	"github.com/kintoun/kintoun/internal/lab/labtest"
	"github.com/kintoun/kintoun/internal/netns"
	"github.com/kintoun/kintoun/metadata"
	"github.com/kintoun/kintoun/metadata/memmetadata"
	"github.com/kintoun/kintoun/metadata/proxy"
	"github.com/stretchr/testify/require"
	"github.com/vishvananda/netlink"
	vnetns "github.com/vishvananda/netns"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { os.Exit(lab.Main(m.Run)) }

var secret = []byte("0123456789abcdef0123456789abcdef")

// known is a service that knows a server by name at each place.
func known(t testing.TB, places map[metadata.Caller]string) *metadata.Service {
	source := memmetadata.New(nil)
	for at, name := range places {
		source.Put(at.NetworkID, at.Address, &metadata.Instance{Name: name, Hostname: name})
	}
	s, err := metadata.New(source, secret, nil)
	require.NoError(t, err)
	return s
}

func caller(network, address string) metadata.Caller {
	return metadata.Caller{NetworkID: network, Address: netip.MustParseAddr(address)}
}

func newProxy(t testing.TB, upstream http.RoundTripper, options *proxy.Options) *proxy.Proxy {
	p, err := proxy.New(upstream, secret, options)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, p.Close()) })
	return p
}

// free is a loopback address that nobody listens on.
func free(t testing.TB) netip.AddrPort {
	at := freePort()
	require.True(t, at.IsValid())
	return at
}

// fetch asks from a namespace and returns status and body.
func fetch(t testing.TB, namespace, method, url string, body io.Reader, headers map[string]string) (int, string) {
	t.Helper()
	transport := &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, network, address string) (conn net.Conn, err error) {
		err = netns.Do(namespace, func() error {
			conn, err = (&net.Dialer{}).DialContext(ctx, network, address)
			return err
		})
		return conn, err
	}}
	defer transport.CloseIdleConnections()
	r, err := http.NewRequestWithContext(t.Context(), method, url, body)
	require.NoError(t, err)
	for name, value := range headers {
		r.Header.Set(name, value)
	}
	response, err := (&http.Client{Transport: transport, Timeout: 20 * time.Second}).Do(r)
	require.NoError(t, err)
	defer func() { require.NoError(t, response.Body.Close()) }()
	text, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	return response.StatusCode, string(text)
}

func TestPassesOnWhoAsks(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	service := known(t, map[metadata.Caller]string{caller("net-one", "127.0.0.1"): "vm1"})
	p, err := proxy.New(proxy.InProcess(service), secret, nil)
	require.NoError(t, err)
	defer func() { require.NoError(t, p.Close()) }()
	at := free(t)
	require.NoError(t, p.Apply(t.Context(), proxy.Want{ID: "one", Listen: at, NetworkID: "net-one"}))
	url := "http://" + at.String() + "/latest/meta-data/hostname"
	status, body := fetch(t, "", http.MethodGet, url, nil, nil)
	require.Equal(t, http.StatusOK, status)
	require.Equal(t, "vm1", body)

	// The same listener is told that its callers are of another network.
	require.NoError(t, p.Apply(t.Context(), proxy.Want{ID: "one", Listen: at, NetworkID: "net-two"}))
	status, _ = fetch(t, "", http.MethodGet, url, nil, nil)
	require.Equal(t, http.StatusNotFound, status)

	require.NoError(t, p.Apply(t.Context(), proxy.Want{ID: "one", Listen: at, Legs: map[netip.Addr]string{at.Addr(): "net-one"}}))
	status, body = fetch(t, "", http.MethodGet, url, nil, nil)
	require.Equal(t, http.StatusOK, status)
	require.Equal(t, "vm1", body)

	require.NoError(t, p.Apply(t.Context(), proxy.Want{ID: "one", Listen: at}))
	status, _ = fetch(t, "", http.MethodGet, url, nil, nil)
	require.Equal(t, http.StatusNotFound, status)
}

func TestForgedHeadersDoNotPass(t *testing.T) {
	var arrived http.Header
	record := http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { arrived = r.Header.Clone() })
	p := newProxy(t, proxy.InProcess(record), nil)
	at := free(t)
	require.NoError(t, p.Apply(t.Context(), proxy.Want{ID: "one", Listen: at, NetworkID: "net-one"}))
	victim := make(http.Header)
	metadata.Sign(victim, secret, caller("net-two", "172.24.17.9"))
	forged := map[string]string{
		"X-Forwarded-For": "172.24.17.9", "X-Instance-ID": "victim", "X-Tenant-ID": "victim", "X-Instance-ID-Signature": "x",
		"X-Real-Ip": "172.24.17.9", "Cookie": "a=b", "Authorization": "Bearer x", "Accept": "text/plain",
		"X-aws-ec2-metadata-token": "kept",
	}
	for name := range victim {
		forged[name] = victim.Get(name)
	}
	status, _ := fetch(t, "", http.MethodGet, "http://"+at.String()+"/", nil, forged)
	require.Equal(t, http.StatusOK, status)
	want := make(http.Header)
	metadata.Sign(want, secret, caller("net-one", "127.0.0.1"))
	want.Set("Accept", "text/plain")
	want.Set("X-aws-ec2-metadata-token", "kept")
	arrived.Del("User-Agent")
	require.Equal(t, want, arrived)
}

func TestPassesByURL(t *testing.T) {
	service := known(t, map[metadata.Caller]string{caller("net-one", "127.0.0.1"): "vm1"})
	server := httptest.NewServer(http.StripPrefix("/metadata", service))
	defer server.Close()
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	p := newProxy(t, transport, &proxy.Options{URL: server.URL + "/metadata"})
	at := free(t)
	require.NoError(t, p.Apply(t.Context(), proxy.Want{ID: "one", Listen: at, NetworkID: "net-one"}))
	status, body := fetch(t, "", http.MethodGet, "http://"+at.String()+"/latest/meta-data/hostname", nil, nil)
	require.Equal(t, http.StatusOK, status)
	require.Equal(t, "vm1", body)
	server.Close()
	status, _ = fetch(t, "", http.MethodGet, "http://"+at.String()+"/", nil, nil)
	require.Equal(t, http.StatusServiceUnavailable, status)
}

func TestTokensAndPasswordsPass(t *testing.T) {
	service := known(t, map[metadata.Caller]string{caller("net-one", "127.0.0.1"): "vm1"})
	p := newProxy(t, proxy.InProcess(service), nil)
	at := free(t)
	require.NoError(t, p.Apply(t.Context(), proxy.Want{ID: "one", Listen: at, NetworkID: "net-one"}))
	base := "http://" + at.String()
	status, token := fetch(t, "", http.MethodPut, base+"/latest/api/token", nil, map[string]string{"X-aws-ec2-metadata-token-ttl-seconds": "21600"})
	require.Equal(t, http.StatusOK, status)
	status, _ = fetch(t, "", http.MethodGet, base+"/latest/meta-data/", nil, map[string]string{"X-aws-ec2-metadata-token": token})
	require.Equal(t, http.StatusOK, status)
	status, _ = fetch(t, "", http.MethodGet, base+"/latest/meta-data/", nil, map[string]string{"X-aws-ec2-metadata-token": "x" + token})
	require.Equal(t, http.StatusUnauthorized, status)
	status, _ = fetch(t, "", http.MethodPost, base+"/openstack/latest/password", strings.NewReader("encrypted"), nil)
	require.Equal(t, http.StatusOK, status)
	status, body := fetch(t, "", http.MethodGet, base+"/openstack/latest/password", nil, nil)
	require.Equal(t, http.StatusOK, status)
	require.Equal(t, "encrypted", body)
}

func TestLimits(t *testing.T) {
	service := known(t, map[metadata.Caller]string{caller("net-one", "127.0.0.1"): "vm1"})
	p := newProxy(t, proxy.InProcess(service), &proxy.Options{Rate: 1, Burst: 3})
	at := free(t)
	require.NoError(t, p.Apply(t.Context(), proxy.Want{ID: "one", Listen: at, NetworkID: "net-one"}))
	base := "http://" + at.String()
	status, _ := fetch(t, "", http.MethodPost, base+"/openstack/latest/password", strings.NewReader(strings.Repeat("x", 65<<10)), nil)
	require.Equal(t, http.StatusRequestEntityTooLarge, status)
	refused := 0
	for range 10 {
		if status, _ := fetch(t, "", http.MethodGet, base+"/", nil, nil); status == http.StatusTooManyRequests {
			refused++
		}
	}
	require.Positive(t, refused)

	// One caller holds so many connections and no more; those over it are closed at once.
	var open []net.Conn
	defer func() {
		for _, c := range open {
			_ = c.Close()
		}
	}()
	for range 16 {
		c, err := net.Dial("tcp4", at.String())
		require.NoError(t, err)
		open = append(open, c)
	}
	over, err := net.Dial("tcp4", at.String())
	require.NoError(t, err)
	open = append(open, over)
	require.NoError(t, over.SetReadDeadline(time.Now().Add(20*time.Second)))
	_, err = over.Read(make([]byte, 1))
	require.ErrorIs(t, err, io.EOF)
}

func TestASlowServiceIsGivenUp(t *testing.T) {
	hang := http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	server := httptest.NewServer(hang)
	defer server.Close()
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	p := newProxy(t, transport, &proxy.Options{URL: server.URL, Timeout: 50 * time.Millisecond})
	at := free(t)
	require.NoError(t, p.Apply(t.Context(), proxy.Want{ID: "one", Listen: at, NetworkID: "net-one"}))
	status, _ := fetch(t, "", http.MethodGet, "http://"+at.String()+"/", nil, nil)
	require.Equal(t, http.StatusServiceUnavailable, status)
}

func TestVerbs(t *testing.T) {
	p := newProxy(t, proxy.InProcess(known(t, nil)), nil)
	for name, want := range map[string]proxy.Want{
		"no identifier": {Listen: free(t)}, "no address": {ID: "x"}, "no port": {ID: "x", Listen: netip.MustParseAddrPort("127.0.0.1:0")},
	} {
		require.ErrorIs(t, p.Apply(t.Context(), want), proxy.ErrInvalid, name)
	}
	require.Error(t, p.Apply(t.Context(), proxy.Want{ID: "x", Namespace: "never-was", Listen: free(t)}))
	require.NoError(t, p.Apply(t.Context(), proxy.Want{ID: "b", Listen: free(t), NetworkID: "n"}))
	require.NoError(t, p.Apply(t.Context(), proxy.Want{ID: "a", Listen: free(t), NetworkID: "n"}))
	ids, err := p.List(t.Context())
	require.NoError(t, err)
	require.Equal(t, []string{"a", "b"}, ids)
	for range 2 {
		require.NoError(t, p.Remove(t.Context(), "a"))
	}
	taken, err := net.Listen("tcp4", "127.0.0.1:0")
	require.NoError(t, err)
	defer func() { require.NoError(t, taken.Close()) }()
	err = p.Apply(t.Context(), proxy.Want{ID: "c", Listen: netip.MustParseAddrPort(taken.Addr().String())})
	require.ErrorContains(t, err, taken.Addr().String())
	require.NoError(t, p.Close())
	require.ErrorIs(t, p.Apply(t.Context(), proxy.Want{ID: "d", Listen: free(t)}), proxy.ErrUnavailable)
	_, err = proxy.New(nil, secret, &proxy.Options{URL: "nonsense"})
	require.ErrorIs(t, err, proxy.ErrInvalid)
}

// link joins two namespaces, made where there are none, by a veth pair with an address at each end.
func link(t testing.TB, name, left, leftAddress, right, rightAddress string) {
	t.Helper()
	for _, ns := range []string{left, right} {
		if !netns.Exists(ns) {
			require.NoError(t, netns.Create(ns))
			t.Cleanup(func() { require.NoError(t, netns.Delete(ns)) })
		}
	}
	peer, err := vnetns.GetFromName(right)
	require.NoError(t, err)
	defer func() { require.NoError(t, peer.Close()) }()
	require.NoError(t, netns.Do(left, func() error {
		return netlink.LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: name}, PeerName: name, PeerNamespace: netlink.NsFd(peer)})
	}))
	for ns, address := range map[string]string{left: leftAddress, right: rightAddress} {
		require.NoError(t, netns.Do(ns, func() error {
			device, err := netlink.LinkByName(name)
			if err != nil {
				return err
			}
			parsed, err := netlink.ParseAddr(address)
			if err != nil {
				return err
			}
			return errors.Join(netlink.AddrAdd(device, parsed), netlink.LinkSetUp(device))
		}))
	}
}

// own gives a namespace the metadata address, and another a route to it.
func own(t testing.TB, namespace, device, guest, by string) {
	t.Helper()
	require.NoError(t, netns.Do(namespace, func() error {
		l, err := netlink.LinkByName(device)
		if err != nil {
			return err
		}
		parsed, err := netlink.ParseAddr("169.254.169.254/32")
		if err != nil {
			return err
		}
		return netlink.AddrAdd(l, parsed)
	}))
	require.NoError(t, netns.Do(guest, func() error {
		_, everywhere, err := net.ParseCIDR("169.254.169.254/32")
		if err != nil {
			return err
		}
		return netlink.RouteAdd(&netlink.Route{Dst: everywhere, Gw: net.ParseIP(by)})
	}))
}

const hostnameURL = "http://169.254.169.254/2009-04-04/meta-data/hostname"

func TestSameAddressesInTwoNetworks(t *testing.T) {
	labtest.Require(t)
	service := known(t, map[metadata.Caller]string{
		caller("net-one", "172.24.17.2"): "vm-of-one", caller("net-two", "172.24.17.2"): "vm-of-two",
	})
	p := newProxy(t, proxy.InProcess(service), nil)
	for _, network := range []string{"one", "two"} {
		server, guest := "qdhcp-net-"+network, "guest-"+network
		link(t, "v0", server, "172.24.17.1/24", guest, "172.24.17.2/24")
		want := proxy.Want{ID: "net-" + network, Namespace: server, Listen: proxy.NetworkListen(), NetworkID: "net-" + network}
		// It does not matter which comes first, the address or who listens on it.
		require.NoError(t, p.Apply(t.Context(), want))
		own(t, server, "v0", guest, "172.24.17.1")
	}
	for range 2 {
		for _, network := range []string{"one", "two"} {
			status, body := fetch(t, "guest-"+network, http.MethodGet, hostnameURL, nil, nil)
			require.Equal(t, http.StatusOK, status)
			require.Equal(t, "vm-of-"+network, body)
		}
	}
	forged := make(http.Header)
	metadata.Sign(forged, []byte("a guess of the secret, long enough"), caller("net-two", "172.24.17.2"))
	headers := make(map[string]string)
	for name := range forged {
		headers[name] = forged.Get(name)
	}
	_, body := fetch(t, "guest-one", http.MethodGet, hostnameURL, nil, headers)
	require.Equal(t, "vm-of-one", body)
}

func TestARoutersLegsTellTheNetwork(t *testing.T) {
	labtest.Require(t)
	service := known(t, map[metadata.Caller]string{
		caller("net-a", "172.24.17.2"): "a", caller("net-b", "172.24.18.2"): "b",
	})
	p := newProxy(t, proxy.InProcess(service), nil)
	link(t, "va", "qrouter-r", "172.24.17.254/24", "guest-a", "172.24.17.2/24")
	link(t, "vb", "qrouter-r", "172.24.18.254/24", "guest-b", "172.24.18.2/24")
	link(t, "vc", "qrouter-r", "172.24.19.254/24", "guest-c", "172.24.19.2/24")
	want := proxy.Want{ID: "r", Namespace: "qrouter-r", Listen: proxy.RouterListen(9697), Legs: map[netip.Addr]string{
		netip.MustParseAddr("172.24.17.254"): "net-a", netip.MustParseAddr("172.24.18.254"): "net-b",
	}}
	require.NoError(t, p.Apply(t.Context(), want))
	ask := func(guest, leg string) (int, string) {
		return fetch(t, guest, http.MethodGet, fmt.Sprintf("http://%s:9697/latest/meta-data/hostname", leg), nil, nil)
	}
	_, body := ask("guest-a", "172.24.17.254")
	require.Equal(t, "a", body)
	_, body = ask("guest-b", "172.24.18.254")
	require.Equal(t, "b", body)
	status, _ := ask("guest-c", "172.24.19.254")
	require.Equal(t, http.StatusNotFound, status)
}

func TestANewNamespaceOfTheSameNameIsListenedInToo(t *testing.T) {
	labtest.Require(t)
	service := known(t, map[metadata.Caller]string{caller("net-one", "172.24.17.2"): "vm1"})
	p := newProxy(t, proxy.InProcess(service), nil)
	want := proxy.Want{ID: "net-one", Namespace: "qdhcp-again", Listen: proxy.NetworkListen(), NetworkID: "net-one"}
	for round := range 2 {
		guest := fmt.Sprintf("guest-%d", round)
		link(t, "v0", "qdhcp-again", "172.24.17.1/24", guest, "172.24.17.2/24")
		own(t, "qdhcp-again", "v0", guest, "172.24.17.1")
		require.NoError(t, p.Apply(t.Context(), want))
		_, body := fetch(t, guest, http.MethodGet, hostnameURL, nil, nil)
		require.Equal(t, "vm1", body)
		require.NoError(t, netns.Delete("qdhcp-again"))
	}
}
