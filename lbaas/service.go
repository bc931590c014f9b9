package lbaas

import (
	"context"
	"database/sql"
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/kintoun/kintoun/internal/converge"
	"github.com/kintoun/kintoun/internal/fault"
	"github.com/kintoun/kintoun/internal/record"
)

// Quota bounds what a project may have; negative is no bound.
type Quota struct {
	Pools, Members, HealthMonitors, VIPs int
}

// DefaultQuota is Neutron's.
func DefaultQuota() Quota { return Quota{Pools: 10, Members: -1, HealthMonitors: -1, VIPs: 10} }

// Options are what may differ between clouds.
type Options struct {
	// Quota of a project; by default everybody has [DefaultQuota].
	Quota func(ctx context.Context, projectID string) (Quota, error)
	// AgentDownTime is how long an agent may be silent before it is taken to be dead; by default 75 seconds.
	AgentDownTime time.Duration
	// Now is the clock; time.Now by default.
	Now func() time.Time
}

// Service keeps pools, members, monitors and virtual addresses. Create it with [New].
type Service struct {
	ports   Ports
	options Options
	store   *record.Store
	hub     *converge.Hub
	moving  converge.Turn

	pools        *record.Table[Pool]
	members      *record.Table[Member]
	monitors     *record.Table[HealthMonitor]
	vips         *record.Table[VIP]
	associations *record.Table[Association]
	stats        *record.Table[Stats]
	agents       *record.Table[agentRecord]
}

// New returns a service whose state is in db, in tables that begin with lbaas_; it creates them.
//
// A SQLite database is to be opened with immediate transactions and a busy timeout; with modernc.org/sqlite:
// "file:cloud.db?_txlock=immediate&_pragma=busy_timeout(10000)&_pragma=journal_mode(WAL)"; or with db.SetMaxOpenConns(1).
// Several domains may share it.
func New(ctx context.Context, db *sql.DB, ports Ports, options *Options) (*Service, error) {
	s := &Service{ports: ports}
	if options != nil {
		s.options = *options
	}
	if s.options.Quota == nil {
		s.options.Quota = func(context.Context, string) (Quota, error) { return DefaultQuota(), nil }
	}
	if s.options.Now == nil {
		s.options.Now = time.Now
	}
	if s.options.AgentDownTime <= 0 {
		s.options.AgentDownTime = 75 * time.Second
	}
	var err error
	if s.store, err = record.Open(ctx, db, "lbaas"); err != nil {
		return nil, err
	}
	s.hub = converge.NewHub(s.store, s.concerned, nil)
	s.define()
	s.store.UseClock(s.options.Now)
	return s, s.store.Migrate(ctx)
}

// unindexed are columns that lists are filtered by seldom, or that only name a few values.
var unindexed = []string{
	"description", "protocol", "lb_method", "provider", "admin_state_up", "status", "protocol_port", "weight", "type", "delay", "timeout", "max_retries",
	"connection_limit",
}

func (s *Service) define() {
	s.pools = record.Define(s.store, "pools", record.Spec[Pool]{
		Key: func(p *Pool) string { return p.ID }, Revision: func(p *Pool) *int64 { return &p.Revision }, Host: "agent_id",
		Event: func(p *Pool) record.Event {
			return record.Event{Type: "pool", Project: p.ProjectID, Status: string(p.Status)}
		},
		Unindexed: unindexed,
		Columns: []record.Column[Pool]{
			{Name: "tenant_id", Value: func(p *Pool) any { return p.ProjectID }},
			{Name: "name", Value: func(p *Pool) any { return p.Name }},
			{Name: "description", Value: func(p *Pool) any { return p.Description }},
			{Name: "subnet_id", Value: func(p *Pool) any { return p.SubnetID }},
			{Name: "protocol", Value: func(p *Pool) any { return string(p.Protocol) }},
			{Name: "lb_method", Value: func(p *Pool) any { return string(p.Method) }},
			{Name: "provider", Value: func(p *Pool) any { return p.Provider }},
			{Name: "admin_state_up", Value: func(p *Pool) any { return p.AdminStateUp }},
			{Name: "status", Value: func(p *Pool) any { return string(p.Status) }},
			{Name: "vip_id", Value: func(p *Pool) any { return p.VIPID }},
			{Name: "agent_id", Value: func(p *Pool) any { return p.AgentID }},
		},
	})
	s.members = record.Define(s.store, "members", record.Spec[Member]{
		Key: func(m *Member) string { return m.ID }, Revision: func(m *Member) *int64 { return &m.Revision },
		Event: func(m *Member) record.Event {
			return record.Event{Type: "member", Project: m.ProjectID, Status: string(m.Status)}
		},
		Unindexed: unindexed,
		Columns: []record.Column[Member]{
			{Name: "tenant_id", Value: func(m *Member) any { return m.ProjectID }},
			{Name: "pool_id", Value: func(m *Member) any { return m.PoolID }},
			{Name: "address", Value: func(m *Member) any { return m.Address.String() }},
			{Name: "protocol_port", Value: func(m *Member) any { return int64(m.Port) }},
			{Name: "weight", Value: func(m *Member) any { return m.Weight }},
			{Name: "admin_state_up", Value: func(m *Member) any { return m.AdminStateUp }},
			{Name: "status", Value: func(m *Member) any { return string(m.Status) }},
		},
		Claims: func(m *Member) []record.Claim {
			return []record.Claim{{Space: "member", Value: m.PoolID + " " + m.Address.String() + " " + strconv.Itoa(int(m.Port))}}
		},
	})
	s.monitors = record.Define(s.store, "health_monitors", record.Spec[HealthMonitor]{
		Key: func(m *HealthMonitor) string { return m.ID }, Revision: func(m *HealthMonitor) *int64 { return &m.Revision },
		Event: func(m *HealthMonitor) record.Event {
			return record.Event{Type: "health_monitor", Project: m.ProjectID}
		},
		Unindexed: unindexed,
		Columns: []record.Column[HealthMonitor]{
			{Name: "tenant_id", Value: func(m *HealthMonitor) any { return m.ProjectID }},
			{Name: "type", Value: func(m *HealthMonitor) any { return m.Type }},
			{Name: "delay", Value: func(m *HealthMonitor) any { return int64(m.Delay / time.Second) }},
			{Name: "timeout", Value: func(m *HealthMonitor) any { return int64(m.Timeout / time.Second) }},
			{Name: "max_retries", Value: func(m *HealthMonitor) any { return m.MaxRetries }},
			{Name: "admin_state_up", Value: func(m *HealthMonitor) any { return m.AdminStateUp }},
		},
	})
	s.defineRest()
}

func (s *Service) defineRest() {
	s.vips = record.Define(s.store, "vips", record.Spec[VIP]{
		Key: func(v *VIP) string { return v.ID }, Revision: func(v *VIP) *int64 { return &v.Revision },
		Event: func(v *VIP) record.Event {
			return record.Event{Type: "vip", Project: v.ProjectID, Status: string(v.Status)}
		},
		Unindexed: unindexed,
		Columns: []record.Column[VIP]{
			{Name: "tenant_id", Value: func(v *VIP) any { return v.ProjectID }},
			{Name: "name", Value: func(v *VIP) any { return v.Name }},
			{Name: "description", Value: func(v *VIP) any { return v.Description }},
			{Name: "subnet_id", Value: func(v *VIP) any { return v.SubnetID }},
			{Name: "address", Value: func(v *VIP) any { return v.Address.String() }},
			{Name: "port_id", Value: func(v *VIP) any { return v.PortID }},
			{Name: "protocol_port", Value: func(v *VIP) any { return int64(v.ProtocolPort) }},
			{Name: "protocol", Value: func(v *VIP) any { return string(v.Protocol) }},
			{Name: "pool_id", Value: func(v *VIP) any { return v.PoolID }},
			{Name: "connection_limit", Value: func(v *VIP) any { return v.ConnectionLimit }},
			{Name: "admin_state_up", Value: func(v *VIP) any { return v.AdminStateUp }},
			{Name: "status", Value: func(v *VIP) any { return string(v.Status) }},
		},
		Claims: func(v *VIP) []record.Claim { return []record.Claim{{Space: "vip of pool", Value: v.PoolID}} },
	})
	s.associations = record.Define(s.store, "associations", record.Spec[Association]{
		Key:      func(a *Association) string { return associationKey(a.PoolID, a.MonitorID) },
		Revision: func(a *Association) *int64 { return &a.Revision },
		Columns: []record.Column[Association]{
			{Name: "pool_id", Value: func(a *Association) any { return a.PoolID }},
			{Name: "monitor_id", Value: func(a *Association) any { return a.MonitorID }},
		},
	})
	s.stats = record.Define(s.store, "stats", record.Spec[Stats]{
		Key: func(p *Stats) string { return p.PoolID }, Revision: func(p *Stats) *int64 { return &p.Revision },
	})
	s.agents = record.Define(s.store, "agents", record.Spec[agentRecord]{
		Key: func(a *agentRecord) string { return a.ID }, Revision: func(a *agentRecord) *int64 { return &a.Revision },
		Event:   func(*agentRecord) record.Event { return record.Event{Type: "agent"} },
		Columns: []record.Column[agentRecord]{{Name: "host", Value: func(a *agentRecord) any { return a.Host }}},
	})
}

func associationKey(poolID, monitorID string) string { return poolID + " " + monitorID }

// owned is a resource of a project.
type owned interface {
	Pool | Member | HealthMonitor | VIP
}

func projectOf[T owned](r *T) string {
	switch r := any(r).(type) {
	case *Pool:
		return r.ProjectID
	case *Member:
		return r.ProjectID
	case *HealthMonitor:
		return r.ProjectID
	case *VIP:
		return r.ProjectID
	}
	return ""
}

// get returns a resource that the caller may see. Name and label are the API's: PoolNotFound, "Pool".
func get[T owned](tx *record.Tx, table *record.Table[T], scope Scope, id, name, label string) (*T, error) {
	r, err := table.Get(tx, id)
	if errors.Is(err, fault.ErrNotFound) || (err == nil && !scope.Admin && projectOf(r) != scope.ProjectID) {
		return nil, named(ErrNotFound, name, "%s %s could not be found", label, id)
	}
	return r, err
}

// list returns the resources that the caller may see and asks for.
func list[T owned](tx *record.Tx, table *record.Table[T], scope Scope, q Query, fields map[string]fieldKind) ([]T, error) {
	query, err := q.record(fields)
	if err != nil {
		return nil, err
	}
	if !scope.Admin {
		query.Where = append(query.Where, record.Eq("tenant_id", scope.ProjectID))
	}
	return table.List(tx, query)
}

// fieldKind is how a field's values compare.
type fieldKind int

const (
	textField fieldKind = iota
	numberField
	booleanField
)

func (q Query) record(fields map[string]fieldKind) (record.Query, error) {
	out := record.Query{After: q.Marker, Limit: q.Limit}
	if q.Limit < 0 {
		return out, invalid("Invalid input for operation: limit must be an integer 0 or greater and not '%d'.", q.Limit)
	}
	for field, texts := range q.Filters {
		column := columnOf(field)
		kind, ok := fields[column]
		if !ok {
			continue
		}
		values := make([]any, 0, len(texts))
		for _, text := range texts {
			value, err := kind.parse(text)
			if err != nil {
				return out, invalid("Invalid input for %s. Reason: %s.", field, err)
			}
			values = append(values, value)
		}
		out.Where = append(out.Where, record.In(column, values...))
	}
	for _, sort := range q.Sort {
		column := columnOf(sort.Field)
		if _, ok := fields[column]; !ok {
			return out, invalid("Invalid input for operation: '%s' is an invalid attribute for sort key.", sort.Field)
		}
		out.Order = append(out.Order, record.Order{Column: column, Descending: sort.Descending})
	}
	return out, nil
}

// columnOf knows that a project was called a tenant.
func columnOf(field string) string {
	if field == "project_id" {
		return "tenant_id"
	}
	return field
}

func (k fieldKind) parse(text string) (any, error) {
	switch k {
	case numberField:
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return nil, errors.New("'" + text + "' is not an integer")
		}
		return n, nil
	case booleanField:
		switch strings.ToLower(text) {
		case "true", "1":
			return true, nil
		case "false", "0":
			return false, nil
		}
		return nil, errors.New("'" + text + "' cannot be converted to boolean")
	}
	return text, nil
}

// owner is whose a new resource will be.
func owner(scope Scope, wanted string) (string, error) {
	if wanted == "" || wanted == scope.ProjectID {
		wanted = scope.ProjectID
	} else if !scope.Admin {
		return "", invalid("Specifying 'tenant_id' other than authenticated tenant in request requires admin privileges")
	}
	if wanted == "" {
		return "", invalid("Running without keystone AuthN requires that tenant_id is specified")
	}
	return wanted, nil
}

// checkQuota refuses one more of a project's resources than it may have.
func checkQuota[T any](tx *record.Tx, table *record.Table[T], projectID, resource string, limit int) error {
	if limit < 0 {
		return nil
	}
	n, err := table.Count(tx, record.Eq("tenant_id", projectID))
	if err != nil {
		return err
	}
	if n >= limit {
		return named(ErrQuota, "OverQuota", "Quota exceeded for resources: ['%s'].", resource)
	}
	return nil
}

func newID() string { return uuid.NewString() }
