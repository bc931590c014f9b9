package neutron

import (
	"context"
	"encoding/json"
	"net/http"

	"github.com/kintoun/kintoun/internal/wire"
	"github.com/kintoun/kintoun/network"
)

func (a *api) routers() *resource[network.Router, network.RouterSpec] {
	type S = network.RouterSpec
	return &resource[network.Router, S]{
		path: "routers", plural: "routers", singular: "router",
		fields: fields[S]{
			"name":                    strict(parseText, func(s *S) **string { return &s.Name }),
			"description":             strict(parseText, func(s *S) **string { return &s.Description }),
			"admin_state_up":          plain(parseBool, func(s *S) **bool { return &s.AdminStateUp }),
			"external_gateway_info":   nullable(parseGateway, func(s *S) **network.GatewaySpec { return &s.Gateway }),
			"routes":                  nullable(parseList(parseRoute), func(s *S) **[]network.Route { return &s.Routes }),
			"availability_zone_hints": atCreation(plain(parseList(parseText), func(s *S) **[]string { return &s.ZoneHints })),
			"distributed":             onlyFalse[S](), "ha": onlyFalse[S](),
		}.project(func(s *S) *string { return &s.ProjectID }).shown("status", "availability_zones"),
		create: a.service.CreateRouter, update: a.service.UpdateRouter, remove: a.service.DeleteRouter, get: a.service.Router, list: a.service.Routers,
		view: a.showRouters,
	}
}

// onlyFalse is a capability that routers do not have here.
func onlyFalse[S any]() field[S] {
	return field[S]{post: true, put: true, set: func(_ *S, data json.RawMessage) error {
		if null(data) {
			return nil
		}
		on, err := parseBool(data)
		if err == nil && on {
			err = badRequest("it is not supported")
		}
		return err
	}}
}

func parseGateway(data json.RawMessage) (g network.GatewaySpec, err error) {
	err = members(data, map[string]func(json.RawMessage) error{
		"network_id": into(&g.NetworkID, parseText),
		"enable_snat": func(data json.RawMessage) error {
			on, err := parseBool(data)
			g.SNAT = &on
			return err
		},
		"external_fixed_ips": func(data json.RawMessage) error {
			list, err := parseList(parseFixedIP)(data)
			g.FixedIPs = &list
			return err
		},
	})
	if err == nil && g.NetworkID == "" && (g.SNAT != nil || g.FixedIPs != nil) {
		err = badRequest("network_id is required")
	}
	return g, err
}

func (a *api) showRouters(ctx context.Context, scope network.Scope, list []network.Router) ([]object, error) {
	ids := make([]string, len(list))
	for i := range list {
		ids[i] = list[i].ID
	}
	hosted, err := a.service.Hosted(ctx, ids...)
	if err != nil {
		return nil, err
	}
	return each(list, func(r *network.Router) object {
		view := with(common(&r.Meta), object{"admin_state_up": r.AdminStateUp, "status": r.Status, "routes": routes(r.Routes), "external_gateway_info": nil,
			"availability_zone_hints": notNil(r.ZoneHints), "availability_zones": a.zones(hosted[r.ID])})
		if g := r.Gateway; g != nil {
			view["external_gateway_info"] = object{"network_id": g.NetworkID, "enable_snat": g.SNAT, "external_fixed_ips": fixedIPs(g.FixedIPs)}
		}
		if scope.Admin {
			view["distributed"], view["ha"] = false, false
		}
		return view
	}), nil
}

// interfaces are the calls that plug routers into subnets.
func (a *api) interfaces() []wire.Route {
	serve := func(call func(ctx context.Context, scope network.Scope, routerID, subnetID, portID string) (*network.RouterInterface, error)) func(http.ResponseWriter, *http.Request) error {
		return func(w http.ResponseWriter, r *http.Request) error {
			var raw json.RawMessage
			if err := wire.Decode(r, &raw); err != nil {
				return err
			}
			var subnetID, portID string
			if err := members(raw, map[string]func(json.RawMessage) error{"subnet_id": into(&subnetID, parseText), "port_id": into(&portID, parseText)}); err != nil {
				return badRequest("%s", err)
			}
			leg, err := call(r.Context(), scope(r), r.PathValue("id"), subnetID, portID)
			if err != nil {
				return err
			}
			return wire.JSON(w, http.StatusOK, object{"id": leg.RouterID, "tenant_id": leg.ProjectID, "project_id": leg.ProjectID, "port_id": leg.PortID,
				"network_id": leg.NetworkID, "subnet_id": leg.SubnetID, "subnet_ids": notNil(leg.SubnetIDs), "tags": notNil(leg.Tags)})
		}
	}
	return []wire.Route{
		{Method: http.MethodPut, Path: "/v2.0/routers/{id}/add_router_interface", Serve: serve(a.service.AddRouterInterface)},
		{Method: http.MethodPut, Path: "/v2.0/routers/{id}/remove_router_interface", Serve: serve(a.service.RemoveRouterInterface)},
	}
}

func (a *api) policies() *resource[network.RBACPolicy, network.RBACPolicy] {
	type S = network.RBACPolicy
	target := once(parseText, func(s *S) *string { return &s.Target })
	target.put = true
	return &resource[S, S]{
		path: "rbac-policies", plural: "rbac_policies", singular: "rbac_policy", required: []string{"object_type", "object_id", "action", "target_tenant"},
		fields: fields[S]{
			"object_type":   once(parseText, func(s *S) *string { return &s.ObjectType }),
			"object_id":     once(parseText, func(s *S) *string { return &s.ObjectID }),
			"action":        once(parseText, func(s *S) *string { return &s.Action }),
			"target_tenant": target,
		}.project(func(s *S) *string { return &s.ProjectID }).shown(),
		create: a.service.CreateRBACPolicy, remove: a.service.DeleteRBACPolicy, get: a.service.RBACPolicy, list: a.service.RBACPolicies,
		update: func(ctx context.Context, scope network.Scope, id string, spec S) (*S, error) {
			return a.service.UpdateRBACPolicy(ctx, scope, id, spec.Target)
		},
		view: func(_ context.Context, _ network.Scope, list []S) ([]object, error) {
			return each(list, func(p *S) object {
				return object{"id": p.ID, "tenant_id": p.ProjectID, "project_id": p.ProjectID, "object_type": p.ObjectType, "object_id": p.ObjectID, "action": p.Action, "target_tenant": p.Target}
			}), nil
		},
	}
}
