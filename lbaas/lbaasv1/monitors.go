package lbaasv1

import (
	"net/http"
	"time"

	"github.com/kintoun/kintoun/internal/wire"
	"github.com/kintoun/kintoun/lbaas"
)

func monitorAttributes() map[string]attribute {
	required := attribute{post: true, put: true, required: true}
	return map[string]attribute{
		"id": readOnly, "tenant_id": onCreate, "project_id": onCreate, "type": mandatory, "delay": required, "timeout": required,
		"max_retries": required, "http_method": settable, "url_path": settable, "expected_codes": settable,
		"admin_state_up": settable, "status": readOnly, "status_description": readOnly, "pools": readOnly,
	}
}

type monitorBody struct {
	TenantID      string     `json:"tenant_id"`
	ProjectID     string     `json:"project_id"`
	Type          string     `json:"type"`
	Delay         *wire.Int  `json:"delay"`
	Timeout       *wire.Int  `json:"timeout"`
	MaxRetries    *wire.Int  `json:"max_retries"`
	HTTPMethod    *string    `json:"http_method"`
	URLPath       *string    `json:"url_path"`
	ExpectedCodes *string    `json:"expected_codes"`
	AdminStateUp  *wire.Bool `json:"admin_state_up"`
}

// seconds keeps a missing duration missing, and one that is out of all bounds out of bounds.
func seconds(n *wire.Int) *time.Duration {
	if n == nil {
		return nil
	}
	const most = 1 << 31
	d := time.Duration(min(max(int64(*n), -1), most)) * time.Second
	return &d
}

func renderMonitor(m *lbaas.HealthMonitor) object {
	pools := []object{}
	for _, a := range m.Pools {
		pools = append(pools, object{"pool_id": a.PoolID, "status": a.Status, "status_description": orNull(a.StatusDescription)})
	}
	o := object{
		"id": m.ID, "tenant_id": m.ProjectID, "project_id": m.ProjectID, "type": m.Type, "delay": int(m.Delay / time.Second),
		"timeout": int(m.Timeout / time.Second), "max_retries": m.MaxRetries, "admin_state_up": m.AdminStateUp,
		"status": m.Status, "pools": pools,
	}
	if m.Type == "HTTP" || m.Type == "HTTPS" {
		o["http_method"], o["url_path"], o["expected_codes"] = m.HTTPMethod, m.URLPath, m.ExpectedCodes
	}
	return o
}

func (a *api) listMonitors(w http.ResponseWriter, r *http.Request) error {
	return serveList(w, r, "health_monitors", func(q lbaas.Query) ([]lbaas.HealthMonitor, error) {
		return a.service.HealthMonitors(r.Context(), scope(r), q)
	}, renderMonitor)
}

func (a *api) createMonitor(w http.ResponseWriter, r *http.Request) error {
	var b monitorBody
	if err := decode(r, "health_monitor", monitorAttributes(), &b); err != nil {
		return err
	}
	monitor, err := a.service.CreateHealthMonitor(r.Context(), scope(r), lbaas.HealthMonitorSpec{
		ProjectID: tenant(b.TenantID, b.ProjectID), Type: b.Type, Delay: orZero(seconds(b.Delay)), Timeout: orZero(seconds(b.Timeout)),
		MaxRetries: orZero(toInt(b.MaxRetries)), HTTPMethod: orZero(b.HTTPMethod), URLPath: orZero(b.URLPath),
		ExpectedCodes: orZero(b.ExpectedCodes), AdminStateUp: (*bool)(b.AdminStateUp),
	})
	return serveOne(w, r, http.StatusCreated, "health_monitor", monitor, err, renderMonitor)
}

func (a *api) showMonitor(w http.ResponseWriter, r *http.Request) error {
	monitor, err := a.service.HealthMonitor(r.Context(), scope(r), r.PathValue("id"))
	return serveOne(w, r, http.StatusOK, "health_monitor", monitor, err, renderMonitor)
}

func (a *api) updateMonitor(w http.ResponseWriter, r *http.Request) error {
	var b monitorBody
	if err := decode(r, "health_monitor", monitorAttributes(), &b); err != nil {
		return err
	}
	monitor, err := a.service.UpdateHealthMonitor(r.Context(), scope(r), r.PathValue("id"), lbaas.HealthMonitorChange{
		Delay: seconds(b.Delay), Timeout: seconds(b.Timeout), MaxRetries: toInt(b.MaxRetries), HTTPMethod: b.HTTPMethod,
		URLPath: b.URLPath, ExpectedCodes: b.ExpectedCodes, AdminStateUp: (*bool)(b.AdminStateUp),
	})
	return serveOne(w, r, http.StatusOK, "health_monitor", monitor, err, renderMonitor)
}

func (a *api) deleteMonitor(w http.ResponseWriter, r *http.Request) error {
	return noContent(w, a.service.DeleteHealthMonitor(r.Context(), scope(r), r.PathValue("id")))
}
