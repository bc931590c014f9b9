package identity

import (
	"context"

	"github.com/kintoun/kintoun/internal/fault"
	"github.com/kintoun/kintoun/internal/record"
)

// UserFilter says which users to list; empty fields do not filter.
type UserFilter struct {
	Page
	Name, DomainID string
	Enabled        *bool
	// GroupID lists the group's members.
	GroupID string
}

// CreateUser creates a user. Passwords of more than 72 bytes, which bcrypt cannot take, are hashed with SHA-256
// first; more than 4,096 bytes are refused.
func (s *Service) CreateUser(ctx context.Context, spec UserSpec) (*User, error) {
	u := &User{ID: newID(), UserSpec: spec, Generation: 1}
	if u.DomainID == "" {
		u.DomainID = DefaultDomainID
	}
	if err := checkName("user", u.Name, userNameLength); err != nil {
		return nil, err
	}
	if u.Password != "" && u.PasswordRandom {
		u.PasswordHash = hashRandom(u.Password)
	} else if u.Password != "" {
		var err error
		if u.PasswordHash, err = s.hash(ctx, u.Password); err != nil {
			return nil, err
		}
	}
	err := s.update(ctx, func(tx *record.Tx) error {
		if _, err := s.domain(tx, u.DomainID); err != nil {
			return err
		}
		return duplicate(s.users.Insert(tx, u), "user", u.Name, u.DomainID)
	})
	if err != nil {
		return nil, err
	}
	return u, nil
}

// User returns the user with that identifier.
func (s *Service) User(ctx context.Context, id string) (*User, error) {
	return get(s.store.Read(ctx), s.users, "user", id)
}

// Users lists users, by name.
func (s *Service) Users(ctx context.Context, f UserFilter) ([]User, error) {
	tx := s.store.Read(ctx)
	var w where
	w.text("name", f.Name)
	w.text("domain_id", f.DomainID)
	w.flag("enabled", f.Enabled)
	if f.GroupID != "" {
		if _, err := get(tx, s.groups, "group", f.GroupID); err != nil {
			return nil, err
		}
		members, err := s.members.List(tx, record.Query{Where: []record.Condition{record.Eq("group_id", f.GroupID)}})
		if err != nil {
			return nil, err
		}
		ids := make([]string, len(members))
		for i, m := range members {
			ids[i] = m.UserID
		}
		w = append(w, record.In("id", ids...))
	}
	return s.users.List(tx, f.query(w, record.Order{Column: "name"}))
}

// UpdateUser lets change alter what is known of the user; it may be called more than once. A Password that it sets
// is the user's new one. A new password, or disabling the user, ends all the user's tokens.
func (s *Service) UpdateUser(ctx context.Context, id string, change func(*UserSpec) error) (*User, error) {
	// Hashing takes long and happens outside the transaction: learn the password from a first, discarded change.
	before, err := s.User(ctx, id)
	if err != nil {
		return nil, err
	}
	if err := change(&before.UserSpec); err != nil {
		return nil, err
	}
	hash := ""
	if before.Password != "" {
		if hash, err = s.hash(ctx, before.Password); err != nil {
			return nil, err
		}
	}
	return s.modifyUser(ctx, id, hash, change)
}

func (s *Service) modifyUser(ctx context.Context, id, hash string, change func(*UserSpec) error) (updated *User, err error) {
	err = s.update(ctx, func(tx *record.Tx) error {
		u, err := get(tx, s.users, "user", id)
		if err != nil {
			return err
		}
		domain, disabled := u.DomainID, u.Disabled
		if err := change(&u.UserSpec); err != nil {
			return err
		}
		if u.DomainID != domain {
			return fault.Wrap(ErrInvalid, "A user's domain cannot be changed.")
		}
		if err := checkName("user", u.Name, userNameLength); err != nil {
			return err
		}
		if hash != "" {
			u.PasswordHash = hash
		}
		if hash != "" || u.Disabled && !disabled {
			u.Generation++
		}
		updated = u
		return duplicate(s.users.Update(tx, u), "user", u.Name, u.DomainID)
	})
	return updated, err
}

// ChangePassword replaces the user's password by a new one if original is the present one, else it is
// [ErrUnauthorized]. All the user's tokens end.
func (s *Service) ChangePassword(ctx context.Context, id, original, password string) error {
	u, err := s.User(ctx, id)
	if err != nil {
		return unauthorized()
	}
	if ok, err := s.verify(ctx, u.PasswordHash, original); err != nil {
		return err
	} else if !ok {
		return unauthorized()
	}
	if original == password {
		return fault.Wrap(ErrInvalid, "Password validation error: the new password cannot be identical to the original one.")
	}
	hash, err := s.hash(ctx, password)
	if err != nil {
		return err
	}
	_, err = s.modifyUser(ctx, id, hash, func(*UserSpec) error { return nil })
	return err
}

// DeleteUser deletes the user with its role assignments, credentials and trusts. Its tokens end.
func (s *Service) DeleteUser(ctx context.Context, id string) error {
	return s.update(ctx, func(tx *record.Tx) error {
		if _, err := get(tx, s.users, "user", id); err != nil {
			return err
		}
		return s.dropUser(tx, id)
	})
}

func (s *Service) dropUser(tx *record.Tx, id string) error {
	of := record.Eq("user_id", id)
	for _, drop := range []func() error{
		func() error { return deleteAll(tx, s.members, memberKey, of) },
		func() error { return deleteAll(tx, s.assignments, (*Assignment).key, of) },
		func() error { return deleteAll(tx, s.credentials, func(c *Credential) string { return c.ID }, of) },
		func() error {
			return deleteAll(tx, s.appCreds, func(c *ApplicationCredential) string { return c.ID }, of)
		},
		func() error { return deleteAll(tx, s.accessRules, func(r *AccessRule) string { return r.ID }, of) },
		func() error {
			return deleteAll(tx, s.trusts, func(t *Trust) string { return t.ID },
				record.Any(record.Eq("trustor_id", id), record.Eq("trustee_id", id)))
		},
	} {
		if err := drop(); err != nil {
			return err
		}
	}
	return s.users.Delete(tx, id)
}

func memberKey(m *membership) string { return m.GroupID + "/" + m.UserID }

// GroupFilter says which groups to list; empty fields do not filter.
type GroupFilter struct {
	Page
	Name, DomainID string
	// UserID lists the groups that the user is in.
	UserID string
}

// CreateGroup creates a group.
func (s *Service) CreateGroup(ctx context.Context, spec GroupSpec) (*Group, error) {
	g := &Group{ID: newID(), GroupSpec: spec}
	if g.DomainID == "" {
		g.DomainID = DefaultDomainID
	}
	if err := checkName("group", g.Name, projectNameLength); err != nil {
		return nil, err
	}
	err := s.update(ctx, func(tx *record.Tx) error {
		if _, err := s.domain(tx, g.DomainID); err != nil {
			return err
		}
		return duplicate(s.groups.Insert(tx, g), "group", g.Name, g.DomainID)
	})
	if err != nil {
		return nil, err
	}
	return g, nil
}

// Group returns the group with that identifier.
func (s *Service) Group(ctx context.Context, id string) (*Group, error) {
	return get(s.store.Read(ctx), s.groups, "group", id)
}

// Groups lists groups, by name.
func (s *Service) Groups(ctx context.Context, f GroupFilter) ([]Group, error) {
	tx := s.store.Read(ctx)
	var w where
	w.text("name", f.Name)
	w.text("domain_id", f.DomainID)
	if f.UserID != "" {
		if _, err := get(tx, s.users, "user", f.UserID); err != nil {
			return nil, err
		}
		ids, err := s.groupsOf(tx, f.UserID)
		if err != nil {
			return nil, err
		}
		w = append(w, record.In("id", ids...))
	}
	return s.groups.List(tx, f.query(w, record.Order{Column: "name"}))
}

func (s *Service) groupsOf(tx *record.Tx, userID string) ([]string, error) {
	members, err := s.members.List(tx, record.Query{Where: []record.Condition{record.Eq("user_id", userID)}})
	ids := make([]string, len(members))
	for i, m := range members {
		ids[i] = m.GroupID
	}
	return ids, err
}

// UpdateGroup lets change alter what is known of the group; it may be called more than once.
func (s *Service) UpdateGroup(ctx context.Context, id string, change func(*GroupSpec) error) (updated *Group, err error) {
	err = s.update(ctx, func(tx *record.Tx) error {
		g, err := get(tx, s.groups, "group", id)
		if err != nil {
			return err
		}
		domain := g.DomainID
		if err := change(&g.GroupSpec); err != nil {
			return err
		}
		if g.DomainID != domain {
			return fault.Wrap(ErrInvalid, "A group's domain cannot be changed.")
		}
		if err := checkName("group", g.Name, projectNameLength); err != nil {
			return err
		}
		updated = g
		return duplicate(s.groups.Update(tx, g), "group", g.Name, g.DomainID)
	})
	return updated, err
}

// DeleteGroup deletes the group and the roles that its members had by it.
func (s *Service) DeleteGroup(ctx context.Context, id string) error {
	return s.update(ctx, func(tx *record.Tx) error {
		if _, err := get(tx, s.groups, "group", id); err != nil {
			return err
		}
		return s.dropGroup(tx, id)
	})
}

func (s *Service) dropGroup(tx *record.Tx, id string) error {
	if err := deleteAll(tx, s.members, memberKey, record.Eq("group_id", id)); err != nil {
		return err
	}
	if err := deleteAll(tx, s.assignments, (*Assignment).key, record.Eq("group_id", id)); err != nil {
		return err
	}
	return s.groups.Delete(tx, id)
}

// AddMember puts the user into the group; it may be there already.
func (s *Service) AddMember(ctx context.Context, groupID, userID string) error {
	return s.update(ctx, func(tx *record.Tx) error {
		err := s.member(tx, groupID, userID)
		if err == nil || !isNotFound(err) {
			return err
		}
		if _, err := get(tx, s.groups, "group", groupID); err != nil {
			return err
		}
		if _, err := get(tx, s.users, "user", userID); err != nil {
			return err
		}
		return s.members.Insert(tx, &membership{GroupID: groupID, UserID: userID})
	})
}

// RemoveMember takes the user out of the group.
func (s *Service) RemoveMember(ctx context.Context, groupID, userID string) error {
	return s.update(ctx, func(tx *record.Tx) error {
		if err := s.member(tx, groupID, userID); err != nil {
			return err
		}
		return s.members.Delete(tx, groupID+"/"+userID)
	})
}

// Member is nil where the user is in the group, [ErrNotFound] where not.
func (s *Service) Member(ctx context.Context, groupID, userID string) error {
	return s.member(s.store.Read(ctx), groupID, userID)
}

func (s *Service) member(tx *record.Tx, groupID, userID string) error {
	_, err := s.members.Get(tx, groupID+"/"+userID)
	if isNotFound(err) {
		return notFound("user", userID+" in group "+groupID)
	}
	return err
}
