package lbaasv1

import (
	"net/http"
	"net/netip"

	"github.com/kintoun/kintoun/internal/fault"
	"github.com/kintoun/kintoun/internal/wire"
	"github.com/kintoun/kintoun/lbaas"
)

func vipAttributes() map[string]attribute {
	return map[string]attribute{
		"id": readOnly, "tenant_id": onCreate, "project_id": onCreate, "name": settable, "description": settable,
		"subnet_id": mandatory, "address": onCreate, "port_id": readOnly, "protocol_port": mandatory, "protocol": mandatory,
		"pool_id": {post: true, put: true, required: true}, "session_persistence": settable, "connection_limit": settable,
		"admin_state_up": settable, "status": readOnly, "status_description": readOnly,
	}
}

type vipBody struct {
	TenantID           string                        `json:"tenant_id"`
	ProjectID          string                        `json:"project_id"`
	Name               *string                       `json:"name"`
	Description        *string                       `json:"description"`
	SubnetID           string                        `json:"subnet_id"`
	Address            *string                       `json:"address"`
	ProtocolPort       wire.Int                      `json:"protocol_port"`
	Protocol           lbaas.Protocol                `json:"protocol"`
	PoolID             *string                       `json:"pool_id"`
	SessionPersistence wire.Optional[map[string]any] `json:"session_persistence"`
	ConnectionLimit    *wire.Int                     `json:"connection_limit"`
	AdminStateUp       *wire.Bool                    `json:"admin_state_up"`
}

// persistence reads session_persistence, of which null and {} both mean none.
func (b *vipBody) persistence() (*lbaas.Persistence, error) {
	given := b.SessionPersistence.Value
	if len(given) == 0 {
		return nil, nil
	}
	p := &lbaas.Persistence{}
	for name, value := range given {
		text, ok := value.(string)
		if value == nil && name == "cookie_name" {
			continue
		}
		switch {
		case name == "type" && ok:
			p.Type = text
		case name == "cookie_name" && ok:
			p.CookieName = text
		default:
			return nil, fault.Wrap(fault.ErrInvalid, "Invalid input for session_persistence. Reason: '%s' is not expected, or not a string.", name)
		}
	}
	return p, nil
}

func renderVIP(v *lbaas.VIP) object {
	o := object{
		"id": v.ID, "tenant_id": v.ProjectID, "project_id": v.ProjectID, "name": v.Name, "description": v.Description,
		"subnet_id": v.SubnetID, "address": v.Address.String(), "port_id": v.PortID, "protocol_port": v.ProtocolPort,
		"protocol": v.Protocol, "pool_id": v.PoolID, "connection_limit": v.ConnectionLimit, "admin_state_up": v.AdminStateUp,
		"status": v.Status, "status_description": orNull(v.StatusDescription),
	}
	if p := v.Persistence; p != nil {
		persistence := object{"type": p.Type}
		if p.CookieName != "" {
			persistence["cookie_name"] = p.CookieName
		}
		o["session_persistence"] = persistence
	}
	return o
}

func (a *api) listVIPs(w http.ResponseWriter, r *http.Request) error {
	return serveList(w, r, "vips", func(q lbaas.Query) ([]lbaas.VIP, error) {
		return a.service.VIPs(r.Context(), scope(r), q)
	}, renderVIP)
}

func (a *api) createVIP(w http.ResponseWriter, r *http.Request) error {
	var b vipBody
	if err := decode(r, "vip", vipAttributes(), &b); err != nil {
		return err
	}
	persistence, err := b.persistence()
	if err != nil {
		return err
	}
	var address netip.Addr
	if b.Address != nil && *b.Address != "" {
		if address, err = parseAddress(*b.Address); err != nil {
			return err
		}
	}
	limit := -1
	if b.ConnectionLimit != nil {
		limit = int(*b.ConnectionLimit)
	}
	vip, err := a.service.CreateVIP(r.Context(), scope(r), lbaas.VIPSpec{
		ProjectID: tenant(b.TenantID, b.ProjectID), Name: orZero(b.Name), Description: orZero(b.Description), SubnetID: b.SubnetID,
		Address: address, ProtocolPort: int(b.ProtocolPort), Protocol: b.Protocol, PoolID: orZero(b.PoolID),
		Persistence: persistence, ConnectionLimit: limit, AdminStateUp: (*bool)(b.AdminStateUp),
	})
	return serveOne(w, r, http.StatusCreated, "vip", vip, err, renderVIP)
}

func (a *api) showVIP(w http.ResponseWriter, r *http.Request) error {
	vip, err := a.service.VIP(r.Context(), scope(r), r.PathValue("id"))
	return serveOne(w, r, http.StatusOK, "vip", vip, err, renderVIP)
}

func (a *api) updateVIP(w http.ResponseWriter, r *http.Request) error {
	var b vipBody
	if err := decode(r, "vip", vipAttributes(), &b); err != nil {
		return err
	}
	change := lbaas.VIPChange{
		Name: b.Name, Description: b.Description, PoolID: b.PoolID, ConnectionLimit: toInt(b.ConnectionLimit), AdminStateUp: (*bool)(b.AdminStateUp),
	}
	if b.SessionPersistence.Set {
		persistence, err := b.persistence()
		if err != nil {
			return err
		}
		change.Persistence = &persistence
	}
	vip, err := a.service.UpdateVIP(r.Context(), scope(r), r.PathValue("id"), change)
	return serveOne(w, r, http.StatusOK, "vip", vip, err, renderVIP)
}

func (a *api) deleteVIP(w http.ResponseWriter, r *http.Request) error {
	return noContent(w, a.service.DeleteVIP(r.Context(), scope(r), r.PathValue("id")))
}
