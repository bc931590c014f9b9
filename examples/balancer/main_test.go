//go:build linux

package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"testing"

	"github.com/kintoun/kintoun/internal/lab"
	"github.com/kintoun/kintoun/internal/lab/labtest"
	"github.com/stretchr/testify/require"
	"github.com/vishvananda/netlink"
)

func TestMain(m *testing.M) { os.Exit(lab.Main(m.Run)) }

func TestServersAnswerInTurn(t *testing.T) {
	labtest.Require(t)
	labtest.RequireProgram(t, "haproxy", "haproxy")
	require.NoError(t, netlink.LinkAdd(&netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: "br0"}}))
	bridge, err := netlink.LinkByName("br0")
	require.NoError(t, err)
	address, err := netlink.ParseAddr("192.0.2.1/24")
	require.NoError(t, err)
	require.NoError(t, netlink.AddrAdd(bridge, address))
	require.NoError(t, netlink.LinkSetUp(bridge))
	for n := range 2 {
		listener, err := net.Listen("tcp", fmt.Sprintf("192.0.2.1:808%d", n+1))
		require.NoError(t, err)
		server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "server", n+1) })}
		go func() { _ = server.Serve(listener) }()
		t.Cleanup(func() { _ = server.Close() })
	}

	dir, err := os.MkdirTemp("", "lb") // short, for the socket's sake
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	reader, writer := io.Pipe()
	ended := make(chan error, 1)
	go func() {
		ended <- run(ctx, []string{"-bridge", "br0", "-dir", dir, "-address", "192.0.2.10/24", "192.0.2.1:8081", "192.0.2.1:8082"}, writer)
		_ = writer.Close()
	}()
	said := bufio.NewReader(reader)
	line, err := said.ReadString('\n')
	require.NoError(t, err, "%v", line)
	require.Equal(t, "http://192.0.2.10 is answered by 2 servers\n", line)

	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	answers := map[string]int{}
	for range 10 {
		response, err := client.Get("http://192.0.2.10/")
		require.NoError(t, err)
		body, err := io.ReadAll(response.Body)
		require.NoError(t, err)
		require.NoError(t, response.Body.Close())
		answers[string(body)]++
	}
	require.Equal(t, map[string]int{"server1": 5, "server2": 5}, answers)

	stop()
	rest, err := io.ReadAll(said)
	require.NoError(t, err)
	require.Equal(t, "10 connections, servers that are up: map[server1:true server2:true]\n", string(rest))
	require.NoError(t, <-ended)
	links, err := netlink.LinkList()
	require.NoError(t, err)
	require.Len(t, links, 2, "only lo and the bridge are left: %v", links)
}

func TestItSaysWhatIsWrong(t *testing.T) {
	labtest.RequireProgram(t, "haproxy", "haproxy")
	require.ErrorContains(t, run(t.Context(), []string{"-bridge", "br0", "nonsense"}, io.Discard), "nonsense")
	require.ErrorContains(t, run(t.Context(), []string{"-dir", t.TempDir(), "192.0.2.1:80"}, io.Discard), "address")
}
