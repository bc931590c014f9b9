package webdownload_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strconv"
	"testing"
	"time"

	"github.com/kintoun/kintoun/image"
	"github.com/kintoun/kintoun/image/webdownload"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var (
	_        image.Downloader = (*webdownload.Downloader)(nil)
	loopback                  = []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}
)

func serve(t *testing.T, handler http.HandlerFunc) (address string, port int) {
	t.Helper()
	s := httptest.NewServer(handler)
	t.Cleanup(s.Close)
	u, err := url.Parse(s.URL)
	require.NoError(t, err)
	port, err = strconv.Atoi(u.Port())
	require.NoError(t, err)
	return s.URL, port
}

func open(t *testing.T, o webdownload.Options, address string) (string, int64, error) {
	t.Helper()
	d, err := webdownload.New(&o)
	require.NoError(t, err)
	content, size, err := d.Open(t.Context(), address)
	if err != nil {
		return "", 0, err
	}
	text, err := io.ReadAll(content)
	require.NoError(t, content.Close())
	return string(text), size, err
}

func TestWhatIsAllowedIsDownloaded(t *testing.T) {
	address, port := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/first" {
			http.Redirect(w, r, "/then", http.StatusFound)
			return
		}
		_, _ = io.WriteString(w, "a disk")
	})
	text, size, err := open(t, webdownload.Options{Hosts: []string{"127.0.0.1"}, Ports: []int{port}, Networks: loopback}, address+"/first")
	require.NoError(t, err)
	require.Equal(t, "a disk", text)
	require.EqualValues(t, 6, size)
}

func TestAddressesAreRefused(t *testing.T) {
	d, err := webdownload.New(&webdownload.Options{Hosts: []string{"images.example", ".mirror.example", "127.0.0.1", "10.0.0.1", "169.254.169.254", "::1", "::ffff:127.0.0.1", "64:ff9b::a00:1", "2002:7f00:1::", "100.64.0.1", "224.0.0.1", "0.0.0.0", "fe80::1", "fd00::1"}})
	require.NoError(t, err)
	for _, good := range []string{"http://images.example/a", "https://images.example:443/a", "http://Images.Example./a", "http://a.mirror.example/"} {
		require.NoError(t, d.Check(good), good)
	}
	for _, bad := range []string{
		"", "images.example", "ftp://images.example/", "file:///etc/passwd", "gopher://images.example/", "http://other.example/", "http://mirror.example/",
		"http://images.example:22/", "http://images.example:99999999999999999999/", "http://user:secret@images.example/", "http:///a", "http://\x7f/",
		"http://127.0.0.1/", "http://10.0.0.1/", "http://169.254.169.254/latest", "http://[::1]/", "http://[::ffff:127.0.0.1]/", "http://[64:ff9b::a00:1]/",
		"http://[2002:7f00:1::]/", "http://100.64.0.1/", "http://224.0.0.1/", "http://0.0.0.0/", "http://[fe80::1]/", "http://[fd00::1]/", "http://images.example.evil.example/",
	} {
		require.ErrorIs(t, d.Check(bad), webdownload.ErrRefused, bad)
		require.ErrorIs(t, d.Check(bad), image.ErrInvalid, bad)
	}
	_, err = webdownload.New(nil)
	require.ErrorIs(t, err, image.ErrInvalid)
}

// TestNamesThatLeadInside has a name that is allowed and resolves to this host.
func TestNamesThatLeadInside(t *testing.T) {
	address, port := serve(t, func(http.ResponseWriter, *http.Request) { t.Error("it was reached") })
	u, err := url.Parse(address)
	require.NoError(t, err)
	u.Host = fmt.Sprintf("localhost:%d", port)
	_, _, err = open(t, webdownload.Options{Hosts: []string{"*"}, Ports: []int{port}}, u.String())
	require.ErrorIs(t, err, webdownload.ErrRefused)
}

func TestRedirectsAreHeldAgainstTheRules(t *testing.T) {
	inside, port := serve(t, func(http.ResponseWriter, *http.Request) { t.Error("it was reached") })
	for _, to := range []string{inside, "http://[::1]:%d/", "http://169.254.169.254/", "ftp://127.0.0.1/", "http://other.example/"} {
		if to == "http://[::1]:%d/" {
			to = fmt.Sprintf(to, port)
		}
		outside, outsidePort := serve(t, func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, to, http.StatusFound) })
		_, _, err := open(t, webdownload.Options{Hosts: []string{"127.0.0.1", "169.254.169.254", "::1"}, Ports: []int{outsidePort}, Networks: loopback}, outside)
		require.ErrorIs(t, err, webdownload.ErrRefused, to)
	}
	loop, loopPort := serve(t, func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/", http.StatusFound) })
	_, _, err := open(t, webdownload.Options{Hosts: []string{"*"}, Ports: []int{loopPort}, Networks: loopback}, loop)
	require.ErrorIs(t, err, webdownload.ErrRefused)
}

func TestDownloadsThatFail(t *testing.T) {
	stop := make(chan struct{})
	address, port := serve(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/missing":
			http.NotFound(w, r)
		case "/short":
			w.Header().Set("Content-Length", "100")
			_, _ = io.WriteString(w, "short")
		case "/still":
			_, _ = io.WriteString(w, "still")
			_ = http.NewResponseController(w).Flush()
			<-stop
		}
	})
	defer close(stop)
	o := webdownload.Options{Hosts: []string{"*"}, Ports: []int{port}, Networks: loopback, Idle: 50 * time.Millisecond}
	_, _, err := open(t, o, address+"/missing")
	require.ErrorContains(t, err, "404")
	_, _, err = open(t, o, address+"/short")
	require.ErrorIs(t, err, io.ErrUnexpectedEOF)
	_, _, err = open(t, o, address+"/still")
	require.ErrorContains(t, err, "stands still")
}
