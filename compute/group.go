package compute

import (
	"context"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/kintoun/kintoun/internal/fault"
	"github.com/kintoun/kintoun/internal/record"
)

// Policy says how the servers of a group spread over hosts.
type Policy string

// The policies. The soft ones are wishes.
const (
	Affinity         Policy = "affinity"
	AntiAffinity     Policy = "anti-affinity"
	SoftAffinity     Policy = "soft-affinity"
	SoftAntiAffinity Policy = "soft-anti-affinity"
)

// ServerGroup is a set of servers with a policy.
type ServerGroup struct {
	ID, Name          string
	ProjectID, UserID string
	Policy            Policy
	// MaxPerHost is how many servers of an anti-affinity group may share a host; zero is one.
	MaxPerHost int
	CreatedAt  time.Time
	Revision   int64
	// Members are the identifiers of its servers, found when it is read.
	Members []string `json:"-"`
}

var groupSpec = record.Spec[ServerGroup]{
	Key:      func(g *ServerGroup) string { return g.ID },
	Revision: func(g *ServerGroup) *int64 { return &g.Revision },
	Event:    func(g *ServerGroup) record.Event { return record.Event{Type: "server_group", Project: g.ProjectID} },
	Columns: []record.Column[ServerGroup]{
		{Name: "project", Value: func(g *ServerGroup) any { return g.ProjectID }},
		{Name: "created", Value: func(g *ServerGroup) any { return g.CreatedAt.UnixMicro() }},
	},
}

// CreateServerGroup makes a group in the scope's project. maxPerHost is for anti-affinity; zero is one.
func (s *Service) CreateServerGroup(ctx context.Context, scope Scope, name string, policy Policy, maxPerHost int) (*ServerGroup, error) {
	if !slices.Contains([]Policy{Affinity, AntiAffinity, SoftAffinity, SoftAntiAffinity}, policy) {
		return nil, fault.Wrap(ErrInvalid, "Invalid policy %q.", policy)
	}
	if maxPerHost != 0 && policy != AntiAffinity {
		return nil, fault.Wrap(ErrInvalid, "Only anti-affinity policy supports rules.")
	}
	g := &ServerGroup{ID: uuid.NewString(), Name: name, ProjectID: scope.ProjectID, UserID: scope.UserID, Policy: policy, MaxPerHost: maxPerHost, CreatedAt: s.now()}
	return g, s.store.Update(ctx, func(tx *record.Tx) error {
		quota, err := s.quota(tx, scope.ProjectID)
		if err != nil {
			return err
		}
		have, err := s.groups.Count(tx, record.Eq("project", scope.ProjectID))
		if err != nil {
			return err
		}
		if quota.ServerGroups >= 0 && have >= quota.ServerGroups {
			return fault.Wrap(ErrQuota, "Quota exceeded, too many server groups.")
		}
		return s.groups.Insert(tx, g)
	})
}

// ServerGroup returns a group that the scope may see.
func (s *Service) ServerGroup(ctx context.Context, scope Scope, id string) (*ServerGroup, error) {
	tx := s.store.Read(ctx)
	g, err := s.group(tx, scope, id)
	if err != nil {
		return nil, err
	}
	return g, s.fillMembers(tx, g)
}

func (s *Service) group(tx *record.Tx, scope Scope, id string) (*ServerGroup, error) {
	g, err := s.groups.Get(tx, id)
	if err == nil && !scope.sees(g.ProjectID) {
		err = ErrNotFound
	}
	if err != nil {
		return nil, notFound(err, "Instance group %s could not be found.", id)
	}
	return g, nil
}

func (s *Service) members(tx *record.Tx, groupID string) ([]Server, error) {
	return s.servers.List(tx, record.Query{
		Where: []record.Condition{record.Eq("groupid", groupID), record.Eq("deleted", false)},
		Order: []record.Order{{Column: "created"}},
	})
}

func (s *Service) fillMembers(tx *record.Tx, g *ServerGroup) error {
	members, err := s.members(tx, g.ID)
	for _, m := range members {
		g.Members = append(g.Members, m.ID)
	}
	return err
}

// ServerGroups lists the project's groups, or with all (for admins) everybody's.
func (s *Service) ServerGroups(ctx context.Context, scope Scope, all bool, offset, limit int) ([]ServerGroup, error) {
	q := record.Query{Order: []record.Order{{Column: "created"}}}
	if !all || !scope.Admin {
		q.Where = append(q.Where, record.Eq("project", scope.ProjectID))
	}
	if limit > 0 {
		q.Limit = offset + limit
	}
	tx := s.store.Read(ctx)
	list, err := s.groups.List(tx, q)
	if err != nil {
		return nil, err
	}
	list = list[min(offset, len(list)):]
	for i := range list {
		if err := s.fillMembers(tx, &list[i]); err != nil {
			return nil, err
		}
	}
	return list, nil
}

// DeleteServerGroup deletes a group. Its servers stay.
func (s *Service) DeleteServerGroup(ctx context.Context, scope Scope, id string) error {
	return s.store.Update(ctx, func(tx *record.Tx) error {
		if _, err := s.group(tx, scope, id); err != nil {
			return err
		}
		members, err := s.members(tx, id)
		if err != nil {
			return err
		}
		for i := range members {
			members[i].GroupID = ""
			if err := s.servers.Update(tx, &members[i]); err != nil {
				return err
			}
		}
		return s.groups.Delete(tx, id)
	})
}
