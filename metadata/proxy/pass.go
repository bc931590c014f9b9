//go:build linux

package proxy

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"

	"github.com/kintoun/kintoun/metadata"
)

// Limits on what passes, in bytes.
const (
	requestLimit = 64 << 10
	// answerLimit leaves room for the largest user data that OpenStack takes, 64 KiB encoded.
	answerLimit = 1 << 20
)

// passed are the headers that a server's request may bring to the service, and answered those that come back.
var (
	passed   = []string{"Accept", "Content-Type", "User-Agent", "X-Aws-Ec2-Metadata-Token", "X-Aws-Ec2-Metadata-Token-Ttl-Seconds"}
	answered = []string{"Allow", "Content-Type", "Retry-After", "X-Aws-Ec2-Metadata-Token-Ttl-Seconds"}
)

func (p *Proxy) handler(l *listener) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		caller, ok := l.want.Load().caller(r)
		if !ok {
			http.NotFound(w, r)
			return
		}
		if !p.limit.allow(caller) {
			w.Header().Set("Retry-After", "1")
			http.Error(w, "too many requests", http.StatusTooManyRequests)
			return
		}
		p.pass(w, r, caller)
	})
}

// caller says who asks; false where nobody can that we know.
func (w *Want) caller(r *http.Request) (metadata.Caller, bool) {
	remote, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return metadata.Caller{}, false
	}
	caller := metadata.Caller{NetworkID: w.NetworkID, Address: remote.Addr().Unmap()}
	if caller.NetworkID == "" {
		local, ok := r.Context().Value(http.LocalAddrContextKey).(*net.TCPAddr)
		if !ok {
			return metadata.Caller{}, false
		}
		caller.NetworkID = w.Legs[local.AddrPort().Addr().Unmap()]
	}
	return caller, caller.NetworkID != ""
}

// pass makes a request of its own from what the caller asks for, so that nothing else of it arrives.
func (p *Proxy) pass(w http.ResponseWriter, r *http.Request, caller metadata.Caller) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, requestLimit))
	if err != nil {
		http.Error(w, "the request is too large or broken", http.StatusRequestEntityTooLarge)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), p.timeout)
	defer cancel()
	target := &url.URL{Scheme: p.base.Scheme, Host: p.base.Host, Path: p.base.Path + r.URL.Path}
	request, err := http.NewRequestWithContext(ctx, r.Method, target.String(), bytes.NewReader(body))
	if err != nil {
		http.Error(w, "bad request", http.StatusBadRequest)
		return
	}
	for _, name := range passed {
		if value := r.Header.Get(name); value != "" {
			request.Header.Set(name, value)
		}
	}
	metadata.Sign(request.Header, p.secret, caller)
	response, err := p.upstream.RoundTrip(request)
	if err != nil {
		p.log.Warn("metadata proxy: the service does not answer", "network", caller.NetworkID, "address", caller.Address, "error", err)
		w.Header().Set("Retry-After", "1")
		http.Error(w, "the metadata service does not answer", http.StatusServiceUnavailable)
		return
	}
	defer func() { _ = response.Body.Close() }()
	for _, name := range answered {
		if value := response.Header.Get(name); value != "" {
			w.Header().Set(name, value)
		}
	}
	w.WriteHeader(response.StatusCode)
	_, _ = io.Copy(w, io.LimitReader(response.Body, answerLimit))
}

// InProcess is a transport to a handler in this process.
func InProcess(handler http.Handler) http.RoundTripper { return inProcess{handler} }

type inProcess struct{ handler http.Handler }

func (t inProcess) RoundTrip(r *http.Request) (*http.Response, error) {
	a := &answer{header: make(http.Header), status: http.StatusOK}
	t.handler.ServeHTTP(a, r)
	return &http.Response{
		StatusCode: a.status, Status: http.StatusText(a.status), Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: a.header, Body: io.NopCloser(&a.body), ContentLength: int64(a.body.Len()), Request: r,
	}, nil
}

// answer collects what a handler writes.
type answer struct {
	header  http.Header
	status  int
	written bool
	body    bytes.Buffer
}

func (a *answer) Header() http.Header { return a.header }

func (a *answer) WriteHeader(status int) {
	if !a.written {
		a.status, a.written = status, true
	}
}

func (a *answer) Write(p []byte) (int, error) {
	a.written = true
	return a.body.Write(p)
}
