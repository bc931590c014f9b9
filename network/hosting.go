package network

import (
	"context"
	"errors"

	"github.com/kintoun/kintoun/internal/record"
)

// MoveFromDead gives what dead agents host to live ones. Every agent's process calls it now and then.
func (s *Service) MoveFromDead(ctx context.Context) error {
	agents, err := s.agents.List(s.store.Read(ctx), record.Query{Where: []record.Condition{record.In("agent_type", AgentDHCP, AgentL3)}})
	if err != nil {
		return err
	}
	for i := range agents {
		if s.alive(&agents[i]) {
			continue
		}
		hosted, err := s.bindings.List(s.store.Read(ctx), record.Query{Where: []record.Condition{record.Eq("agent_id", agents[i].ID)}})
		if err != nil {
			return err
		}
		for j := range hosted {
			if err := ignoreGone(s.update(ctx, func(tx *record.Tx) error { return s.move(tx, agents[i].ID, &hosted[j]) })); err != nil {
				return err
			}
		}
	}
	return nil
}

// move gives one thing to another agent, if the one that has it is still dead and there is another.
func (s *Service) move(tx *record.Tx, agentID string, b *binding) error {
	from, err := s.agents.Get(tx, agentID)
	if err != nil || s.alive(from) {
		return err
	}
	to, err := s.choose(tx, from.Type)
	if err != nil || to == nil {
		return err
	}
	if n, err := s.bindings.Count(tx, record.Eq("id", bindingID(to.ID, b.ResourceID))); err != nil || n > 0 {
		return err
	}
	if err := s.unbind(tx, from, b); err != nil {
		return err
	}
	if b.Kind == kindL3 {
		return s.bindRouter(tx, to, b.ResourceID)
	}
	network, err := s.networks.Get(tx, b.ResourceID)
	if err != nil {
		return err
	}
	return s.bindNetwork(tx, to, network)
}

// agentOfType finds an agent that can host what is asked.
func (s *Service) agentOfType(tx *record.Tx, scope Scope, id, agentType, refusal string) (*AgentInfo, error) {
	a, err := s.agent(tx, scope, id)
	if err != nil {
		return nil, err
	}
	if a.Type != agentType {
		return nil, refuse(ErrConflict, refusal, "Agent %s is not a valid %s or has been disabled.", id, agentType)
	}
	return a, nil
}

// AddRouterToAgent lets an L3 agent host a router that no other hosts.
func (s *Service) AddRouterToAgent(ctx context.Context, scope Scope, agentID, routerID string) error {
	return s.update(ctx, func(tx *record.Tx) error {
		a, err := s.agentOfType(tx, scope, agentID, AgentL3, "InvalidL3Agent")
		if err != nil {
			return err
		}
		if !a.AdminStateUp {
			return refuse(ErrConflict, "InvalidL3Agent", "Agent %s is not a L3 Agent or has been disabled.", agentID)
		}
		r, err := s.visibleRouter(tx, scope, routerID)
		if err != nil {
			return err
		}
		holder, err := s.store.Holder(tx, "l3", r.ID)
		if err != nil || holder == bindingID(a.ID, r.ID) {
			return err
		}
		if holder != "" {
			return refuse(ErrConflict, "RouterHostedByL3Agent", "The router %s has been already hosted by the L3 Agent %s.", r.ID, holder[:len(holder)-len(r.ID)-1])
		}
		return s.bindRouter(tx, a, r.ID)
	})
}

// RemoveRouterFromAgent takes a router from an L3 agent.
func (s *Service) RemoveRouterFromAgent(ctx context.Context, scope Scope, agentID, routerID string) error {
	return s.update(ctx, func(tx *record.Tx) error {
		a, err := s.agentOfType(tx, scope, agentID, AgentL3, "InvalidL3Agent")
		if err != nil {
			return err
		}
		b, err := s.bindings.Get(tx, bindingID(agentID, routerID))
		if errors.Is(err, ErrNotFound) {
			return refuse(ErrConflict, "RouterNotHostedByL3Agent", "The router %s is not hosted by L3 agent %s.", routerID, agentID)
		}
		if err != nil {
			return err
		}
		return s.unbind(tx, a, b)
	})
}

// AddNetworkToAgent lets a DHCP agent serve a network, beside those that do.
func (s *Service) AddNetworkToAgent(ctx context.Context, scope Scope, agentID, networkID string) error {
	return s.update(ctx, func(tx *record.Tx) error {
		a, err := s.agentOfType(tx, scope, agentID, AgentDHCP, "InvalidDHCPAgent")
		if err != nil {
			return err
		}
		network, err := s.visibleNetwork(tx, scope, networkID)
		if err != nil {
			return err
		}
		there, err := s.bindings.Count(tx, record.Eq("id", bindingID(agentID, networkID)))
		if err != nil {
			return err
		}
		if there > 0 {
			return refuse(ErrConflict, "NetworkHostedByDHCPAgent", "The network %s has been already hosted by the DHCP Agent %s.", networkID, agentID)
		}
		if err := tx.Announce(changedDHCP, networkID); err != nil {
			return err
		}
		return s.bindNetwork(tx, a, network)
	})
}

// RemoveNetworkFromAgent takes a network from a DHCP agent.
func (s *Service) RemoveNetworkFromAgent(ctx context.Context, scope Scope, agentID, networkID string) error {
	return s.update(ctx, func(tx *record.Tx) error {
		a, err := s.agentOfType(tx, scope, agentID, AgentDHCP, "InvalidDHCPAgent")
		if err != nil {
			return err
		}
		b, err := s.bindings.Get(tx, bindingID(agentID, networkID))
		if errors.Is(err, ErrNotFound) {
			return refuse(ErrConflict, "NetworkNotHostedByDhcpAgent", "The network %s is not hosted by the DHCP agent %s.", networkID, agentID)
		}
		if err != nil {
			return err
		}
		return s.unbind(tx, a, b)
	})
}

// AgentsHosting lists the agents that host a network or router, for admins.
func (s *Service) AgentsHosting(ctx context.Context, scope Scope, resourceID string) ([]AgentInfo, error) {
	if !scope.Admin {
		return []AgentInfo{}, nil
	}
	bound, err := s.bindingsOf(s.store.Read(ctx), resourceID)
	if err != nil {
		return nil, err
	}
	return s.Agents(ctx, scope, Eq("id", idsOf(bound, func(b *binding) string { return b.AgentID })...))
}

// RoutersOn lists the routers that an agent hosts, for admins.
func (s *Service) RoutersOn(ctx context.Context, scope Scope, agentID string) ([]Router, error) {
	ids, err := s.hostedBy(ctx, scope, agentID)
	if err != nil {
		return nil, err
	}
	return s.Routers(ctx, scope, Eq("id", ids...))
}

// NetworksOn lists the networks that an agent serves, for admins.
func (s *Service) NetworksOn(ctx context.Context, scope Scope, agentID string) ([]Network, error) {
	ids, err := s.hostedBy(ctx, scope, agentID)
	if err != nil {
		return nil, err
	}
	return s.Networks(ctx, scope, Eq("id", ids...))
}

func (s *Service) hostedBy(ctx context.Context, scope Scope, agentID string) ([]string, error) {
	tx := s.store.Read(ctx)
	if _, err := s.agent(tx, scope, agentID); err != nil {
		return nil, err
	}
	bound, err := s.bindings.List(tx, record.Query{Where: []record.Condition{record.Eq("agent_id", agentID)}})
	return idsOf(bound, func(b *binding) string { return b.ResourceID }), err
}

func idsOf[T any](list []T, id func(*T) string) []string {
	ids := make([]string, len(list))
	for i := range list {
		ids[i] = id(&list[i])
	}
	return ids
}
