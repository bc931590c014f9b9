package nova

import (
	"crypto/sha256"
	"encoding/hex"
	"net/netip"
	"slices"

	"github.com/kintoun/kintoun/compute"
)

// viewer shows servers: what is asked of other parts of the cloud is asked once for all of them.
type viewer struct {
	*call
	ports map[string][]compute.Port
	zones map[string]string
	hosts map[string]*compute.Host
}

func (c *call) viewer(servers []compute.Server) (*viewer, error) {
	v := &viewer{call: c, hosts: map[string]*compute.Host{}}
	var err error
	if v.ports, err = c.api.compute.Ports(c.Context(), servers); err != nil {
		return nil, err
	}
	if v.zones, err = c.api.compute.Zones(c.Context()); err != nil {
		return nil, err
	}
	if !c.caller.IsAdmin() || !c.at(16) {
		return v, nil
	}
	hosts, err := c.api.compute.Hosts(c.Context())
	for i := range hosts {
		v.hosts[hosts[i].Name] = &hosts[i]
	}
	return v, err
}

func (v *viewer) basic(s *compute.Server) object {
	return object{"id": s.ID, "name": s.Name, "links": v.links("servers", s.ID)}
}

// detail shows everything; single is for GET /servers/{id}, which shows a little more than lists.
func (v *viewer) detail(s *compute.Server, single bool) object {
	o := v.common(s)
	o["key_name"] = nilIfEmpty(s.KeyName)
	o["OS-SRV-USG:launched_at"], o["OS-SRV-USG:terminated_at"] = preciseOrNil(s.LaunchedAt), preciseOrNil(s.TerminatedAt)
	o["OS-EXT-AZ:availability_zone"] = v.zone(s)
	o["config_drive"] = ""
	o["OS-EXT-STS:task_state"], o["OS-EXT-STS:vm_state"], o["OS-EXT-STS:power_state"] = nilIfEmpty(string(s.TaskState)), string(s.VMState), int(s.PowerState)
	o["os-extended-volumes:volumes_attached"] = v.volumes(s)
	if groups := v.securityGroups(s); len(groups) > 0 {
		o["security_groups"] = groups
	}
	v.extended(o, s)
	if v.at(16) {
		if status, ok := v.hostStatus(s); ok {
			o["host_status"] = status
		}
	}
	if single && v.at(71) {
		o["server_groups"] = groupsOf(s)
	}
	if v.at(96) {
		o["pinned_availability_zone"] = nilIfEmpty(s.Zone)
	}
	return o
}

// updated is what PUT answered before 2.75.
func (v *viewer) updated(s *compute.Server) object {
	o := v.common(s)
	if v.at(71) {
		o["server_groups"] = groupsOf(s)
	}
	return o
}

func groupsOf(s *compute.Server) []string {
	if s.GroupID == "" {
		return []string{}
	}
	return []string{s.GroupID}
}

// common is what every full view has.
func (v *viewer) common(s *compute.Server) object {
	metadata := s.Metadata
	if metadata == nil {
		metadata = map[string]string{}
	}
	o := object{
		"id": s.ID, "name": s.Name, "links": v.links("servers", s.ID), "status": s.Status(),
		"tenant_id": s.ProjectID, "user_id": s.UserID, "metadata": metadata, "hostId": hostID(s),
		"created": isotime(s.CreatedAt), "updated": isotime(s.UpdatedAt), "addresses": v.addresses(s, true),
		"accessIPv4": s.AccessIPv4, "accessIPv6": canonical(s.AccessIPv6), "OS-DCF:diskConfig": s.DiskConfig,
		"image": v.image(s), "flavor": v.flavor(s),
	}
	status := s.Status()
	if slices.Contains([]string{"ACTIVE", "BUILD"}, status) {
		o["progress"] = 0
	}
	if f := s.Fault; f != nil && (status == "ERROR" || status == "DELETED") {
		shown := object{"code": f.Code, "message": f.Message, "created": isotime(f.Created)}
		if f.Details != "" && (f.Code != 500 || v.caller.IsAdmin()) {
			shown["details"] = f.Details
		}
		o["fault"] = shown
	}
	if v.at(9) {
		o["locked"] = s.Locked
	}
	if v.at(19) {
		o["description"] = s.Description
	}
	if v.at(26) {
		o["tags"] = orEmpty(s.Tags)
	}
	if v.at(63) {
		o["trusted_image_certificates"] = nil
	}
	if v.at(73) {
		o["locked_reason"] = s.LockedReason
	}
	return o
}

// extended is what only admins see; the host name became everybody's in 2.90.
func (v *viewer) extended(o object, s *compute.Server) {
	const prefix = "OS-EXT-SRV-ATTR:"
	if !v.caller.IsAdmin() {
		if v.at(90) {
			o[prefix+"hostname"] = s.Hostname
		}
		return
	}
	o[prefix+"host"], o[prefix+"hypervisor_hostname"], o[prefix+"instance_name"] = nilIfEmpty(s.Host), nilIfEmpty(s.Host), s.InstanceName()
	if !v.at(3) {
		return
	}
	o[prefix+"hostname"], o[prefix+"reservation_id"], o[prefix+"launch_index"] = s.Hostname, s.ReservationID, s.LaunchIndex
	o[prefix+"kernel_id"], o[prefix+"ramdisk_id"] = s.Image.KernelID, s.Image.RamdiskID
	o[prefix+"root_device_name"], o[prefix+"user_data"] = "/dev/vda", nilIfEmpty(s.UserData)
}

func (v *viewer) zone(s *compute.Server) string {
	if s.Host == "" {
		return s.Zone
	}
	return v.zones[s.Host]
}

func (v *viewer) hostStatus(s *compute.Server) (string, bool) {
	if !v.caller.IsAdmin() {
		return "", false
	}
	h := v.hosts[s.Host]
	switch {
	case h == nil:
		return "", true
	case h.ForcedDown:
		return "DOWN", true
	case !v.api.compute.Up(h):
		return "UNKNOWN", true
	case h.Disabled:
		return "MAINTENANCE", true
	}
	return "UP", true
}

func (v *viewer) image(s *compute.Server) any {
	if s.Image.ID == "" || s.VolumeBacked() {
		return ""
	}
	return object{"id": s.Image.ID, "links": v.bookmark("images", s.Image.ID)}
}

func (v *viewer) flavor(s *compute.Server) object {
	f := &s.Flavor
	if !v.at(47) {
		return object{"id": f.ID, "links": v.bookmark("flavors", f.ID)}
	}
	specs := f.ExtraSpecs
	if specs == nil {
		specs = map[string]string{}
	}
	return object{
		"original_name": f.Name, "vcpus": f.VCPUs, "ram": f.MemoryMiB, "disk": f.DiskGiB,
		"ephemeral": f.EphemeralGiB, "swap": f.SwapMiB, "extra_specs": specs,
	}
}

// addresses are the server's by network; full ones say what they are and belong to.
func (v *viewer) addresses(s *compute.Server, full bool) map[string][]object {
	shown := map[string][]object{}
	for _, p := range inOrder(s, v.ports[s.ID]) {
		add := func(address netip.Addr, kind string) {
			version := 4
			if address.Is6() {
				version = 6
			}
			entry := object{"addr": address.String(), "version": version}
			if full {
				entry["OS-EXT-IPS:type"], entry["OS-EXT-IPS-MAC:mac_addr"] = kind, p.MAC
			}
			shown[p.NetworkName] = append(shown[p.NetworkName], entry)
		}
		for _, ip := range p.FixedIPs {
			add(ip.Address, "fixed")
		}
		for _, address := range p.FloatingIPs {
			add(address, "floating")
		}
	}
	return shown
}

// inOrder sorts ports as the server's cards are.
func inOrder(s *compute.Server, ports []compute.Port) []compute.Port {
	place := map[string]int{}
	for i, p := range s.Ports {
		place[p.ID] = i
	}
	ports = slices.Clone(ports)
	slices.SortStableFunc(ports, func(a, b compute.Port) int { return place[a.ID] - place[b.ID] })
	return ports
}

func (v *viewer) securityGroups(s *compute.Server) []object {
	var names []string
	for _, p := range v.ports[s.ID] {
		for _, g := range p.SecurityGroups {
			if !slices.Contains(names, g.Name) {
				names = append(names, g.Name)
			}
		}
	}
	var shown []object
	for _, name := range names {
		shown = append(shown, object{"name": name})
	}
	return shown
}

// hostID tells a project which of its servers share a host, and nothing more.
func hostID(s *compute.Server) string {
	if s.Host == "" {
		return ""
	}
	sum := sha256.Sum224([]byte(s.ProjectID + s.Host))
	return hex.EncodeToString(sum[:])
}

func orEmpty(list []string) []string {
	if list == nil {
		return []string{}
	}
	return list
}

// canonical is the address in its shortest form (RFC 5952), as Nova shows it.
func canonical(address string) string {
	if parsed, err := netip.ParseAddr(address); err == nil {
		return parsed.String()
	}
	return address
}
