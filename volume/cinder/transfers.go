package cinder

import (
	"net/http"
	"strings"

	"github.com/kintoun/kintoun/internal/fault"
	"github.com/kintoun/kintoun/internal/wire"
	"github.com/kintoun/kintoun/volume"
)

// transferOperations are served under the extension's name, and since 3.55 under that of the API.
func (a *api) transferOperations() []operation {
	var all []operation
	for _, path := range []string{"/os-volume-transfer", "/volume-transfers"} {
		since := 0
		if path == "/volume-transfers" {
			since = 55
		}
		all = append(all, []operation{
			{method: "GET", path: path, serve: a.listTransfers, since: since},
			{method: "GET", path: path + "/detail", serve: a.listTransfers, since: since},
			{method: "POST", path: path, serve: a.createTransfer, since: since},
			{method: "GET", path: path + "/{id}", serve: a.showTransfer, since: since},
			{method: "DELETE", path: path + "/{id}", serve: a.deleteTransfer, since: since},
			{method: "POST", path: path + "/{id}/accept", serve: a.acceptTransfer, since: since},
		}...)
	}
	return all
}

func (c *call) transferSummary(t *volume.Transfer) object {
	return object{"id": t.ID, "volume_id": t.VolumeID, "name": nilIfEmpty(t.Name), "links": c.links("os-volume-transfer", t.ID)}
}

func (c *call) transferDetail(t *volume.Transfer) object {
	o := c.transferSummary(t)
	o["created_at"] = timestamp(t.CreatedAt)
	if c.at(55) {
		o["no_snapshots"] = t.NoSnapshots
	}
	if c.at(57) {
		o["source_project_id"], o["destination_project_id"], o["accepted"] = t.SourceProjectID, nilIfEmpty(t.DestinationProjectID), t.Accepted
	}
	return o
}

func (a *api) listTransfers(c *call) error {
	options := volume.ListOptions{Limit: c.api.options.MaxLimit, Sort: []volume.Sort{{Key: "created_at"}, {Key: "id"}}}
	query := c.URL.Query()
	var err error
	if c.at(59) {
		if options, err = c.page("created_at"); err != nil {
			return err
		}
	}
	if options.AllProjects, err = c.allProjects(query); err != nil {
		return err
	}
	options.Equal = map[string]string{}
	for _, key := range []string{"name", "volume_id"} {
		if query.Has(key) {
			options.Equal[key] = query.Get(key)
		}
	}
	var transfers []volume.Transfer
	if options.Limit > 0 {
		if transfers, err = a.volumes.Transfers(c.Context(), c.scope(), options); err != nil {
			return err
		}
	}
	show := c.transferSummary
	if c.detailed() {
		show = c.transferDetail
	}
	return c.listed("transfers", "transfers_links", each(transfers, show), options, nil)
}

func (a *api) createTransfer(c *call) error {
	name := &schema{Types: []string{"string", "null"}, Check: func(value any) string {
		given, ok := value.(string)
		switch given = strings.TrimSpace(given); {
		case ok && given == "":
			return "The 'name' can not be empty."
		case len([]rune(given)) > 255:
			return "The 'name' can not be greater than 255 characters."
		}
		return ""
	}}
	inner := record(fields{"volume_id": typeUUID(), "name": name}, "volume_id")
	if c.at(55) {
		inner.Properties["no_snapshots"] = typeBoolean()
	}
	var body struct {
		Transfer struct {
			VolumeID    string `json:"volume_id"`
			Name        trimmed
			NoSnapshots wire.Bool `json:"no_snapshots"`
		}
	}
	if err := c.body(wrap("transfer", inner), &body); err != nil {
		return err
	}
	in := &body.Transfer
	if !c.at(70) {
		v, err := a.volumes.Volume(c.Context(), c.scope(), in.VolumeID)
		if err != nil {
			return err
		}
		if v.Encrypted {
			return fault.Wrap(volume.ErrInvalid, "Invalid volume: transferring encrypted volume is not supported")
		}
	}
	t, err := a.volumes.CreateTransfer(c.Context(), c.scope(), in.VolumeID, string(in.Name), !bool(in.NoSnapshots))
	if err != nil {
		return err
	}
	o := c.transferDetail(t)
	o["auth_key"] = t.AuthKey
	return c.json(http.StatusAccepted, object{"transfer": o})
}

func (a *api) showTransfer(c *call) error {
	t, err := a.volumes.Transfer(c.Context(), c.scope(), c.id())
	if err != nil {
		return err
	}
	return c.json(http.StatusOK, object{"transfer": c.transferDetail(t)})
}

func (a *api) deleteTransfer(c *call) error {
	return c.accepted(a.volumes.DeleteTransfer(c.Context(), c.scope(), c.id()))
}

func (a *api) acceptTransfer(c *call) error {
	var body struct {
		Accept struct {
			Key text `json:"auth_key"`
		}
	}
	if err := c.body(wrap("accept", record(fields{"auth_key": kind("string", "integer")}, "auth_key")), &body); err != nil {
		return err
	}
	t, err := a.volumes.AcceptTransfer(c.Context(), c.scope(), c.id(), string(body.Accept.Key))
	if err != nil {
		return err
	}
	return c.json(http.StatusAccepted, object{"transfer": c.transferSummary(t)})
}
