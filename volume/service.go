package volume

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
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
)

// DefaultZone is the availability zone of pools that say nothing else.
const DefaultZone = "nova"

// Scope is in whose name something is done. What lies outside it does not exist for it.
type Scope struct {
	ProjectID, UserID string
	// Admin may act on every project.
	Admin bool
	// Roles are the names of the caller's roles, for the services that go by them; none is a program that acts as itself.
	Roles []string
	// RequestID names the request in messages.
	RequestID string
}

func (s Scope) sees(projectID string) bool { return s.Admin || s.ProjectID == projectID }

// Options are optional.
type Options struct {
	// Images makes it possible to make volumes from images and images from volumes.
	Images Images
	// Backups keeps backups; without it there are none.
	Backups BackupStore
	// Servers hears that a volume in use has grown.
	Servers Servers
	// Keys keeps the keys of encrypted volumes; without it there are no encrypted types.
	Keys SecretSource
	// Quota is what a project may have unless its own quota says otherwise; what it leaves out is as [DefaultQuota] has it.
	Quota Quota
	// DefaultType is the name of the type of volumes whose makers name none; [DefaultTypeName] by default. [New] makes it
	// if there is none.
	DefaultType string
	// DownAfter is how long a pool's agent may be silent before it counts as down; a minute by default.
	DownAfter time.Duration
	// ConnectWithin bounds how long a call waits for a pool's agent to make or end a connection; a minute by default.
	ConnectWithin time.Duration
	// Now is the clock; time.Now by default.
	Now func() time.Time
}

// Service is the control plane of volumes. Create it with [New].
type Service struct {
	store   *record.Store
	hub     *converge.Hub
	options Options

	volumes     *record.Table[Volume]
	snapshots   *record.Table[Snapshot]
	attachments *record.Table[Attachment]
	types       *record.Table[Type]
	defaults    *record.Table[typeDefault]
	pools       *record.Table[pool]
	quotas      *record.Table[projectQuota]
	messages    *record.Table[Message]
	graves      *record.Table[grave]
	extrasTables

	tidying converge.Turn
	mu      sync.Mutex
	agents  map[string]*Agent // those that run in this process, by pool
}

// New opens the service and creates or extends its tables in db.
//
// A SQLite database is to be opened with immediate transactions and a busy timeout; with modernc.org/sqlite:
// "file:cloud.db?_txlock=immediate&_pragma=busy_timeout(10000)&_pragma=journal_mode(WAL)"; or with db.SetMaxOpenConns(1).
// Several domains may share it.
func New(ctx context.Context, db *sql.DB, options *Options) (*Service, error) {
	store, err := record.Open(ctx, db, "volume")
	if err != nil {
		return nil, err
	}
	s := &Service{store: store, agents: map[string]*Agent{}}
	if options != nil {
		s.options = *options
	}
	s.options.setDefaults()
	s.hub = converge.NewHub(store, concerned, nil)
	s.volumes = record.Define(store, volumesKind, volumeSpec)
	s.snapshots = record.Define(store, snapshotsKind, snapshotSpec)
	s.attachments = record.Define(store, attachmentsKind, attachmentSpec)
	s.types = record.Define(store, "types", typeSpec)
	s.defaults = record.Define(store, "type_defaults", defaultSpec)
	s.pools = record.Define(store, "pools", poolSpec)
	s.quotas = record.Define(store, "quotas", quotaSpec)
	s.messages = record.Define(store, "messages", messageSpec)
	s.graves = record.Define(store, "graves", graveSpec)
	s.extrasTables = defineExtras(store)
	store.UseClock(s.options.Now)
	if err := store.Migrate(ctx); err != nil {
		return nil, fmt.Errorf("tables of volumes: %w", err)
	}
	return s, s.ensureDefaultType(ctx)
}

func (o *Options) setDefaults() {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.DownAfter <= 0 {
		o.DownAfter = time.Minute
	}
	if o.ConnectWithin <= 0 {
		o.ConnectWithin = time.Minute
	}
	if o.DefaultType == "" {
		o.DefaultType = DefaultTypeName
	}
	quota := DefaultQuota()
	maps.Copy(quota, o.Quota)
	o.Quota = quota
}

// now has the precision that the database keeps.
func (s *Service) now() time.Time { return s.options.Now().UTC().Truncate(time.Microsecond) }

// notFound says in the API's words what was not found, and keeps every other error.
func notFound(err error, format string, args ...any) error {
	if errors.Is(err, ErrNotFound) {
		return fault.Wrap(ErrNotFound, format, args...)
	}
	return err
}

// notFoundIsNil forgives what is not there.
func notFoundIsNil(err error) error {
	if errors.Is(err, ErrNotFound) {
		return nil
	}
	return err
}

// errNothing ends a transaction in which there was nothing to do.
var errNothing = errors.New("nothing to do")

// optional is a column's value that may be missing.
func optional(text string) any {
	if text == "" {
		return nil
	}
	return text
}

// maxText is how long names, keys and values may be, in bytes; the API's bound is 255 characters.
const maxText = 1020
