package identity

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestWhateverIsWrongWithALoginTheAnswerIsTheSame(t *testing.T) {
	s, _ := open(t, Options{})
	m, other := member(t, s, "m"), member(t, s, "other")
	disabled := member(t, s, "disabled")
	_, err := s.UpdateUser(t.Context(), disabled.user.ID, func(u *UserSpec) error { u.Disabled = true; return nil })
	require.NoError(t, err)
	noPassword, err := s.CreateUser(t.Context(), UserSpec{Name: "none"})
	require.NoError(t, err)
	proof := func(ref UserRef, password string) AuthRequest {
		return AuthRequest{Password: &PasswordProof{User: ref, Password: password}}
	}
	scoped := func(scope ScopeRequest) AuthRequest {
		request := m.request()
		request.Scope = &scope
		return request
	}
	for what, request := range map[string]AuthRequest{
		"nothing":                {},
		"wrong password":         proof(UserRef{ID: m.user.ID}, "guess"),
		"empty password":         proof(UserRef{ID: m.user.ID}, ""),
		"endless password":       proof(UserRef{ID: m.user.ID}, strings.Repeat("x", 5000)),
		"unknown user":           proof(UserRef{ID: "nobody"}, "guess"),
		"unknown name":           proof(UserRef{Name: "nobody", DomainID: "default"}, "guess"),
		"unknown domain":         proof(UserRef{Name: "m", DomainID: "nowhere"}, "guess"),
		"disabled user":          disabled.request(),
		"user without password":  proof(UserRef{ID: noPassword.ID}, ""),
		"another's project":      scoped(ScopeRequest{Project: &ProjectRef{ID: other.project.ID}}),
		"unknown project":        scoped(ScopeRequest{Project: &ProjectRef{ID: "nothing"}}),
		"domain without role":    scoped(ScopeRequest{DomainID: DefaultDomainID}),
		"system without role":    scoped(ScopeRequest{System: true}),
		"unknown trust":          scoped(ScopeRequest{TrustID: "nothing"}),
		"not a token":            {Token: "gAAAAA"},
		"two users":              {Password: m.request().Password, Token: other.login(t, s)},
		"unknown app credential": {ApplicationCredential: &ApplicationCredentialProof{ID: "nothing", Secret: "x"}},
	} {
		_, _, err := s.Authenticate(t.Context(), request)
		require.ErrorIs(t, err, ErrUnauthorized, what)
		require.EqualError(t, err, "The request you have made requires authentication.", what)
	}
}

// Tokens are used once before the change, so that what is tested is that no cache keeps them alive.
func TestWhatEndsTokensEndsThemAtOnce(t *testing.T) {
	ctx := context.Background()
	s, _ := open(t, Options{})
	for what, end := range map[string]func(s *Service, m someone, token string) error{
		"user deleted":   func(s *Service, m someone, _ string) error { return s.DeleteUser(ctx, m.user.ID) },
		"user disabled":  func(s *Service, m someone, _ string) error { return disableUser(s, m.user.ID, true) },
		"project gone":   func(s *Service, m someone, _ string) error { return s.DeleteProject(ctx, m.project.ID) },
		"project off":    func(s *Service, m someone, _ string) error { return disableProject(s, m.project.ID, true) },
		"role gone":      func(s *Service, m someone, _ string) error { return s.DeleteRole(ctx, m.role) },
		"role taken":     func(s *Service, m someone, _ string) error { return s.Unassign(ctx, m.assignment()) },
		"token revoked":  func(s *Service, _ someone, token string) error { return s.Revoke(ctx, token) },
		"password reset": func(s *Service, m someone, _ string) error { return setPassword(s, m.user.ID, "new") },
		"password changed": func(s *Service, m someone, _ string) error {
			return s.ChangePassword(ctx, m.user.ID, m.user.Name+"'s secret", "new")
		},
		"user off and on": func(s *Service, m someone, _ string) error {
			if err := disableUser(s, m.user.ID, true); err != nil {
				return err
			}
			return disableUser(s, m.user.ID, false)
		},
		"project off and on": func(s *Service, m someone, _ string) error {
			if err := disableProject(s, m.project.ID, true); err != nil {
				return err
			}
			return disableProject(s, m.project.ID, false)
		},
	} {
		t.Run(what, func(t *testing.T) {
			m, bystander := member(t, s, what), member(t, s, "not "+what)
			own, err := s.CreateRole(ctx, Role{Name: what})
			require.NoError(t, err)
			require.NoError(t, s.Unassign(ctx, m.assignment()))
			m.role = own.ID
			require.NoError(t, s.Assign(ctx, m.assignment()))
			token, untouched := m.login(t, s), bystander.login(t, s)
			_, err = s.Validate(ctx, token)
			require.NoError(t, err)
			require.NoError(t, end(s, m, token))
			_, err = s.Validate(ctx, token)
			require.ErrorIs(t, err, ErrUnauthorized)
			_, err = s.Validate(ctx, untouched)
			require.NoError(t, err)
		})
	}
}

func (m someone) assignment() Assignment {
	return Assignment{RoleID: m.role, UserID: m.user.ID, ProjectID: m.project.ID}
}

func disableUser(s *Service, id string, disabled bool) error {
	_, err := s.UpdateUser(context.Background(), id, func(u *UserSpec) error { u.Disabled = disabled; return nil })
	return err
}

func disableProject(s *Service, id string, disabled bool) error {
	_, err := s.UpdateProject(context.Background(), id, func(p *ProjectSpec) error { p.Disabled = disabled; return nil })
	return err
}

func setPassword(s *Service, id, password string) error {
	_, err := s.UpdateUser(context.Background(), id, func(u *UserSpec) error { u.Password = password; return nil })
	return err
}

func TestLosingAGroupEndsItsTokens(t *testing.T) {
	s, _ := open(t, Options{})
	ctx := t.Context()
	m := member(t, s, "m")
	g, err := s.CreateGroup(ctx, GroupSpec{Name: "g"})
	require.NoError(t, err)
	require.NoError(t, s.AddMember(ctx, g.ID, m.user.ID))
	require.NoError(t, s.Assign(ctx, Assignment{RoleID: m.role, GroupID: g.ID, ProjectID: m.project.ID}))
	require.NoError(t, s.Unassign(ctx, m.assignment()))
	token := m.login(t, s)
	_, err = s.Validate(ctx, token)
	require.NoError(t, err)
	require.NoError(t, s.RemoveMember(ctx, g.ID, m.user.ID))
	_, err = s.Validate(ctx, token)
	require.ErrorIs(t, err, ErrUnauthorized)
}

func TestADisabledDomainShutsItsUsersOut(t *testing.T) {
	s, _ := open(t, Options{})
	ctx := t.Context()
	d, err := s.CreateProject(ctx, ProjectSpec{Name: "d", IsDomain: true})
	require.NoError(t, err)
	u, err := s.CreateUser(ctx, UserSpec{Name: "u", DomainID: d.ID, Password: "p"})
	require.NoError(t, err)
	request := AuthRequest{Password: &PasswordProof{User: UserRef{ID: u.ID}, Password: "p"}, Scope: &ScopeRequest{}}
	token, _, err := s.Authenticate(ctx, request)
	require.NoError(t, err)
	_, err = s.UpdateDomain(ctx, d.ID, func(d *ProjectSpec) error { d.Disabled = true; return nil })
	require.NoError(t, err)
	_, err = s.Validate(ctx, token)
	require.ErrorIs(t, err, ErrUnauthorized)
	_, _, err = s.Authenticate(ctx, request)
	require.ErrorIs(t, err, ErrUnauthorized)
}

func TestTokensExpire(t *testing.T) {
	s, clock := open(t, Options{TokenLifetime: time.Minute, CacheTTL: time.Hour})
	token := member(t, s, "m").login(t, s)
	clock.advance(59 * time.Second)
	_, err := s.Validate(t.Context(), token)
	require.NoError(t, err)
	clock.advance(time.Second)
	_, err = s.Validate(t.Context(), token)
	require.ErrorIs(t, err, ErrUnauthorized, "from the cache too")
}

func TestARescopedTokenLivesNoLonger(t *testing.T) {
	s, clock := open(t, Options{})
	ctx := t.Context()
	m := member(t, s, "m")
	request := m.request()
	request.Scope = &ScopeRequest{}
	first, unscoped, err := s.Authenticate(ctx, request)
	require.NoError(t, err)
	require.Empty(t, unscoped.Roles)
	require.Empty(t, unscoped.ProjectID)
	require.Len(t, unscoped.AuditIDs, 1)
	clock.advance(time.Minute)
	value, token, err := s.Authenticate(ctx, AuthRequest{Token: first, Scope: m.request().Scope})
	require.NoError(t, err)
	require.Equal(t, unscoped.ExpiresAt, token.ExpiresAt)
	require.Equal(t, []string{"password", "token"}, token.Methods)
	require.Equal(t, unscoped.AuditIDs[0], token.AuditIDs[1])
	seen, err := s.Inspect(ctx, value)
	require.NoError(t, err)
	require.Equal(t, token, seen, "a token says what its issue said")
	require.NoError(t, s.Revoke(ctx, first))
	_, err = s.Validate(ctx, value)
	require.NoError(t, err, "one token was revoked, not the chain")
}

func TestWithoutAScopeTheDefaultProjectIsIt(t *testing.T) {
	s, _ := open(t, Options{})
	ctx := t.Context()
	m, other := member(t, s, "m"), member(t, s, "other")
	for project, want := range map[string]string{m.project.ID: m.project.ID, other.project.ID: "", "gone": "", "": ""} {
		_, err := s.UpdateUser(ctx, m.user.ID, func(u *UserSpec) error { u.DefaultProjectID = project; return nil })
		require.NoError(t, err)
		_, token, err := s.Authenticate(ctx, AuthRequest{Password: m.request().Password})
		require.NoError(t, err)
		require.Equal(t, want, token.ProjectID)
	}
}

func TestLongPasswordsCountToTheirEnd(t *testing.T) {
	s, _ := open(t, Options{})
	ctx := t.Context()
	long := strings.Repeat("é", 40)
	u, err := s.CreateUser(ctx, UserSpec{Name: "u", Password: long + "1"})
	require.NoError(t, err)
	for password, good := range map[string]bool{long + "1": true, long + "2": false, long: false, long[:72]: false} {
		_, _, err := s.Authenticate(ctx, AuthRequest{Password: &PasswordProof{User: UserRef{ID: u.ID}, Password: password}})
		require.Equal(t, good, err == nil, password)
	}
	_, err = s.CreateUser(ctx, UserSpec{Name: "v", Password: strings.Repeat("x", 4097)})
	require.ErrorIs(t, err, ErrInvalid)
}

func TestOnlyTheOriginalPasswordChangesIt(t *testing.T) {
	s, _ := open(t, Options{})
	m := member(t, s, "m")
	require.ErrorIs(t, s.ChangePassword(t.Context(), m.user.ID, "guess", "new"), ErrUnauthorized)
	require.ErrorIs(t, s.ChangePassword(t.Context(), "nobody", "guess", "new"), ErrUnauthorized)
	require.ErrorIs(t, s.ChangePassword(t.Context(), m.user.ID, "m's secret", "m's secret"), ErrInvalid)
	m.login(t, s)
}

func TestTrusts(t *testing.T) {
	s, clock := open(t, Options{})
	ctx := t.Context()
	giver, taker, stranger := member(t, s, "giver"), member(t, s, "taker"), member(t, s, "stranger")
	uses := 1
	spec := Trust{
		TrustorID: giver.user.ID, TrusteeID: taker.user.ID, ProjectID: giver.project.ID, RoleIDs: []string{roleNamed(t, s, RoleReader)},
		Impersonation: true, RemainingUses: &uses, ExpiresAt: clock.now().Add(time.Hour),
	}
	trust, err := s.CreateTrust(ctx, spec)
	require.NoError(t, err)
	use := func(m someone, id string) (string, *Token, error) {
		request := m.request()
		request.Scope = &ScopeRequest{TrustID: id}
		return s.Authenticate(ctx, request)
	}
	_, _, err = use(stranger, trust.ID)
	require.ErrorIs(t, err, ErrForbidden)
	value, token, err := use(taker, trust.ID)
	require.NoError(t, err)
	require.Equal(t, giver.user.ID, token.UserID, "impersonated")
	require.Equal(t, giver.project.ID, token.ProjectID)
	require.Equal(t, []string{"reader"}, roleNames(token.Roles), "no more than was given")
	_, _, err = use(taker, trust.ID)
	require.ErrorIs(t, err, ErrUnauthorized, "used up")
	_, err = s.Validate(ctx, value)
	require.NoError(t, err, "what was issued goes on")
	_, _, err = s.Authenticate(ctx, AuthRequest{Token: value})
	require.ErrorIs(t, err, ErrForbidden, "a trust's token gets no other")
	require.NoError(t, s.Unassign(ctx, giver.assignment()))
	_, err = s.Validate(ctx, value)
	require.ErrorIs(t, err, ErrUnauthorized, "the giver has lost the role")
	require.NoError(t, s.Assign(ctx, giver.assignment()))
	require.NoError(t, s.DeleteTrust(ctx, trust.ID))
	_, err = s.Validate(ctx, value)
	require.ErrorIs(t, err, ErrUnauthorized)

	spec.RoleIDs = []string{roleNamed(t, s, RoleAdmin)}
	_, err = s.CreateTrust(ctx, spec)
	require.ErrorIs(t, err, ErrNotFound, "nobody gives what it has not")
	spec.RoleIDs, spec.ExpiresAt = []string{giver.role}, clock.now()
	_, err = s.CreateTrust(ctx, spec)
	require.ErrorIs(t, err, ErrInvalid)
}

func TestRedelegatedTrustsGiveNoMore(t *testing.T) {
	s, _ := open(t, Options{})
	ctx := t.Context()
	a, b, c := member(t, s, "a"), member(t, s, "b"), member(t, s, "c")
	from, err := s.CreateTrust(ctx, Trust{
		TrustorID: a.user.ID, TrusteeID: b.user.ID, ProjectID: a.project.ID, RoleIDs: []string{a.role},
		Impersonation: true, AllowRedelegation: true, RedelegationCount: 1,
	})
	require.NoError(t, err)
	spec := Trust{TrustorID: a.user.ID, TrusteeID: c.user.ID, ProjectID: a.project.ID, RoleIDs: []string{a.role}, Impersonation: true}
	again, err := s.Redelegate(ctx, spec, from)
	require.NoError(t, err)
	_, err = s.Redelegate(ctx, spec, again)
	require.ErrorIs(t, err, ErrForbidden)
	more := spec
	more.RoleIDs = []string{roleNamed(t, s, RoleReader)}
	_, err = s.Redelegate(ctx, more, from)
	require.ErrorIs(t, err, ErrForbidden)
	require.NoError(t, s.DeleteTrust(ctx, from.ID))
	_, err = s.Trust(ctx, again.ID)
	require.ErrorIs(t, err, ErrNotFound, "it goes with the one it came from")
}

func TestApplicationCredentials(t *testing.T) {
	s, clock := open(t, Options{})
	ctx := t.Context()
	m := member(t, s, "m")
	spec := ApplicationCredential{Name: "app", UserID: m.user.ID, ProjectID: m.project.ID, RoleIDs: []string{m.role}, ExpiresAt: clock.now().Add(time.Minute)}
	for what, secret := range map[string]string{"generated": "", "chosen": "chosen"} {
		spec.Name = what
		app, shown, err := s.CreateApplicationCredential(ctx, spec, secret, []AccessRule{{Service: "compute", Method: "GET", Path: "/"}})
		require.NoError(t, err)
		require.NotContains(t, app.SecretHash, shown)
		proofs := []ApplicationCredentialProof{{ID: app.ID, Secret: shown}, {Name: what, User: UserRef{ID: m.user.ID}, Secret: shown}}
		for _, proof := range proofs {
			value, token, err := s.Authenticate(ctx, AuthRequest{ApplicationCredential: &proof})
			require.NoError(t, err)
			require.Equal(t, m.project.ID, token.ProjectID)
			require.Equal(t, []string{"member", "reader"}, roleNames(token.Roles))
			_, err = s.Validate(ctx, value)
			require.NoError(t, err)
			proof.Secret = "guess"
			_, _, err = s.Authenticate(ctx, AuthRequest{ApplicationCredential: &proof})
			require.ErrorIs(t, err, ErrUnauthorized)
		}
		value, _, err := s.Authenticate(ctx, AuthRequest{ApplicationCredential: &proofs[0]})
		require.NoError(t, err)
		_, _, err = s.Authenticate(ctx, AuthRequest{Token: value, Scope: &ScopeRequest{Project: &ProjectRef{ID: "another"}}})
		require.ErrorIs(t, err, ErrUnauthorized, "it has its project and no other")
		require.ErrorIs(t, s.DeleteAccessRule(ctx, m.user.ID, app.AccessRuleIDs[0]), ErrForbidden, "in use")
		require.NoError(t, s.DeleteApplicationCredential(ctx, m.user.ID, app.ID))
		_, err = s.Validate(ctx, value)
		require.ErrorIs(t, err, ErrUnauthorized)
	}
	spec.Name = "late"
	app, secret, err := s.CreateApplicationCredential(ctx, spec, "", nil)
	require.NoError(t, err)
	clock.advance(time.Minute)
	_, _, err = s.Authenticate(ctx, AuthRequest{ApplicationCredential: &ApplicationCredentialProof{ID: app.ID, Secret: secret}})
	require.ErrorIs(t, err, ErrUnauthorized, "expired")
	_, err = s.ApplicationCredential(ctx, "another", app.ID)
	require.ErrorIs(t, err, ErrNotFound)
}

func TestTokensStayShort(t *testing.T) {
	s, _ := open(t, Options{})
	p := payload{
		UserID: newID(), Methods: methodNames[:], Scope: Scope{ProjectID: newID()}, UserGeneration: 1 << 20, ScopeGeneration: 1 << 20,
		ExpiresAt: time.Unix(1<<33, 0).UTC(), AuditIDs: []string{newAuditID(), newAuditID()}, TrustID: newID(),
	}
	value, err := s.sealer.Seal(p.encode(), time.Now())
	require.NoError(t, err)
	require.Less(t, len(value), 255)
	got, err := decodePayload(p.encode())
	require.NoError(t, err)
	require.Equal(t, &p, got)
}

func FuzzPayload(f *testing.F) {
	p := payload{UserID: newID(), Methods: []string{"token"}, Scope: Scope{DomainID: "default"}, ExpiresAt: time.Unix(1, 0), AuditIDs: []string{newAuditID()}}
	f.Add(p.encode())
	f.Add([]byte{payloadVersion, 0, 1, 'u', 0, 1, 1, 1, 255})
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := decodePayload(data)
		if err != nil {
			return
		}
		again, err := decodePayload(p.encode())
		require.NoError(t, err)
		require.Equal(t, p, again)
	})
}

func TestTheCacheForgetsTheLeastUsed(t *testing.T) {
	c := &clock{}
	cache := newCache(2, time.Minute, c.now)
	token := &Token{Caller: Caller{ExpiresAt: c.now().Add(time.Hour)}}
	for i := range byte(3) {
		if i == 2 {
			found, _ := cache.get([32]byte{0})
			require.NotNil(t, found)
		}
		_, epoch := cache.get([32]byte{i})
		cache.put([32]byte{i}, token, epoch)
	}
	for i, kept := range []bool{true, false, true} {
		found, _ := cache.get([32]byte{byte(i)})
		require.Equal(t, kept, found != nil, i)
	}
	_, epoch := cache.get([32]byte{9})
	cache.clear()
	cache.put([32]byte{9}, token, epoch)
	found, _ := cache.get([32]byte{9})
	require.Nil(t, found, "what was looked up before a change is not believed after it")
	_, epoch = cache.get([32]byte{9})
	cache.put([32]byte{9}, token, epoch)
	c.advance(time.Minute)
	found, _ = cache.get([32]byte{9})
	require.Nil(t, found)
}

func TestRunFollowsOtherWriters(t *testing.T) {
	s, _ := open(t, Options{CacheTTL: time.Hour})
	m := member(t, s, "m")
	token := m.login(t, s)
	// Another process: the same store, a cache of its own.
	other := *s
	other.cache = newCache(10, time.Hour, s.options.Now)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- other.Run(ctx) }()
	_, err := other.Validate(t.Context(), token)
	require.NoError(t, err)
	require.NoError(t, s.DeleteUser(t.Context(), m.user.ID))
	require.Eventually(t, func() bool {
		_, err := other.Validate(t.Context(), token)
		return err != nil
	}, time.Minute, time.Millisecond)
	cancel()
	require.ErrorIs(t, <-ended, context.Canceled)
}

func TestManyAtOnce(t *testing.T) {
	s, _ := open(t, Options{})
	m := member(t, s, "m")
	token := m.login(t, s)
	done := make(chan error)
	for range 8 {
		go func() {
			for range 50 {
				if _, err := s.Validate(context.Background(), token); err != nil {
					done <- err
					return
				}
			}
			_, _, err := s.Authenticate(context.Background(), AuthRequest{Token: token})
			done <- err
		}()
	}
	for i := range 20 {
		_, err := s.UpdateProject(t.Context(), m.project.ID, func(p *ProjectSpec) error {
			p.Description = strings.Repeat("x", i)
			return nil
		})
		require.NoError(t, err)
	}
	for range 8 {
		require.NoError(t, <-done)
	}
}

func BenchmarkValidateCached(b *testing.B) {
	s, _ := open(b, Options{})
	token := member(b, s, "m").login(b, s)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := s.Validate(context.Background(), token); err != nil {
				b.Error(err)
			}
		}
	})
}

func BenchmarkValidateUncached(b *testing.B) {
	s, _ := open(b, Options{})
	token := member(b, s, "m").login(b, s)
	for b.Loop() {
		s.cache.clear()
		_, err := s.Validate(context.Background(), token)
		require.NoError(b, err)
	}
}

func BenchmarkIssueByToken(b *testing.B) {
	s, _ := open(b, Options{})
	m := member(b, s, "m")
	request := AuthRequest{Token: m.login(b, s), Scope: m.request().Scope}
	for b.Loop() {
		_, _, err := s.Authenticate(context.Background(), request)
		require.NoError(b, err)
	}
}

func BenchmarkIssueByPassword(b *testing.B) {
	s, _ := open(b, Options{BcryptCost: 12})
	m := member(b, s, "m")
	for b.Loop() {
		_, _, err := s.Authenticate(context.Background(), m.request())
		require.NoError(b, err)
	}
}
