package neutron

import (
	"context"
	"math/big"
	"net/http"
	"slices"
	"strconv"

	"github.com/kintoun/kintoun/internal/wire"
	"github.com/kintoun/kintoun/network"
)

// availability is how many addresses networks have and use: the extension network-ip-availability. As in Neutron,
// whoever is no administrator finds nothing there.
func (a *api) availability() []wire.Route {
	return []wire.Route{
		{Method: http.MethodGet, Path: "/v2.0/network-ip-availabilities", Serve: func(w http.ResponseWriter, r *http.Request) error {
			shown := []object{}
			if s := scope(r); s.Admin {
				q, version := availabilityQuery(r)
				found, err := a.service.Networks(r.Context(), s, q)
				if err != nil {
					return err
				}
				if shown, err = a.showAvailability(r.Context(), s, found, version); err != nil {
					return err
				}
			}
			for i := range shown {
				shown[i] = project(shown[i], r.URL.Query()["fields"])
			}
			return wire.JSON(w, http.StatusOK, object{"network_ip_availabilities": shown})
		}},
		{Method: http.MethodGet, Path: "/v2.0/network-ip-availabilities/{id}", Serve: func(w http.ResponseWriter, r *http.Request) error {
			s := scope(r)
			if !s.Admin {
				return &network.Error{Kind: network.ErrNotFound, Name: "HTTPNotFound", Text: "The resource could not be found."}
			}
			found, err := a.service.Network(r.Context(), s, r.PathValue("id"))
			if err != nil {
				return err
			}
			shown, err := a.showAvailability(r.Context(), s, []network.Network{*found}, nil)
			if err != nil {
				return err
			}
			return wire.JSON(w, http.StatusOK, object{"network_ip_availability": project(shown[0], r.URL.Query()["fields"])})
		}},
	}
}

// availabilityQuery reads the filters that the list has; others are ignored.
func availabilityQuery(r *http.Request) (q network.Query, versions []string) {
	q.Filters = map[string][]string{}
	values := r.URL.Query()
	for name, attribute := range map[string]string{"network_id": "id", "network_name": "name", "tenant_id": "project_id", "project_id": "project_id"} {
		if values.Has(name) {
			q.Filters[attribute] = values[name]
		}
	}
	return q, values["ip_version"]
}

// showAvailability shows the networks with their subnets; with versions, only those with subnets of one of them.
func (a *api) showAvailability(ctx context.Context, s network.Scope, networks []network.Network, versions []string) ([]object, error) {
	var q network.Query
	if len(networks) == 1 {
		q = network.Eq("network_id", networks[0].ID)
	}
	ports, err := a.service.Ports(ctx, s, q)
	if err != nil {
		return nil, err
	}
	q.Sort = []network.SortKey{{Attribute: "name"}}
	subnets, err := a.service.Subnets(ctx, s, q)
	if err != nil {
		return nil, err
	}
	used := map[string]int{}
	for i := range ports {
		for _, ip := range ports[i].FixedIPs {
			used[ip.SubnetID]++
		}
	}
	of := map[string][]network.Subnet{}
	for i := range subnets {
		if len(versions) == 0 || slices.Contains(versions, strconv.Itoa(subnets[i].Version())) {
			of[subnets[i].NetworkID] = append(of[subnets[i].NetworkID], subnets[i])
		}
	}
	shown := []object{}
	for i := range networks {
		if n := &networks[i]; len(versions) == 0 || len(of[n.ID]) > 0 {
			shown = append(shown, availabilityOf(n, of[n.ID], used))
		}
	}
	return shown, nil
}

// availabilityOf shows a network with its subnets; used counts the addresses by subnet.
func availabilityOf(n *network.Network, subnets []network.Subnet, used map[string]int) object {
	total, taken := new(big.Int), 0
	parts := each(subnets, func(sub *network.Subnet) object {
		size := poolSize(sub)
		total, taken = total.Add(total, size), taken+used[sub.ID]
		return object{
			"subnet_id": sub.ID, "subnet_name": sub.Name, "cidr": sub.CIDR.String(), "ip_version": sub.Version(), "total_ips": size, "used_ips": used[sub.ID],
		}
	})
	return object{
		"network_id": n.ID, "network_name": n.Name, "tenant_id": n.ProjectID, "project_id": n.ProjectID,
		"subnet_ip_availability": parts, "total_ips": total, "used_ips": taken,
	}
}

// poolSize is how many addresses the subnet gives out: those of its pools, and without any those of its prefix.
func poolSize(sub *network.Subnet) *big.Int {
	if len(sub.Pools) == 0 {
		return new(big.Int).Lsh(big.NewInt(1), uint(sub.CIDR.Addr().BitLen()-sub.CIDR.Bits()))
	}
	total := new(big.Int)
	for _, p := range sub.Pools {
		first, last := new(big.Int).SetBytes(p.Start.AsSlice()), new(big.Int).SetBytes(p.End.AsSlice())
		total.Add(total, last.Sub(last, first)).Add(total, big.NewInt(1))
	}
	return total
}
