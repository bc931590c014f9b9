package cloud

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/kintoun/kintoun/identity/fernet"
	"github.com/kintoun/kintoun/image"
	imagedriver "github.com/kintoun/kintoun/image/driver"
	"github.com/kintoun/kintoun/objectstore"
	objectdriver "github.com/kintoun/kintoun/objectstore/driver"
)

// Service names one of the cloud's HTTP services, each on a port of its own.
type Service string

// The services.
const (
	Identity Service = "identity"
	Compute  Service = "compute"
	Network  Service = "network"
	Image    Service = "image"
	// ObjectStore is Swift's dialect of object storage, S3 Amazon's, over the same objects.
	ObjectStore Service = "object-store"
	S3          Service = "s3"
	Volume      Service = "volume"
)

// Services are all of them, in the order that they are listed to users.
func Services() []Service {
	return []Service{Identity, Compute, Network, Image, ObjectStore, S3, Volume}
}

// DefaultPorts are the ports that OpenStack's services have; S3, which is none, has the one that its tools expect.
func DefaultPorts() map[Service]int {
	return map[Service]int{Identity: 5000, Compute: 8774, Network: 9696, Image: 9292, ObjectStore: 8080, S3: 9000, Volume: 8776}
}

// Domains are the packages that keep something in a database.
func Domains() []string {
	return []string{"identity", "image", "network", "compute", "lbaas", "objectstore", "volume"}
}

// Options say what cloud to start. DB or DBs, Images and Objects are required.
type Options struct {
	// DB keeps the cloud's state, in tables that begin with each domain's name. The caller closes it after [Cloud.Wait].
	DB *sql.DB
	// DBs are databases that single domains have for themselves, by the names in [Domains]: what is written there waits for nobody
	// else's writes. DB is not needed where all have one. The caller closes them after [Cloud.Wait].
	DBs map[string]*sql.DB
	// Images keeps the contents of images.
	Images imagedriver.Store
	// MoreImages are further stores of images, by name.
	MoreImages map[string]imagedriver.Store
	// ImageStores are the names of the stores that images are kept in, the default first: the Kind of Images ("file"),
	// [ObjectImages], and those of MoreImages; by default the first alone.
	ImageStores []string
	// ImageCopies is the directory for local copies of images that are kept as objects; without one no server boots from them.
	ImageCopies string
	// ImageQuota bounds what images each project has; ImageInUse says whether something needs an image, which then cannot be
	// deleted; ImageWeb is what images can be downloaded with, by its own rules; nil is not at all.
	ImageQuota image.Quota
	ImageInUse func(ctx context.Context, id string) (bool, error)
	ImageWeb   image.Downloader
	// ShowImageLocations shows users where the contents of images are kept.
	ShowImageLocations bool
	// ImageProtections say who may do what with images' properties; none leaves them to the images' owners.
	ImageProtections []image.Protection
	// Objects keeps the contents of objects; the caller closes it after [Cloud.Wait].
	Objects objectdriver.Store
	// ObjectRates bound how fast accounts and containers of objects may be changed; none by default.
	ObjectRates objectstore.RateLimits
	// Keys seal tokens; by default new ones, whose tokens end with the process.
	Keys *fernet.Keys
	// SecretsKey seals the keys of encrypted volumes, 32 bytes; random by default: such volumes end with the process.
	SecretsKey []byte
	// MetadataSecret is what the metadata service shares with its proxies, 16 bytes or more; a random one by default.
	MetadataSecret []byte

	// Listen is the address that the APIs listen on; 127.0.0.1 by default.
	Listen string
	// Ports are the APIs' ports, zero for a free one; [DefaultPorts] by default.
	Ports map[Service]int
	// Listeners replace Listen and Ports where they are given. The first of a service is the one that clients are told.
	Listeners Listeners
	// PublicHost is the host name or address that clients are told; by default that of the listener. A cloud that listens on
	// all addresses, or behind something that forwards its ports, needs one.
	PublicHost string
	// Before is asked before every request; the error that it returns is the answer. See package inject for a use.
	Before func(w http.ResponseWriter, r *http.Request) error
	// Wrap goes around the APIs' handlers, for metrics and the like; nil is nothing.
	Wrap func(service Service, handler http.Handler) http.Handler

	// Name tells this process from others on the same database; "allinone" by default.
	Name string
	// Region is the name of the cloud's only region; "RegionOne" by default.
	Region string
	// AdminPassword is set when the administrator is made, at the first start; a random one by default, see [Cloud.Admin].
	AdminPassword string
	// AdminPasswordRandom says that AdminPassword was drawn at random, 128 bits or more: it needs no slow hash.
	AdminPasswordRandom bool
	// BcryptCost is what hashing a user's password costs; 10 by default, about 60 ms.
	BcryptCost int
	// TunnelType ("gre" or "vxlan") and MTU are those of projects' networks; vxlan and 1450 by default.
	TunnelType string
	MTU        int
	// PollBalancers is how often hosts ask their balancers for the health of members; a second by default.
	PollBalancers time.Duration
	// Now is the clock; time.Now by default.
	Now func() time.Time
	// Log hears what happens; nil discards it.
	Log *slog.Logger
}

// PhysicalNetwork is the name of the network that stands for the world outside.
const PhysicalNetwork = "public"

// db is the database of a domain.
func (o *Options) db(domain string) *sql.DB {
	if db := o.DBs[domain]; db != nil {
		return db
	}
	return o.DB
}

// check says what is missing.
func (o *Options) check() error {
	for _, domain := range Domains() {
		if o.db(domain) == nil {
			return fmt.Errorf("a cloud needs a database for %s", domain)
		}
	}
	if o.Images == nil || o.Objects == nil {
		return errors.New("a cloud needs an image store and an object store")
	}
	return nil
}

// bcryptCost is the default.
const bcryptCost = 10

func (o *Options) withDefaults() Options {
	filled := *o
	fill(&filled.Listen, "127.0.0.1")
	fill(&filled.Name, "allinone")
	fill(&filled.Region, "RegionOne")
	fill(&filled.TunnelType, "vxlan")
	fill(&filled.MTU, 1450)
	fill(&filled.BcryptCost, bcryptCost)
	if filled.Ports == nil {
		filled.Ports = DefaultPorts()
	}
	if filled.Keys == nil {
		filled.Keys = fernet.New(nil)
	}
	if filled.Wrap == nil {
		filled.Wrap = func(_ Service, handler http.Handler) http.Handler { return handler }
	}
	if filled.Now == nil {
		filled.Now = time.Now
	}
	if filled.Log == nil {
		filled.Log = slog.New(slog.DiscardHandler)
	}
	return filled
}

func fill[T comparable](field *T, value T) {
	var none T
	if *field == none {
		*field = value
	}
}

// URL is the address that clients reach a service at.
func (o *Options) URL(s Service) string {
	host, port := o.Listen, fmt.Sprint(o.Ports[s])
	if l := o.Listeners[s]; len(l) > 0 {
		host, port, _ = net.SplitHostPort(l[0].Addr().String())
	}
	if o.PublicHost != "" {
		host = o.PublicHost
	}
	return "http://" + net.JoinHostPort(host, port)
}
