package nbd

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"os"
	"path/filepath"

	"github.com/kintoun/kintoun/volume/driver"
)

// Open opens what a connection of a volume says: over a Unix socket, or over TCP, with TLS where there are credentials.
func Open(ctx context.Context, target *driver.NBD) (*Client, error) {
	o := &Options{Export: target.Export}
	if target.Socket != "" {
		return openUnix(ctx, target.Socket, o)
	}
	if target.TLS != nil {
		config, err := clientConfig(target)
		if err != nil {
			return nil, fmt.Errorf("credentials for %s: %w", target.Address, err)
		}
		o.TLS = config
	}
	return Dial(ctx, "tcp", target.Address, o)
}

// openUnix reaches sockets whose paths are longer than an address may be.
func openUnix(ctx context.Context, path string, o *Options) (*Client, error) {
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return nil, err
	}
	defer func() { _ = dir.Close() }()
	return Dial(ctx, "unix", fmt.Sprintf("/proc/self/fd/%d/%s", dir.Fd(), filepath.Base(path)), o)
}

func clientConfig(target *driver.NBD) (*tls.Config, error) {
	host, _, err := net.SplitHostPort(target.Address)
	if err != nil {
		return nil, err
	}
	pair, err := tls.X509KeyPair(target.TLS.Certificate, target.TLS.Key)
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(target.TLS.CA)
	return &tls.Config{RootCAs: roots, Certificates: []tls.Certificate{pair}, ServerName: host, MinVersion: tls.VersionTLS13}, nil
}
