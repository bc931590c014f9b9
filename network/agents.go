package network

import (
	"context"
	"errors"
	"time"

	"github.com/google/uuid"
	"github.com/kintoun/kintoun/internal/record"
)

// Types of agents, as operators know them.
const (
	AgentDHCP        = "DHCP agent"
	AgentL3          = "L3 agent"
	AgentOpenVSwitch = "Open vSwitch agent"
	AgentBridge      = "Linux bridge agent"
	AgentMetadata    = "Metadata agent"
)

// AgentInfo is an agent as the service knows it.
type AgentInfo struct {
	ID           string
	Type         string
	Binary       string
	Host         string
	Topic        string
	Zone         string
	Description  string
	AdminStateUp bool
	// Configurations are what the agent says of itself.
	Configurations                    map[string]any
	CreatedAt, StartedAt, HeartbeatAt time.Time
	Revision                          int64
	// Alive says that the last heartbeat is recent; it is computed on reading.
	Alive bool `json:"-"`
}

// configTunnel is where an agent of the fabric says which address others reach its host at.
const configTunnel = "tunneling_ip"

// binding says that an agent hosts a network (kind dhcp) or router (kind l3).
type binding struct {
	AgentID, ResourceID, Kind string
	Revision                  int64
}

const (
	kindDHCP = "dhcp"
	kindL3   = "l3"
)

func bindingID(agentID, resourceID string) string { return agentID + "/" + resourceID }

func (s *Service) defineAgents() {
	s.agents = record.Define(s.store, "agents", record.Spec[AgentInfo]{
		Key: func(a *AgentInfo) string { return a.ID }, Revision: func(a *AgentInfo) *int64 { return &a.Revision }, Unindexed: unindexed,
		Event: func(*AgentInfo) record.Event { return record.Event{Type: "agent"} },
		Columns: []record.Column[AgentInfo]{
			{Name: "agent_type", Value: func(a *AgentInfo) any { return a.Type }},
			{Name: "binary_name", Value: func(a *AgentInfo) any { return a.Binary }},
			{Name: "host", Value: func(a *AgentInfo) any { return a.Host }},
			{Name: "topic", Value: func(a *AgentInfo) any { return a.Topic }},
			{Name: "description", Value: func(a *AgentInfo) any { return a.Description }},
			{Name: "availability_zone", Value: func(a *AgentInfo) any { return a.Zone }},
			{Name: "admin_state_up", Value: func(a *AgentInfo) any { return a.AdminStateUp }},
			{Name: "heartbeat", Value: func(a *AgentInfo) any { return a.HeartbeatAt.Format(sortableTime) }},
		},
		Claims: func(a *AgentInfo) []record.Claim { return []record.Claim{{Space: "agent/" + a.Type, Value: a.Host}} },
	})
	s.bindings = record.Define(s.store, "bindings", record.Spec[binding]{
		Key: func(b *binding) string { return bindingID(b.AgentID, b.ResourceID) }, Revision: func(b *binding) *int64 { return &b.Revision }, Unindexed: unindexed,
		Columns: []record.Column[binding]{
			{Name: "agent_id", Value: func(b *binding) any { return b.AgentID }},
			{Name: "resource_id", Value: func(b *binding) any { return b.ResourceID }},
			{Name: "kind", Value: func(b *binding) any { return b.Kind }},
		},
		Claims: func(b *binding) []record.Claim {
			if b.Kind != kindL3 {
				return nil
			}
			return []record.Claim{{Space: "l3", Value: b.ResourceID}}
		},
	})
	s.presence = record.Define(s.store, "network_hosts", record.Spec[presence]{
		Key: func(p *presence) string { return presenceID(p.NetworkID, p.Host) }, Revision: func(p *presence) *int64 { return &p.Revision }, Unindexed: unindexed,
		Columns: []record.Column[presence]{
			{Name: "network_id", Value: func(p *presence) any { return p.NetworkID }},
			{Name: "host", Value: func(p *presence) any { return p.Host }},
		},
	})
}

var agentAttributes = map[string]attribute{
	"id": {"id", textual}, "agent_type": {"agent_type", textual}, "binary": {"binary_name", textual}, "host": {"host", textual}, "topic": {"topic", textual},
	"description": {"description", textual}, "availability_zone": {"availability_zone", textual}, "admin_state_up": {"admin_state_up", boolean},
}

// Register makes an agent known, or says that it started again. What it hosts stays.
func (s *Service) Register(ctx context.Context, a AgentInfo) (*AgentInfo, error) {
	known, err := s.register(ctx, []AgentInfo{a}, func(*record.Tx) error { return nil })
	if err != nil {
		return nil, err
	}
	return &known[0], nil
}

// register makes a host's agents known in one transaction, which does more besides.
func (s *Service) register(ctx context.Context, agents []AgentInfo, more func(tx *record.Tx) error) ([]AgentInfo, error) {
	var known []AgentInfo
	err := s.update(ctx, func(tx *record.Tx) error {
		known = nil
		for _, a := range agents {
			k, err := s.registerOne(tx, a)
			if err != nil {
				return err
			}
			k.Alive = true
			known = append(known, *k)
		}
		return more(tx)
	})
	if err != nil {
		return nil, err
	}
	return known, s.scheduleUnhosted(ctx)
}

func (s *Service) registerOne(tx *record.Tx, a AgentInfo) (*AgentInfo, error) {
	now := s.now()
	id, err := s.store.Holder(tx, "agent/"+a.Type, a.Host)
	if err != nil {
		return nil, err
	}
	if id == "" {
		a.ID, a.AdminStateUp, a.Zone = uuid.NewString(), true, s.options.Zone
		a.CreatedAt, a.StartedAt, a.HeartbeatAt = now, now, now
		return &a, s.agents.Insert(tx, &a)
	}
	return s.agents.Modify(tx, id, func(k *AgentInfo) error {
		k.Binary, k.Topic, k.Configurations, k.StartedAt, k.HeartbeatAt = a.Binary, a.Topic, a.Configurations, now, now
		return nil
	})
}

// Heartbeat says that the agents are alive, as of the given time. One that was deleted is [ErrNotFound]: it registers again.
func (s *Service) Heartbeat(ctx context.Context, at time.Time, ids ...string) error {
	revived := false
	err := s.update(ctx, func(tx *record.Tx) error {
		for _, id := range ids {
			if _, err := s.agents.Touch(tx, id, func(a *AgentInfo) error {
				revived = revived || !s.alive(a)
				a.HeartbeatAt = at
				return nil
			}); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil || !revived {
		return err
	}
	return s.scheduleUnhosted(ctx)
}

func (s *Service) alive(a *AgentInfo) bool {
	return s.now().Sub(a.HeartbeatAt) < s.options.AgentDownAfter
}

// Agents lists agents, for admins.
func (s *Service) Agents(ctx context.Context, scope Scope, q Query) ([]AgentInfo, error) {
	if !scope.Admin {
		return []AgentInfo{}, nil
	}
	var conditions []record.Condition
	if alive, ok := q.Filters["alive"]; ok {
		filters := map[string][]string{}
		for k, v := range q.Filters {
			if k != "alive" {
				filters[k] = v
			}
		}
		q.Filters = filters
		want, err := parseBool(alive[0])
		if err != nil {
			return nil, invalid("'%s' is not a value of alive", alive[0])
		}
		c := record.Ge("heartbeat", s.now().Add(-s.options.AgentDownAfter).Format(sortableTime))
		if !want {
			c = record.Not(c)
		}
		conditions = append(conditions, c)
	}
	found, err := list(ctx, s, s.agents, agentAttributes, q, conditions...)
	for i := range found {
		found[i].Alive = s.alive(&found[i])
	}
	return found, err
}

// Agent returns an agent, for admins.
func (s *Service) Agent(ctx context.Context, scope Scope, id string) (*AgentInfo, error) {
	return s.agent(s.store.Read(ctx), scope, id)
}

func (s *Service) agent(tx *record.Tx, scope Scope, id string) (*AgentInfo, error) {
	a, err := s.agents.Get(tx, id)
	if errors.Is(err, ErrNotFound) || err == nil && !scope.Admin {
		return nil, refuse(ErrNotFound, "AgentNotFound", "Agent %s could not be found.", id)
	}
	if err != nil {
		return nil, err
	}
	a.Alive = s.alive(a)
	return a, nil
}

// UpdateAgent lets an agent be scheduled to, or not, and describes it; nil is unchanged.
func (s *Service) UpdateAgent(ctx context.Context, scope Scope, id string, adminStateUp *bool, description *string) (*AgentInfo, error) {
	var changed *AgentInfo
	err := s.update(ctx, func(tx *record.Tx) error {
		a, err := s.agent(tx, scope, id)
		if err != nil {
			return err
		}
		set(&a.AdminStateUp, adminStateUp)
		set(&a.Description, description)
		changed = a
		return s.agents.Update(tx, a)
	})
	return changed, err
}

// DeleteAgent forgets an agent. What it hosted is left to others.
func (s *Service) DeleteAgent(ctx context.Context, scope Scope, id string) error {
	return s.update(ctx, func(tx *record.Tx) error {
		a, err := s.agent(tx, scope, id)
		if err != nil {
			return err
		}
		hosted, err := s.bindings.List(tx, record.Query{Where: []record.Condition{record.Eq("agent_id", id)}})
		if err != nil {
			return err
		}
		for i := range hosted {
			if err := s.unbind(tx, a, &hosted[i]); err != nil {
				return err
			}
		}
		return s.agents.Delete(tx, id)
	})
}
