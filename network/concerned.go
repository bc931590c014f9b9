package network

import (
	"context"
	"errors"
	"strings"

	"github.com/kintoun/kintoun/internal/record"
)

// concerned says which hosts a change concerns that does not say so itself. Where something is taken from a host, that
// host hears of the port, the presence or the binding that it lost.
func (s *Service) concerned(ctx context.Context, c record.Change) (hosts []string, everywhere bool) {
	tx := s.store.Read(ctx)
	var err error
	networkID, host, _ := strings.Cut(c.ID, "/")
	s.forgetReach(c, networkID)
	s.forgetMembers(c)
	switch c.Kind {
	case s.ports.Kind():
		return nil, true // written before changes said whose they are
	case s.networks.Kind():
		hosts, err = s.hostsIn(tx, c.ID)
	case s.presence.Kind():
		hosts, err = s.hostsIn(tx, networkID)
		hosts = append(hosts, host)
	case s.groups.Kind():
		hosts, err = s.hostsOfGroups(tx, c.ID)
	case changedMembers:
		var groups []string
		if groups, err = s.referring(tx, c.ID); err == nil {
			hosts, err = s.hostsOfGroups(tx, groups...)
		}
	case s.routers.Kind(), changedRouter:
		var host string
		host, err = s.routerHost(tx, c.ID)
		hosts = []string{host}
	case changedDHCP:
		hosts, err = s.dhcpHosts(tx, c.ID)
	case s.bindings.Kind():
		agentID, _, _ := strings.Cut(c.ID, "/")
		var a *AgentInfo
		if a, err = s.agents.Get(tx, agentID); err == nil {
			hosts = []string{a.Host}
		}
	case changedTunnels:
		hosts, err = s.neighbours(tx, c.ID)
	}
	return hosts, err != nil && !errors.Is(err, context.Canceled)
}

// hostsIn are those with ports in one of the networks.
func (s *Service) hostsIn(tx *record.Tx, networkIDs ...string) ([]string, error) {
	return s.presence.Texts(tx, "host", record.In("network_id", networkIDs...))
}

// neighbours are the hosts that share a network with one, and that one.
func (s *Service) neighbours(tx *record.Tx, host string) ([]string, error) {
	networks, err := s.presence.Texts(tx, "network_id", record.Eq("host", host))
	if err != nil || len(networks) == 0 {
		return []string{host}, err
	}
	return s.hostsIn(tx, networks...)
}

// hostsOfGroups are those with ports in one of the security groups.
func (s *Service) hostsOfGroups(tx *record.Tx, groups ...string) ([]string, error) {
	return s.ports.Texts(tx, "host_id", record.Claiming(groupSpaces(groups)...))
}

// referring are the groups with rules that name the group.
func (s *Service) referring(tx *record.Tx, group string) ([]string, error) {
	return s.rules.Texts(tx, "security_group_id", record.Eq("remote_group_id", group))
}

func groupSpaces(groups []string) []string {
	spaces := make([]string, len(groups))
	for i, group := range groups {
		spaces[i] = groupSpace(group)
	}
	return spaces
}
