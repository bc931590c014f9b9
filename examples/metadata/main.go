//go:build linux

// Command metadata gives the virtual machines of somebody's own manager a metadata service: what cloud-init asks for at
// http://169.254.169.254. What it knows of them is a map, where yours is a database or a directory.
//
// By hand, with this machine playing the virtual machine, it needs nothing:
//
//	metadata -listen 127.0.0.1:8080 &
//	curl http://127.0.0.1:8080/latest/meta-data/hostname
//
// For machines on a bridge of the host it needs root: give the bridge 169.254.169.254/32, and -listen there, on port 80.
package main

import (
	"context"
	"crypto/rand"
	"flag"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/signal"
	"syscall"

	"github.com/kintoun/kintoun/metadata"
	"github.com/kintoun/kintoun/metadata/proxy"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "metadata:", err)
		os.Exit(1)
	}
}

// machines are the source of truth. With several networks, which may use the same addresses, networkID tells them apart.
type machines map[string]*metadata.Instance

var known = machines{
	"127.0.0.1": {ID: "0", Name: "vm0", Hostname: "vm0.example.org"},
	"10.0.0.2":  {ID: "1", Name: "vm1", Hostname: "vm1.example.org", UserData: []byte("#cloud-config\npackages: [nginx]\n")},
	"10.0.0.3":  {ID: "2", Name: "vm2", Hostname: "vm2.example.org", Keys: []metadata.Key{{Name: "alice", PublicKey: "ssh-ed25519 AAAA… alice"}}},
}

func (m machines) Instance(_ context.Context, networkID string, address netip.Addr) (*metadata.Instance, error) {
	if vm, ok := m[address.String()]; ok {
		return vm, nil
	}
	return nil, fmt.Errorf("no machine has %s in network %s: %w", address, networkID, metadata.ErrNotFound)
}

func run(ctx context.Context, args []string, out io.Writer) error {
	flags := flag.NewFlagSet("metadata", flag.ContinueOnError)
	var at netip.AddrPort
	flags.TextVar(&at, "listen", netip.MustParseAddrPort("127.0.0.1:8080"), "`address:port` that the machines ask")
	if err := flags.Parse(args); err != nil {
		return err
	}
	// The service believes what is signed, and the proxy signs: they could be two programs.
	secret := []byte(rand.Text())
	service, err := metadata.New(known, secret, nil)
	if err != nil {
		return err
	}
	front, err := proxy.New(proxy.InProcess(service), secret, nil)
	if err != nil {
		return err
	}
	defer func() { _ = front.Close() }()
	if err := front.Apply(ctx, proxy.Want{ID: "lan", NetworkID: "lan", Listen: at}); err != nil {
		return err
	}
	fmt.Fprintf(out, "%d machines are answered on http://%s\n", len(known), at)
	<-ctx.Done()
	return nil
}
