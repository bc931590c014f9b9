package nova

import (
	"errors"
	"net/http"

	"github.com/kintoun/kintoun/compute"
	"github.com/kintoun/kintoun/internal/wire"
)

func (a *api) eventOperations() []operation {
	return []operation{
		{method: "POST", path: "/os-server-external-events", serve: a.externalEvents, policy: "os_compute_api:os-server-external-events:create"},
	}
}

func eventsSchema(minor int) *wire.Schema {
	names := []any{"network-changed", "network-vif-plugged", "network-vif-unplugged", "network-vif-deleted"}
	for _, later := range []struct {
		minor int
		name  string
	}{{51, "volume-extended"}, {76, "power-update"}, {82, "accelerator-request-bound"}, {93, "volume-reimaged"}} {
		if minor >= later.minor {
			names = append(names, later.name)
		}
	}
	events := list(record(map[string]*wire.Schema{
		"name": words(names...), "server_uuid": typeUUID(), "status": words("failed", "completed", "in-progress"),
		"tag": {Types: []string{"string"}, MaxLength: 255},
	}, "name", "server_uuid"))
	return record(map[string]*wire.Schema{"events": events}, "events")
}

// externalEvents is how other services tell compute of what has happened. That a volume has grown is passed on to its server;
// ports and power are looked at by agents themselves, and such events are taken note of.
func (a *api) externalEvents(c *call) error {
	var body struct {
		Events []struct {
			Name       string
			ServerUUID string `json:"server_uuid"`
			Status     string
			Tag        *string
		}
	}
	if err := c.body(eventsSchema(c.minor), &body); err != nil {
		return err
	}
	status, shown := http.StatusOK, []object{}
	for _, e := range body.Events {
		o := object{"name": e.Name, "server_uuid": e.ServerUUID, "status": "completed", "code": http.StatusOK}
		if e.Tag != nil {
			o["tag"] = *e.Tag
		}
		if code := a.externalEvent(c, e.Name, e.ServerUUID, e.Tag); code != http.StatusOK {
			o["status"], o["code"], status = "failed", code, http.StatusMultiStatus
		}
		shown = append(shown, o)
	}
	return c.json(status, object{"events": shown})
}

// externalEvent says what came of one event, as an HTTP status.
func (a *api) externalEvent(c *call, name, serverID string, tag *string) int {
	s, err := a.compute.Server(c.Context(), c.scope(), serverID)
	switch {
	case err != nil:
		return http.StatusNotFound
	case tag == nil && (name == "volume-extended" || name == "power-update" || name == "accelerator-request-bound"):
		return http.StatusBadRequest
	case s.Host == "":
		return http.StatusUnprocessableEntity
	case name != "volume-extended":
		return http.StatusOK
	}
	err = a.compute.VolumeExtended(c.Context(), serverID, *tag, 0)
	if errors.Is(err, compute.ErrNotFound) {
		return http.StatusNotFound
	}
	if err != nil {
		return http.StatusInternalServerError
	}
	return http.StatusOK
}
