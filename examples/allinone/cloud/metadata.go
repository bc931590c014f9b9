package cloud

import (
	"context"
	"fmt"
	"net/netip"

	"github.com/kintoun/kintoun/compute"
	"github.com/kintoun/kintoun/metadata"
	"github.com/kintoun/kintoun/network"
	networkdriver "github.com/kintoun/kintoun/network/driver"
)

// metadataSource tells metadata which server has an address in a network, and what is known of it.
type metadataSource struct {
	network *network.Service
	compute *compute.Service
	ports   computeNetworks
}

var _ metadata.Source = metadataSource{}

func (m metadataSource) Instance(ctx context.Context, networkID string, address netip.Addr) (*metadata.Instance, error) {
	port, err := m.network.PortByAddress(ctx, networkID, address)
	if err != nil {
		return nil, err
	}
	server, err := m.compute.Instance(ctx, port.DeviceID)
	if err != nil {
		return nil, err
	}
	instance := describeServer(server)
	all, err := m.ports.ServerPorts(ctx, []string{server.ID})
	if err != nil {
		return nil, err
	}
	for _, p := range all[server.ID] {
		card, err := m.describePort(ctx, &p, instance)
		if err != nil {
			return nil, err
		}
		instance.Interfaces = append(instance.Interfaces, card)
	}
	return instance, nil
}

func describeServer(v *compute.Instance) *metadata.Instance {
	i := &metadata.Instance{
		ID: v.ID, ProjectID: v.ProjectID, Name: v.Name, Hostname: v.Hostname, Flavor: v.FlavorName,
		EC2ID:      fmt.Sprintf("i-%08x", v.Number),
		ImageEC2ID: metadata.EC2ID("ami", v.ImageID), KernelEC2ID: metadata.EC2ID("aki", v.KernelID), RamdiskEC2ID: metadata.EC2ID("ari", v.RamdiskID),
		AvailabilityZone: v.AvailabilityZone, LaunchIndex: v.LaunchIndex, ReservationID: v.ReservationID,
		Meta: v.Metadata, LaunchedAt: v.CreatedAt, RootDevice: "/dev/vda",
	}
	for _, attached := range v.Volumes {
		i.VolumeDevices = append(i.VolumeDevices, attached.Device)
	}
	if len(v.UserData) > 0 {
		i.UserData = v.UserData
	}
	if v.PublicKey != "" {
		i.Keys = []metadata.Key{{Name: v.KeyName, PublicKey: v.PublicKey}}
	}
	return i
}

func (m metadataSource) describePort(ctx context.Context, p *compute.Port, instance *metadata.Instance) (metadata.Interface, error) {
	of, err := m.network.Network(ctx, network.System, p.NetworkID)
	if err != nil {
		return metadata.Interface{}, err
	}
	card := metadata.Interface{PortID: p.ID, NetworkID: p.NetworkID, Device: networkdriver.TapName(p.ID), MAC: p.MAC, MTU: of.MTU}
	for _, fixed := range p.FixedIPs {
		subnet, err := m.network.Subnet(ctx, network.System, fixed.SubnetID)
		if err != nil {
			return metadata.Interface{}, err
		}
		place := metadata.InterfaceAddress{
			Address: netip.PrefixFrom(fixed.Address, subnet.CIDR.Bits()), DHCP: subnet.EnableDHCP, Gateway: subnet.Gateway, DNS: subnet.DNS,
		}
		for _, r := range subnet.HostRoutes {
			place.Routes = append(place.Routes, metadata.Route{Destination: r.Destination, NextHop: r.NextHop})
		}
		card.Addresses = append(card.Addresses, place)
		instance.FixedIPs = append(instance.FixedIPs, fixed.Address)
	}
	instance.FloatingIPs = append(instance.FloatingIPs, p.FloatingIPs...)
	for _, g := range p.SecurityGroups {
		instance.SecurityGroups = append(instance.SecurityGroups, g.Name)
	}
	return card, nil
}
