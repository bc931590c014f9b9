package keystone

import (
	"encoding/json"
	"net/http"
	"slices"

	"github.com/google/uuid"
	"github.com/kintoun/kintoun/identity"
	"github.com/kintoun/kintoun/internal/fault"
	"github.com/kintoun/kintoun/internal/wire"
)

func (h *handler) credentialRoutes() []wire.Route {
	own := func(method, path, action string, fn serve) wire.Route {
		return route(method, path, h.undelegated(action, fn))
	}
	ec2 := func(method, path, action string, fn serve) wire.Route {
		return user(method, "/users/{user}/credentials/OS-EC2"+path, action, h.undelegated(action, fn))
	}
	return []wire.Route{
		own(http.MethodGet, "/credentials", "list_credentials", h.listCredentials),
		own(http.MethodPost, "/credentials", "create_credential", h.createCredential),
		own(http.MethodGet, "/credentials/{id}", "get_credential", h.showCredential),
		own(http.MethodPatch, "/credentials/{id}", "update_credential", h.updateCredential),
		own(http.MethodDelete, "/credentials/{id}", "delete_credential", h.deleteCredential),
		ec2(http.MethodGet, "", "ec2_list_credentials", h.listEC2),
		ec2(http.MethodPost, "", "ec2_create_credential", h.createEC2),
		ec2(http.MethodGet, "/{access}", "ec2_get_credential", h.showEC2),
		ec2(http.MethodDelete, "/{access}", "ec2_delete_credential", h.deleteEC2),
		route(http.MethodPost, "/s3tokens", h.s3Tokens),
		route(http.MethodPost, "/ec2tokens", h.ec2Tokens),
	}
}

// undelegated is a route that no application credential may call either, not even an unrestricted one: an EC2 credential speaks for
// the user with all its roles, in any of its projects.
func (h *handler) undelegated(action string, fn serve) serve {
	return h.inPerson(action, func(w http.ResponseWriter, r *http.Request, caller *identity.Caller) error {
		if slices.Contains(caller.Methods, identity.MethodApplicationCredential) {
			return fault.Wrap(identity.ErrForbidden, "You are not authorized to perform the requested action: identity:%s with an application credential.", action)
		}
		return fn(w, r, caller)
	})
}

func (h *handler) credential(r *http.Request, c *identity.Credential) object {
	return object{
		"id": c.ID, "user_id": c.UserID, "project_id": orNull(c.ProjectID), "type": c.Type, "blob": c.Blob,
		"links": h.self(r, "credentials", c.ID),
	}
}

func (h *handler) listCredentials(w http.ResponseWriter, r *http.Request, caller *identity.Caller) error {
	f := identity.CredentialFilter{UserID: r.URL.Query().Get("user_id"), Type: r.URL.Query().Get("type")}
	if !caller.IsAdmin() {
		if f.UserID != "" && !caller.Is(f.UserID) {
			return list(h, w, r, "credentials", nil, h.credential)
		}
		f.UserID = caller.UserID
	}
	var err error
	if f.Page, err = page(r); err != nil {
		return err
	}
	credentials, err := h.service.Credentials(r.Context(), f)
	if err != nil {
		return err
	}
	return list(h, w, r, "credentials", credentials, h.credential)
}

func readCredential(b *body, c *identity.Credential) error {
	b.text("type", &c.Type)
	b.text("user_id", &c.UserID)
	b.optional("project_id", &c.ProjectID)
	if raw, there := b.fields["blob"]; there && len(raw) > 0 && raw[0] == '{' {
		// Some clients send the object itself.
		c.Blob = string(raw)
	} else {
		b.text("blob", &c.Blob)
	}
	return b.err
}

func (h *handler) createCredential(w http.ResponseWriter, r *http.Request, caller *identity.Caller) error {
	b, err := decode(r, "credential")
	if err != nil {
		return err
	}
	b.require("type", "blob")
	spec := identity.Credential{UserID: caller.UserID}
	if err := readCredential(b, &spec); err != nil {
		return err
	}
	if err := h.mayKeep(r, caller, &spec, "create_credential"); err != nil {
		return err
	}
	c, err := h.service.CreateCredential(r.Context(), spec)
	if err != nil {
		return err
	}
	return wire.JSON(w, http.StatusCreated, object{"credential": h.credential(r, c)})
}

// mayKeep lets a user keep credentials for itself and its projects; an EC2 credential is as good as a log-in there.
func (h *handler) mayKeep(r *http.Request, caller *identity.Caller, c *identity.Credential, action string) error {
	if err := caller.RequireUser(c.UserID, "identity:"+action); err != nil {
		return err
	}
	if caller.IsAdmin() || c.ProjectID == "" || c.ProjectID == caller.ProjectID {
		return nil
	}
	mine, err := h.service.ProjectsOf(r.Context(), caller.UserID, identity.ProjectFilter{})
	if err != nil {
		return err
	}
	for i := range mine {
		if mine[i].ID == c.ProjectID {
			return nil
		}
	}
	return caller.RequireAdmin("identity:" + action)
}

// own returns the caller's credential. Another's is as little there as none.
func (h *handler) own(r *http.Request, caller *identity.Caller, id string) (*identity.Credential, error) {
	c, err := h.service.Credential(r.Context(), id)
	if err == nil && !caller.Is(c.UserID) && !caller.IsAdmin() {
		return nil, fault.Wrap(identity.ErrNotFound, "Could not find credential: %s.", id)
	}
	return c, err
}

func (h *handler) showCredential(w http.ResponseWriter, r *http.Request, caller *identity.Caller) error {
	c, err := h.own(r, caller, r.PathValue("id"))
	if err != nil {
		return err
	}
	return wire.JSON(w, http.StatusOK, object{"credential": h.credential(r, c)})
}

func (h *handler) updateCredential(w http.ResponseWriter, r *http.Request, caller *identity.Caller) error {
	b, err := decode(r, "credential")
	if err != nil {
		return err
	}
	b.same(r.PathValue("id"))
	c, err := h.own(r, caller, r.PathValue("id"))
	if err != nil {
		return err
	}
	if err := readCredential(b, c); err != nil {
		return err
	}
	if err := h.mayKeep(r, caller, c, "update_credential"); err != nil {
		return err
	}
	c, err = h.service.UpdateCredential(r.Context(), c.ID, func(c *identity.Credential) error { return readCredential(b, c) })
	if err != nil {
		return err
	}
	return wire.JSON(w, http.StatusOK, object{"credential": h.credential(r, c)})
}

func (h *handler) deleteCredential(w http.ResponseWriter, r *http.Request, caller *identity.Caller) error {
	c, err := h.own(r, caller, r.PathValue("id"))
	if err != nil {
		return err
	}
	if err := h.service.DeleteCredential(r.Context(), c.ID); err != nil {
		return err
	}
	return noContent(w)
}

// keyPair is the blob of an EC2 credential.
type keyPair struct {
	Access string `json:"access"`
	Secret string `json:"secret"`
}

func (h *handler) ec2(r *http.Request, c *identity.Credential) object {
	var pair keyPair
	// A blob that somebody filled otherwise has no keys to show.
	_ = json.Unmarshal([]byte(c.Blob), &pair)
	return object{
		"user_id": c.UserID, "tenant_id": c.ProjectID, "access": pair.Access, "secret": pair.Secret, "trust_id": nil,
		"links": h.self(r, "users", c.UserID, "credentials", "OS-EC2", pair.Access),
	}
}

func (h *handler) listEC2(w http.ResponseWriter, r *http.Request, _ *identity.Caller) error {
	credentials, err := h.service.Credentials(r.Context(), identity.CredentialFilter{UserID: r.PathValue("user"), Type: "ec2"})
	if err != nil {
		return err
	}
	return list(h, w, r, "credentials", credentials, h.ec2)
}

func (h *handler) createEC2(w http.ResponseWriter, r *http.Request, caller *identity.Caller) error {
	var b struct {
		TenantID string `json:"tenant_id"`
	}
	if err := wire.Decode(r, &b); err != nil {
		return err
	}
	if b.TenantID == "" {
		return fault.Wrap(identity.ErrInvalid, "'tenant_id' is a required property")
	}
	id, secret := uuid.New(), uuid.New()
	pair, err := json.Marshal(keyPair{Access: hexOf(id), Secret: hexOf(secret)})
	if err != nil {
		return err
	}
	spec := identity.Credential{UserID: r.PathValue("user"), ProjectID: b.TenantID, Type: "ec2", Blob: string(pair)}
	if err := h.mayKeep(r, caller, &spec, "ec2_create_credential"); err != nil {
		return err
	}
	c, err := h.service.CreateCredential(r.Context(), spec)
	if err != nil {
		return err
	}
	return wire.JSON(w, http.StatusCreated, object{"credential": h.ec2(r, c)})
}

func (h *handler) findEC2(r *http.Request) (*identity.Credential, error) {
	c, err := h.service.Credential(r.Context(), identity.CredentialID(r.PathValue("access")))
	if err == nil && c.UserID != r.PathValue("user") || wire.Status(err) == http.StatusNotFound {
		return nil, fault.Wrap(identity.ErrNotFound, "Could not find credential: %s.", r.PathValue("access"))
	}
	return c, err
}

func (h *handler) showEC2(w http.ResponseWriter, r *http.Request, _ *identity.Caller) error {
	c, err := h.findEC2(r)
	if err != nil {
		return err
	}
	return wire.JSON(w, http.StatusOK, object{"credential": h.ec2(r, c)})
}

func (h *handler) deleteEC2(w http.ResponseWriter, r *http.Request, _ *identity.Caller) error {
	c, err := h.findEC2(r)
	if err != nil {
		return err
	}
	if err := h.service.DeleteCredential(r.Context(), c.ID); err != nil {
		return err
	}
	return noContent(w)
}
