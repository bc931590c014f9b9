//go:build linux

package proxy_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"

	"github.com/kintoun/kintoun/metadata"
	"github.com/kintoun/kintoun/metadata/memmetadata"
	"github.com/kintoun/kintoun/metadata/proxy"
)

// A proxy in the process's own namespace, in front of a service in the same process. In a cloud, a Want names the
// namespace of a network's DHCP server, and listens on [proxy.NetworkListen].
func Example() {
	secret := []byte("at least sixteen random bytes")
	source := memmetadata.New(nil)
	source.Put("net-one", netip.MustParseAddr("127.0.0.1"), &metadata.Instance{Name: "vm1", Hostname: "vm1.example.org"})
	service, err := metadata.New(source, secret, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	p, err := proxy.New(proxy.InProcess(service), secret, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = p.Close() }()

	listen := freePort()
	if err := p.Apply(context.Background(), proxy.Want{ID: "net-one", Listen: listen, NetworkID: "net-one"}); err != nil {
		fmt.Println(err)
		return
	}
	response, err := http.Get("http://" + listen.String() + "/latest/meta-data/hostname")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	fmt.Println(string(body), err)
	// Output: vm1.example.org <nil>
}

func freePort() netip.AddrPort {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return netip.AddrPort{}
	}
	defer func() { _ = l.Close() }()
	return netip.MustParseAddrPort(l.Addr().String())
}
