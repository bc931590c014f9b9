//go:build linux

// Package proxy listens for servers' metadata requests inside network namespaces, and passes each on to a metadata
// service with a signed word about who asks: from which network, and with which address there.
//
//	p, err := proxy.New(proxy.InProcess(service), secret, nil)
//	defer func() { _ = p.Close() }()
//	if err := p.Apply(context.Background(), proxy.Want{ID: "net-one", Listen: listen, NetworkID: "net-one"}); err != nil {
//		fmt.Println(err)
//		return
//	}
//
// In the namespace of a network's DHCP server ("qdhcp-ID") it listens on 169.254.169.254:80, and every caller is of
// that network. In a router's ("qrouter-ID") it listens on the port that the router redirects such requests to, and a
// caller is of the network whose leg of the router it came in by: the connection's own local address tells. What a
// caller says about itself in headers never reaches the service. A whole program: examples/metadata.
//
// # What it needs
//
// Linux with network namespaces, and CAP_SYS_ADMIN and CAP_NET_BIND_SERVICE; [Probe] names what is missing. A proxy
// that listens in the process's own namespace only, on a port of 1024 or above, needs none of it.
//
// # What it does not do
//
// It makes no namespaces, addresses or redirections: package network/dhcp and network/netnsrouter do. It serves IPv4
// only, does not keep answers, and passes on no request that is larger than metadata needs.
//
// # Errors
//
// [ErrInvalid] is a wish that cannot be, [ErrUnavailable] a proxy that was closed, and what Probe finds missing (a
// [probe.Missing], found with errors.As); others are the kernel's, of the namespace or the address. A caller gets 429
// above [Options.Rate], 413 for a request that is too large, and 503 where the service does not answer within
// [Options.Timeout].
//
// # Concurrency
//
// A [Proxy] is safe for concurrent use, and holds a goroutine for each place and each connection, of which it bounds
// the number.
//
// # When the process ends
//
// Listening ends with it. A new process is told again by Apply what to listen on; servers ask again meanwhile.
package proxy

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/kintoun/kintoun/internal/fault"
	"github.com/kintoun/kintoun/internal/netns"
	"github.com/kintoun/kintoun/metadata"
	"golang.org/x/sys/unix"
)

var (
	// ErrInvalid is a wish without an identifier or an address to listen on, or a secret that is too short.
	ErrInvalid = fault.ErrInvalid
	// ErrUnavailable is a proxy that was closed.
	ErrUnavailable = fault.ErrUnavailable
)

// address is where servers ask.
var address = netip.MustParseAddr("169.254.169.254")

// Want is what to listen on in one namespace.
type Want struct {
	// ID is the network's or the router's.
	ID string
	// Namespace is the named network namespace: "qdhcp-…", "qrouter-…". Empty is the process's own.
	Namespace string
	// Listen is the address and port, which need not be there yet. See [NetworkListen] and [RouterListen].
	Listen netip.AddrPort
	// NetworkID is the network of all callers, or empty where Legs tell.
	NetworkID string
	// Legs tell the network by the router's own address that a caller's connection ends at.
	Legs map[netip.Addr]string
}

// NetworkListen is where to listen in the namespace of a network's DHCP server.
func NetworkListen() netip.AddrPort { return netip.AddrPortFrom(address, 80) }

// RouterListen is where to listen in the namespace of a router that redirects to port.
func RouterListen(port uint16) netip.AddrPort {
	return netip.AddrPortFrom(netip.IPv4Unspecified(), port)
}

// Options tune a proxy; nil and zero values are fine.
type Options struct {
	// URL is the service's, up to where a request's path begins; empty is "http://metadata", for services in this process.
	URL string
	// Log receives what goes wrong; nil discards it.
	Log *slog.Logger
	// Rate is how many requests per second one server may make in the long run, and Burst how many at once;
	// zero is 50 and 400: cloud-init asks for everything there is, leaf by leaf.
	Rate, Burst int
	// Timeout is how long the service may take; zero is 15 s.
	Timeout time.Duration
}

// Proxy listens and passes on.
type Proxy struct {
	upstream http.RoundTripper
	base     *url.URL
	secret   []byte
	log      *slog.Logger
	timeout  time.Duration
	limit    *limiter

	mu        sync.Mutex
	closed    bool
	listeners map[string]*listener
}

// New returns a proxy that passes requests on through upstream, signed with secret. For a service in the same process
// upstream is [InProcess]; for others it is an [http.Transport].
func New(upstream http.RoundTripper, secret []byte, options *Options) (*Proxy, error) {
	if len(secret) < metadata.SecretLength {
		return nil, fault.Wrap(ErrInvalid, "the metadata secret has %d bytes, fewer than %d", len(secret), metadata.SecretLength)
	}
	var o Options
	if options != nil {
		o = *options
	}
	if o.URL == "" {
		o.URL = "http://metadata"
	}
	base, err := url.Parse(o.URL)
	if err != nil || base.Scheme == "" || base.Host == "" {
		return nil, fault.Wrap(ErrInvalid, "the metadata service's URL %q", o.URL)
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Rate == 0 {
		o.Rate = 50
	}
	if o.Burst == 0 {
		o.Burst = 400
	}
	if o.Timeout == 0 {
		o.Timeout = 15 * time.Second
	}
	return &Proxy{
		upstream: upstream, base: base, secret: append([]byte(nil), secret...), log: o.Log, timeout: o.Timeout,
		limit: newLimiter(o.Rate, o.Burst, time.Now), listeners: make(map[string]*listener),
	}, nil
}

// listener is a server in one namespace.
type listener struct {
	at     place
	server *http.Server
	done   chan struct{}
	want   atomic.Pointer[Want]
}

// place is where a listener is. The inode tells a namespace from a later one of the same name.
type place struct {
	namespace string
	inode     uint64
	listen    netip.AddrPort
}

// Apply makes the proxy listen as wanted. Connections go on where it already does.
func (p *Proxy) Apply(ctx context.Context, want Want) error {
	if want.ID == "" || !want.Listen.IsValid() || want.Listen.Port() == 0 {
		return fault.Wrap(ErrInvalid, "metadata proxy %q on %s", want.ID, want.Listen)
	}
	want.Legs = cloneLegs(want.Legs)
	at := place{namespace: want.Namespace, listen: want.Listen}
	if want.Namespace != "" {
		var stat unix.Stat_t
		if err := unix.Stat(netns.Path(want.Namespace), &stat); err != nil {
			return fmt.Errorf("metadata proxy %s: namespace %s: %w", want.ID, want.Namespace, err)
		}
		at.inode = stat.Ino
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return fault.Wrap(ErrUnavailable, "the metadata proxy is closed")
	}
	if running := p.listeners[want.ID]; running != nil {
		if running.at == at && running.alive() {
			running.want.Store(&want)
			return nil
		}
		running.stop()
		delete(p.listeners, want.ID)
	}
	l, err := p.start(ctx, at, &want)
	if err != nil {
		return fmt.Errorf("metadata proxy %s: listen on %s in %s: %w", want.ID, want.Listen, want.Namespace, err)
	}
	p.listeners[want.ID] = l
	return nil
}

func cloneLegs(legs map[netip.Addr]string) map[netip.Addr]string {
	clone := make(map[netip.Addr]string, len(legs))
	for leg, network := range legs {
		clone[leg.Unmap()] = network
	}
	return clone
}

func (p *Proxy) start(ctx context.Context, at place, want *Want) (*listener, error) {
	var socket net.Listener
	err := netns.Do(at.namespace, func() (err error) {
		socket, err = (&net.ListenConfig{Control: early}).Listen(ctx, "tcp4", at.listen.String())
		return err
	})
	if err != nil {
		return nil, err
	}
	l := &listener{at: at, done: make(chan struct{})}
	l.want.Store(want)
	l.server = &http.Server{
		Handler:           p.handler(l),
		ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second, WriteTimeout: p.timeout + 15*time.Second, IdleTimeout: 15 * time.Second,
		MaxHeaderBytes: 16 << 10,
		ErrorLog:       slog.NewLogLogger(p.log.Handler(), slog.LevelDebug),
	}
	go func() {
		defer close(l.done)
		if err := l.server.Serve(newCapped(socket)); !errors.Is(err, http.ErrServerClosed) {
			p.log.Error("metadata proxy", "id", want.ID, "error", err)
		}
	}()
	return l, nil
}

// early lets the socket listen on an address that the namespace does not have yet.
func early(_, _ string, raw syscall.RawConn) error {
	var failed error
	err := raw.Control(func(fd uintptr) {
		failed = unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_FREEBIND, 1)
	})
	return errors.Join(err, failed)
}

func (l *listener) alive() bool {
	select {
	case <-l.done:
		return false
	default:
		return true
	}
}

func (l *listener) stop() {
	_ = l.server.Close()
	<-l.done
}

// Remove stops listening for a network or router. One that is not there is no error.
func (p *Proxy) Remove(_ context.Context, id string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if l := p.listeners[id]; l != nil {
		l.stop()
		delete(p.listeners, id)
	}
	return nil
}

// List names the networks and routers that are listened for, in order.
func (p *Proxy) List(context.Context) ([]string, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	ids := make([]string, 0, len(p.listeners))
	for id := range p.listeners {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return ids, nil
}

// Close stops listening everywhere; Apply fails from now on.
func (p *Proxy) Close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	for id, l := range p.listeners {
		l.stop()
		delete(p.listeners, id)
	}
	return nil
}
