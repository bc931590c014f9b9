package lbaasv1

import (
	"net/http"
	"time"

	"github.com/kintoun/kintoun/internal/fault"
	"github.com/kintoun/kintoun/internal/wire"
	"github.com/kintoun/kintoun/lbaas"
)

func poolAttributes() map[string]attribute {
	return map[string]attribute{
		"id": readOnly, "tenant_id": onCreate, "project_id": onCreate, "vip_id": readOnly, "name": settable,
		"description": settable, "subnet_id": mandatory, "protocol": mandatory, "provider": onCreate,
		"lb_method": {post: true, put: true, required: true}, "members": readOnly, "health_monitors": settable,
		"health_monitors_status": readOnly, "admin_state_up": settable, "status": readOnly, "status_description": readOnly,
	}
}

type poolBody struct {
	TenantID       string         `json:"tenant_id"`
	ProjectID      string         `json:"project_id"`
	Name           *string        `json:"name"`
	Description    *string        `json:"description"`
	SubnetID       string         `json:"subnet_id"`
	Protocol       lbaas.Protocol `json:"protocol"`
	Provider       string         `json:"provider"`
	Method         *lbaas.Method  `json:"lb_method"`
	HealthMonitors *[]string      `json:"health_monitors"`
	AdminStateUp   *wire.Bool     `json:"admin_state_up"`
}

// tenant is a project by its old or its new name.
func tenant(tenantID, projectID string) string {
	if tenantID != "" {
		return tenantID
	}
	return projectID
}

func orZero[T any](p *T) (v T) {
	if p != nil {
		v = *p
	}
	return v
}

func renderPool(p *lbaas.Pool) object {
	members, monitors, statuses := []string{}, []string{}, []object{}
	members = append(members, p.MemberIDs...)
	for _, m := range p.Monitors {
		monitors = append(monitors, m.MonitorID)
		statuses = append(statuses, object{"monitor_id": m.MonitorID, "status": m.Status, "status_description": orNull(m.StatusDescription)})
	}
	return object{
		"id": p.ID, "tenant_id": p.ProjectID, "project_id": p.ProjectID, "name": p.Name, "description": p.Description,
		"subnet_id": p.SubnetID, "protocol": p.Protocol, "provider": p.Provider, "lb_method": p.Method,
		"vip_id": orNull(p.VIPID), "members": members, "health_monitors": monitors, "health_monitors_status": statuses,
		"admin_state_up": p.AdminStateUp, "status": p.Status, "status_description": orNull(p.StatusDescription),
	}
}

func (a *api) listPools(w http.ResponseWriter, r *http.Request) error {
	return serveList(w, r, "pools", func(q lbaas.Query) ([]lbaas.Pool, error) {
		return a.service.Pools(r.Context(), scope(r), q)
	}, renderPool)
}

func (a *api) createPool(w http.ResponseWriter, r *http.Request) error {
	var b poolBody
	if err := decode(r, "pool", poolAttributes(), &b); err != nil {
		return err
	}
	pool, err := a.service.CreatePool(r.Context(), scope(r), lbaas.PoolSpec{
		ProjectID: tenant(b.TenantID, b.ProjectID), Name: orZero(b.Name), Description: orZero(b.Description), SubnetID: b.SubnetID,
		Protocol: b.Protocol, Provider: b.Provider, Method: orZero(b.Method), AdminStateUp: (*bool)(b.AdminStateUp),
		MonitorIDs: orZero(b.HealthMonitors),
	})
	return serveOne(w, r, http.StatusCreated, "pool", pool, err, renderPool)
}

func (a *api) showPool(w http.ResponseWriter, r *http.Request) error {
	pool, err := a.service.Pool(r.Context(), scope(r), r.PathValue("id"))
	return serveOne(w, r, http.StatusOK, "pool", pool, err, renderPool)
}

func (a *api) updatePool(w http.ResponseWriter, r *http.Request) error {
	var b poolBody
	if err := decode(r, "pool", poolAttributes(), &b); err != nil {
		return err
	}
	pool, err := a.service.UpdatePool(r.Context(), scope(r), r.PathValue("id"), lbaas.PoolChange{
		Name: b.Name, Description: b.Description, Method: b.Method, AdminStateUp: (*bool)(b.AdminStateUp), MonitorIDs: b.HealthMonitors,
	})
	return serveOne(w, r, http.StatusOK, "pool", pool, err, renderPool)
}

func (a *api) deletePool(w http.ResponseWriter, r *http.Request) error {
	return noContent(w, a.service.DeletePool(r.Context(), scope(r), r.PathValue("id")))
}

func (a *api) poolStats(w http.ResponseWriter, r *http.Request) error {
	stats, err := a.service.PoolStats(r.Context(), scope(r), r.PathValue("id"))
	return serveOne(w, r, http.StatusOK, "stats", &stats, err, func(s *lbaas.Stats) object {
		return object{
			"bytes_in": s.BytesIn, "bytes_out": s.BytesOut,
			"active_connections": s.ActiveConnections, "total_connections": s.TotalConnections,
		}
	})
}

// timestamp is the form of times in Neutron's agents.
func timestamp(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05") }

func renderAgent(a *lbaas.AgentInfo) object {
	return object{
		"id": a.ID, "agent_type": "Loadbalancer agent", "binary": "neutron-lbaas-agent", "topic": "n-lbaas_agent",
		"host": a.Host, "admin_state_up": a.AdminStateUp, "alive": a.Alive, "created_at": timestamp(a.CreatedAt),
		"started_at": timestamp(a.StartedAt), "heartbeat_timestamp": timestamp(a.HeartbeatAt), "description": nil,
		"configurations": object{"device_drivers": []string{"haproxy_ns"}, "instances": a.Pools},
	}
}

func (a *api) agentOfPool(w http.ResponseWriter, r *http.Request) error {
	if err := adminOnly(r); err != nil {
		return err
	}
	agent, err := a.service.AgentOfPool(r.Context(), scope(r), r.PathValue("id"))
	return serveOne(w, r, http.StatusOK, "agent", &agent, err, renderAgent)
}

func (a *api) poolsOfAgent(w http.ResponseWriter, r *http.Request) error {
	if err := adminOnly(r); err != nil {
		return err
	}
	pools, err := a.service.PoolsOfAgent(r.Context(), r.PathValue("id"))
	if err != nil {
		return err
	}
	objects := make([]object, len(pools))
	for i := range pools {
		objects[i] = pick(renderPool(&pools[i]), r.URL.Query()["fields"])
	}
	return wire.JSON(w, http.StatusOK, object{"pools": objects})
}

func renderAssociation(m *lbaas.Association) object {
	return object{
		"pool_id": m.PoolID, "monitor_id": m.MonitorID, "tenant_id": m.ProjectID,
		"status": m.Status, "status_description": orNull(m.StatusDescription),
	}
}

func (a *api) monitorsOfPool(w http.ResponseWriter, r *http.Request) error {
	pool, err := a.service.Pool(r.Context(), scope(r), r.PathValue("id"))
	if err != nil {
		return err
	}
	objects := make([]object, len(pool.Monitors))
	for i := range pool.Monitors {
		objects[i] = renderAssociation(&pool.Monitors[i])
	}
	return wire.JSON(w, http.StatusOK, object{"health_monitors": objects})
}

func (a *api) monitorOfPool(w http.ResponseWriter, r *http.Request) error {
	found, err := a.service.MonitorOfPool(r.Context(), scope(r), r.PathValue("id"), r.PathValue("monitor"))
	return serveOne(w, r, http.StatusOK, "health_monitor", found, err, renderAssociation)
}

func (a *api) associate(w http.ResponseWriter, r *http.Request) error {
	var b struct {
		ID       string `json:"id"`
		TenantID string `json:"tenant_id"`
	}
	attributes := map[string]attribute{"id": mandatory, "tenant_id": onCreate, "project_id": onCreate}
	if err := decode(r, "health_monitor", attributes, &b); err != nil {
		return err
	}
	if b.ID == "" {
		return fault.Wrap(fault.ErrInvalid, "Invalid input for id. Reason: '' is not a valid UUID.")
	}
	if _, err := a.service.AssociateMonitor(r.Context(), scope(r), r.PathValue("id"), b.ID); err != nil {
		return err
	}
	return wire.JSON(w, http.StatusCreated, object{"health_monitor": object{"id": b.ID}})
}

func (a *api) disassociate(w http.ResponseWriter, r *http.Request) error {
	return noContent(w, a.service.DisassociateMonitor(r.Context(), scope(r), r.PathValue("id"), r.PathValue("monitor")))
}
