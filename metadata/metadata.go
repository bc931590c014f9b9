// Package metadata answers what a server asks about itself at http://169.254.169.254: the tree of Amazon's EC2
// (/2009-04-04/meta-data/…, /latest/…) and OpenStack's documents (/openstack/latest/meta_data.json, …), as cloud-init
// and its like read them. Source: OpenStack Compute's administrator guide, "Metadata service".
//
//	service, err := metadata.New(source, secret, nil)
//	metadata.Sign(request.Header, secret, caller)
//	service.ServeHTTP(answer, request)
//
// A server is told from others by the network that it asks from and its address there, because two projects may use the
// same addresses. Package metadata/proxy listens inside the networks' and routers' namespaces, finds out both and
// passes the request on, signed ([Sign]) with a secret that it shares with the [Service]. What the service knows of
// servers it asks of a [Source]. A whole program: examples/metadata, a metadata service for somebody's own manager of
// virtual machines.
//
// # What it needs
//
// A Source, and a secret of at least [SecretLength] bytes. It needs nothing of the host.
//
// # What it does not do
//
// It does not find out who asks: an unsigned request is refused, a signed one believed. It keeps nothing itself:
// passwords that servers post go to a Source that is a [Passwords]. It makes no configuration drive.
//
// # Errors
//
// New refuses what cannot be with [ErrInvalid]. A Source says [ErrNotFound] for a server that it does not know, which
// is a 404; [ErrUnavailable] and other errors are a 503 or 500, which cloud-init asks again. [ErrConflict] is a
// password that is there already.
//
// # Concurrency
//
// A Service is safe for concurrent use, and asks its Source from many goroutines. It keeps no state that a kill could
// lose.
package metadata

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"log/slog"
	"net/netip"
	"time"

	"github.com/kintoun/kintoun/internal/fault"
)

// The kinds of error that this package returns or that a [Source] may return.
var (
	// ErrNotFound is what a Source answers for an address that is no server's.
	ErrNotFound = fault.ErrNotFound
	// ErrInvalid is a secret that is too short.
	ErrInvalid = fault.ErrInvalid
	// ErrUnavailable is a Source that cannot tell for now: the server is told to come back (503).
	ErrUnavailable = fault.ErrUnavailable
	// ErrConflict is a password that was set before.
	ErrConflict = fault.ErrConflict
)

// Source knows the servers.
type Source interface {
	// Instance returns the server with that address in that network, or an error that is [ErrNotFound].
	Instance(ctx context.Context, networkID string, address netip.Addr) (*Instance, error)
}

// Passwords is a [Source] that also keeps what servers post at /openstack/latest/password: their
// administrator's password, encrypted with the key pair's public key.
type Passwords interface {
	Source
	// Password returns what the server has posted, or nil.
	Password(ctx context.Context, instanceID string) ([]byte, error)
	// SetPassword keeps what the server posts, or returns an error that is [ErrConflict] where there is something already.
	SetPassword(ctx context.Context, instanceID string, password []byte) error
}

// Instance is a server as it may know itself.
type Instance struct {
	// ID is the server's UUID.
	ID        string
	ProjectID string
	Name      string
	Hostname  string
	// Flavor is the flavor's name.
	Flavor string
	// EC2ID, ImageEC2ID, KernelEC2ID and RamdiskEC2ID are identifiers in the form of EC2 ("i-0000002a", see [EC2ID]); the
	// last two are empty where the image is whole.
	EC2ID, ImageEC2ID, KernelEC2ID, RamdiskEC2ID string
	// FixedIPs and FloatingIPs begin with the main one.
	FixedIPs    []netip.Addr
	FloatingIPs []netip.Addr
	Keys        []Key
	// UserData is nil where there is none.
	UserData         []byte
	AvailabilityZone string
	// LaunchIndex counts the servers that one request has made, from 0.
	LaunchIndex    int
	ReservationID  string
	SecurityGroups []string
	// Meta are the tags that the server's owner gave it.
	Meta       map[string]string
	Interfaces []Interface
	LaunchedAt time.Time
	// RootDevice is the disk that the server boots from: "/dev/vda".
	RootDevice string
	// VolumeDevices are the disks that are volumes, the root too if it is one: "/dev/vdb".
	VolumeDevices []string
}

// Key is a public key for logging in.
type Key struct {
	Name string
	// Type is "ssh" or "x509"; empty is "ssh".
	Type      string
	PublicKey string
}

// Interface is a network interface, for network_data.json.
type Interface struct {
	PortID    string
	NetworkID string
	// Device is the host's end: "tap3f2504e0-4f".
	Device string
	// Type is the kind of that end, "ovs" or "bridge"; empty is "bridge".
	Type      string
	MAC       string
	MTU       int
	Addresses []InterfaceAddress
}

// InterfaceAddress is an address of an interface and what its subnet says.
type InterfaceAddress struct {
	// Address has its subnet's prefix length.
	Address netip.Prefix
	// DHCP is set where the server is to ask for the address; nothing more is told about it then.
	DHCP    bool
	Gateway netip.Addr
	DNS     []netip.Addr
	Routes  []Route
}

// Route is a route of a subnet's hosts.
type Route struct {
	Destination netip.Prefix
	NextHop     netip.Addr
}

// Options tune a service; nil and zero values are fine.
type Options struct {
	// VendorData is what vendor_data.json says; empty is {}.
	VendorData json.RawMessage
	// Log receives what goes wrong; nil discards it.
	Log *slog.Logger
	// Now is the clock; nil is the system's.
	Now func() time.Time
	// Random is where random_seed comes from; nil is the system's.
	Random io.Reader
}

// Service answers servers' requests. See [Service.ServeHTTP].
type Service struct {
	source  Source
	secret  []byte
	options Options
}

// SecretLength is the least number of bytes in a secret.
const SecretLength = 16

// New returns a service that believes requests signed with secret.
func New(source Source, secret []byte, options *Options) (*Service, error) {
	if len(secret) < SecretLength {
		return nil, fault.Wrap(ErrInvalid, "the metadata secret has %d bytes, fewer than %d", len(secret), SecretLength)
	}
	s := &Service{source: source, secret: append([]byte(nil), secret...)}
	if options != nil {
		s.options = *options
	}
	if len(s.options.VendorData) == 0 {
		s.options.VendorData = json.RawMessage("{}")
	}
	if s.options.Log == nil {
		s.options.Log = slog.New(slog.DiscardHandler)
	}
	if s.options.Now == nil {
		s.options.Now = time.Now
	}
	if s.options.Random == nil {
		s.options.Random = rand.Reader
	}
	return s, nil
}

// EC2ID makes an identifier in the form of EC2 from a kind ("i", "ami", "aki", "ari") and a UUID. An empty UUID has none.
func EC2ID(kind, uuid string) string {
	if uuid == "" {
		return ""
	}
	sum := sha256.Sum256([]byte(uuid))
	return kind + "-" + hex.EncodeToString(sum[:4])
}
