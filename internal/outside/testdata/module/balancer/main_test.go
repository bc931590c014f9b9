package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"testing"

	"example.org/outside/alone"
)

func TestMain(m *testing.M) { os.Exit(alone.Main(m)) }

func TestBalancer(t *testing.T) {
	alone.Require(t, "haproxy", "ip")
	const setup = "ip link add br0 up type bridge && ip address add 192.0.2.1/24 dev br0"
	if out, err := exec.Command("sh", "-c", setup).CombinedOutput(); err != nil {
		t.Fatal(err, string(out))
	}
	for n := range 2 {
		l, err := net.Listen("tcp", fmt.Sprintf("192.0.2.1:808%d", n+1))
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		go http.Serve(l, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "server ", n+1) }))
	}
	dir, err := os.MkdirTemp("", "") // short, for the sockets
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	ready, ended := make(chan struct{}), make(chan error, 1)
	go func() {
		ended <- run(ctx, dir, "br0", "192.0.2.10/24", []string{"192.0.2.1:8081", "192.0.2.1:8082"}, func() { close(ready) })
	}()
	select {
	case <-ready:
	case err := <-ended:
		t.Fatal(err)
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	answers := map[string]int{}
	for range 6 {
		r, err := client.Get("http://192.0.2.10/")
		if err != nil {
			t.Fatal(err)
		}
		b, _ := io.ReadAll(r.Body)
		r.Body.Close()
		answers[string(b)]++
	}
	if answers["server 1"] != 3 || answers["server 2"] != 3 {
		t.Error(answers)
	}
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
