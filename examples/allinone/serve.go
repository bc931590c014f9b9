package main

import (
	"context"
	"errors"
	"net"
	"os"
	"syscall"

	"github.com/kintoun/kintoun/examples/allinone/cloud"
	"github.com/kintoun/kintoun/examples/allinone/server"
	"github.com/kintoun/kintoun/internal/lab"
)

// serve runs the server until ctx ends. Servers, routers and balancers go on without it.
func serve(ctx context.Context, s *options) error {
	if s.lab && !lab.Inside() {
		return serveInLab(ctx, s)
	}
	if err := s.Inherit(); err != nil {
		return err
	}
	if lab.Inside() {
		if err := s.ListenTwice(); err != nil {
			return err
		}
	}
	s.forgetSecrets()
	s.Log = s.logger()
	s.caution()
	c, err := server.Start(ctx, s.Options)
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		return nil // it was told to end before it had begun
	}
	if err != nil {
		return err
	}
	s.Log.Info("ready", "identity", s.URL(cloud.Identity)+"/v3", "events", s.Events, "metrics", s.Metrics)
	if err := notifyReady(); err != nil {
		s.Log.Warn("systemd was not told", "error", err)
	}
	return c.Wait()
}

// forgetSecrets keeps them from the programs that are started from here on.
func (s *options) forgetSecrets() {
	for _, one := range s.program.Table {
		if one.Secret {
			_ = os.Unsetenv(s.program.Source.Variable(one.Name))
		}
	}
}

// caution tells of settings that do not do what they seem to.
func (s *options) caution() {
	if address := net.ParseIP(s.Listen); address != nil && address.IsUnspecified() && s.PublicHost == "" {
		s.Log.Warn("clients are told to reach the APIs at "+s.Listen+", which only works on this machine: set -public-host", "listen", s.Listen)
	}
	if lab.Inside() && (len(s.Webhooks) > 0 || s.Traces) {
		s.Log.Warn("webhooks and traces do not leave the lab: run the server with -lab=false to have them")
	}
}

// serveInLab runs this command again as the first process of a lab, with listeners opened outside it.
func serveInLab(ctx context.Context, s *options) error {
	files, env, err := s.ListenFiles()
	if err != nil {
		return err
	}
	cmd := lab.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Env = append(cmd.Env, env...)
	cmd.ExtraFiles = files
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
	if err := cmd.Start(); err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { _ = cmd.Process.Signal(syscall.SIGTERM) })
	defer stop()
	return cmd.Wait()
}

// notifyReady tells systemd, where it waits for that (sd_notify(3)), that the APIs answer.
func notifyReady() error {
	path := os.Getenv("NOTIFY_SOCKET")
	if path == "" {
		return nil
	}
	// A leading @ is an abstract name, for package net too.
	to, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		return err
	}
	defer func() { _ = to.Close() }()
	_, err = to.Write([]byte("READY=1"))
	return err
}
