package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/kintoun/kintoun/examples/allinone/cloud"
	"github.com/kintoun/kintoun/examples/allinone/memcloud"
	"github.com/kintoun/kintoun/examples/allinone/observe"
	"github.com/kintoun/kintoun/examples/allinone/server"
	"github.com/kintoun/kintoun/examples/allinone/settings"
	"golang.org/x/sync/errgroup"
)

// simulation is what only a cloud in memory has.
type simulation struct {
	hosts       int
	backends    int
	buildTime   time.Duration
	credentials string
}

// mostHosts bounds them; each holds a few goroutines.
const mostHosts = 1000

func (s *simulation) settings() settings.Table {
	return settings.Table{
		{Name: "hosts", Kind: "number", Help: "how many hosts the cloud has", Value: settings.Number(&s.hosts, 1, 1, mostHosts)},
		{Name: "volume-backends", Kind: "number", Value: settings.Number(&s.backends, 1, 1, 100),
			Help: "how many back ends of volumes each host has: memory, memory2, …, which types choose by volume_backend_name"},
		{Name: "build-time", Kind: "duration", Help: "how long servers take to start, stop or reboot; 0s is at once", Value: settings.Duration(&s.buildTime, 0)},
		{Name: "credentials", Kind: "directory", Value: settings.Text(&s.credentials, ""), Default: "none, they are printed",
			Help: "where openrc, openrc-admin and clouds.yaml are written"},
	}
}

// simulate runs a cloud in memory until ctx ends.
func simulate(ctx context.Context, s *options) (err error) {
	listeners := cloud.Listeners{}
	if err := s.OpenListeners(listeners); err != nil {
		return errors.Join(err, listeners.Close())
	}
	defer func() { err = errors.Join(err, listeners.Close()) }()
	log := s.logger()
	observed := s.Observe(listeners)
	observed.Log = log
	observer, err := observe.New(ctx, observed)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, observer.Close()) }()
	web, err := s.ImageWeb.Downloader()
	if err != nil {
		return err
	}
	protections, err := s.ImageProperties.Protections()
	if err != nil {
		return err
	}
	rates, err := s.ObjectRates.Limits()
	if err != nil {
		return err
	}
	// The cloud ends after those who watch it.
	c, err := memcloud.Start(context.WithoutCancel(ctx), &memcloud.Options{
		Hosts: s.simulated.hosts, VolumeBackends: s.simulated.backends, BuildTime: s.simulated.buildTime, Listen: s.Listen, PublicHost: s.PublicHost, Ports: s.Ports,
		AdminPassword: s.AdminPassword, Wrap: observer.Wrap, ImageWeb: web, ImageProtections: protections, ObjectRates: rates, Log: log,
	})
	if err != nil {
		return err
	}
	running, watching := errgroup.WithContext(ctx)
	running.Go(func() error { return observer.Run(watching, c.Cloud) })
	running.Go(func() error {
		if err := s.tellSimulated(c, listeners); err != nil {
			return err
		}
		<-watching.Done()
		return nil
	})
	return errors.Join(running.Wait(), c.Stop())
}

// tellSimulated says how to use the cloud.
func (s *options) tellSimulated(c *memcloud.Cloud, listeners cloud.Listeners) error {
	var b strings.Builder
	b.WriteString("A cloud in memory. Nothing in it is real, and it is forgotten when this ends (Ctrl-C).\n\n")
	for _, service := range cloud.Services() {
		fmt.Fprintf(&b, "  %-12s %s\n", service, c.URL(service))
	}
	for _, name := range []cloud.Service{"events", "metrics"} {
		for _, l := range listeners[name] {
			fmt.Fprintf(&b, "  %-12s http://%s/%[1]s\n", name, l.Addr())
		}
	}
	if s.simulated.credentials == "" {
		fmt.Fprintf(&b, "\nTo use it from another shell, as the user demo:\n\n%s\nand as the administrator:\n\n%s", c.Demo().OpenRC(), c.Admin().OpenRC())
	} else {
		dir, err := s.writeCredentials(c)
		if err != nil {
			return err
		}
		fmt.Fprintf(&b, "\nTo use it from another shell (openrc-admin is the administrator's):\n\n  source '%s'\n", filepath.Join(dir, "openrc"))
		fmt.Fprintf(&b, "  export OS_CLIENT_CONFIG_FILE='%s' OS_CLOUD=kintoun\n", filepath.Join(dir, "clouds.yaml"))
	}
	b.WriteString("\n  openstack server create --flavor m1.tiny --image cirros --network private first\n\n")
	_, err := fmt.Fprint(s.out, b.String())
	return err
}

func (s *options) writeCredentials(c *memcloud.Cloud) (string, error) {
	dir, err := filepath.Abs(s.simulated.credentials)
	if err != nil {
		return "", err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", err
	}
	for name, content := range map[string]string{"openrc": c.Demo().OpenRC(), "openrc-admin": c.Admin().OpenRC(), "clouds.yaml": c.CloudsYAML()} {
		if err := server.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			return "", err
		}
	}
	return dir, nil
}
