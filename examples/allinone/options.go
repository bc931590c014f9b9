package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/kintoun/kintoun/examples/allinone/settings"
)

// configFile is read if it is there.
const configFile = "/etc/kintoun/kintoun.yaml"

// programName is what this program is called by: allinone here, kintoun where a package installed it.
func programName() string {
	path, err := os.Executable()
	if err != nil {
		return "allinone"
	}
	return filepath.Base(path)
}

// newOptions are the options with their defaults, and the table that they are set by.
func newOptions(name string, environ []string) *options {
	s := &options{out: os.Stdout}
	s.program = settings.Program{
		Name: name, Summary: "an OpenStack-compatible cloud in one process", Commands: commands(),
		Source: settings.Source{
			Prefix: "KINTOUN_", File: configFile, Environ: environ,
			// What the lab, the processes of a cloud and the tests are told by.
			Known: []string{"KINTOUN_LAB_STAGE", "KINTOUN_PROCESS", "KINTOUN_REQUIRE"},
			Warn:  func(text string) { fmt.Fprintf(os.Stderr, "%s: warning: %s\n", name, text) },
		},
		Description: description,
	}
	s.program.Table = s.table()
	return s
}

const description = "Identity, images, servers, networks and load balancers with the APIs of OpenStack's Keystone, Glance, Nova, Neutron and LBaaS, " +
	"on QEMU, Open vSwitch or the kernel's bridge, network namespaces, nftables and HAProxy.\n\n" +
	"The server may be killed at any moment: servers, routers, balancers and leases go on without it, and a new one adopts them as they run."

// onHost are the commands of a cloud that is on this machine; all of them take the same flags.
func onHost() []string { return []string{"up", "down", "serve", "exec"} }

func commands() []settings.Command {
	return []settings.Command{
		{Name: "up", Summary: "start the server in the background and make the quick start's cloud",
			Next: "Afterwards, `source /var/lib/kintoun/openrc` and use the clients of OpenStack; `PROGRAM down` ends it all."},
		{Name: "down", Summary: "end everything and leave nothing behind",
			Next: "Give it the flags that `PROGRAM up` or `PROGRAM serve` had, or at least -data and -run."},
		{Name: "serve", Summary: "run the server in the foreground",
			Next: "The administrator's password is in the file admin-password of the data directory, made at the first start.\n" +
				"What the server started goes on when it ends; `PROGRAM down` ends that too. `PROGRAM up` is for a first look."},
		{Name: "exec", Summary: "run a command where the cloud's networks are", Arguments: "-- COMMAND…",
			Next: "For example: PROGRAM exec -- ip netns"},
		{Name: "simulate", Summary: "run a cloud in memory, without root and without programs",
			Next: "It prints how to reach it, and ends with Ctrl-C. Servers become ACTIVE, but nothing answers behind their addresses.\n" +
				"In Go tests, package cloudtest is the same without a process."},
		{Name: "config", Summary: "print every setting: as a file to begin with, a document or a manual page",
			Next: "For example: PROGRAM config -out " + configFile},
		{Name: "completion", Summary: "print a script that completes commands and flags", Arguments: "SHELL", Words: settings.Shells(),
			Next: "For this shell: source <(PROGRAM completion bash); zsh is the same; in fish: PROGRAM completion fish | source\n" +
				"For good: put it into /etc/bash_completion.d, a directory of zsh's fpath (as _PROGRAM) or ~/.config/fish/completions."},
		{Name: "version", Summary: "print what this is"},
	}
}

// table is everything that can be set.
func (s *options) table() settings.Table {
	clouds := append(onHost(), "simulate")
	of := func(commands []string, table settings.Table) settings.Table {
		for _, one := range table {
			one.Commands = commands
		}
		return table
	}
	file := s.program.Source.Config(&s.config)
	return slices.Concat(
		of(clouds, settings.Table{file}),
		of(onHost(), s.HostSettings()),
		of(onHost(), s.Images.Settings()),
		of(clouds, s.ImageWeb.Settings()),
		of(clouds, s.ImageProperties.Settings()),
		of(clouds, s.ObjectRates.Settings()),
		of(onHost(), settings.Table{
			{Name: "lab", Kind: "switch", Value: settings.Bool(&s.lab, false),
				Help: "keep the cloud's networks inside a network namespace without any way out; only the APIs, events and metrics are reached from outside"},
			{Name: "guest", Kind: "directory", Help: "the guest's kernel, initrd and root.img, for up", Value: settings.Text(&s.guest, "build/guest")},
		}),
		of(clouds, s.API.Settings()),
		of(clouds, s.Observed.Settings()),
		of([]string{"simulate"}, s.simulated.settings()),
		of(clouds, settings.Table{{Name: "debug", Kind: "switch", Help: "log everything that happens", Value: settings.Bool(&s.debug, false)}}),
		of([]string{"config"}, s.document.settings()),
	)
}
