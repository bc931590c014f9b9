// Command vmdata is a metadata service.
package main

import (
	"context"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"os/signal"

	"github.com/kintoun/kintoun/metadata"
	"github.com/kintoun/kintoun/metadata/proxy"
)

type book map[netip.Addr]metadata.Instance

func (b book) Instance(_ context.Context, networkID string, address netip.Addr) (*metadata.Instance, error) {
	i, ok := b[address]
	if !ok || networkID != "lan" {
		return nil, fmt.Errorf("%s in %s: %w", address, networkID, metadata.ErrNotFound)
	}
	return &i, nil
}

func main() {
	listen := flag.String("listen", "127.0.0.1:8775", "where")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, *listen); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context, listen string) error {
	close, err := start(ctx, netip.MustParseAddrPort(listen), book{netip.MustParseAddr("127.0.0.1"): {ID: "1", Name: "me", Hostname: "me.example.org"}})
	if err != nil {
		return err
	}
	<-ctx.Done()
	return close()
}

func start(ctx context.Context, listen netip.AddrPort, b book) (func() error, error) {
	secret := []byte("0123456789abcdef")
	service, err := metadata.New(b, secret, nil)
	if err != nil {
		return nil, err
	}
	p, err := proxy.New(proxy.InProcess(service), secret, nil)
	if err != nil {
		return nil, err
	}
	return p.Close, p.Apply(ctx, proxy.Want{ID: "lan", NetworkID: "lan", Listen: listen})
}
