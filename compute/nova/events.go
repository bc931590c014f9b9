package nova

import (
	"net/http"
	"time"

	"github.com/kintoun/kintoun/compute"
	"github.com/kintoun/kintoun/internal/fault"
)

func (a *api) listActions(c *call) error {
	if !c.at(21) {
		if _, err := c.server(); err != nil {
			return err
		}
	}
	var f compute.ActionFilter
	var err error
	if c.at(58) {
		if f.Limit, f.Marker, err = c.page(); err != nil {
			return err
		}
		if since := c.URL.Query().Get("changes-since"); since != "" {
			if f.Since, err = instant(since); err != nil {
				return err
			}
		}
		if before := c.URL.Query().Get("changes-before"); before != "" && c.at(66) {
			if f.Before, err = instant(before); err != nil {
				return err
			}
		}
	}
	list, err := a.compute.Actions(c.Context(), c.scope(), c.PathValue("id"), f)
	if err != nil {
		return err
	}
	shown := make([]object, 0, len(list))
	for i := range list {
		shown = append(shown, c.action(&list[i]))
	}
	answer := object{"instanceActions": shown}
	if c.at(58) && len(list) > 0 {
		if links := c.next(len(list), f.Limit, list[len(list)-1].RequestID); links != nil {
			answer["links"] = links
		}
	}
	return c.json(http.StatusOK, answer)
}

func (c *call) action(x *compute.Action) object {
	o := object{
		"action": x.Name, "instance_uuid": x.ServerID, "message": x.Message, "project_id": x.ProjectID,
		"request_id": x.RequestID, "start_time": precise(x.StartedAt), "user_id": x.UserID,
	}
	if c.at(58) {
		o["updated_at"] = precise(x.UpdatedAt)
	}
	return o
}

func (a *api) showAction(c *call) error {
	if !c.at(21) {
		if _, err := c.server(); err != nil {
			return err
		}
	}
	x, err := a.compute.Action(c.Context(), c.scope(), c.PathValue("id"), c.PathValue("request"))
	if err != nil {
		return err
	}
	o := c.action(x)
	admin := c.caller.IsAdmin()
	if !admin && !c.at(51) {
		return c.json(http.StatusOK, object{"instanceAction": o})
	}
	e := object{"event": x.Event.Name, "start_time": precise(x.Event.StartedAt), "finish_time": preciseOrNil(x.Event.FinishedAt), "result": nilIfEmpty(x.Event.Result)}
	if admin {
		e["traceback"] = nil
	}
	if c.at(62) {
		e["hostId"] = hostID(&compute.Server{ProjectID: x.ProjectID, Host: x.Event.Host})
		if admin {
			e["host"] = nilIfEmpty(x.Event.Host)
		}
	}
	if c.at(84) {
		e["details"] = x.Event.Details
	}
	o["events"] = []object{e}
	return c.json(http.StatusOK, object{"instanceAction": o})
}

var powerNames = map[compute.PowerState]string{
	compute.NoPowerState: "pending", compute.PowerRunning: "running", compute.PowerOff: "shutdown", compute.PowerCrashed: "crashed",
}

// disks is how many a server has.
func disks(s *compute.Server) int {
	n := len(s.AttachedVolumes())
	if !s.VolumeBacked() {
		n++
	}
	return n
}

func (a *api) diagnostics(c *call) error {
	ports, s, err := c.portsOf()
	if err != nil {
		return err
	}
	if s.VMState != compute.Active {
		return fault.Wrap(compute.ErrConflict, "Cannot 'get_diagnostics' instance %s while it is in vm_state %s", s.ID, s.VMState)
	}
	if !c.at(48) {
		return c.json(http.StatusOK, object{"memory": s.Flavor.MemoryMiB * 1024})
	}
	nics := make([]object, 0, len(ports))
	for _, p := range ports {
		nic := object{"mac_address": p.MAC}
		for _, counter := range []string{"rx_drop", "rx_errors", "rx_octets", "rx_packets", "rx_rate", "tx_drop", "tx_errors", "tx_octets", "tx_packets", "tx_rate"} {
			nic[counter] = nil
		}
		nics = append(nics, nic)
	}
	return c.json(http.StatusOK, object{
		"state": powerNames[s.PowerState], "driver": "libvirt", "hypervisor": "qemu", "hypervisor_os": nil,
		"uptime": int(time.Since(*s.LaunchedAt).Seconds()), "config_drive": false,
		"num_cpus": s.Flavor.VCPUs, "num_nics": len(nics), "num_disks": disks(s),
		"cpu_details": []object{}, "disk_details": []object{}, "nic_details": nics,
		"memory_details": object{"maximum": s.Flavor.MemoryMiB, "used": nil},
	})
}
