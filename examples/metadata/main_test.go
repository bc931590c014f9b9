//go:build linux

package main

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"testing"

	"github.com/kintoun/kintoun/internal/lab"
	"github.com/kintoun/kintoun/internal/lab/labtest"
	"github.com/kintoun/kintoun/internal/netns"
	"github.com/stretchr/testify/require"
)

func TestMain(m *testing.M) { os.Exit(lab.Main(m.Run)) }

// Two machines on a bridge ask the address that cloud-init asks.
func TestMachinesLearnWhoTheyAre(t *testing.T) {
	labtest.Require(t)
	ip := func(args ...string) {
		t.Helper()
		said, err := exec.Command("ip", args...).CombinedOutput()
		require.NoError(t, err, "%s", said)
	}
	ip("link", "add", "br0", "up", "type", "bridge")
	ip("address", "add", "10.0.0.1/24", "dev", "br0")
	ip("address", "add", "169.254.169.254/32", "dev", "br0")
	for name, address := range map[string]string{"vm1": "10.0.0.2/24", "vm2": "10.0.0.3/24"} {
		require.NoError(t, netns.Create(name))
		ip("link", "add", name, "up", "master", "br0", "type", "veth", "peer", "name", "eth0", "netns", name)
		ip("-n", name, "address", "add", address, "dev", "eth0")
		ip("-n", name, "link", "set", "eth0", "up")
		ip("-n", name, "route", "add", "169.254.169.254", "dev", "eth0")
	}
	stop := start(t, "-listen", "169.254.169.254:80")
	for _, name := range []string{"vm1", "vm2"} {
		require.Equal(t, name+".example.org", get(t, name, "http://169.254.169.254/latest/meta-data/hostname"))
		var document struct{ UUID, Name string }
		require.NoError(t, json.Unmarshal([]byte(get(t, name, "http://169.254.169.254/openstack/latest/meta_data.json")), &document))
		require.Equal(t, name, document.Name)
	}
	require.Contains(t, get(t, "vm1", "http://169.254.169.254/openstack/latest/user_data"), "packages: [nginx]")
	require.NoError(t, stop())
}

// As the package comment has it, without root.
func TestByHand(t *testing.T) {
	listener, err := net.Listen("tcp4", "127.0.0.1:0")
	require.NoError(t, err)
	at := listener.Addr().String()
	require.NoError(t, listener.Close())
	stop := start(t, "-listen", at)
	require.Equal(t, "vm0.example.org", get(t, "", "http://"+at+"/latest/meta-data/hostname"))
	require.NoError(t, stop())

	require.ErrorContains(t, run(t.Context(), []string{"-listen", "here"}, io.Discard), `"here"`)
}

// start runs the program until stop, which returns what it did.
func start(t *testing.T, args ...string) (stop func() error) {
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	reader, writer := io.Pipe()
	ended := make(chan error, 1)
	go func() {
		err := run(ctx, args, writer)
		_ = writer.CloseWithError(err)
		ended <- err
	}()
	line, err := bufio.NewReader(reader).ReadString('\n')
	require.NoError(t, err)
	require.Contains(t, line, "are answered on")
	return func() error { cancel(); return <-ended }
}

// get asks from inside a namespace.
func get(t *testing.T, namespace, url string) (body string) {
	t.Helper()
	dial := func(ctx context.Context, network, address string) (conn net.Conn, err error) {
		err = netns.Do(namespace, func() error {
			conn, err = new(net.Dialer).DialContext(ctx, network, address)
			return err
		})
		return conn, err
	}
	client := &http.Client{Transport: &http.Transport{DialContext: dial, DisableKeepAlives: true}}
	response, err := client.Get(url)
	require.NoError(t, err)
	defer func() { _ = response.Body.Close() }()
	content, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, response.StatusCode, "%s", content)
	return string(content)
}
