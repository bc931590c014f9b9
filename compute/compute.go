// Package compute runs servers on hosts: flavors, keypairs, server groups, aggregates, hosts, quotas, and servers from
// their specification to their end, with the meaning that OpenStack's Compute API gives them.
//
// A [Service] validates, schedules and records what is wanted, and returns; an [Agent] on each host follows the
// records, makes the host match through a [driver.Servers], and reports what it observes:
//
//	service, err := compute.New(ctx, db, images, networks, nil)
//	agent := compute.NewAgent(service, "host1", memcompute.New(memcompute.NewHost(), nil), networks, images, &compute.AgentOptions{
//		Resources: compute.Resources{VCPUs: 2, MemoryMiB: 4096, DiskGiB: 50},
//	})
//	go func() { stopped <- agent.Run(ctx) }()
//	servers, err := service.CreateServers(ctx, demo, compute.ServerSpec{Name: "vm1", FlavorID: "1", ImageID: imageID})
//	server, err := service.Await(ctx, demo, servers[0].ID, func(v *compute.Server) bool { return v.VMState != compute.Building })
//
// A whole program without a real host is the package's example; with one, examples/allinone.
//
// # What it needs
//
// A *sql.DB of SQLite or PostgreSQL, opened as [New] says, whose tables with names in "compute_" it makes and migrates;
// [Images] and [Networks] where the service runs, [ImageFiles] and [Plugger] where an agent runs, for volumes [Volumes] and
// [Connector] too: small interfaces, to be filled by adapters. Of the host it needs nothing itself; what drivers need, package qemu's Probe says.
//
// # What it does not do
//
// It asks nobody who the caller is: a [Scope] is believed. It does not resize or migrate servers; ports are attached
// when a server is made, and its only local disk is its root. It touches no host: where no agent is alive, a
// server becomes ERROR, "No valid host was found".
//
// # Errors
//
// Every error wraps one of the kinds below, found with errors.Is, with what and which in the words of OpenStack's
// compute API. Bad input is refused before anything is written. What goes wrong on a host is no error of a call: the
// server's state becomes ERROR, and its [Fault] says why.
//
// # Concurrency
//
// All methods are safe for concurrent use. Several services and agents, in one process or many, may share one database.
//
// # When the process ends
//
// Servers go on. What was wanted is in the database, and an agent that starts again adopts what runs and ends what
// should not. A creation that was cut short is finished or cleaned up by the next agent; so is the attachment or detachment
// of a volume: what is to be is written down before anything is promised, and what was promised is found again. An image of
// a server that was cut short is made anew.
package compute

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/kintoun/kintoun/internal/converge"
	"github.com/kintoun/kintoun/internal/fault"
	"github.com/kintoun/kintoun/internal/record"
)

// The kinds of error that this package returns.
var (
	ErrNotFound    = fault.ErrNotFound
	ErrConflict    = fault.ErrConflict
	ErrInvalid     = fault.ErrInvalid
	ErrQuota       = fault.ErrQuota
	ErrForbidden   = fault.ErrForbidden
	ErrUnavailable = fault.ErrUnavailable
	ErrUnsupported = fault.ErrUnsupported
	ErrExhausted   = fault.ErrExhausted
)

// DefaultZone is the availability zone of hosts that no aggregate places elsewhere.
const DefaultZone = "nova"

// Scope is in whose name something is done. What lies outside it does not exist for it.
type Scope struct {
	ProjectID, UserID string
	// Admin may act on every project.
	Admin bool
	// Roles are the names of the caller's roles, for the services that go by them; none is a program that acts as itself.
	Roles []string
	// RequestID names the request in the server's list of actions; empty makes one up.
	RequestID string
}

func (s Scope) sees(projectID string) bool { return s.Admin || s.ProjectID == projectID }

// Options are optional.
type Options struct {
	// CPURatio, RAMRatio and DiskRatio are how far a host's resources are promised more than once;
	// 16, 1.5 and 1 by default, as in Nova.
	CPURatio, RAMRatio, DiskRatio float64
	// DownAfter is how long a host may be silent before it counts as down; a minute by default.
	DownAfter time.Duration
	// KeepDeleted is how long deleted servers are remembered, for usage and changes-since; 30 days by default.
	KeepDeleted time.Duration
	// Volumes are the disks that outlive servers; without them servers have only their own.
	Volumes Volumes
	// Quota is what a project may have unless its own quota says otherwise; [DefaultQuota] by default.
	Quota *Quota
	// Now is the clock; time.Now by default.
	Now func() time.Time
}

// Service is compute's control plane. Create it with [New].
type Service struct {
	store    *record.Store
	hub      *converge.Hub
	images   Images
	networks Networks
	volumes  Volumes // nil for none
	options  Options

	flavors    *record.Table[Flavor]
	keypairs   *record.Table[Keypair]
	servers    *record.Table[Server]
	groups     *record.Table[ServerGroup]
	hosts      *record.Table[Host]
	aggregates *record.Table[Aggregate]
	actions    *record.Table[Action]
	imageJobs  *record.Table[imageJob]
	quotas     *record.Table[projectQuota]
	counters   *record.Table[counter]

	tidying converge.Turn

	mu     sync.Mutex
	agents map[string]*Agent // those that run in this process, by host
}

// New opens the service and creates or extends its tables in db.
//
// A SQLite database is to be opened with immediate transactions and a busy timeout; with modernc.org/sqlite:
// "file:cloud.db?_txlock=immediate&_pragma=busy_timeout(10000)&_pragma=journal_mode(WAL)"; or with db.SetMaxOpenConns(1).
// Several domains may share it.
func New(ctx context.Context, db *sql.DB, images Images, networks Networks, options *Options) (*Service, error) {
	store, err := record.Open(ctx, db, "compute")
	if err != nil {
		return nil, err
	}
	s := &Service{store: store, hub: converge.NewHub(store, concerned, nil), images: images, networks: networks, agents: map[string]*Agent{}}
	if options != nil {
		s.options = *options
	}
	s.options.setDefaults()
	s.volumes = s.options.Volumes
	s.flavors = record.Define(store, "flavors", flavorSpec)
	s.keypairs = record.Define(store, "keypairs", keypairSpec)
	s.servers = record.Define(store, serversKind, serverSpec)
	s.groups = record.Define(store, "server_groups", groupSpec)
	s.hosts = record.Define(store, "hosts", hostSpec)
	s.aggregates = record.Define(store, "aggregates", aggregateSpec)
	s.actions = record.Define(store, "actions", actionSpec)
	s.imageJobs = record.Define(store, imageJobsKind, imageJobSpec)
	s.quotas = record.Define(store, "quotas", quotaSpec)
	s.counters = record.Define(store, "counters", counterSpec)
	store.UseClock(s.options.Now)
	if err := store.Migrate(ctx); err != nil {
		return nil, fmt.Errorf("compute's tables: %w", err)
	}
	return s, nil
}

func (o *Options) setDefaults() {
	if o.CPURatio <= 0 {
		o.CPURatio = 16
	}
	if o.RAMRatio <= 0 {
		o.RAMRatio = 1.5
	}
	if o.DiskRatio <= 0 {
		o.DiskRatio = 1
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.DownAfter <= 0 {
		o.DownAfter = time.Minute
	}
	if o.KeepDeleted <= 0 {
		o.KeepDeleted = 30 * 24 * time.Hour
	}
	if o.Quota == nil {
		quota := DefaultQuota()
		o.Quota = &quota
	}
}

// now has the precision that the database keeps.
func (s *Service) now() time.Time { return s.options.Now().UTC().Truncate(time.Microsecond) }

// counter gives out small numbers, for the identifiers that OpenStack has as integers.
type counter struct {
	Name     string
	Last     int64
	Revision int64
}

var counterSpec = record.Spec[counter]{
	Key:      func(c *counter) string { return c.Name },
	Revision: func(c *counter) *int64 { return &c.Revision },
	Quiet:    true,
}

func (s *Service) next(tx *record.Tx, name string) (int64, error) {
	c, err := s.counters.Touch(tx, name, func(c *counter) error { c.Last++; return nil })
	if errors.Is(err, ErrNotFound) {
		c = &counter{Name: name, Last: 1}
		err = s.counters.Insert(tx, c)
	}
	if err != nil {
		return 0, err
	}
	return c.Last, nil
}

// notFound says in the API's words what was not found, and keeps every other error.
func notFound(err error, format string, args ...any) error {
	if errors.Is(err, ErrNotFound) {
		return fault.Wrap(ErrNotFound, format, args...)
	}
	return err
}
