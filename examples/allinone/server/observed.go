package server

import (
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"syscall"

	"github.com/kintoun/kintoun/event"
	"github.com/kintoun/kintoun/event/webhook"
	"github.com/kintoun/kintoun/examples/allinone/cloud"
	"github.com/kintoun/kintoun/examples/allinone/observe"
	"github.com/kintoun/kintoun/examples/allinone/settings"
)

// Observed says how the cloud may be watched and measured; nothing of it is on by default.
type Observed struct {
	// Events and Metrics are the addresses that they are served on; empty turns them off.
	Events, Metrics string
	// Traces are sent to where the OTEL_… variables say.
	Traces bool
	// Webhooks are what events are delivered to.
	Webhooks []webhook.Hook
}

// Settings are what can be set of it. Those of a list are not taken back: use each table once.
func (o *Observed) Settings() settings.Table {
	return settings.Table{
		{Name: "events", Kind: "address:port", Value: settings.HostPort(&o.Events), Default: "off",
			Help: "where the cloud's events are served as Server-Sent Events, at /events, for whoever has a token"},
		{Name: "metrics", Kind: "address:port", Value: settings.HostPort(&o.Metrics), Default: "off",
			Help: "where Prometheus metrics are served, at /metrics, for whoever reaches the address"},
		{Name: "traces", Kind: "switch", Value: settings.Bool(&o.Traces, false),
			Help: "send a trace of each request by OTLP, to where the variable OTEL_EXPORTER_OTLP_ENDPOINT and its like say"},
		{Name: "webhooks", Kind: "list", Help: "URLs that events are delivered to, signed as Standard Webhooks has it", Items: o.webhook},
	}
}

// webhook is one more hook, when it is complete.
func (o *Observed) webhook() settings.Item {
	var hook webhook.Hook
	var secretFile string
	text := func(name, kind string, p *string, help string) *settings.Setting {
		return &settings.Setting{Name: name, Kind: kind, Help: help, Value: settings.Text(p, ""), Secret: name == "secret"}
	}
	words := func(name string, p *[]string, help string) *settings.Setting {
		return &settings.Setting{Name: name, Kind: "[word, word]", Help: help, Value: settings.Words(p)}
	}
	fields := settings.Table{
		text("name", "NAME", &hook.Name, "tells hooks apart; how far it is, is kept under this name"),
		text("url", "URL", &hook.URL, "takes the POST requests, http or https"),
		text("secret-file", "FILE", &secretFile, "file with the secret that signs them: whsec_ and the base64 of 24 to 64 bytes"),
		text("secret", "SECRET", &hook.Secret, "the secret itself, instead of a file"),
		words("domains", &hook.Filter.Domains, "take events of these domains only: identity, image, compute, network, lbaas"),
		words("types", &hook.Filter.Types, "take events of these types only, such as server or port"),
		words("projects", &hook.Filter.ProjectIDs, "take events of these projects only, by their ID"),
		words("ids", &hook.Filter.IDs, "take events of these resources only"),
	}
	return settings.Item{Fields: fields, Done: func() error {
		if err := completeHook(&hook, secretFile); err != nil {
			return err
		}
		if slices.ContainsFunc(o.Webhooks, func(h webhook.Hook) bool { return h.Name == hook.Name }) {
			return fmt.Errorf("two hooks have the name %q: rename one", hook.Name)
		}
		o.Webhooks = append(o.Webhooks, hook)
		return nil
	}}
}

func completeHook(hook *webhook.Hook, secretFile string) error {
	switch {
	case secretFile != "" && hook.Secret != "":
		return errors.New("it has a secret and a secret-file: remove one")
	case secretFile != "":
		data, err := os.ReadFile(secretFile)
		if err != nil {
			return err
		}
		hook.Secret = strings.TrimSpace(string(data))
	case hook.Secret == "":
		return fmt.Errorf("it has no secret: add one, such as %s", webhook.NewSecret())
	}
	_, err := webhook.New(event.Sources{}, []webhook.Hook{*hook}, nil)
	return err
}

// The names of their sockets, beside those of the APIs.
const (
	eventsSocket  cloud.Service = "events"
	metricsSocket cloud.Service = "metrics"
)

// OpenListeners opens those that are asked for and not there yet.
func (o *Observed) OpenListeners(l cloud.Listeners) error {
	for _, one := range []struct {
		name    cloud.Service
		address string
	}{{eventsSocket, o.Events}, {metricsSocket, o.Metrics}} {
		if one.address == "" || len(l[one.name]) > 0 {
			continue
		}
		opened, err := net.Listen("tcp", one.address)
		if errors.Is(err, syscall.EADDRINUSE) {
			return fmt.Errorf("%s is taken: end what listens there, or choose another address with -%s", one.address, one.name)
		}
		if err != nil {
			return fmt.Errorf("-%s: %w", one.name, err)
		}
		l[one.name] = append(l[one.name], opened)
	}
	return nil
}

// Observe are the options of package observe.
func (o *Observed) Observe(l cloud.Listeners) *observe.Options {
	return &observe.Options{Events: l[eventsSocket], Metrics: l[metricsSocket], Traces: o.Traces, Webhooks: o.Webhooks}
}

// sockets are the names of all sockets that the server may listen on.
func sockets() []cloud.Service { return append(cloud.Services(), eventsSocket, metricsSocket) }
