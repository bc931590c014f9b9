package neutron

import (
	"context"
	"encoding/json"
	"net/http"
	"time"

	"github.com/kintoun/kintoun/internal/wire"
	"github.com/kintoun/kintoun/network"
)

type agentSpec struct {
	up          *bool
	description *string
}

func (a *api) agents() *resource[network.AgentInfo, agentSpec] {
	return &resource[network.AgentInfo, agentSpec]{
		path: "agents", plural: "agents", singular: "agent",
		fields: fields[agentSpec]{
			"admin_state_up": plain(parseBool, func(s *agentSpec) **bool { return &s.up }),
			"description":    plain(parseText, func(s *agentSpec) **string { return &s.description }),
		}.shown("agent_type", "binary", "host", "topic", "alive", "configurations", "started_at", "heartbeat_timestamp", "availability_zone", "resources_synced"),
		update: func(ctx context.Context, scope network.Scope, id string, spec agentSpec) (*network.AgentInfo, error) {
			return a.service.UpdateAgent(ctx, scope, id, spec.up, spec.description)
		},
		remove: a.service.DeleteAgent, get: a.service.Agent, list: a.service.Agents,
		view: func(_ context.Context, _ network.Scope, list []network.AgentInfo) ([]object, error) {
			return each(list, showAgent), nil
		},
	}
}

func showAgent(i *network.AgentInfo) object {
	zone := any(nil)
	if i.Type == network.AgentDHCP || i.Type == network.AgentL3 {
		zone = i.Zone
	}
	stamp := func(t time.Time) string { return t.UTC().Format(time.DateTime) }
	return object{
		"id": i.ID, "agent_type": i.Type, "binary": i.Binary, "host": i.Host, "topic": i.Topic, "alive": i.Alive, "admin_state_up": i.AdminStateUp,
		"description": orNull(i.Description), "availability_zone": zone, "configurations": i.Configurations, "resources_synced": nil,
		"created_at": stamp(i.CreatedAt), "started_at": stamp(i.StartedAt), "heartbeat_timestamp": stamp(i.HeartbeatAt),
	}
}

// scheduling is who hosts what.
func (a *api) scheduling() []wire.Route {
	hosting := func(exists func(context.Context, network.Scope, string) error) func(http.ResponseWriter, *http.Request) error {
		return func(w http.ResponseWriter, r *http.Request) error {
			if err := exists(r.Context(), scope(r), r.PathValue("id")); err != nil {
				return err
			}
			list, err := a.service.AgentsHosting(r.Context(), scope(r), r.PathValue("id"))
			if err != nil {
				return err
			}
			return wire.JSON(w, http.StatusOK, object{"agents": each(list, showAgent)})
		}
	}
	return []wire.Route{
		{Method: http.MethodGet, Path: "/v2.0/networks/{id}/dhcp-agents", Serve: hosting(func(ctx context.Context, s network.Scope, id string) error {
			_, err := a.service.Network(ctx, s, id)
			return err
		})},
		{Method: http.MethodGet, Path: "/v2.0/routers/{id}/l3-agents", Serve: hosting(func(ctx context.Context, s network.Scope, id string) error {
			_, err := a.service.Router(ctx, s, id)
			return err
		})},
		{Method: http.MethodGet, Path: "/v2.0/agents/{id}/dhcp-networks", Serve: a.networksOn},
		{Method: http.MethodPost, Path: "/v2.0/agents/{id}/dhcp-networks", Serve: adding("network_id", a.service.AddNetworkToAgent)},
		{Method: http.MethodDelete, Path: "/v2.0/agents/{id}/dhcp-networks/{resource}", Serve: removing(a.service.RemoveNetworkFromAgent)},
		{Method: http.MethodGet, Path: "/v2.0/agents/{id}/l3-routers", Serve: a.routersOn},
		{Method: http.MethodPost, Path: "/v2.0/agents/{id}/l3-routers", Serve: adding("router_id", a.service.AddRouterToAgent)},
		{Method: http.MethodDelete, Path: "/v2.0/agents/{id}/l3-routers/{resource}", Serve: removing(a.service.RemoveRouterFromAgent)},
	}
}

func (a *api) networksOn(w http.ResponseWriter, r *http.Request) error {
	list, err := a.service.NetworksOn(r.Context(), scope(r), r.PathValue("id"))
	if err != nil {
		return err
	}
	views, err := a.showNetworks(r.Context(), scope(r), list)
	if err != nil {
		return err
	}
	return wire.JSON(w, http.StatusOK, object{"networks": views})
}

func (a *api) routersOn(w http.ResponseWriter, r *http.Request) error {
	list, err := a.service.RoutersOn(r.Context(), scope(r), r.PathValue("id"))
	if err != nil {
		return err
	}
	views, err := a.showRouters(r.Context(), scope(r), list)
	if err != nil {
		return err
	}
	return wire.JSON(w, http.StatusOK, object{"routers": views})
}

type scheduleCall func(ctx context.Context, scope network.Scope, agentID, resourceID string) error

func adding(key string, call scheduleCall) func(http.ResponseWriter, *http.Request) error {
	return func(w http.ResponseWriter, r *http.Request) error {
		var raw json.RawMessage
		if err := wire.Decode(r, &raw); err != nil {
			return err
		}
		var id string
		if err := members(raw, map[string]func(json.RawMessage) error{key: into(&id, parseText)}); err != nil {
			return badRequest("%s", err)
		}
		if id == "" {
			return badRequest("Missing %s", key)
		}
		if err := call(r.Context(), scope(r), r.PathValue("id"), id); err != nil {
			return err
		}
		return wire.JSON(w, http.StatusCreated, nil)
	}
}

func removing(call scheduleCall) func(http.ResponseWriter, *http.Request) error {
	return func(w http.ResponseWriter, r *http.Request) error {
		if err := call(r.Context(), scope(r), r.PathValue("id"), r.PathValue("resource")); err != nil {
			return err
		}
		w.WriteHeader(http.StatusNoContent)
		return nil
	}
}
