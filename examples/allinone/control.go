package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"github.com/kintoun/kintoun/examples/allinone/cloud"
	"github.com/kintoun/kintoun/examples/allinone/machine"
	"github.com/kintoun/kintoun/examples/allinone/quickstart"
	"github.com/kintoun/kintoun/internal/lab"
	"github.com/kintoun/kintoun/internal/process"
)

// labExternal is the lab's own place in the external network, where floating addresses are reached from.
const labExternal = "10.0.0.1/24"

// serverDir is where the background server's process is written down.
func (s *options) serverDir() string { return s.Path("server") }

func (s *options) logFile() string { return s.Path("server", "log") }

// up starts the server unless it runs, makes the quick start's cloud, and tells how to use it.
func up(ctx context.Context, s *options) error {
	display := quickstart.NewDisplay(os.Stdout)
	for _, service := range cloud.Services() {
		if s.Ports[service] == 0 {
			return fmt.Errorf("a server in the background needs ports that are known: choose one with -%s-port", service)
		}
	}
	if !s.ExternalAddress.IsValid() {
		s.ExternalAddress = netip.MustParsePrefix(labExternal)
	}
	for _, file := range []string{"kernel", "initrd", "root.img"} {
		if _, err := os.Stat(filepath.Join(s.guest, file)); err != nil {
			return fmt.Errorf("the guest image is missing (%w): build it with `make guest`, or name its directory with -guest", err)
		}
	}
	if err := display.Step("server", func(func(string)) (string, error) { return s.start(ctx) }); err != nil {
		return err
	}
	plan, err := s.plan(ctx)
	if err != nil {
		return err
	}
	if err := quickstart.Run(ctx, *plan, display); err != nil {
		return err
	}
	return s.tell(plan)
}

func (s *options) plan(ctx context.Context) (*quickstart.Plan, error) {
	admin, err := s.Admin()
	if err != nil {
		return nil, err
	}
	demo, err := s.Demo()
	if err != nil {
		return nil, err
	}
	key, err := s.sshKey(ctx)
	if err != nil {
		return nil, err
	}
	return &quickstart.Plan{
		Admin: admin, Demo: demo, Guest: s.guest, External: s.ExternalAddress.Masked(), Gateway: s.ExternalAddress.Addr(),
		PublicKey: key, Inside: s.inside,
	}, nil
}

// start begins the server in the background and returns once it answers.
func (s *options) start(ctx context.Context) (string, error) {
	if err := os.MkdirAll(s.serverDir(), 0o700); err != nil {
		return "", err
	}
	running, err := process.Find(s.serverDir())
	if err != nil {
		return "", err
	}
	if running != nil {
		return fmt.Sprintf("runs already, process %d", running.PID), s.ready(ctx, running)
	}
	self, err := os.Executable()
	if err != nil {
		return "", err
	}
	files, env, err := s.ListenFiles()
	if err != nil {
		return "", err
	}
	flags, secrets := s.program.Source.Arguments("serve", s.program.Table)
	spec := process.Spec{
		Dir: s.serverDir(), Path: self, Args: append([]string{"serve"}, flags...), Output: s.logFile(), Files: files, Env: append(env, secrets...),
	}
	if s.lab {
		spec.Env, spec.Cloneflags = append(spec.Env, lab.InitEnv), lab.Cloneflags
	}
	if err := s.rememberLab(); err != nil {
		return "", err
	}
	started, err := process.Start(spec)
	for _, file := range files {
		_ = file.Close()
	}
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("process %d", started.PID), s.ready(ctx, started)
}

// labMark is there while the server's networks are, or were last, in a lab.
func (s *options) labMark() string { return s.Path("server", "lab") }

func (s *options) rememberLab() error {
	if s.lab {
		return os.WriteFile(s.labMark(), nil, 0o600)
	}
	if err := os.Remove(s.labMark()); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

const startPatience = 30 * time.Second

// ready returns once the server answers. Its sockets are open already, so the first request simply waits.
func (s *options) ready(ctx context.Context, server *process.Process) error {
	ctx, cancel := context.WithTimeout(ctx, startPatience)
	defer cancel()
	ended := make(chan struct{})
	go func() {
		if server.Wait(ctx) == nil {
			close(ended)
			cancel()
		}
	}()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, s.URL(cloud.Identity)+"/v3", nil)
	if err != nil {
		return err
	}
	answer, err := http.DefaultClient.Do(request)
	if err == nil {
		return answer.Body.Close()
	}
	select {
	case <-ended:
		return fmt.Errorf("it ended at once: see %s%s", s.logFile(), lastLine(s.logFile()))
	default:
		return fmt.Errorf("it does not answer: see %s: %w", s.logFile(), err)
	}
}

func lastLine(path string) string {
	data, err := os.ReadFile(path)
	if err != nil || len(data) == 0 {
		return ""
	}
	end := len(data) - 1
	start := end
	for start > 0 && data[start-1] != '\n' {
		start--
	}
	return ": " + string(data[start:end])
}

// inside runs a command in one of the cloud's network namespaces.
func (s *options) inside(ctx context.Context, namespace string, command ...string) (string, error) {
	command = append([]string{"ip", "netns", "exec", namespace}, command...)
	command, err := s.enter(command)
	if err != nil {
		return "", err
	}
	out, err := exec.CommandContext(ctx, command[0], command[1:]...).Output()
	return string(out), err
}

// enter is the command, run where the cloud's networks are.
func (s *options) enter(command []string) ([]string, error) {
	running, err := process.Find(s.serverDir())
	if err != nil {
		return nil, err
	}
	if running == nil {
		return nil, fmt.Errorf("no server runs in the background: start one with `%s up`", s.program.Name)
	}
	// A lab's first process has a network of its own; a server outside a lab has ours, and entering it changes nothing.
	return append([]string{"nsenter", "--target", strconv.Itoa(running.PID), "--net", "--mount", "--pid", "--ipc", "--uts", "--"}, command...), nil
}

// execute becomes the command that the arguments say.
func execute(_ context.Context, s *options) error {
	if len(s.args) == 0 {
		return fmt.Errorf("say what to run: %s exec -- ip netns", s.program.Name)
	}
	command, err := s.enter(s.args)
	if err != nil {
		return err
	}
	path, err := exec.LookPath(command[0])
	if err != nil {
		return fmt.Errorf("%w: apt-get install util-linux", err)
	}
	return syscall.Exec(path, command, os.Environ())
}

const stopPatience = 20 * time.Second

// down ends the server and everything that it started, and deletes its files.
func down(ctx context.Context, s *options) error {
	display := quickstart.NewDisplay(os.Stdout)
	running, err := process.Find(s.serverDir())
	if err != nil {
		return err
	}
	if running != nil {
		if err := display.Step("server", func(func(string)) (string, error) { return "ended", running.Stop(ctx, stopPatience) }); err != nil {
			return err
		}
	}
	// What ran in a lab ended with the lab's first process. What ran on the machine is still there.
	if _, err := os.Stat(s.labMark()); errors.Is(err, os.ErrNotExist) && exists(s.DataDir) {
		if err := display.Step("servers, networks and balancers", func(func(string)) (string, error) { return "removed", machine.Purge(ctx, s.Options.Options) }); err != nil {
			return err
		}
	}
	return display.Step("files in "+s.DataDir, func(func(string)) (string, error) {
		return "deleted", errors.Join(os.RemoveAll(s.DataDir), os.RemoveAll(s.RunDir))
	})
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
