package keystone

import (
	"encoding/hex"
	"net/http"
	"slices"

	"github.com/google/uuid"
	"github.com/kintoun/kintoun/identity"
	"github.com/kintoun/kintoun/internal/fault"
	"github.com/kintoun/kintoun/internal/wire"
)

func hexOf(id uuid.UUID) string { return hex.EncodeToString(id[:]) }

func (h *handler) trustRoutes() []wire.Route {
	return []wire.Route{
		route(http.MethodGet, "/OS-TRUST/trusts", h.listTrusts),
		route(http.MethodPost, "/OS-TRUST/trusts", h.createTrust),
		route(http.MethodGet, "/OS-TRUST/trusts/{id}", h.showTrust),
		route(http.MethodDelete, "/OS-TRUST/trusts/{id}", h.inPerson("delete_trust", h.deleteTrust)),
		route(http.MethodGet, "/OS-TRUST/trusts/{id}/roles", h.listTrustRoles),
		route(http.MethodGet, "/OS-TRUST/trusts/{id}/roles/{role}", h.showTrustRole),
	}
}

func (h *handler) trust(r *http.Request, t *identity.Trust) object {
	return with(t.Extra, object{
		"id": t.ID, "trustor_user_id": t.TrustorID, "trustee_user_id": t.TrusteeID, "project_id": orNull(t.ProjectID),
		"impersonation": t.Impersonation, "expires_at": stamp(t.ExpiresAt, microseconds), "remaining_uses": t.RemainingUses,
		"redelegation_count": t.RedelegationCount, "redelegated_trust_id": orNull(t.RedelegatedTrustID), "deleted_at": nil,
		"links": h.self(r, "OS-TRUST", "trusts", t.ID),
	})
}

// withRoles is a trust as a single one is shown.
func (h *handler) withRoles(r *http.Request, t *identity.Trust) (object, error) {
	roles, err := h.service.RolesByID(r.Context(), t.RoleIDs)
	if err != nil {
		return nil, err
	}
	shown, all := h.trust(r, t), []object{}
	for i := range roles {
		all = append(all, h.role(r, &roles[i]))
	}
	shown["roles"] = all
	shown["roles_links"] = object{"self": h.base(r) + "/v3/OS-TRUST/trusts/" + t.ID + "/roles", "previous": nil, "next": nil}
	return shown, nil
}

func (h *handler) listTrusts(w http.ResponseWriter, r *http.Request, caller *identity.Caller) error {
	query := r.URL.Query()
	f := identity.TrustFilter{TrustorID: query.Get("trustor_user_id"), TrusteeID: query.Get("trustee_user_id")}
	if !caller.Is(f.TrustorID) && !caller.Is(f.TrusteeID) {
		if err := caller.RequireAdmin("identity:list_trusts"); err != nil {
			return err
		}
	}
	trusts, err := h.service.Trusts(r.Context(), f)
	if err != nil {
		return err
	}
	return list(h, w, r, "trusts", trusts, h.trust)
}

// roleRef names a role by identifier or name.
type roleRef struct {
	ID   string `json:"id"`
	Name string `json:"name"`
}

func (h *handler) roleIDs(r *http.Request, refs []roleRef) ([]string, error) {
	ids := []string{}
	for _, ref := range refs {
		if ref.ID == "" {
			found, err := h.service.Roles(r.Context(), identity.RoleFilter{Name: ref.Name})
			if err != nil {
				return nil, err
			}
			if ref.Name == "" || len(found) == 0 {
				return nil, fault.Wrap(identity.ErrNotFound, "Could not find role: %s.", ref.Name)
			}
			ref.ID = found[0].ID
		}
		if !slices.Contains(ids, ref.ID) {
			ids = append(ids, ref.ID)
		}
	}
	return ids, nil
}

func (h *handler) createTrust(w http.ResponseWriter, r *http.Request, caller *identity.Caller) error {
	b, err := decode(r, "trust")
	if err != nil {
		return err
	}
	b.require("trustor_user_id", "trustee_user_id", "impersonation")
	var spec identity.Trust
	var refs []roleRef
	b.text("trustor_user_id", &spec.TrustorID)
	b.text("trustee_user_id", &spec.TrusteeID)
	b.boolean("impersonation", &spec.Impersonation)
	b.optional("project_id", &spec.ProjectID)
	b.value("remaining_uses", &spec.RemainingUses, "integer")
	b.boolean("allow_redelegation", &spec.AllowRedelegation)
	b.value("redelegation_count", &spec.RedelegationCount, "integer")
	b.value("roles", &refs, "array")
	b.time("expires_at", &spec.ExpiresAt)
	spec.Extra = b.rest(nil)
	if b.err != nil {
		return b.err
	}
	if err := caller.RequireSelf(spec.TrustorID, "identity:create_trust"); err != nil {
		return err
	}
	if spec.RoleIDs, err = h.roleIDs(r, refs); err != nil {
		return err
	}
	t, err := h.makeTrust(r, spec)
	if err != nil {
		return err
	}
	shown, err := h.withRoles(r, t)
	if err != nil {
		return err
	}
	return wire.JSON(w, http.StatusCreated, object{"trust": shown})
}

// makeTrust redelegates where the caller's token comes from a trust, and refuses restricted application credentials.
func (h *handler) makeTrust(r *http.Request, spec identity.Trust) (*identity.Trust, error) {
	token, err := h.service.Inspect(r.Context(), r.Header.Get(authToken))
	if err != nil {
		return nil, err
	}
	if err := restricted(token, "create_trust"); err != nil {
		return nil, err
	}
	if token.Trust != nil {
		return h.service.Redelegate(r.Context(), spec, token.Trust)
	}
	return h.service.CreateTrust(r.Context(), spec)
}

// restricted refuses tokens of application credentials that must not beget more of their kind.
func restricted(token *identity.Token, action string) error {
	if c := token.ApplicationCredential; c != nil && !c.Unrestricted {
		return fault.Wrap(identity.ErrForbidden, "You are not authorized to perform the requested action: identity:%s with a restricted application credential.", action)
	}
	return nil
}

// inPerson is a route that a user must call itself: not by a trust, nor by a restricted application credential,
// whose bearers would get at more than they were given.
func (h *handler) inPerson(action string, fn serve) serve {
	return func(w http.ResponseWriter, r *http.Request, caller *identity.Caller) error {
		token, err := h.service.Inspect(r.Context(), r.Header.Get(authToken))
		if err != nil {
			return err
		}
		if err := restricted(token, action); err != nil {
			return err
		}
		if token.Trust != nil {
			return fault.Wrap(identity.ErrForbidden, "You are not authorized to perform the requested action: identity:%s with a trust.", action)
		}
		return fn(w, r, caller)
	}
}

// party returns a trust that the caller has to do with. Another's is as little there as none.
func (h *handler) party(r *http.Request, caller *identity.Caller) (*identity.Trust, error) {
	t, err := h.service.Trust(r.Context(), r.PathValue("id"))
	if err == nil && !caller.Is(t.TrustorID) && !caller.Is(t.TrusteeID) && !caller.IsAdmin() {
		return nil, fault.Wrap(identity.ErrNotFound, "Could not find trust: %s.", r.PathValue("id"))
	}
	return t, err
}

func (h *handler) showTrust(w http.ResponseWriter, r *http.Request, caller *identity.Caller) error {
	t, err := h.party(r, caller)
	if err != nil {
		return err
	}
	shown, err := h.withRoles(r, t)
	if err != nil {
		return err
	}
	return wire.JSON(w, http.StatusOK, object{"trust": shown})
}

func (h *handler) deleteTrust(w http.ResponseWriter, r *http.Request, caller *identity.Caller) error {
	t, err := h.party(r, caller)
	if err != nil {
		return err
	}
	if err := caller.RequireUser(t.TrustorID, "identity:delete_trust"); err != nil {
		return err
	}
	if err := h.service.DeleteTrust(r.Context(), t.ID); err != nil {
		return err
	}
	return noContent(w)
}

func (h *handler) listTrustRoles(w http.ResponseWriter, r *http.Request, caller *identity.Caller) error {
	t, err := h.party(r, caller)
	if err != nil {
		return err
	}
	roles, err := h.service.RolesByID(r.Context(), t.RoleIDs)
	if err != nil {
		return err
	}
	return list(h, w, r, "roles", roles, h.role)
}

func (h *handler) showTrustRole(w http.ResponseWriter, r *http.Request, caller *identity.Caller) error {
	t, err := h.party(r, caller)
	if err != nil {
		return err
	}
	if !slices.Contains(t.RoleIDs, r.PathValue("role")) {
		return fault.Wrap(identity.ErrNotFound, "Could not find role: %s.", r.PathValue("role"))
	}
	return h.showRole(w, r, caller)
}
