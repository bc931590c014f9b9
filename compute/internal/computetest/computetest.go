// Package computetest stands in for the services that compute needs from others: images and networks in memory. What
// they do not have to answer in a test they do not know.
package computetest

import (
	"context"
	"fmt"
	"io"
	"maps"
	"net/netip"
	"slices"
	"sync"

	"github.com/google/uuid"
	"github.com/kintoun/kintoun/compute"
	"github.com/kintoun/kintoun/compute/driver"
	"github.com/kintoun/kintoun/internal/fault"
)

// ImageID is an image that is there.
const ImageID = "70a599e0-31e7-49b7-b260-868f441e862b"

// Images are images in memory.
type Images struct {
	mu       sync.Mutex
	have     map[string]compute.Image
	contents map[string][]byte
	order    []string
	// Fail is asked before images are made, uploaded or deleted ("create", "upload", "delete").
	Fail func(call string) error
}

// NewImages returns images with one in them, [ImageID].
func NewImages() *Images {
	i := &Images{have: map[string]compute.Image{}, contents: map[string][]byte{}}
	i.Put(compute.Image{ID: ImageID, Name: "tiny", Status: "active", Format: "qcow2", SizeBytes: 20 << 20})
	return i
}

// Put adds or replaces an image.
func (i *Images) Put(image compute.Image) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.have[image.ID] = image
}

// Image finds an image.
func (i *Images) Image(_ context.Context, _ compute.Scope, id string) (compute.Image, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	image, ok := i.have[id]
	if !ok {
		return image, fault.Wrap(compute.ErrNotFound, "image %s", id)
	}
	return image, nil
}

func (i *Images) fail(call string) error {
	if i.Fail == nil {
		return nil
	}
	return i.Fail(call)
}

// CreateImage makes an image, which waits for its content if it has a format.
func (i *Images) CreateImage(_ context.Context, _ compute.Scope, spec compute.ImageSpec) error {
	if err := i.fail("create"); err != nil {
		return err
	}
	properties := maps.Clone(spec.Own)
	maps.Copy(properties, spec.Properties)
	image := compute.Image{
		ID: spec.ID, Name: spec.Name, Status: "active", Format: spec.Format, MinDiskGiB: spec.MinDiskGiB, MinRAMMiB: spec.MinRAMMiB,
		Properties: properties, KernelID: properties["kernel_id"], RamdiskID: properties["ramdisk_id"],
		DeviceMapping: properties["block_device_mapping"],
	}
	if spec.Format != "" {
		image.Status = "queued"
	}
	i.Put(image)
	i.mu.Lock()
	defer i.mu.Unlock()
	i.order = append(i.order, spec.ID)
	return nil
}

// UploadImage keeps a content.
func (i *Images) UploadImage(_ context.Context, id string, r io.Reader, size int64) error {
	if err := i.fail("upload"); err != nil {
		return err
	}
	content, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	if int64(len(content)) != size {
		return fault.Wrap(compute.ErrInvalid, "%d bytes came and %d were announced", len(content), size)
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	image, ok := i.have[id]
	if !ok {
		return fault.Wrap(compute.ErrNotFound, "image %s", id)
	}
	image.Status, image.SizeBytes = "active", size
	i.have[id], i.contents[id] = image, content
	return nil
}

// Content is what was uploaded to an image.
func (i *Images) Content(id string) []byte {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.contents[id]
}

// DeleteImage forgets an image.
func (i *Images) DeleteImage(_ context.Context, id string) error {
	if err := i.fail("delete"); err != nil {
		return err
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	delete(i.have, id)
	delete(i.contents, id)
	return nil
}

// FindImages names those with the properties, latest first.
func (i *Images) FindImages(_ context.Context, _ string, properties map[string]string) (ids []string, err error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	for _, id := range slices.Backward(i.order) {
		image, ok := i.have[id]
		for name, value := range properties {
			ok = ok && image.Properties[name] == value
		}
		if ok {
			ids = append(ids, id)
		}
	}
	return ids, nil
}

// Made are the images that were made of servers and are there, latest last.
func (i *Images) Made() []string {
	i.mu.Lock()
	defer i.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(i.order), func(id string) bool { return i.have[id].ID == "" })
}

// ImageFile names a file that nobody opens.
func (i *Images) ImageFile(_ context.Context, id string) (string, error) { return "/images/" + id, nil }

// Networks are networks in memory. A network's subnet is 10.N.0.0/24 with N its place.
type Networks struct {
	mu       sync.Mutex
	networks []compute.Network
	owners   map[string]string
	ports    []*compute.Port
	plugged  map[string]bool
	next     int
	// Fail is asked before ports are made, bound, deleted or plugged ("create", "bind", "delete", "plug").
	Fail func(call string) error
}

// DefaultGroup is every project's default security group, Web another group.
var (
	DefaultGroup = compute.SecurityGroup{ID: "d0000000-0000-4000-8000-000000000000", Name: "default"}
	Web          = compute.SecurityGroup{ID: "d0000000-0000-4000-8000-000000000001", Name: "web"}
)

// NewNetworks returns no networks.
func NewNetworks() *Networks {
	return &Networks{owners: map[string]string{}, plugged: map[string]bool{}}
}

// Add makes a network for a project; an empty one is shared.
func (n *Networks) Add(name, project string) string {
	n.mu.Lock()
	defer n.mu.Unlock()
	id := uuid.NewString()
	n.networks = append(n.networks, compute.Network{ID: id, Name: name, Subnets: 1})
	n.owners[id] = project
	return id
}

// Change changes a network.
func (n *Networks) Change(id string, fn func(*compute.Network)) {
	n.mu.Lock()
	defer n.mu.Unlock()
	fn(&n.networks[n.place(id)])
}

// AddPort makes a port as a user would.
func (n *Networks) AddPort(networkID, project string) compute.Port {
	n.mu.Lock()
	defer n.mu.Unlock()
	return *n.port(compute.PortSpec{ProjectID: project, NetworkID: networkID})
}

// Ports are all ports that there are, and Plugged those with a device.
func (n *Networks) Ports() []compute.Port {
	n.mu.Lock()
	defer n.mu.Unlock()
	var all []compute.Port
	for _, p := range n.ports {
		all = append(all, *p)
	}
	return all
}

// Plugged says how many ports have a device.
func (n *Networks) Plugged() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return len(n.plugged)
}

func (n *Networks) fail(call string) error {
	if n.Fail == nil {
		return nil
	}
	return n.Fail(call)
}

func (n *Networks) place(id string) int {
	return slices.IndexFunc(n.networks, func(have compute.Network) bool { return have.ID == id })
}

func (n *Networks) sees(scope compute.Scope, id string) bool {
	return scope.Admin || n.owners[id] == "" || n.owners[id] == scope.ProjectID
}

// Networks lists the project's and the shared ones.
func (n *Networks) Networks(_ context.Context, scope compute.Scope) ([]compute.Network, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	var list []compute.Network
	for _, have := range n.networks {
		if !have.External && (n.owners[have.ID] == "" || n.owners[have.ID] == scope.ProjectID) {
			list = append(list, have)
		}
	}
	return list, nil
}

// Network finds a network.
func (n *Networks) Network(_ context.Context, scope compute.Scope, id string) (compute.Network, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	i := n.place(id)
	if i < 0 || !n.sees(scope, id) {
		return compute.Network{}, fault.Wrap(compute.ErrNotFound, "network %s", id)
	}
	return n.networks[i], nil
}

// SecurityGroups knows two groups.
func (n *Networks) SecurityGroups(_ context.Context, scope compute.Scope, names []string) ([]compute.SecurityGroup, error) {
	var found []compute.SecurityGroup
	for _, name := range names {
		i := slices.IndexFunc([]compute.SecurityGroup{DefaultGroup, Web}, func(g compute.SecurityGroup) bool { return g.ID == name || g.Name == name })
		if i < 0 {
			return nil, fault.Wrap(compute.ErrNotFound, "Security group %s not found for project %s.", name, scope.ProjectID)
		}
		found = append(found, []compute.SecurityGroup{DefaultGroup, Web}[i])
	}
	return found, nil
}

func (n *Networks) find(id string) *compute.Port {
	for _, p := range n.ports {
		if p.ID == id {
			return p
		}
	}
	return nil
}

// Port finds a port.
func (n *Networks) Port(_ context.Context, scope compute.Scope, id string) (compute.Port, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	p := n.find(id)
	if p == nil || !scope.Admin && p.ProjectID != scope.ProjectID {
		return compute.Port{}, fault.Wrap(compute.ErrNotFound, "port %s", id)
	}
	return *p, nil
}

func (n *Networks) port(spec compute.PortSpec) *compute.Port {
	n.next++
	address := spec.FixedIP
	if !address.IsValid() {
		address = netip.AddrFrom4([4]byte{10, byte(n.place(spec.NetworkID)), byte(n.next >> 8), byte(n.next)})
	}
	p := &compute.Port{
		ID: uuid.NewString(), ProjectID: spec.ProjectID, NetworkID: spec.NetworkID, NetworkName: n.networks[n.place(spec.NetworkID)].Name,
		MAC: fmt.Sprintf("fa:16:3e:00:%02x:%02x", n.next>>8, n.next&0xff), Status: "DOWN", ServerID: spec.Binding.ServerID,
		FixedIPs: []compute.FixedIP{{Address: address, SubnetID: spec.NetworkID}},
	}
	for _, id := range spec.SecurityGroups {
		p.SecurityGroups = append(p.SecurityGroups, named(id))
	}
	if spec.SecurityGroups == nil {
		p.SecurityGroups = []compute.SecurityGroup{DefaultGroup}
	}
	n.ports = append(n.ports, p)
	return p
}

func named(id string) compute.SecurityGroup {
	if id == Web.ID {
		return Web
	}
	return DefaultGroup
}

// CreatePort makes a port.
func (n *Networks) CreatePort(_ context.Context, spec compute.PortSpec) (string, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if err := n.fail("create"); err != nil {
		return "", err
	}
	for _, p := range n.ports {
		if p.NetworkID == spec.NetworkID && p.FixedIPs[0].Address == spec.FixedIP {
			return "", fault.Wrap(compute.ErrConflict, "address %s", spec.FixedIP)
		}
	}
	return n.port(spec).ID, nil
}

// BindPort gives or takes a port.
func (n *Networks) BindPort(_ context.Context, id string, binding compute.Binding) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if err := n.fail("bind"); err != nil {
		return err
	}
	p := n.find(id)
	if p == nil {
		return fault.Wrap(compute.ErrNotFound, "port %s", id)
	}
	p.ServerID = binding.ServerID
	return nil
}

// SetPortSecurityGroups replaces a port's groups.
func (n *Networks) SetPortSecurityGroups(_ context.Context, id string, groups []string) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	p := n.find(id)
	p.SecurityGroups = nil
	for _, g := range groups {
		p.SecurityGroups = append(p.SecurityGroups, named(g))
	}
	return nil
}

// DeletePort deletes a port.
func (n *Networks) DeletePort(_ context.Context, id string) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if err := n.fail("delete"); err != nil {
		return err
	}
	n.ports = slices.DeleteFunc(n.ports, func(p *compute.Port) bool { return p.ID == id })
	return nil
}

// ServerPorts lists ports by server.
func (n *Networks) ServerPorts(_ context.Context, serverIDs []string) (map[string][]compute.Port, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	ports := map[string][]compute.Port{}
	for _, p := range n.ports {
		if p.ServerID != "" && slices.Contains(serverIDs, p.ServerID) {
			ports[p.ServerID] = append(ports[p.ServerID], *p)
		}
	}
	return ports, nil
}

// Plug gives a port a device.
func (n *Networks) Plug(_ context.Context, id string) (driver.NIC, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if err := n.fail("plug"); err != nil {
		return driver.NIC{}, err
	}
	p := n.find(id)
	if p == nil {
		return driver.NIC{}, fault.Wrap(compute.ErrNotFound, "port %s", id)
	}
	p.Status, n.plugged[id] = "ACTIVE", true
	return driver.NIC{PortID: id, MAC: p.MAC, MTU: 1450, Device: "tap" + id[:11]}, nil
}

// Unplug takes the device away.
func (n *Networks) Unplug(_ context.Context, id string) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.plugged, id)
	return nil
}
