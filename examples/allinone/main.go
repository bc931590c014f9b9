// Command allinone is Kintoun's reference server: a whole OpenStack-compatible cloud in one process, on QEMU,
// Open vSwitch or the kernel's bridge, network namespaces, nftables and HAProxy; or, to try things out, in memory.
//
//	allinone up          start the server in the background and make the quick start's cloud
//	allinone down        end everything and leave nothing behind
//	allinone serve       run the server in the foreground
//	allinone exec        run a command where the cloud's networks are (see -lab)
//	allinone simulate    run a cloud in memory, without root and without programs
//	allinone config      print every setting: as a file, a document or a manual page
//	allinone completion  print a script that completes commands and flags
//	allinone version     print what this is
//
// All but the last four need root, for network namespaces, and the programs that `make up` installs. Settings are flags,
// variables and keys of a file, described in docs/configuration.md, which is made of the same table as `allinone COMMAND -h`.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/kintoun/kintoun/examples/allinone/server"
	"github.com/kintoun/kintoun/examples/allinone/settings"
	"github.com/kintoun/kintoun/internal/lab"
)

//go:generate go run . config -as markdown -out ../../docs/configuration.md

func main() {
	if lab.IsInit() {
		os.Exit(lab.Init(&lab.InitOptions{Files: server.InheritedFiles(), Restart: true}))
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	s := newOptions(programName(), os.Environ())
	if err := s.run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", s.program.Name, err)
		stop()
		os.Exit(1)
	}
}

// errNoCommand has been told by the usage.
var errNoCommand = errors.New("say what to do")

func (s *options) run(ctx context.Context, args []string) error {
	if len(args) == 0 {
		s.program.Usage(os.Stderr, nil)
		return errNoCommand
	}
	name, args := args[0], args[1:]
	switch name {
	case "-h", "-help", "--help", "help":
		s.program.Usage(s.out, nil)
		return nil
	case "-version", "--version":
		name = "version"
	}
	do, ok := actions()[name]
	if !ok {
		return fmt.Errorf("there is no command %q: `%s -h` lists them", name, s.program.Name)
	}
	command := s.program.Command(name)
	flags := flag.NewFlagSet(s.program.Name+" "+name, flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	err := s.program.Source.Load(name, s.program.Table, flags, args)
	if errors.Is(err, flag.ErrHelp) {
		s.program.Usage(s.out, command)
		return nil
	}
	if err != nil {
		return fmt.Errorf("%w (`%s %s -h` tells what can be set)", err, s.program.Name, name)
	}
	if s.args = flags.Args(); len(s.args) > 0 && command.Arguments == "" {
		return fmt.Errorf("%s takes no arguments, only flags: %q", name, s.args)
	}
	if do.root && os.Geteuid() != 0 {
		return fmt.Errorf("network namespaces need root: run this as root (sudo), or try `%s simulate`, which needs no rights", s.program.Name)
	}
	return do.run(ctx, s)
}

// action is what a command does.
type action struct {
	run  func(context.Context, *options) error
	root bool
}

func actions() map[string]action {
	return map[string]action{
		"up": {up, true}, "down": {down, true}, "serve": {serve, true}, "exec": {execute, true},
		"simulate": {simulate, false}, "config": {config, false}, "completion": {completion, false}, "version": {tellVersion, false},
	}
}

// options are those of the cloud and of this program.
type options struct {
	server.Options
	program settings.Program
	config  string
	// lab keeps the cloud inside namespaces of its own, which have no way out.
	lab       bool
	guest     string
	debug     bool
	simulated simulation
	document  document
	args      []string
	out       io.Writer
}

func (s *options) logger() *slog.Logger {
	level := slog.LevelInfo
	if s.debug {
		level = slog.LevelDebug
	}
	return slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: level}))
}
