package metadata_test

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/kintoun/kintoun/metadata"
	"github.com/kintoun/kintoun/metadata/memmetadata"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var update = flag.Bool("update", false, "write the golden files anew")

var (
	secret = []byte("0123456789abcdef0123456789abcdef")
	here   = metadata.Caller{NetworkID: "net-one", Address: netip.MustParseAddr("172.24.17.2")}
)

// plain is a server without key and user data, as the walkthrough's.
func plain() *metadata.Instance {
	return &metadata.Instance{
		ID: "3f2504e0-4f89-11d3-9a0c-0305e82c3301", ProjectID: "p1", Name: "vm1", Hostname: "vm1.novalocal", Flavor: "m1.tiny",
		EC2ID: "i-00000001", ImageEC2ID: "ami-00000002", KernelEC2ID: "aki-00000003", RamdiskEC2ID: "ari-00000004",
		FixedIPs: []netip.Addr{netip.MustParseAddr("172.24.17.2")}, FloatingIPs: []netip.Addr{netip.MustParseAddr("10.0.0.50")},
		AvailabilityZone: "nova", ReservationID: "r-abcdefgh", SecurityGroups: []string{"default", "web"}, RootDevice: "/dev/vda",
		LaunchedAt: time.Date(2013, 4, 20, 1, 2, 3, 0, time.UTC),
	}
}

// full has everything.
func full() *metadata.Instance {
	i := plain()
	i.Keys = []metadata.Key{{Name: "mykey", PublicKey: "ssh-ed25519 AAAA me"}, {Name: "cert", Type: "x509", PublicKey: "-----BEGIN"}}
	i.UserData = []byte("#!/bin/sh\necho hello\n")
	i.Meta = map[string]string{"role": "web"}
	i.Interfaces = []metadata.Interface{
		{PortID: "port-1", NetworkID: "net-one", Device: "tapport-1", Type: "ovs", MAC: "fa:16:3e:00:00:01", MTU: 1458,
			Addresses: []metadata.InterfaceAddress{{Address: netip.MustParsePrefix("172.24.17.2/24"), DHCP: true, DNS: []netip.Addr{netip.MustParseAddr("192.0.2.53")}}}},
		{PortID: "port-2", NetworkID: "net-two", MAC: "fa:16:3e:00:00:02", Addresses: []metadata.InterfaceAddress{{
			Address: netip.MustParsePrefix("192.168.9.5/26"), Gateway: netip.MustParseAddr("192.168.9.62"), DNS: []netip.Addr{netip.MustParseAddr("192.0.2.53")},
			Routes: []metadata.Route{{Destination: netip.MustParsePrefix("10.9.0.0/16"), NextHop: netip.MustParseAddr("192.168.9.60")}},
		}}},
	}
	return i
}

func service(t testing.TB, instance *metadata.Instance) *metadata.Service {
	source := memmetadata.New(nil)
	source.Put(here.NetworkID, here.Address, instance)
	s, err := metadata.New(source, secret, &metadata.Options{Random: zeros{}})
	require.NoError(t, err)
	return s
}

// zeros is a source of randomness that golden files can hold.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

func ask(s http.Handler, method, path string, change func(*http.Request)) *http.Response {
	r := httptest.NewRequest(method, "http://169.254.169.254"+path, nil)
	metadata.Sign(r.Header, secret, here)
	if change != nil {
		change(r)
	}
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	return w.Result()
}

func text(t testing.TB, r *http.Response) string {
	t.Helper()
	var b bytes.Buffer
	_, err := b.ReadFrom(r.Body)
	require.NoError(t, err)
	return b.String()
}

func get(t testing.TB, s http.Handler, path string) string {
	t.Helper()
	r := ask(s, http.MethodGet, path, nil)
	require.Equal(t, http.StatusOK, r.StatusCode, path)
	return text(t, r)
}

func TestTheWalkthroughsTree(t *testing.T) {
	s := service(t, plain())
	for path, want := range map[string][]string{
		"/":           {"1.0", "2007-01-19", "2007-03-01", "2007-08-29", "2007-10-10", "2007-12-15", "2008-02-01", "2008-09-01", "2009-04-04"},
		"/2009-04-04": {"meta-data/"},
		"/2009-04-04/meta-data/": {
			"ami-id", "ami-launch-index", "ami-manifest-path", "block-device-mapping/", "hostname", "instance-action", "instance-id",
			"instance-type", "kernel-id", "local-hostname", "local-ipv4", "placement/", "public-hostname", "public-ipv4", "ramdisk-id", "reservation-id",
		},
		"/2009-04-04/meta-data/placement/":                  {"availability-zone"},
		"/2009-04-04/meta-data/placement/availability-zone": {"nova"},
	} {
		require.Equal(t, strings.Join(want, "\n"), get(t, s, path), path)
	}
}

func TestVolumesAreDevices(t *testing.T) {
	i := plain()
	i.VolumeDevices = []string{"/dev/vdc", "/dev/vdb"}
	s := service(t, i)
	require.Equal(t, "ami\nebs0\nebs1\nroot", get(t, s, "/latest/meta-data/block-device-mapping/"))
	require.Equal(t, "/dev/vdb", get(t, s, "/latest/meta-data/block-device-mapping/ebs0"))
}

// walk writes everything below a path, as a client finds it.
func walk(t testing.TB, s http.Handler, path string, out *strings.Builder) {
	listing := get(t, s, path)
	fmt.Fprintf(out, "== %s\n%s\n", path, listing)
	for _, name := range strings.Split(listing, "\n") {
		child := strings.TrimSuffix(path, "/") + "/" + name
		if number, _, ok := strings.Cut(name, "="); ok {
			child = strings.TrimSuffix(path, "/") + "/" + number + "/"
		}
		if strings.HasSuffix(child, "/") {
			walk(t, s, child, out)
		} else {
			fmt.Fprintf(out, "== %s\n%s\n", child, get(t, s, child))
		}
	}
}

func TestWholeTrees(t *testing.T) {
	for _, root := range []string{"1.0", "2007-01-19", "2009-04-04", "2021-03-23", "latest", "openstack/2012-08-10", "openstack/2018-08-27", "openstack/latest"} {
		t.Run(root, func(t *testing.T) {
			var out strings.Builder
			walk(t, service(t, full()), "/"+root+"/", &out)
			path := "testdata/" + strings.ReplaceAll(root, "/", "-") + ".golden"
			if *update {
				require.NoError(t, os.MkdirAll("testdata", 0o755))
				require.NoError(t, os.WriteFile(path, []byte(out.String()), 0o644))
			}
			want, err := os.ReadFile(path)
			require.NoError(t, err)
			require.Equal(t, string(want), out.String())
		})
	}
}

func TestWhatIsNotThere(t *testing.T) {
	s := service(t, plain())
	for _, path := range []string{
		"/2009-04-05", "/nowhere", "/2009-04-04/user-data", "/2009-04-04/dynamic", "/2009-04-04/meta-data/public-keys/",
		"/2009-04-04/meta-data/hostname/x", "/1.0/meta-data/placement/", "/openstack/2011-01-01", "/openstack/latest/user_data",
		"/openstack/latest/x", "/openstack/latest/meta_data.json/x", "/openstack/2012-08-10/password", "/openstack/2012-08-10/network_data.json",
	} {
		require.Equal(t, http.StatusNotFound, ask(s, http.MethodGet, path, nil).StatusCode, path)
	}
	other := metadata.Caller{NetworkID: "net-two", Address: here.Address}
	r := ask(s, http.MethodGet, "/", func(r *http.Request) { metadata.Sign(r.Header, secret, other) })
	require.Equal(t, http.StatusNotFound, r.StatusCode)
}

func TestMethods(t *testing.T) {
	s := service(t, full())
	for _, path := range []string{"/latest/meta-data/", "/openstack/latest/meta_data.json", "/"} {
		require.Equal(t, http.StatusMethodNotAllowed, ask(s, http.MethodPost, path, nil).StatusCode, path)
		require.Equal(t, http.StatusOK, ask(s, http.MethodHead, path, nil).StatusCode, path)
	}
	require.Equal(t, http.StatusMethodNotAllowed, ask(s, http.MethodDelete, "/openstack/latest/password", nil).StatusCode)
	require.Equal(t, http.StatusMethodNotAllowed, ask(s, http.MethodGet, "/latest/api/token", nil).StatusCode)
}

func TestOnlySignedRequestsAreAnswered(t *testing.T) {
	s := service(t, plain())
	forge := map[string]func(*http.Request){
		"another secret": func(r *http.Request) {
			metadata.Sign(r.Header, []byte("another secret, as long as it has to be"), here)
		},
		"another network": func(r *http.Request) { r.Header.Set("X-Kintoun-Network-Id", "net-two") },
		"another address": func(r *http.Request) { r.Header.Set("X-Kintoun-Address", "172.24.17.3") },
		"no address":      func(r *http.Request) { r.Header.Set("X-Kintoun-Address", "x") },
		"no signature":    func(r *http.Request) { r.Header.Del("X-Kintoun-Signature") },
		"no hexadecimal":  func(r *http.Request) { r.Header.Set("X-Kintoun-Signature", "zz") },
		"half of it":      func(r *http.Request) { r.Header.Set("X-Kintoun-Signature", r.Header.Get("X-Kintoun-Signature")[:32]) },
	}
	for name, change := range forge {
		require.Equal(t, http.StatusForbidden, ask(s, http.MethodGet, "/", change).StatusCode, name)
	}
	require.Equal(t, http.StatusOK, ask(s, http.MethodGet, "/", nil).StatusCode)
	_, err := metadata.New(memmetadata.New(nil), []byte("short"), nil)
	require.ErrorIs(t, err, metadata.ErrInvalid)
}

func TestTokens(t *testing.T) {
	source := memmetadata.New(nil)
	source.Put(here.NetworkID, here.Address, plain())
	there := metadata.Caller{NetworkID: "net-one", Address: netip.MustParseAddr("172.24.17.3")}
	source.Put(there.NetworkID, there.Address, plain())
	now := time.Unix(1_000_000, 0)
	s, err := metadata.New(source, secret, &metadata.Options{Now: func() time.Time { return now }})
	require.NoError(t, err)
	life := func(seconds string) func(*http.Request) {
		return func(r *http.Request) { r.Header.Set("X-aws-ec2-metadata-token-ttl-seconds", seconds) }
	}
	for _, wrong := range []string{"", "0", "-1", "21601", "x"} {
		require.Equal(t, http.StatusBadRequest, ask(s, http.MethodPut, "/latest/api/token", life(wrong)).StatusCode, wrong)
	}
	r := ask(s, http.MethodPut, "/latest/api/token", life("60"))
	require.Equal(t, http.StatusOK, r.StatusCode)
	require.Equal(t, "60", r.Header.Get("X-aws-ec2-metadata-token-ttl-seconds"))
	token := text(t, r)
	with := func(token string, caller metadata.Caller) func(*http.Request) {
		return func(r *http.Request) {
			metadata.Sign(r.Header, secret, caller)
			r.Header.Set("X-aws-ec2-metadata-token", token)
		}
	}
	status := func(change func(*http.Request)) int {
		return ask(s, http.MethodGet, "/2021-03-23/meta-data/instance-id", change).StatusCode
	}
	require.Equal(t, http.StatusOK, status(with(token, here)))
	require.Equal(t, http.StatusUnauthorized, status(with(token, there)))
	require.Equal(t, http.StatusUnauthorized, status(with("x"+token[1:], here)))
	require.Equal(t, http.StatusUnauthorized, status(with("nonsense", here)))
	now = now.Add(time.Minute)
	require.Equal(t, http.StatusUnauthorized, status(with(token, here)))
}

func TestPassword(t *testing.T) {
	s := service(t, full())
	post := func(body string) int {
		return ask(s, http.MethodPost, "/openstack/latest/password", func(r *http.Request) {
			r.Body = http.NoBody
			if body != "" {
				r.Body = readCloser{strings.NewReader(body)}
			}
		}).StatusCode
	}
	require.Empty(t, get(t, s, "/openstack/latest/password"))
	require.Equal(t, http.StatusBadRequest, post(strings.Repeat("x", 1021)))
	require.Equal(t, http.StatusOK, post("encrypted"))
	require.Equal(t, "encrypted", get(t, s, "/openstack/2013-04-04/password"))
	require.Equal(t, http.StatusConflict, post("again"))
}

type readCloser struct{ *strings.Reader }

func (readCloser) Close() error { return nil }

func TestASourceInTrouble(t *testing.T) {
	for err, want := range map[error]int{
		metadata.ErrUnavailable: http.StatusServiceUnavailable, errors.New("broken"): http.StatusInternalServerError,
	} {
		s, failed := metadata.New(memmetadata.New(&memmetadata.Options{Err: err}), secret, nil)
		require.NoError(t, failed)
		r := ask(s, http.MethodGet, "/", nil)
		require.Equal(t, want, r.StatusCode)
		require.NotContains(t, text(t, r), "broken")
	}
}

func TestEC2ID(t *testing.T) {
	require.Regexp(t, "^i-[0-9a-f]{8}$", metadata.EC2ID("i", "3f2504e0-4f89-11d3-9a0c-0305e82c3301"))
	require.Empty(t, metadata.EC2ID("aki", ""))
}

func FuzzServeHTTP(f *testing.F) {
	for _, path := range []string{"/", "/latest/meta-data/", "/openstack/latest/meta_data.json", "//2009-04-04/../x", "/ec2/latest"} {
		f.Add(path, "token")
	}
	s := service(f, full())
	f.Fuzz(func(t *testing.T, path, token string) {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.URL.Path = path
		metadata.Sign(r.Header, secret, here)
		r.Header.Set("X-aws-ec2-metadata-token", token)
		w := httptest.NewRecorder()
		s.ServeHTTP(w, r)
		require.Less(t, w.Code, 500)
	})
}

func BenchmarkMetaData(b *testing.B) {
	s := service(b, full())
	for b.Loop() {
		require.Equal(b, http.StatusOK, ask(s, http.MethodGet, "/openstack/latest/meta_data.json", nil).StatusCode)
	}
}
