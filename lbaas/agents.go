package lbaas

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/kintoun/kintoun/internal/record"
)

// agentRecord is an agent as it is kept.
type agentRecord struct {
	ID, Host     string
	AdminStateUp bool
	CreatedAt    time.Time
	StartedAt    time.Time
	HeartbeatAt  time.Time
	Revision     int64
}

// AgentInfo is an agent as operators see it.
type AgentInfo struct {
	ID, Host     string
	AdminStateUp bool
	// Alive says that the agent was heard of lately.
	Alive                             bool
	CreatedAt, StartedAt, HeartbeatAt time.Time
	// Pools is how many pools the agent has.
	Pools int
}

// agentID is the same for a host at all times.
func agentID(host string) string {
	return uuid.NewSHA1(uuid.NameSpaceDNS, []byte("loadbalancer-agent."+host)).String()
}

// heartbeat says that the host's agent lives; back says that it was dead, or not known.
func (s *Service) heartbeat(ctx context.Context, host string, started, now time.Time) (back bool, err error) {
	err = s.store.Update(ctx, func(tx *record.Tx) error {
		_, err := s.agents.Touch(tx, agentID(host), func(a *agentRecord) error {
			back = !s.alive(a)
			a.StartedAt, a.HeartbeatAt = started, now
			return nil
		})
		if errors.Is(err, ErrNotFound) {
			back = true
			err = s.agents.Insert(tx, &agentRecord{
				ID: agentID(host), Host: host, AdminStateUp: true, CreatedAt: now, StartedAt: started, HeartbeatAt: now,
			})
		}
		return err
	})
	return back, err
}

func (s *Service) now() time.Time { return s.options.Now().UTC() }

func (s *Service) alive(a *agentRecord) bool {
	return s.now().Sub(a.HeartbeatAt) < s.options.AgentDownTime
}

// Agents lists the agents.
func (s *Service) Agents(ctx context.Context) ([]AgentInfo, error) {
	return s.agentInfos(s.store.Read(ctx))
}

func (s *Service) agentInfos(tx *record.Tx) ([]AgentInfo, error) {
	records, err := s.agents.List(tx, record.Query{Order: []record.Order{{Column: "host"}}})
	if err != nil {
		return nil, err
	}
	infos := make([]AgentInfo, len(records))
	for i := range records {
		a := &records[i]
		n, err := s.pools.Count(tx, record.Eq("agent_id", a.ID))
		if err != nil {
			return nil, err
		}
		infos[i] = AgentInfo{
			ID: a.ID, Host: a.Host, AdminStateUp: a.AdminStateUp, Alive: s.alive(a),
			CreatedAt: a.CreatedAt, StartedAt: a.StartedAt, HeartbeatAt: a.HeartbeatAt, Pools: n,
		}
	}
	return infos, nil
}

// Agent returns one agent.
func (s *Service) Agent(ctx context.Context, id string) (AgentInfo, error) {
	infos, err := s.Agents(ctx)
	if err != nil {
		return AgentInfo{}, err
	}
	for _, a := range infos {
		if a.ID == id {
			return a, nil
		}
	}
	return AgentInfo{}, named(ErrNotFound, "AgentNotFound", "Agent %s could not be found", id)
}

// SetAgentState has an agent take new pools, or none.
func (s *Service) SetAgentState(ctx context.Context, id string, adminStateUp bool) error {
	if _, err := s.Agent(ctx, id); err != nil {
		return err
	}
	return s.store.Update(ctx, func(tx *record.Tx) error {
		_, err := s.agents.Modify(tx, id, func(a *agentRecord) error { a.AdminStateUp = adminStateUp; return nil })
		return err
	})
}

// DeleteAgent forgets an agent; a living one comes back with its next sign of life.
func (s *Service) DeleteAgent(ctx context.Context, id string) error {
	if _, err := s.Agent(ctx, id); err != nil {
		return err
	}
	return s.store.Update(ctx, func(tx *record.Tx) error { return s.agents.Delete(tx, id) })
}

// AgentOfPool returns the agent that has the pool.
func (s *Service) AgentOfPool(ctx context.Context, scope Scope, poolID string) (AgentInfo, error) {
	pool, err := s.Pool(ctx, scope, poolID)
	if err != nil {
		return AgentInfo{}, err
	}
	if pool.AgentID == "" {
		return AgentInfo{}, named(ErrNotFound, "NoActiveLbaasAgent", "No active lbaas agent found for pool %s", poolID)
	}
	return s.Agent(ctx, pool.AgentID)
}

// PoolsOfAgent lists the pools that an agent has.
func (s *Service) PoolsOfAgent(ctx context.Context, agentID string) ([]Pool, error) {
	if _, err := s.Agent(ctx, agentID); err != nil {
		return nil, err
	}
	tx := s.store.Read(ctx)
	pools, err := s.pools.List(tx, record.Query{Where: []record.Condition{record.Eq("agent_id", agentID)}})
	if err != nil {
		return nil, err
	}
	pointers := make([]*Pool, len(pools))
	for i := range pools {
		pointers[i] = &pools[i]
	}
	return pools, s.fill(tx, pointers...)
}

// choose returns the living agent with the fewest pools, or nothing.
func (s *Service) choose(tx *record.Tx) (string, error) {
	infos, err := s.agentInfos(tx)
	if err != nil {
		return "", err
	}
	infos = slices.DeleteFunc(infos, func(a AgentInfo) bool { return !a.Alive || !a.AdminStateUp })
	if len(infos) == 0 {
		return "", nil
	}
	best := slices.MinFunc(infos, func(a, b AgentInfo) int { return a.Pools - b.Pools })
	return best.ID, nil
}

// Reschedule finds a new agent for every pool whose agent is dead, or gone, or was never there.
func (s *Service) Reschedule(ctx context.Context) error {
	tx := s.store.Read(ctx)
	if n, err := s.pools.Count(tx); err != nil || n == 0 {
		return err
	}
	records, err := s.agents.List(tx, record.Query{})
	if err != nil {
		return err
	}
	var living []string
	for i := range records {
		if s.alive(&records[i]) {
			living = append(living, records[i].ID)
		}
	}
	condition := record.Query{Where: []record.Condition{record.Not(record.In("agent_id", living...))}}
	homeless, err := s.pools.List(tx, condition)
	if err != nil || len(homeless) == 0 {
		return err
	}
	for _, pool := range homeless {
		err := s.store.Update(ctx, func(tx *record.Tx) error {
			agent, err := s.choose(tx)
			if err != nil || agent == "" {
				return err
			}
			fresh, err := s.pools.Get(tx, pool.ID)
			if err != nil || fresh.AgentID != pool.AgentID {
				return err
			}
			fresh.AgentID = agent
			return s.pools.Update(tx, fresh)
		})
		if err != nil && !errors.Is(err, ErrNotFound) {
			return err
		}
	}
	return nil
}
