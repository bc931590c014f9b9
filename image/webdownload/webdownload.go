// Package webdownload fetches the contents of images from the web, from where it is allowed to and nowhere else: an
// image.Downloader.
//
//	web, err := webdownload.New(&webdownload.Options{Hosts: []string{"cloud-images.example"}})
//	fmt.Println(web.Check("http://169.254.169.254/latest/user-data"))
//
// [Downloader.Open] downloads. An address is refused unless its scheme, host and port are on the lists. What the host's name leads to is looked at
// when the connection is made, so that a name cannot lead to one address for the check and to another for the
// connection: private, loopback, link-local, multicast and other special addresses are refused, those of
// [Options].Networks excepted. Each redirect is held against the same rules. No proxy of the environment is used, and no
// credentials are sent.
//
// It needs a network and name resolution. It does not retry, resume or verify what it downloads, and speaks HTTP and
// HTTPS only.
//
// Errors of an address that is not allowed wrap [ErrRefused]; others are those of net/http. A [Downloader] is safe for
// concurrent use. It holds no state: a download ends with its process.
package webdownload

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/kintoun/kintoun/internal/fault"
)

// ErrRefused is an address that is not allowed: an invalid request.
var ErrRefused = fault.Wrap(fault.ErrInvalid, "the address is not allowed")

// Options say what is allowed. Hosts are required.
type Options struct {
	// Hosts are the names and addresses that may be downloaded from; ".example.org" is every name below it, "*" every host.
	Hosts []string
	// Ports may be connected to; 80 and 443 by default.
	Ports []int
	// Schemes are "http" and "https" by default.
	Schemes []string
	// Networks are private or otherwise special addresses that may be connected to all the same, such as a mirror's.
	Networks []netip.Prefix
	// Idle is how long a download may stand still; one minute by default.
	Idle time.Duration
	// Transport is changed to what these rules need and used for connections; http.DefaultTransport's settings by default.
	Transport *http.Transport
}

// maxRedirects bounds a chain of redirects.
const maxRedirects = 5

// Downloader downloads. Create it with [New].
type Downloader struct {
	options Options
	special []netip.Prefix
	client  *http.Client
}

// New returns a downloader. Options without hosts are refused: they would allow nothing.
func New(options *Options) (*Downloader, error) {
	if options == nil || len(options.Hosts) == 0 {
		return nil, fault.Wrap(fault.ErrInvalid, "no host is named that may be downloaded from")
	}
	d := &Downloader{options: *options, special: special()}
	d.options.Hosts = slices.Clone(options.Hosts)
	for i, host := range d.options.Hosts {
		d.options.Hosts[i] = strings.ToLower(strings.TrimSuffix(host, "."))
	}
	if len(d.options.Ports) == 0 {
		d.options.Ports = []int{80, 443}
	}
	if len(d.options.Schemes) == 0 {
		d.options.Schemes = []string{"http", "https"}
	}
	if d.options.Idle <= 0 {
		d.options.Idle = time.Minute
	}
	transport := &http.Transport{TLSHandshakeTimeout: 10 * time.Second}
	if options.Transport != nil {
		transport = options.Transport.Clone()
	}
	dialer := &net.Dialer{Timeout: 30 * time.Second, ControlContext: d.control}
	transport.Proxy, transport.DialContext, transport.DialTLSContext = nil, dialer.DialContext, nil
	transport.DisableKeepAlives, transport.DisableCompression = true, true
	transport.ResponseHeaderTimeout, transport.MaxResponseHeaderBytes = d.options.Idle, 64<<10
	d.client = &http.Client{Transport: transport, CheckRedirect: d.redirect}
	return d, nil
}

// Check says whether the address may be downloaded from, as far as it tells by itself.
func (d *Downloader) Check(address string) error {
	u, err := url.Parse(address)
	if err != nil {
		return fmt.Errorf("%w: it cannot be read", ErrRefused)
	}
	return d.check(u)
}

func (d *Downloader) check(u *url.URL) error {
	host := strings.ToLower(strings.TrimSuffix(u.Hostname(), "."))
	port := map[string]int{"http": 80, "https": 443}[u.Scheme]
	if text := u.Port(); text != "" {
		var err error
		if port, err = strconv.Atoi(text); err != nil {
			return fmt.Errorf("%w: port %.10q", ErrRefused, text)
		}
	}
	switch {
	case !slices.Contains(d.options.Schemes, u.Scheme) || u.Scheme != "http" && u.Scheme != "https":
		return fmt.Errorf("%w: scheme %.20q", ErrRefused, u.Scheme)
	case u.User != nil:
		return fmt.Errorf("%w: it has credentials in it", ErrRefused)
	case host == "" || !slices.ContainsFunc(d.options.Hosts, func(allowed string) bool { return matches(allowed, host) }):
		return fmt.Errorf("%w: host %.255q", ErrRefused, host)
	case !slices.Contains(d.options.Ports, port):
		return fmt.Errorf("%w: port %d", ErrRefused, port)
	}
	if ip, err := netip.ParseAddr(host); err == nil {
		return d.checkAddr(ip)
	}
	return nil
}

func matches(allowed, host string) bool {
	return allowed == "*" || allowed == host || strings.HasPrefix(allowed, ".") && strings.HasSuffix(host, allowed)
}

// special are addresses that are not on the internet, or lead back into a network of one's own, beyond those that
// package netip knows: see the IANA IPv4 and IPv6 Special-Purpose Address Registries.
func special() (list []netip.Prefix) {
	for _, text := range []string{
		"0.0.0.0/8", "100.64.0.0/10", "192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "198.18.0.0/15", "198.51.100.0/24",
		"203.0.113.0/24", "240.0.0.0/4", "64:ff9b::/96", "64:ff9b:1::/48", "100::/64", "2001::/23", "2001:db8::/32",
		"2002::/16", "3fff::/20", "5f00::/16", "fec0::/10", "::/96",
	} {
		list = append(list, netip.MustParsePrefix(text))
	}
	return list
}

// checkAddr refuses what is not an address of the internet.
func (d *Downloader) checkAddr(ip netip.Addr) error {
	ip = ip.WithZone("").Unmap()
	within := func(p netip.Prefix) bool { return p.Contains(ip) }
	if slices.ContainsFunc(d.options.Networks, within) {
		return nil
	}
	if !ip.IsGlobalUnicast() || ip.IsPrivate() || slices.ContainsFunc(d.special, within) {
		return fmt.Errorf("%w: it leads to the special address %s", ErrRefused, ip)
	}
	return nil
}

// control is called with the address that the connection will be made to, after names were resolved.
func (d *Downloader) control(_ context.Context, _, address string, _ syscall.RawConn) error {
	to, err := netip.ParseAddrPort(address)
	if err != nil {
		return fmt.Errorf("%w: %.100q", ErrRefused, address)
	}
	return d.checkAddr(to.Addr())
}

func (d *Downloader) redirect(r *http.Request, via []*http.Request) error {
	if len(via) > maxRedirects {
		return fmt.Errorf("%w: it redirects more than %d times", ErrRefused, maxRedirects)
	}
	r.Header.Del("Referer")
	return d.check(r.URL)
}

// Open begins a download. The size is -1 where the server does not say it. A content that ends before that size, or
// stands still for too long, ends with an error. The caller closes it.
func (d *Downloader) Open(ctx context.Context, address string) (content io.ReadCloser, size int64, err error) {
	if err := d.Check(address); err != nil {
		return nil, 0, err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		cancel(nil)
		return nil, 0, fmt.Errorf("%w: it cannot be read", ErrRefused)
	}
	r.Header.Set("User-Agent", "kintoun-image")
	answer, err := d.client.Do(r)
	if err != nil {
		cancel(nil)
		return nil, 0, fmt.Errorf("download: %w", err)
	}
	if answer.StatusCode != http.StatusOK {
		err := errors.Join(fmt.Errorf("download: the server answered %d", answer.StatusCode), answer.Body.Close())
		cancel(nil)
		return nil, 0, err
	}
	b := &body{body: answer.Body, idle: d.options.Idle, cancel: cancel, ctx: ctx}
	b.timer = time.AfterFunc(b.idle, func() { cancel(errIdle) })
	return b, answer.ContentLength, nil
}

var errIdle = errors.New("the download stands still")

// body is what is downloaded.
type body struct {
	body   io.ReadCloser
	idle   time.Duration
	timer  *time.Timer
	cancel context.CancelCauseFunc
	ctx    context.Context //nolint:containedctx // it is the download's own
}

func (b *body) Read(p []byte) (int, error) {
	n, err := b.body.Read(p)
	b.timer.Reset(b.idle)
	if err != nil && err != io.EOF && errors.Is(context.Cause(b.ctx), errIdle) { //nolint:errorlint // the end itself
		err = errIdle
	}
	return n, err
}

func (b *body) Close() error {
	b.timer.Stop()
	b.cancel(nil)
	return b.body.Close()
}
