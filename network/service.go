package network

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/kintoun/kintoun/internal/converge"
	"github.com/kintoun/kintoun/internal/record"
)

// Options are optional.
type Options struct {
	// MTU is what fits through the fabric's tunnels, PhysicalMTU what fits on physical networks; 1450 and 1500 by default.
	MTU, PhysicalMTU int
	// TunnelType is the type of projects' networks, "vxlan" (the default) or "gre".
	TunnelType string
	// FirstSegment and LastSegment bound the segments of projects' networks; 1 and 16777215 by default.
	FirstSegment, LastSegment uint32
	// PhysicalNetworks are those that flat networks may name; nil allows any name.
	PhysicalNetworks []string
	// Quotas overrides default quotas, by resource ("port"); -1 is no limit.
	Quotas map[string]int
	// AgentDownAfter is how old a heartbeat may be until its agent counts as dead; 75 s by default.
	AgentDownAfter time.Duration
	// Zone is the availability zone that agents are in; "nova" by default.
	Zone string
	// DHCPDomain is the domain that DHCP servers name; "openstacklocal" by default.
	DHCPDomain string
	// Now is the clock; time.Now by default.
	Now func() time.Time
}

// Service records what is wanted. Create it with [New].
type Service struct {
	store   *record.Store
	hub     *converge.Hub
	moving  converge.Turn
	reaches reaches
	members groupMembers
	options Options

	networks *record.Table[Network]
	subnets  *record.Table[Subnet]
	ports    *record.Table[Port]
	routers  *record.Table[Router]
	floating *record.Table[FloatingIP]
	groups   *record.Table[SecurityGroup]
	rules    *record.Table[SecurityGroupRule]
	agents   *record.Table[AgentInfo]
	bindings *record.Table[binding]
	presence *record.Table[presence]
	limits   *record.Table[limits]
	pools    *record.Table[SubnetPool]
	policies *record.Table[RBACPolicy]

	// firstFree remembers, for a subnet, the address below which all were taken, so that a search need not
	// begin at the beginning. It is a hint: the claims decide.
	hints     sync.Mutex
	firstFree map[string]string
}

// Kinds in the change feed that are announced, beside the tables' own.
const (
	changedDHCP    = "dhcp"
	changedRouter  = "router_parts"
	changedMembers = "security_group_members"
)

// New opens the service on db and creates or extends its tables.
//
// A SQLite database is to be opened with immediate transactions and a busy timeout; with modernc.org/sqlite:
// "file:cloud.db?_txlock=immediate&_pragma=busy_timeout(10000)&_pragma=journal_mode(WAL)"; or with db.SetMaxOpenConns(1).
// Several domains may share it.
func New(ctx context.Context, db *sql.DB, options *Options) (*Service, error) {
	s := &Service{firstFree: map[string]string{}}
	if options != nil {
		s.options = *options
	}
	s.options.fill()
	if t := s.options.TunnelType; t != "vxlan" && t != "gre" {
		return nil, fmt.Errorf("tunnel type %q: %w", t, ErrInvalid)
	}
	store, err := record.Open(ctx, db, "network")
	if err != nil {
		return nil, err
	}
	s.store = store
	s.hub = converge.NewHub(store, s.concerned, func() {
		s.reaches.forgetAll()
		s.members.forgetAll()
	})
	s.define()
	store.UseClock(s.options.Now)
	if err := store.Migrate(ctx); err != nil {
		return nil, fmt.Errorf("network tables: %w", err)
	}
	return s, nil
}

func (o *Options) fill() {
	if o.MTU == 0 {
		o.MTU = 1450
	}
	if o.PhysicalMTU == 0 {
		o.PhysicalMTU = 1500
	}
	if o.TunnelType == "" {
		o.TunnelType = "vxlan"
	}
	if o.FirstSegment == 0 {
		o.FirstSegment = 1
	}
	if o.LastSegment == 0 {
		o.LastSegment = 1<<24 - 1
	}
	if o.AgentDownAfter == 0 {
		o.AgentDownAfter = 75 * time.Second
	}
	if o.Zone == "" {
		o.Zone = "nova"
	}
	if o.DHCPDomain == "" {
		o.DHCPDomain = "openstacklocal"
	}
	if o.Now == nil {
		o.Now = time.Now
	}
}

// Zone is the availability zone that agents are in.
func (s *Service) Zone() string { return s.options.Zone }

func (s *Service) now() time.Time { return s.options.Now().UTC().Truncate(time.Microsecond) }

func (s *Service) newMeta(projectID string, name, description *string) Meta {
	now := s.now()
	m := Meta{ID: uuid.NewString(), ProjectID: projectID, Tags: []string{}, CreatedAt: now, UpdatedAt: now}
	set(&m.Name, name)
	set(&m.Description, description)
	return m
}

func (m *Meta) update(at time.Time, name, description *string) {
	set(&m.Name, name)
	set(&m.Description, description)
	m.touch(at)
}

func (m *Meta) touch(at time.Time) { m.UpdatedAt = at }

// set assigns a value that was given.
func set[T any](target, value *T) {
	if value != nil {
		*target = *value
	}
}

// owner is the project that a new thing belongs to: only admins may name another than their own.
func (scope Scope) owner(projectID, rule string) (string, error) {
	if projectID == "" {
		return scope.ProjectID, nil
	}
	if projectID != scope.ProjectID && !scope.Admin {
		return "", forbidden(rule)
	}
	return projectID, nil
}

func (scope Scope) owns(m *Meta) bool { return scope.Admin || m.ProjectID == scope.ProjectID }

// notFound gives a missing record the name that OpenStack has for it.
func notFound(err error, name, format, id string) error {
	if errors.Is(err, ErrNotFound) {
		return refuse(ErrNotFound, name, format+" could not be found.", id)
	}
	return err
}

// update runs fn in a transaction, and again where automatically chosen values were taken meanwhile.
func (s *Service) update(ctx context.Context, fn func(tx *record.Tx) error) error {
	const attempts = 5
	for attempt := 1; ; attempt++ {
		err := s.store.Update(ctx, fn)
		var refusal *Error
		if err == nil || attempt == attempts || errors.As(err, &refusal) || !errors.Is(err, record.ErrDuplicate) && !errors.Is(err, record.ErrStale) {
			return err
		}
		s.hints.Lock()
		clear(s.firstFree)
		s.hints.Unlock()
	}
}

// joined is a list as a column: each value between commas, so that one can be found with Contains.
func joined(values []string) string {
	if len(values) == 0 {
		return ""
	}
	return "," + strings.Join(values, ",") + ","
}
