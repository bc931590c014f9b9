package identity

import (
	"context"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"runtime"
	"time"

	"github.com/google/uuid"
	"github.com/kintoun/kintoun/internal/converge"
	"github.com/kintoun/kintoun/internal/fault"
	"github.com/kintoun/kintoun/internal/record"
)

// Sealer makes tokens of messages that nobody else can read or make. fernet.Keys is one.
type Sealer interface {
	// Seal makes a token; at is kept in it, to the second.
	Seal(message []byte, at time.Time) (string, error)
	// Open returns what was sealed, or an error for everything that Seal did not make.
	Open(token string) (message []byte, sealedAt time.Time, err error)
}

// Options of a [Service]. The zero value is good.
type Options struct {
	// TokenLifetime is how long a token is valid; zero is an hour.
	TokenLifetime time.Duration
	// BcryptCost is what hashing a password costs (4 to 31, each step doubles it); zero is 12.
	BcryptCost int
	// CacheTTL bounds how long a validated token is believed without looking at the database, and CacheSize how
	// many are remembered; zero is 5 s and 10,000. Changes made through this Service, and those that
	// [Service.Run] sees, empty the cache at once: the TTL is only for other processes' changes without Run.
	CacheTTL  time.Duration
	CacheSize int
	// Now is the clock; nil is time.Now.
	Now func() time.Time
}

func (o *Options) orDefaults() Options {
	var filled Options
	if o != nil {
		filled = *o
	}
	if filled.TokenLifetime == 0 {
		filled.TokenLifetime = time.Hour
	}
	if filled.BcryptCost == 0 {
		filled.BcryptCost = 12
	}
	if filled.CacheTTL == 0 {
		filled.CacheTTL = 5 * time.Second
	}
	if filled.CacheSize == 0 {
		filled.CacheSize = 10_000
	}
	if filled.Now == nil {
		filled.Now = time.Now
	}
	return filled
}

// Service keeps who is who and may do what, and issues and validates tokens. It is safe for concurrent use; several
// processes may share one database and the sealer's keys.
type Service struct {
	store   *record.Store
	sealer  Sealer
	options Options
	cache   *cache
	// hashing bounds how many passwords are hashed at once, so that a flood of log-ins leaves the processors some
	// time for validating tokens.
	hashing chan struct{}
	tables
}

// New opens the identity service's part of db and creates or extends its tables. See [Service.Bootstrap] for what
// an empty one needs first.
//
// A SQLite database is to be opened with immediate transactions and a busy timeout; with modernc.org/sqlite:
// "file:cloud.db?_txlock=immediate&_pragma=busy_timeout(10000)&_pragma=journal_mode(WAL)"; or with db.SetMaxOpenConns(1).
// Several domains may share it.
func New(ctx context.Context, db *sql.DB, sealer Sealer, options *Options) (*Service, error) {
	store, err := record.Open(ctx, db, "identity")
	if err != nil {
		return nil, err
	}
	o := options.orDefaults()
	if o.BcryptCost < 4 || o.BcryptCost > 31 {
		return nil, fault.Wrap(ErrInvalid, "bcrypt cost %d: not between 4 and 31", o.BcryptCost)
	}
	s := &Service{
		store: store, sealer: sealer, options: o, tables: define(store),
		cache:   newCache(o.CacheSize, o.CacheTTL, o.Now),
		hashing: make(chan struct{}, max(1, runtime.GOMAXPROCS(0)-1)),
	}
	store.UseClock(s.options.Now)
	if err := store.Migrate(ctx); err != nil {
		return nil, fmt.Errorf("identity tables: %w", err)
	}
	return s, nil
}

// Run empties the cache of validated tokens when another process changes the database, until ctx ends, whose error
// it returns. A Service that has its database for itself does not need it.
func (s *Service) Run(ctx context.Context) error {
	leave, err := converge.NewHub(s.store, nil, s.cache.clear).Follower("", nil).Follow(ctx, func(record.Change) { s.cache.clear() }, func() {})
	if err != nil {
		return err
	}
	defer leave()
	<-ctx.Done()
	return ctx.Err()
}

// update runs fn in a transaction. All cached tokens are looked at anew afterwards: writes are rare beside
// validations, and a revocation that waits is none.
func (s *Service) update(ctx context.Context, fn func(tx *record.Tx) error) error {
	defer s.cache.clear()
	return s.store.Update(ctx, fn)
}

func newID() string {
	id := uuid.New()
	return hex.EncodeToString(id[:])
}

// get is table.Get with OpenStack's words for what is not there.
func get[T any](tx *record.Tx, table *record.Table[T], what, id string) (*T, error) {
	found, err := table.Get(tx, id)
	if errors.Is(err, fault.ErrNotFound) {
		return nil, notFound(what, id)
	}
	return found, err
}

func notFound(what, id string) error {
	return fault.Wrap(ErrNotFound, "Could not find %s: %s.", what, id)
}

// duplicate says a taken name in OpenStack's words, and passes other errors.
func duplicate(err error, what, name, scope string) error {
	if !errors.Is(err, record.ErrDuplicate) {
		return err
	}
	where := ""
	if scope != "" {
		where = " at domain ID " + scope
	}
	return fault.Wrap(ErrConflict, "Conflict occurred attempting to store %s - Duplicate entry found with name %s%s.", what, name, where)
}

// checkName refuses empty and overlong names.
func checkName(what, name string, longest int) error {
	if name == "" || len([]rune(name)) > longest {
		return fault.Wrap(ErrInvalid, "Invalid input for field 'name': a %s's name has 1 to %d characters", what, longest)
	}
	return nil
}

// deleteAll deletes what meets any of the conditions.
func deleteAll[T any](tx *record.Tx, table *record.Table[T], key func(*T) string, conditions ...record.Condition) error {
	found, err := table.List(tx, record.Query{Where: conditions})
	if err != nil {
		return err
	}
	for i := range found {
		if err := table.Delete(tx, key(&found[i])); err != nil {
			return err
		}
	}
	return nil
}

// where collects the conditions that are not empty.
type where []record.Condition

func (w *where) text(column, value string) {
	if value != "" {
		*w = append(*w, record.Eq(column, value))
	}
}

func (w *where) flag(column string, value *bool) {
	if value != nil {
		*w = append(*w, record.Eq(column, *value))
	}
}

func (p Page) query(w where, order ...record.Order) record.Query {
	return record.Query{Where: w, Order: order, After: p.Marker, Limit: p.Limit}
}
