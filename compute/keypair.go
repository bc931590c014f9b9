package compute

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"strings"
	"time"

	"github.com/kintoun/kintoun/internal/fault"
	"github.com/kintoun/kintoun/internal/record"
	"golang.org/x/crypto/ssh"
)

// Keypair is a public SSH key that a user's servers are given. It belongs to the user, not to a project.
type Keypair struct {
	Name, UserID string
	// Number is the identifier that Nova shows as an integer.
	Number int64
	// Type is "ssh".
	Type      string
	PublicKey string
	// Fingerprint is the key's MD5 in hexadecimal pairs, as Nova shows it.
	Fingerprint string
	CreatedAt   time.Time
	Revision    int64
}

var keypairSpec = record.Spec[Keypair]{
	Key:      func(k *Keypair) string { return keypairKey(k.UserID, k.Name) },
	Revision: func(k *Keypair) *int64 { return &k.Revision },
	Event:    func(*Keypair) record.Event { return record.Event{Type: "keypair"} },
	Columns: []record.Column[Keypair]{
		{Name: "owner", Value: func(k *Keypair) any { return k.UserID }},
		{Name: "name", Value: func(k *Keypair) any { return k.Name }},
	},
}

func keypairKey(userID, name string) string { return userID + "/" + name }

// KeyAlgorithm is what a generated key is made with.
type KeyAlgorithm string

// The algorithms that keys are generated with. Keys of every kind that SSH knows can be imported.
const (
	RSA     KeyAlgorithm = "ssh-rsa"
	Ed25519 KeyAlgorithm = "ssh-ed25519"
	ECDSA   KeyAlgorithm = "ecdsa-sha2-nistp256"
)

// ImportKeypair stores a public key in the form of an authorized_keys line.
func (s *Service) ImportKeypair(ctx context.Context, userID, name, publicKey string) (*Keypair, error) {
	key, _, options, rest, err := ssh.ParseAuthorizedKey([]byte(publicKey))
	if err != nil || len(options) > 0 || strings.TrimSpace(string(rest)) != "" {
		return nil, fault.Wrap(ErrInvalid, "Keypair data is invalid: failed to generate fingerprint")
	}
	return s.addKeypair(ctx, userID, name, publicKey, key)
}

// GenerateKeypair makes a key and returns its private half, in PEM, which is kept nowhere.
func (s *Service) GenerateKeypair(ctx context.Context, userID, name string, algorithm KeyAlgorithm) (k *Keypair, privateKey string, err error) {
	var private crypto.Signer
	switch algorithm {
	case RSA:
		private, err = rsa.GenerateKey(rand.Reader, 2048)
	case Ed25519:
		_, private, err = ed25519.GenerateKey(rand.Reader)
	case ECDSA:
		private, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	default:
		return nil, "", fault.Wrap(ErrInvalid, "Keypair data is invalid: %q is no algorithm to generate a key with", algorithm)
	}
	if err != nil {
		return nil, "", err
	}
	public, err := ssh.NewPublicKey(private.Public())
	if err != nil {
		return nil, "", err
	}
	block, err := privateKeyBlock(private)
	if err != nil {
		return nil, "", err
	}
	line := strings.TrimSpace(string(ssh.MarshalAuthorizedKey(public))) + " Generated-by-Nova"
	k, err = s.addKeypair(ctx, userID, name, line, public)
	return k, string(pem.EncodeToMemory(block)), err
}

// privateKeyBlock keeps to the older form for RSA, which every client reads.
func privateKeyBlock(private crypto.Signer) (*pem.Block, error) {
	if key, ok := private.(*rsa.PrivateKey); ok {
		return &pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)}, nil
	}
	return ssh.MarshalPrivateKey(private, "Generated-by-Nova")
}

func (s *Service) addKeypair(ctx context.Context, userID, name, line string, public ssh.PublicKey) (*Keypair, error) {
	k := &Keypair{
		Name: name, UserID: userID, Type: "ssh", PublicKey: line,
		Fingerprint: ssh.FingerprintLegacyMD5(public), CreatedAt: s.now(),
	}
	if name == "" || len(name) > 255 {
		return nil, fault.Wrap(ErrInvalid, "Keypair data is invalid: Keypair name must be string and between 1 and 255 characters long")
	}
	err := s.store.Update(ctx, func(tx *record.Tx) error {
		have, err := s.keypairs.Count(tx, record.Eq("owner", userID))
		if err != nil {
			return err
		}
		if limit := s.options.Quota.KeyPairs; limit >= 0 && have >= limit {
			return fault.Wrap(ErrQuota, "Quota exceeded, too many key pairs.")
		}
		if k.Number, err = s.next(tx, "keypair"); err != nil {
			return err
		}
		return s.keypairs.Insert(tx, k)
	})
	if errors.Is(err, record.ErrDuplicate) {
		return nil, fault.Wrap(ErrConflict, "Key pair '%s' already exists.", name)
	}
	return k, err
}

// Keypair returns a user's keypair.
func (s *Service) Keypair(ctx context.Context, userID, name string) (*Keypair, error) {
	k, err := s.keypairs.Get(s.store.Read(ctx), keypairKey(userID, name))
	if err != nil {
		return nil, notFound(err, "Keypair %s not found for user %s", name, userID)
	}
	return k, nil
}

// Keypairs lists a user's keypairs by name, from behind the one named marker, at most limit of them (zero: all).
func (s *Service) Keypairs(ctx context.Context, userID, marker string, limit int) ([]Keypair, error) {
	q := record.Query{Where: []record.Condition{record.Eq("owner", userID)}, Order: []record.Order{{Column: "name"}}, Limit: limit}
	if marker != "" {
		q.After = keypairKey(userID, marker)
	}
	list, err := s.keypairs.List(s.store.Read(ctx), q)
	if errors.Is(err, ErrInvalid) {
		return nil, fault.Wrap(ErrInvalid, "marker [%s] not found", marker)
	}
	return list, err
}

// DeleteKeypair deletes a user's keypair. Servers keep the key that they were given.
func (s *Service) DeleteKeypair(ctx context.Context, userID, name string) error {
	err := s.store.Update(ctx, func(tx *record.Tx) error { return s.keypairs.Delete(tx, keypairKey(userID, name)) })
	return notFound(err, "Keypair %s not found for user %s", name, userID)
}
