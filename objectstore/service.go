package objectstore

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"fmt"
	"iter"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/kintoun/kintoun/event"
	"github.com/kintoun/kintoun/internal/record"
	"github.com/kintoun/kintoun/objectstore/driver"
)

// Options are optional. The limits' defaults are Swift's, or S3's for what only S3 has.
type Options struct {
	// Host tells the Services that share a database apart. A new Service takes the uploads of its own host for dead.
	Host string
	// MaxObjectSize bounds what one request may bring, in bytes: 5 GiB + 2.
	MaxObjectSize int64
	// The longest names, in bytes: 256, 256 and 1024.
	MaxAccountNameLength, MaxContainerNameLength, MaxNameLength int
	// What one account, container or object may have of metadata: 90 pairs, names of 128 bytes, values of 256, 4096 bytes
	// together. MaxHeaderSize bounds the values that objects have besides: 8192.
	MaxMetadataCount, MaxMetadataNameLength, MaxMetadataValueLength, MaxMetadataSize, MaxHeaderSize int
	// AccountListingLimit and ContainerListingLimit are the largest pages: 10,000.
	AccountListingLimit, ContainerListingLimit int
	// MaxSegments bounds a static large object: 1000. MaxDepth is how deep large objects lie in each other, 10, and MaxLinks
	// how many links lead on to each other, 2.
	MaxSegments, MaxDepth, MaxLinks int
	// MinPartSize is what all parts but the last have at least, 5 MiB; MaxParts is the highest number of a part, 10,000.
	MinPartSize int64
	MaxParts    int
	// ReclaimAfter is how old a content must be that another host's Service wrote and that no object has, until it is
	// removed: 24 hours. An upload must not take longer.
	ReclaimAfter time.Duration
	// CheckRate is how fast contents are read again to find those that the disk has damaged, in bytes a second: 8 MiB. Negative
	// is never.
	CheckRate int64
	// RateLimits bound how fast accounts and containers may be changed; none by default.
	RateLimits RateLimits
	// Now is the clock; time.Now by default.
	Now func() time.Time
	// Log hears of leftovers, of damaged contents and of failures to clean up; nil discards them.
	Log *slog.Logger
}

func orElse[T int | int64 | time.Duration](value *T, otherwise T) {
	if *value <= 0 {
		*value = otherwise
	}
}

func (o *Options) withDefaults() Options {
	var full Options
	if o != nil {
		full = *o
	}
	orElse(&full.MaxObjectSize, 5<<30+2)
	if full.CheckRate == 0 {
		full.CheckRate = 8 << 20
	}
	orElse(&full.MaxAccountNameLength, 256)
	orElse(&full.MaxContainerNameLength, 256)
	orElse(&full.MaxNameLength, 1024)
	orElse(&full.MaxMetadataCount, 90)
	orElse(&full.MaxMetadataNameLength, 128)
	orElse(&full.MaxMetadataValueLength, 256)
	orElse(&full.MaxMetadataSize, 4096)
	orElse(&full.MaxHeaderSize, 8192)
	orElse(&full.AccountListingLimit, 10_000)
	orElse(&full.ContainerListingLimit, 10_000)
	orElse(&full.MaxSegments, 1000)
	orElse(&full.MaxDepth, 10)
	orElse(&full.MaxLinks, 2)
	orElse(&full.MinPartSize, 5<<20)
	orElse(&full.MaxParts, 10_000)
	orElse(&full.ReclaimAfter, 24*time.Hour)
	orElse(&full.RateLimits.Patience, time.Minute)
	orElse(&full.RateLimits.Buffer, 5*time.Second)
	if full.Now == nil {
		full.Now = time.Now
	}
	if full.Log == nil {
		full.Log = slog.New(slog.DiscardHandler)
	}
	return full
}

// Service keeps objects. Create it with [New].
type Service struct {
	contents   driver.Store
	options    Options
	records    *record.Store
	accounts   *record.Table[Account]
	containers *record.Table[Container]
	objects    *record.Table[objectRow] // what can be read without naming a version
	versions   *record.Table[objectRow] // all others, and delete markers
	uploads    *record.Table[Upload]
	parts      *record.Table[partRow]
	expiries   *record.Table[expiry]
	garbage    *record.Table[garbage]
	contained  *record.Table[small]

	small int64 // contents of up to so many bytes are kept in the database

	host, run string // what references of this host, and of this Service, begin with
	clock     clock
	writes    batcher
	untidy    atomic.Bool // there may be garbage
	pins      pins
	recent    recent
	pacer     *pacer // nil without limits
}

// New opens the accounts in db and the contents in store. What a killed process left is cleaned up by [Service.Run], or by
// [Service.Sweep].
//
// A SQLite database is to be opened with immediate transactions and a busy timeout; with modernc.org/sqlite:
// "file:cloud.db?_txlock=immediate&_pragma=busy_timeout(10000)&_pragma=journal_mode(WAL)"; or with db.SetMaxOpenConns(1).
// Several domains may share it.
func New(ctx context.Context, db *sql.DB, store driver.Store, options *Options) (*Service, error) {
	o := options.withDefaults()
	if err := o.RateLimits.Check(); err != nil {
		return nil, err
	}
	records, err := record.Open(ctx, db, "objectstore")
	if err != nil {
		return nil, err
	}
	s := &Service{contents: store, options: o, records: records}
	if !o.RateLimits.none() {
		s.pacer = newPacer(&o)
	}
	s.accounts = record.Define(records, "accounts", accountTable)
	s.containers = record.Define(records, "containers", containerTable)
	s.objects = record.Define(records, "objects", objectTable)
	s.versions = record.Define(records, "versions", versionTable)
	s.uploads = record.Define(records, "uploads", uploadTable)
	s.parts = record.Define(records, "parts", partTable)
	s.expiries = record.Define(records, "expiries", expiryTable)
	s.garbage = record.Define(records, "garbage", garbageTable)
	s.contained = record.Define(records, "contents", smallTable)
	if store, ok := store.(driver.Small); ok {
		s.small = store.SmallBytes()
	}
	records.UseClock(s.options.Now)
	if err := records.Migrate(ctx); err != nil {
		return nil, fmt.Errorf("object records: %w", err)
	}
	sum := sha256.Sum256([]byte(s.options.Host))
	s.host = hex.EncodeToString(sum[:4])
	s.run = randomHex(4)
	return s, nil
}

func randomHex(bytes int) string {
	b := make([]byte, bytes)
	_, _ = rand.Read(b) // it never fails
	return hex.EncodeToString(b)
}

// Options are those that the Service works with, defaults filled in.
func (s *Service) Options() Options { return s.options }

// StoreKind names where contents are kept: see [driver.Store].
func (s *Service) StoreKind() string { return s.contents.Kind() }

func (s *Service) now() time.Time { return s.options.Now().UTC() }

// clock gives every version a time of its own.
type clock struct {
	mu   sync.Mutex
	last int64
}

func (c *clock) next(now time.Time) int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.last = max(c.last+1, now.UnixNano())
	return c.last
}

// Watch yields what happens to accounts, containers and objects: the events numbered higher than after, first those that are
// recorded, then each as it happens, in order, until ctx ends or the caller stops. It ends with [*event.CompactedError] if
// some of them are not kept any more, or with the database's error. Types are account, container and object; an object is
// identified as "container/object". Everybody's events are yielded: whoever shows them to a project picks its own by
// ProjectID.
func (s *Service) Watch(ctx context.Context, after int64) iter.Seq2[event.Event, error] {
	return s.records.Events(ctx, after)
}

// LastEvent is the number of the newest change, to [Service.Watch] what comes next.
func (s *Service) LastEvent(ctx context.Context) (int64, error) { return s.records.Head(ctx) }

var _ event.Source = (*Service)(nil)
