// Package lbaas is load balancing as a service: pools of members, health monitors, and virtual addresses that clients
// connect to, with the meaning that OpenStack's LBaaS v1 gives them.
//
// A [Service] keeps what projects want and touches no host. An [Agent] on each host that runs balancers makes it so
// with a driver, and reports what it sees: a resource is PENDING_CREATE until a balancer really has it, a member is
// INACTIVE while its monitors say so, and ERROR comes with a reason.
//
//	service, err := lbaas.New(ctx, db, ports, nil)
//	agent := lbaas.NewAgent(service, "one", balancers, nil)
//	go func() { agent.Run(ctx); close(stopped) }()
//	pool, err := service.CreatePool(ctx, demo, lbaas.PoolSpec{SubnetID: subnet, Protocol: "HTTP", Method: "ROUND_ROBIN"})
//	vip, err := service.CreateVIP(ctx, demo, lbaas.VIPSpec{PoolID: pool.ID, SubnetID: subnet, Protocol: "HTTP", ProtocolPort: 80, ConnectionLimit: -1})
//
// What a specification leaves out has the API's default: AdminStateUp, a pointer, is true when nil. A whole program:
// examples/controlplane, a control plane of one's own with this package and network alone.
//
// # What it needs
//
// A *sql.DB of SQLite or PostgreSQL, opened as [New] says, whose tables with names in "lbaas_" it makes and migrates,
// and [Ports], which is what the service needs of networks and whoever puts a cloud together provides. Of the host it
// needs nothing itself; what balancers need, package haproxy's Probe says.
//
// # What it does not do
//
// It asks nobody who the caller is: a [Scope] is believed. A pool has one virtual address with one port (LBaaS v1 has
// no listeners); TLS passes through and is not ended; there are no rules by path or header.
//
// # Errors
//
// Errors are of the kinds below, found with errors.Is; those with a name of their own in OpenStack's API are of type
// [*Error]. What goes wrong on a host is no error of a call, but the resource's status.
//
// # Concurrency
//
// A Service and an Agent are safe for concurrent use. Several services and agents may share one database; a pool is one
// agent's.
//
// # When the process ends
//
// Balancers go on. What was wanted is in the database, and an agent that starts again adopts what runs.
package lbaas

import (
	"fmt"
	"net/netip"
	"time"

	"github.com/kintoun/kintoun/internal/fault"
	"github.com/kintoun/kintoun/lbaas/driver"
)

// The kinds of error.
var (
	ErrNotFound    = fault.ErrNotFound
	ErrConflict    = fault.ErrConflict
	ErrInUse       = fault.ErrInUse
	ErrInvalid     = fault.ErrInvalid
	ErrQuota       = fault.ErrQuota
	ErrForbidden   = fault.ErrForbidden
	ErrUnavailable = fault.ErrUnavailable
)

// Error is an error with the name that OpenStack's API has for it, such as PoolInUse.
type Error struct {
	Name    string
	Message string
	kind    error
}

func (e *Error) Error() string { return e.Message }

// Unwrap is the kind of error.
func (e *Error) Unwrap() error { return e.kind }

func named(kind error, name, format string, args ...any) error {
	return &Error{Name: name, Message: fmt.Sprintf(format, args...), kind: kind}
}

func invalid(format string, args ...any) error {
	return named(ErrInvalid, "HTTPBadRequest", format, args...)
}

// Scope is in whose name a call is made.
type Scope struct {
	// ProjectID is the project whose resources are seen and made.
	ProjectID string
	// Admin sees the resources of all projects.
	Admin bool
}

// Status is what became of a resource.
type Status string

// The statuses.
const (
	PendingCreate Status = "PENDING_CREATE"
	PendingUpdate Status = "PENDING_UPDATE"
	Active        Status = "ACTIVE"
	// Inactive is a member that does not answer, and what is switched off.
	Inactive Status = "INACTIVE"
	Failed   Status = "ERROR"
)

func (s Status) pending() bool { return s == PendingCreate || s == PendingUpdate }

// changed is the status after somebody wished something else.
func (s Status) changed() Status {
	if s == PendingCreate {
		return s
	}
	return PendingUpdate
}

// Protocol is what a pool and its virtual address speak: HTTP, HTTPS or TCP.
type Protocol = driver.Protocol

// Method is how a pool chooses a member: ROUND_ROBIN, LEAST_CONNECTIONS or SOURCE_IP.
type Method = driver.Method

// Pool is a set of members that share the work.
type Pool struct {
	ID, ProjectID     string
	Name, Description string
	SubnetID          string
	Protocol          Protocol
	Method            Method
	Provider          string
	AdminStateUp      bool
	Status            Status
	StatusDescription string
	// VIPID is the virtual address in front of the pool, empty for none.
	VIPID string
	// AgentID is the agent on whose host the balancer is, empty while none has been found.
	AgentID  string
	Revision int64

	// MemberIDs and Monitors are filled in for whoever reads a pool.
	MemberIDs []string      `json:"-"`
	Monitors  []Association `json:"-"`
}

// Association has a monitor watch over a pool.
type Association struct {
	PoolID, MonitorID string
	// ProjectID is the pool's.
	ProjectID         string
	Status            Status
	StatusDescription string
	Revision          int64
}

// Member is a server of a pool.
type Member struct {
	ID, ProjectID     string
	PoolID            string
	Address           netip.Addr
	Port              uint16
	Weight            int
	AdminStateUp      bool
	Status            Status
	StatusDescription string
	Revision          int64
}

// HealthMonitor is a way to find out whether a member answers.
type HealthMonitor struct {
	ID, ProjectID string
	// Type is PING, TCP, HTTP or HTTPS.
	Type           string
	Delay, Timeout time.Duration
	MaxRetries     int
	// HTTPMethod, URLPath and ExpectedCodes are of types HTTP and HTTPS.
	HTTPMethod, URLPath, ExpectedCodes string
	AdminStateUp                       bool
	Revision                           int64

	// Pools and Status are filled in for whoever reads a monitor. It is active when it is with all of its pools.
	Pools  []Association `json:"-"`
	Status Status        `json:"-"`
}

// VIP is the virtual address of a pool.
type VIP struct {
	ID, ProjectID     string
	Name, Description string
	SubnetID          string
	Address           netip.Addr
	PortID            string
	ProtocolPort      uint16
	Protocol          Protocol
	PoolID            string
	// Persistence keeps a client with one member; nil for none.
	Persistence *Persistence
	// ConnectionLimit bounds concurrent connections; -1 is no limit.
	ConnectionLimit   int
	AdminStateUp      bool
	Status            Status
	StatusDescription string
	Revision          int64
}

// Persistence keeps a client with one member. Its type is SOURCE_IP, HTTP_COOKIE or APP_COOKIE.
type Persistence = driver.Persistence

// Stats are a pool's counters, as last reported.
type Stats struct {
	PoolID                              string
	BytesIn, BytesOut                   uint64
	ActiveConnections, TotalConnections uint64
	Revision                            int64
}

// Query says what to list. The zero Query is everything.
type Query struct {
	// Filters wants a field, by its name in the API, to have one of the values. A field that cannot be filtered by
	// is left out of account.
	Filters map[string][]string
	// Sort sorts by fields, by their names in the API; the identifier decides between equals.
	Sort []Sort
	// Marker is the last identifier of the page before.
	Marker string
	// Limit bounds the answer; zero is no limit.
	Limit int
}

// Sort is a field to sort by.
type Sort struct {
	Field      string
	Descending bool
}
