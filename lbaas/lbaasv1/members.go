package lbaasv1

import (
	"net/http"
	"net/netip"

	"github.com/kintoun/kintoun/internal/fault"
	"github.com/kintoun/kintoun/internal/wire"
	"github.com/kintoun/kintoun/lbaas"
)

func memberAttributes() map[string]attribute {
	return map[string]attribute{
		"id": readOnly, "tenant_id": onCreate, "project_id": onCreate, "pool_id": {post: true, put: true, required: true},
		"address": mandatory, "protocol_port": mandatory, "weight": settable, "admin_state_up": settable,
		"status": readOnly, "status_description": readOnly,
	}
}

type memberBody struct {
	TenantID     string     `json:"tenant_id"`
	ProjectID    string     `json:"project_id"`
	PoolID       *string    `json:"pool_id"`
	Address      string     `json:"address"`
	ProtocolPort wire.Int   `json:"protocol_port"`
	Weight       *wire.Int  `json:"weight"`
	AdminStateUp *wire.Bool `json:"admin_state_up"`
}

// toInt keeps a missing number missing.
func toInt(n *wire.Int) *int {
	if n == nil {
		return nil
	}
	v := int(*n)
	return &v
}

func parseAddress(text string) (netip.Addr, error) {
	address, err := netip.ParseAddr(text)
	if err != nil {
		return netip.Addr{}, fault.Wrap(fault.ErrInvalid, "Invalid input for address. Reason: '%s' is not a valid IP address.", text)
	}
	return address.Unmap(), nil
}

func renderMember(m *lbaas.Member) object {
	return object{
		"id": m.ID, "tenant_id": m.ProjectID, "project_id": m.ProjectID, "pool_id": m.PoolID, "address": m.Address.String(),
		"protocol_port": m.Port, "weight": m.Weight, "admin_state_up": m.AdminStateUp,
		"status": m.Status, "status_description": orNull(m.StatusDescription),
	}
}

func (a *api) listMembers(w http.ResponseWriter, r *http.Request) error {
	return serveList(w, r, "members", func(q lbaas.Query) ([]lbaas.Member, error) {
		return a.service.Members(r.Context(), scope(r), q)
	}, renderMember)
}

func (a *api) createMember(w http.ResponseWriter, r *http.Request) error {
	weight := wire.Int(1)
	b := memberBody{Weight: &weight}
	if err := decode(r, "member", memberAttributes(), &b); err != nil {
		return err
	}
	address, err := parseAddress(b.Address)
	if err != nil {
		return err
	}
	if b.Weight == nil {
		return fault.Wrap(fault.ErrInvalid, "Invalid input for weight. Reason: 'None' is not an integer.")
	}
	member, err := a.service.CreateMember(r.Context(), scope(r), lbaas.MemberSpec{
		ProjectID: tenant(b.TenantID, b.ProjectID), PoolID: orZero(b.PoolID), Address: address, Port: int(b.ProtocolPort),
		Weight: int(*b.Weight), AdminStateUp: (*bool)(b.AdminStateUp),
	})
	return serveOne(w, r, http.StatusCreated, "member", member, err, renderMember)
}

func (a *api) showMember(w http.ResponseWriter, r *http.Request) error {
	member, err := a.service.Member(r.Context(), scope(r), r.PathValue("id"))
	return serveOne(w, r, http.StatusOK, "member", member, err, renderMember)
}

func (a *api) updateMember(w http.ResponseWriter, r *http.Request) error {
	var b memberBody
	if err := decode(r, "member", memberAttributes(), &b); err != nil {
		return err
	}
	member, err := a.service.UpdateMember(r.Context(), scope(r), r.PathValue("id"), lbaas.MemberChange{
		PoolID: b.PoolID, Weight: toInt(b.Weight), AdminStateUp: (*bool)(b.AdminStateUp),
	})
	return serveOne(w, r, http.StatusOK, "member", member, err, renderMember)
}

func (a *api) deleteMember(w http.ResponseWriter, r *http.Request) error {
	return noContent(w, a.service.DeleteMember(r.Context(), scope(r), r.PathValue("id")))
}
