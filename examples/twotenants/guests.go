//go:build linux

package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os/exec"
	"runtime"
	"strings"
	"time"

	"github.com/vishvananda/netns"
)

// mac is that of an address in the n-th network.
func mac(n, host int) string { return fmt.Sprintf("fa:16:3e:00:%02x:%02x", n, host) }

// address does in a guest what its DHCP client would.
func address(ctx context.Context, guest string, n int) error {
	for _, command := range []string{"address add 10.0.%d.2/24 dev eth0", "link set dev eth0 up", "route add default via 10.0.%d.1"} {
		command = "-n " + guest + " " + strings.ReplaceAll(command, "%d", fmt.Sprint(n))
		if err := ip(ctx, command); err != nil {
			return err
		}
	}
	return nil
}

func ip(ctx context.Context, command string) error {
	if out, err := exec.CommandContext(ctx, "ip", strings.Fields(command)...).CombinedOutput(); err != nil {
		return fmt.Errorf("ip %s: %w: %s", command, err, out)
	}
	return nil
}

// serve answers with a text on an address inside a namespace, until the returned function is called.
func serve(namespace, at, text string) (stop func(), err error) {
	server := &http.Server{ReadHeaderTimeout: time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = fmt.Fprintf(w, "I am %s's server, and you are %s", text, r.RemoteAddr)
	})}
	var listener net.Listener
	err = inside(namespace, func() error {
		listener, err = net.Listen("tcp", at)
		return err
	})
	if err != nil {
		return nil, err
	}
	go func() { _ = server.Serve(listener) }()
	return func() { _ = server.Close() }, nil
}

// ask gets a page from inside a namespace.
func ask(ctx context.Context, namespace, url string) (answer string, err error) {
	dial := func(ctx context.Context, network, address string) (conn net.Conn, err error) {
		err = inside(namespace, func() error {
			conn, err = new(net.Dialer).DialContext(ctx, network, address)
			return err
		})
		return conn, err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return "", err
	}
	client := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DialContext: dial, DisableKeepAlives: true}}
	response, err := client.Do(request)
	if err != nil {
		return "", err
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	return string(body), err
}

// inside runs a function in a namespace: a goroutine that ends locked takes its thread with it.
func inside(namespace string, do func() error) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread()
		at, err := netns.GetFromName(namespace)
		if err == nil {
			defer func() { _ = at.Close() }()
			err = netns.Set(at)
		}
		if err == nil {
			err = do()
		}
		done <- err
	}()
	return <-done
}
