// Command allinone is Kintoun's reference server: a whole OpenStack-compatible cloud in one process, on QEMU,
// Open vSwitch or the kernel's bridge, network namespaces, nftables and HAProxy.
//
//	allinone up      start the server in the background and make the quick start's cloud
//	allinone down    end everything and leave nothing behind
//	allinone serve   run the server in the foreground
//	allinone exec    run a command where the cloud's networks are (see -lab)
//
// It needs root, for network namespaces, and the programs that `make up` installs. `allinone COMMAND -h` lists the
// flags of a command; each has an environment variable too (KINTOUN_DATA for -data).
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/kintoun/kintoun/examples/allinone/cloud"
	"github.com/kintoun/kintoun/examples/allinone/server"
	"github.com/kintoun/kintoun/internal/lab"
)

func main() {
	if lab.IsInit() {
		os.Exit(lab.Init(&lab.InitOptions{Files: server.InheritedFiles(), Restart: true}))
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		if !errors.Is(err, flag.ErrHelp) {
			fmt.Fprintln(os.Stderr, "allinone:", err)
		}
		stop()
		os.Exit(1)
	}
}

const usage = `usage: allinone COMMAND [flags]

  up      start the server in the background and make the quick start's cloud
  down    end everything and leave nothing behind
  serve   run the server in the foreground
  exec    run a command where the cloud's networks are

allinone COMMAND -h lists a command's flags.
`

func run(ctx context.Context, args []string) error {
	if len(args) == 0 {
		fmt.Fprint(os.Stderr, usage)
		return flag.ErrHelp
	}
	commands := map[string]func(context.Context, *settings) error{"up": up, "down": down, "serve": serve, "exec": execute}
	command, ok := commands[args[0]]
	if !ok {
		fmt.Fprint(os.Stderr, usage)
		return fmt.Errorf("there is no command %q", args[0])
	}
	s := &settings{}
	flags := flag.NewFlagSet("allinone "+args[0], flag.ContinueOnError)
	s.register(flags)
	if err := flags.Parse(args[1:]); err != nil {
		return err
	}
	s.args = flags.Args()
	if len(s.args) > 0 && args[0] != "exec" {
		return fmt.Errorf("%s takes no arguments, only flags: %q", args[0], s.args)
	}
	if os.Geteuid() != 0 {
		return errors.New("network namespaces need root: run this as root (sudo)")
	}
	return command(ctx, s)
}

// settings are the options of the cloud and of this program.
type settings struct {
	server.Options
	// lab keeps the cloud inside namespaces of its own, which have no way out.
	lab   bool
	guest string
	debug bool
	args  []string
	flags *flag.FlagSet
}

func (s *settings) register(flags *flag.FlagSet) {
	s.flags = flags
	s.Register(flags)
	flags.BoolVar(&s.lab, "lab", false, "keep the cloud's networks inside a network namespace without any way out; only the APIs are reached from outside")
	flags.StringVar(&s.guest, "guest", "build/guest", "`directory` with the guest's kernel, initrd and root.img, for up")
	flags.BoolVar(&s.debug, "debug", false, "log everything that happens")
}

func (s *settings) logger() *slog.Logger {
	level := slog.LevelInfo
	if s.debug {
		level = slog.LevelDebug
	}
	return slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: level}))
}

// serve runs the server until ctx ends. Servers, routers and balancers go on without it.
func serve(ctx context.Context, s *settings) error {
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
	s.Log = s.logger()
	c, err := server.Start(ctx, s.Options)
	if err != nil {
		return err
	}
	s.Log.Info("ready", "identity", s.URL(cloud.Identity)+"/v3")
	return c.Wait()
}

// serveInLab runs this command again as the first process of a lab, with listeners opened outside it.
func serveInLab(ctx context.Context, s *settings) error {
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
