//go:build linux

package nbdserver

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"time"

	"github.com/kintoun/kintoun/volume/driver"
	"github.com/kintoun/kintoun/volume/internal/nbd"
)

// answers asks the server what it exports, as the connected host will.
func (s *Server) answers(ctx context.Context, patience time.Duration) (*driver.NBD, error) {
	credentials, err := clientTLS(s.Dir)
	if err != nil {
		return nil, err
	}
	target := &driver.NBD{Address: s.Address, Export: s.Export, TLS: credentials}
	config, err := config(target)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	client, err := nbd.Dial(ctx, "tcp", s.Address, &nbd.Options{Export: s.Export, TLS: config})
	if err != nil {
		return nil, err
	}
	size := client.Size()
	if err := client.Close(); err != nil {
		return nil, err
	}
	if size != s.Bytes {
		return nil, fmt.Errorf("an export of %d bytes, not %d", size, s.Bytes)
	}
	return target, nil
}

// config is a client's, of what a target says.
func config(target *driver.NBD) (*tls.Config, error) {
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
