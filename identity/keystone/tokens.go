package keystone

import (
	"encoding/json"
	"net/http"

	"github.com/kintoun/kintoun/identity"
	"github.com/kintoun/kintoun/internal/fault"
	"github.com/kintoun/kintoun/internal/wire"
)

const (
	authToken    = "X-Auth-Token"
	subjectToken = "X-Subject-Token"
)

func (h *handler) tokenRoutes() []wire.Route {
	return []wire.Route{
		{Method: http.MethodPost, Path: "/v3/auth/tokens", Public: true, Serve: h.issueToken},
		route(http.MethodGet, "/auth/tokens", h.showToken),
		route(http.MethodDelete, "/auth/tokens", h.revokeToken),
		route(http.MethodGet, "/auth/projects", h.authProjects),
		route(http.MethodGet, "/auth/domains", h.authDomains),
		route(http.MethodGet, "/auth/catalog", h.authCatalog),
		route(http.MethodGet, "/auth/system", h.authSystem),
	}
}

// The body of POST /v3/auth/tokens.
type authBody struct {
	Auth *struct {
		Identity *struct {
			Methods               []string       `json:"methods"`
			Password              *passwordAuth  `json:"password"`
			Token                 *tokenAuth     `json:"token"`
			ApplicationCredential *appCredential `json:"application_credential"`
		} `json:"identity"`
		Scope json.RawMessage `json:"scope"`
	} `json:"auth"`
}

type passwordAuth struct {
	User *struct {
		userRef
		Password *string `json:"password"`
	} `json:"user"`
}

type tokenAuth struct {
	ID string `json:"id"`
}

type appCredential struct {
	ID     string   `json:"id"`
	Name   string   `json:"name"`
	Secret *string  `json:"secret"`
	User   *userRef `json:"user"`
}

type userRef struct {
	ID     string     `json:"id"`
	Name   string     `json:"name"`
	Domain *domainRef `json:"domain"`
}

type domainRef struct {
	ID   string `json:"id"`
	Name string `json:"name"`
}

func (u *userRef) ref() (identity.UserRef, error) {
	switch {
	case u == nil || u.ID == "" && u.Name == "":
		return identity.UserRef{}, missing("a user's or project's id or name")
	case u.ID != "":
		return identity.UserRef{ID: u.ID}, nil
	case u.Domain == nil || u.Domain.ID == "" && u.Domain.Name == "":
		return identity.UserRef{}, missing("domain")
	}
	return identity.UserRef{Name: u.Name, DomainID: u.Domain.ID, DomainName: u.Domain.Name}, nil
}

func missing(what string) error {
	return fault.Wrap(identity.ErrInvalid, "Expecting to find %s in identity or scope - the server could not comply with the request since it is either malformed or otherwise incorrect. The client is assumed to be in error.", what)
}

func (b *authBody) request() (request identity.AuthRequest, err error) {
	if b.Auth == nil || b.Auth.Identity == nil || len(b.Auth.Identity.Methods) == 0 {
		return request, missing("auth.identity.methods")
	}
	proofs := b.Auth.Identity
	for _, method := range proofs.Methods {
		switch method {
		case identity.MethodPassword:
			request.Password, err = proofs.Password.proof()
		case identity.MethodToken:
			if proofs.Token == nil || proofs.Token.ID == "" {
				return request, missing("token")
			}
			request.Token = proofs.Token.ID
		case identity.MethodApplicationCredential:
			request.ApplicationCredential, err = proofs.ApplicationCredential.proof()
		default:
			err = fault.Wrap(identity.ErrUnauthorized, "Attempted to authenticate with an unsupported method.")
		}
		if err != nil {
			return request, err
		}
	}
	request.Scope, err = scope(b.Auth.Scope)
	return request, err
}

func (p *passwordAuth) proof() (*identity.PasswordProof, error) {
	if p == nil || p.User == nil || p.User.Password == nil {
		return nil, missing("password")
	}
	ref, err := p.User.ref()
	return &identity.PasswordProof{User: ref, Password: *p.User.Password}, err
}

func (a *appCredential) proof() (*identity.ApplicationCredentialProof, error) {
	if a == nil || a.Secret == nil || a.ID == "" && a.Name == "" {
		return nil, missing("application_credential")
	}
	proof := &identity.ApplicationCredentialProof{ID: a.ID, Name: a.Name, Secret: *a.Secret}
	if a.ID != "" {
		return proof, nil
	}
	var err error
	proof.User, err = a.User.ref()
	return proof, err
}

// scope reads "unscoped", {"unscoped": {}} or one of project, domain, system and OS-TRUST:trust.
func scope(raw json.RawMessage) (*identity.ScopeRequest, error) {
	if len(raw) == 0 || isNull(raw) {
		return nil, nil
	}
	var word string
	if json.Unmarshal(raw, &word) == nil {
		if word != "unscoped" {
			return nil, missing("a scope that is known")
		}
		return &identity.ScopeRequest{}, nil
	}
	var wish struct {
		Unscoped *object          `json:"unscoped"`
		Project  *userRef         `json:"project"`
		Domain   *domainRef       `json:"domain"`
		System   *map[string]bool `json:"system"`
		Trust    *tokenAuth       `json:"OS-TRUST:trust"`
	}
	if err := json.Unmarshal(raw, &wish); err != nil {
		return nil, missing("a scope that is well-formed")
	}
	request, named := &identity.ScopeRequest{}, 0
	if wish.Unscoped != nil {
		named++
	}
	if wish.Project != nil {
		named++
		ref, err := wish.Project.ref()
		if err != nil {
			return nil, err
		}
		project := identity.ProjectRef(ref)
		request.Project = &project
	}
	if wish.Domain != nil {
		named++
		if request.DomainID, request.DomainName = wish.Domain.ID, wish.Domain.Name; request.DomainID == "" && request.DomainName == "" {
			return nil, missing("domain")
		}
	}
	if wish.System != nil {
		named++
		if request.System = (*wish.System)["all"]; !request.System {
			return nil, missing("system.all")
		}
	}
	if wish.Trust != nil {
		named++
		if request.TrustID = wish.Trust.ID; request.TrustID == "" {
			return nil, missing("OS-TRUST:trust.id")
		}
	}
	if named != 1 {
		return nil, missing("one scope, and not several")
	}
	return request, nil
}

func (h *handler) issueToken(w http.ResponseWriter, r *http.Request) error {
	var b authBody
	if err := wire.Decode(r, &b); err != nil {
		return err
	}
	request, err := b.request()
	if err != nil {
		return err
	}
	value, token, err := h.service.Authenticate(r.Context(), request)
	if err != nil {
		return err
	}
	w.Header().Set(subjectToken, value)
	return h.writeToken(w, r, http.StatusCreated, token)
}

// subject is the token that the request is about. Only an administrator may ask about another than its own user's.
func (h *handler) subject(r *http.Request, caller *identity.Caller, action string) (string, *identity.Token, error) {
	value := r.Header.Get(subjectToken)
	token, err := h.service.Inspect(r.Context(), value)
	if err != nil {
		if wire.Status(err) == http.StatusUnauthorized {
			err = fault.Wrap(identity.ErrNotFound, "Could not find token.")
		}
		return "", nil, err
	}
	if err := caller.RequireUser(token.UserID, "identity:"+action); err != nil && !caller.HasRole("service") {
		return "", nil, err
	}
	return value, token, nil
}

func (h *handler) showToken(w http.ResponseWriter, r *http.Request, caller *identity.Caller) error {
	value, token, err := h.subject(r, caller, "validate_token")
	if err != nil {
		return err
	}
	w.Header().Set(subjectToken, value)
	return h.writeToken(w, r, http.StatusOK, token)
}

func (h *handler) revokeToken(w http.ResponseWriter, r *http.Request, caller *identity.Caller) error {
	value, _, err := h.subject(r, caller, "revoke_token")
	if err != nil {
		return err
	}
	if err := h.service.Revoke(r.Context(), value); err != nil {
		return err
	}
	return noContent(w)
}

func (h *handler) writeToken(w http.ResponseWriter, r *http.Request, status int, t *identity.Token) error {
	body := object{
		"methods": t.Methods, "audit_ids": t.AuditIDs,
		"issued_at": stamp(t.IssuedAt, microseconds), "expires_at": stamp(t.ExpiresAt, microseconds),
		"user": object{
			"id": t.UserID, "name": t.UserName, "password_expires_at": nil,
			"domain": object{"id": t.UserDomainID, "name": t.UserDomainName},
		},
	}
	h.tokenScope(body, t)
	if t.Trust != nil {
		body["OS-TRUST:trust"] = object{
			"id": t.Trust.ID, "impersonation": t.Trust.Impersonation,
			"trustor_user": object{"id": t.Trust.TrustorID}, "trustee_user": object{"id": t.Trust.TrusteeID},
		}
	}
	if c := t.ApplicationCredential; c != nil {
		body["application_credential"] = object{"id": c.ID, "name": c.Name, "restricted": !c.Unrestricted}
	}
	scoped := t.ProjectID != "" || t.DomainID != "" || t.System
	if scoped && !r.URL.Query().Has("nocatalog") {
		catalog, err := h.catalogOf(r, &t.Caller)
		if err != nil {
			return err
		}
		body["catalog"] = catalog
	}
	return wire.JSON(w, status, object{"token": body})
}

func (h *handler) tokenScope(body object, t *identity.Token) {
	switch {
	case t.ProjectID != "":
		project := object{"id": t.ProjectID, "name": t.ProjectName, "domain": nil}
		if !t.IsDomain {
			project["domain"] = object{"id": t.ProjectDomainID, "name": t.ProjectDomainName}
		}
		body["project"], body["is_domain"] = project, t.IsDomain
	case t.DomainID != "":
		body["domain"] = object{"id": t.DomainID, "name": t.DomainName}
	case t.System:
		body["system"] = object{"all": true}
	default:
		return
	}
	roles := make([]object, len(t.Roles))
	for i, role := range t.Roles {
		roles[i] = object{"id": role.ID, "name": role.Name}
	}
	body["roles"] = roles
}

func (h *handler) catalogOf(r *http.Request, caller *identity.Caller) ([]object, error) {
	entries, err := h.service.Catalog(r.Context(), caller)
	if err != nil {
		return nil, err
	}
	catalog := make([]object, len(entries))
	for i, entry := range entries {
		endpoints := make([]object, len(entry.Endpoints))
		for j, e := range entry.Endpoints {
			endpoints[j] = object{"id": e.ID, "interface": e.Interface, "region": orNull(e.RegionID), "region_id": orNull(e.RegionID), "url": e.URL}
		}
		catalog[i] = object{"id": entry.ID, "type": entry.Type, "name": entry.Name, "endpoints": endpoints}
	}
	return catalog, nil
}

func (h *handler) authProjects(w http.ResponseWriter, r *http.Request, caller *identity.Caller) error {
	yes := true
	projects, err := h.service.ProjectsOf(r.Context(), caller.UserID, identity.ProjectFilter{Enabled: &yes})
	if err != nil {
		return err
	}
	return list(h, w, r, "projects", projects, h.project)
}

func (h *handler) authDomains(w http.ResponseWriter, r *http.Request, caller *identity.Caller) error {
	yes := true
	domains, err := h.service.DomainsOf(r.Context(), caller.UserID, identity.ProjectFilter{Enabled: &yes})
	if err != nil {
		return err
	}
	return list(h, w, r, "domains", domains, h.domain)
}

func (h *handler) authCatalog(w http.ResponseWriter, r *http.Request, caller *identity.Caller) error {
	if caller.ProjectID == "" && caller.DomainID == "" && !caller.System {
		return fault.Wrap(identity.ErrForbidden, "You are not authorized to perform the requested action: identity:get_auth_catalog.")
	}
	catalog, err := h.catalogOf(r, caller)
	if err != nil {
		return err
	}
	return wire.JSON(w, http.StatusOK, object{"catalog": catalog, "links": object{"self": h.base(r) + r.URL.Path}})
}

func (h *handler) authSystem(w http.ResponseWriter, r *http.Request, caller *identity.Caller) error {
	may, err := h.service.SystemOf(r.Context(), caller.UserID)
	if err != nil {
		return err
	}
	system := []object{}
	if may {
		system = append(system, object{"all": true})
	}
	return wire.JSON(w, http.StatusOK, object{"system": system, "links": object{"self": h.base(r) + r.URL.Path}})
}
