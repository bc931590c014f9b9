//go:build linux

package nbdserver

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/kintoun/kintoun/volume/driver"
	"github.com/kintoun/kintoun/volume/internal/connections"
)

// The files of a connection's certificates; the server's have the names that QEMU's tls-creds-x509 looks for.
const (
	caFile         = "ca-cert.pem"
	serverCertFile = "server-cert.pem"
	serverKeyFile  = "server-key.pem"
	clientCertFile = "client-cert.pem"
	clientKeyFile  = "client-key.pem"
)

// certificateYears is how long a connection can last.
const certificateYears = 20

// makeCertificates makes an authority for one connection alone, and with it a certificate for each end. The authority's key is
// forgotten: the server lets in who has the client's certificate, nobody else ever has one, and there is nothing to revoke.
func makeCertificates(dir, connectionID, address string) error {
	now := time.Now()
	base := x509.Certificate{NotBefore: now.Add(-24 * time.Hour), NotAfter: now.AddDate(certificateYears, 0, 0), BasicConstraintsValid: true}
	ca := base
	ca.Subject = pkix.Name{CommonName: "kintoun volume connection " + connectionID}
	ca.IsCA, ca.KeyUsage = true, x509.KeyUsageCertSign
	caKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	if _, err := writeCertificate(dir, caFile, "", &ca, &ca, caKey); err != nil {
		return err
	}
	server := base
	server.Subject = pkix.Name{CommonName: "server"}
	server.KeyUsage, server.ExtKeyUsage = x509.KeyUsageDigitalSignature, []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return err
	}
	if ip := net.ParseIP(host); ip != nil {
		server.IPAddresses = []net.IP{ip}
	} else {
		server.DNSNames = []string{host}
	}
	if _, err := writeCertificate(dir, serverCertFile, serverKeyFile, &server, &ca, caKey); err != nil {
		return err
	}
	client := base
	client.Subject = pkix.Name{CommonName: "client"}
	client.KeyUsage, client.ExtKeyUsage = x509.KeyUsageDigitalSignature, []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	_, err = writeCertificate(dir, clientCertFile, clientKeyFile, &client, &ca, caKey)
	return err
}

// writeCertificate signs one and writes it; without a name for its key it is the authority's own.
func writeCertificate(dir, certName, keyName string, cert, ca *x509.Certificate, caKey *ecdsa.PrivateKey) (key *ecdsa.PrivateKey, err error) {
	key = caKey
	if keyName != "" {
		if key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
			return nil, err
		}
	}
	if cert.SerialNumber, err = rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127)); err != nil {
		return nil, err
	}
	der, err := x509.CreateCertificate(rand.Reader, cert, ca, &key.PublicKey, caKey)
	if err != nil {
		return nil, err
	}
	if err := connections.Replace(filepath.Join(dir, certName), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})); err != nil || keyName == "" {
		return key, err
	}
	if der, err = x509.MarshalPKCS8PrivateKey(key); err != nil {
		return nil, err
	}
	return key, connections.Replace(filepath.Join(dir, keyName), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}

// clientTLS is what the connected host authenticates with.
func clientTLS(dir string) (*driver.TLS, error) {
	var t driver.TLS
	var errs []error
	for _, part := range []struct {
		name string
		to   *[]byte
	}{{caFile, &t.CA}, {clientCertFile, &t.Certificate}, {clientKeyFile, &t.Key}} {
		var err error
		*part.to, err = os.ReadFile(filepath.Join(dir, part.name))
		errs = append(errs, err)
	}
	if err := errors.Join(errs...); err != nil {
		return nil, fmt.Errorf("certificates: %w", err)
	}
	return &t, nil
}
