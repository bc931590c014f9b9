//go:build linux

// Package haproxy runs load balancers with HAProxy, each in a network namespace of its own, the way operators of
// OpenStack know them: namespace qlbaas-ID with the tap device of the virtual address's port in it, and
// DIR/lbaas/ID/{conf,pid,sock} beside. It is a [driver.Balancers].
//
//	balancers, err := haproxy.New(haproxy.OnBridge("br0"), &haproxy.Options{Dir: "/var/lib/mycloud"})
//	want := driver.Balancer{
//		ID: "3341c179-43a9-4337-8427-2d490d06ffec",
//		Method: driver.RoundRobin, Protocol: driver.HTTP,
//		Members: []driver.Member{
//			{ID: "vm1", Address: netip.MustParseAddr("172.24.17.2"), Port: 80, Weight: 1},
//			{ID: "vm2", Address: netip.MustParseAddr("172.24.17.3"), Port: 80, Weight: 1},
//		},
//	}
//	if err := balancers.Apply(context.Background(), want); err != nil {
//		fmt.Println(err)
//	}
//
// What changes about members goes through HAProxy's runtime socket: connections, the rotation and the process stay as
// they are. Anything else starts a new process that takes over the old one's listening sockets and lets it finish what
// it has begun, so that no connection is refused. A whole program: examples/balancer.
//
// # What it needs
//
// Root (CAP_SYS_ADMIN, CAP_NET_ADMIN) on Linux with network namespaces, HAProxy 2.6 or later (Debian 12: haproxy), and
// the accounts nobody and nogroup, to which HAProxy drops as soon as it has opened its sockets; [Probe] names what is
// missing. A [driver.Plugger] gives the devices: [OnBridge], or a fabric's. The path of [Options.Dir] is short: sockets
// lie below it.
//
// # What it does not do
//
// It ends no TLS, and knows no rules by path or header. It does not spread one balancer over several hosts. HTTP
// requests are balanced one by one where the protocol is HTTP, connections otherwise.
//
// # Errors
//
// Errors are of the kinds [ErrInvalid] (a value that has no place in a configuration, refused before anything is done)
// and [ErrUnavailable] (HAProxy is missing, did not start, with its complaint, or does not answer); others come from
// the system. What is missing is a [probe.Missing], found with errors.As. Status of a balancer that is not there is
// fs.ErrNotExist.
//
// # Concurrency
//
// A [Driver] may be used concurrently for different balancers; calls of Apply and Remove for one balancer are made one
// after the other. Status and List may be called at any time. It holds a goroutine for each HAProxy that it started.
//
// # When the process ends
//
// HAProxy is not a child that ends with the program: a balancer goes on when its starter is killed, and a new Driver on
// the same directory finds it again. What a killed Apply left half made is finished by the next one, or removed.
package haproxy

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/kintoun/kintoun/internal/fault"
	"github.com/kintoun/kintoun/internal/netns"
	"github.com/kintoun/kintoun/internal/process"
	"github.com/kintoun/kintoun/lbaas/driver"
)

// The kinds of error.
var (
	ErrInvalid     = fault.ErrInvalid
	ErrUnavailable = fault.ErrUnavailable
)

const (
	namespacePrefix = "qlbaas-"
	// maxSocketPath is what unix(7) allows, less the suffix of the name under which HAProxy first binds a socket.
	maxSocketPath = 107 - 12
	idLength      = 36
)

// Options are what may differ between hosts. The zero value is what most want.
type Options struct {
	// Dir holds the directory lbaas with the state of the balancers; by default /var/lib/kintoun. Keep it short:
	// the path of a socket below it may have 95 bytes.
	Dir string
	// Program is HAProxy; by default haproxy in PATH.
	Program string
	// Threads of each balancer; by default 1, which keeps the rotation strict at any load.
	Threads int
	// MaxConnections bounds each balancer's concurrent connections where its own limit is not higher; by default
	// 10000. The system's limit of open files bounds them too: a connection takes two.
	MaxConnections int
	// DrainTime is how long a replaced process may go on with the connections it has; by default 10 minutes.
	DrainTime time.Duration
	// StartTime is how long HAProxy may take to answer after it was started; by default 10 seconds.
	StartTime time.Duration
}

func (o *Options) withDefaults() Options {
	var out Options
	if o != nil {
		out = *o
	}
	if out.Dir == "" {
		out.Dir = "/var/lib/kintoun"
	}
	if out.Program == "" {
		out.Program = "haproxy"
	}
	if out.Threads <= 0 {
		out.Threads = 1
	}
	if out.MaxConnections <= 0 {
		out.MaxConnections = 10000
	}
	if out.DrainTime <= 0 {
		out.DrainTime = 10 * time.Minute
	}
	if out.StartTime <= 0 {
		out.StartTime = 10 * time.Second
	}
	return out
}

// Driver runs balancers on this host. It implements [driver.Balancers].
type Driver struct {
	plugger driver.Plugger
	options Options
	// program is the path of HAProxy.
	program string
}

var _ driver.Balancers = (*Driver)(nil)

// New returns a driver that asks plugger for the devices of balancers. It starts nothing.
func New(plugger driver.Plugger, options *Options) (*Driver, error) {
	d := &Driver{plugger: plugger, options: options.withDefaults()}
	var err error
	if d.program, err = program(d.options.Program); err != nil {
		return nil, err
	}
	if d.options.Dir, err = filepath.Abs(d.options.Dir); err != nil {
		return nil, err
	}
	longest := filepath.Join(d.options.Dir, "lbaas", strings.Repeat("x", idLength), "sock")
	if len(longest) > maxSocketPath {
		return nil, fault.Wrap(ErrInvalid, "directory %s: %d bytes too long for the path of a balancer's socket", d.options.Dir, len(longest)-maxSocketPath)
	}
	return d, nil
}

// Namespace is the network namespace of a balancer.
func Namespace(id string) string { return namespacePrefix + id }

// files of one balancer.
type files string

func (d *Driver) files(id string) files { return files(filepath.Join(d.options.Dir, "lbaas", id)) }

func (f files) dir() string    { return string(f) }
func (f files) conf() string   { return filepath.Join(string(f), "conf") }
func (f files) pid() string    { return filepath.Join(string(f), "pid") }
func (f files) socket() string { return filepath.Join(string(f), "sock") }

// port names the port that the balancer's device belongs to.
func (f files) port() string { return filepath.Join(string(f), "port") }

// state hands the members' health from a process to its successor.
func (f files) state() string { return filepath.Join(string(f), "state") }

// output is what HAProxy says: what keeps it from starting, and which members come and go.
func (f files) output() string { return filepath.Join(string(f), "output") }

// root is the empty directory that HAProxy locks itself into.
func (f files) root() string { return filepath.Join(string(f), "root") }

// Apply makes the balancer run as wanted.
func (d *Driver) Apply(ctx context.Context, want driver.Balancer) error {
	if err := validate(want); err != nil {
		return fmt.Errorf("balancer %q: %w", want.ID, err)
	}
	if err := d.apply(ctx, want); err != nil {
		return fmt.Errorf("balancer %s: %w", want.ID, err)
	}
	return nil
}

func (d *Driver) apply(ctx context.Context, want driver.Balancer) error {
	f := d.files(want.ID)
	if err := os.MkdirAll(f.root(), 0o755); err != nil {
		return err
	}
	if err := d.plug(ctx, f, want); err != nil {
		return err
	}
	if err := f.boundOutput(); err != nil {
		return err
	}
	conf := d.render(f, want)
	if err := d.run(ctx, f, want, conf); err != nil {
		return err
	}
	return d.reconcileMembers(ctx, f, want)
}

// run makes a process run with the frame of conf, and the file hold all of conf for the day it has to be restarted.
func (d *Driver) run(ctx context.Context, f files, want driver.Balancer, conf config) error {
	running, err := process.Find(f.dir())
	if err != nil {
		return err
	}
	var now info
	if running != nil {
		now, err = socket(f.socket()).info(ctx)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			// It never came up, or it hangs. What it serves, if anything, is not lost before its successor is there.
			now = info{}
		}
	}
	if err := replaceFile(f.conf(), conf.text); err != nil {
		return err
	}
	if running != nil && now.PID == running.PID && now.Description == conf.fingerprint {
		return nil
	}
	return d.start(ctx, f, want.ID, running, now.PID != 0)
}

// start runs a process with the configuration file as it is. If old is given it takes over from it, sockets and all
// where old answers.
func (d *Driver) start(ctx context.Context, f files, id string, old *process.Process, answers bool) error {
	args := []string{"-f", f.conf(), "-p", f.pid()}
	state := "1\n"
	if old != nil {
		if answers {
			args = append(args, "-x", f.socket())
			// Without it a member that is down would count as up until it was checked again.
			if answer, err := socket(f.socket()).ask(ctx, "show servers state "+backend); err == nil {
				state = answer + "\n"
			}
		}
		args = append(args, "-sf", fmt.Sprint(old.PID))
	}
	if err := replaceFile(f.state(), state); err != nil {
		return err
	}
	if err := os.Remove(f.output()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	p, err := process.Start(process.Spec{
		Dir: f.dir(), Path: d.program, Args: args, Namespace: Namespace(id), Output: f.output(),
	})
	if err != nil {
		return err
	}
	return d.ready(ctx, f, p)
}

// ready waits until the process answers on its socket.
func (d *Driver) ready(ctx context.Context, f files, p *process.Process) error {
	ctx, cancel := context.WithTimeout(ctx, d.options.StartTime)
	defer cancel()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for {
		if now, err := socket(f.socket()).info(ctx); err == nil && now.PID == p.PID {
			return nil
		}
		if !p.Alive() {
			return fault.Wrap(ErrUnavailable, "HAProxy did not start: %s", f.complaint())
		}
		select {
		case <-ctx.Done():
			return fault.Wrap(ErrUnavailable, "HAProxy (process %d) does not answer on %s: %v", p.PID, f.socket(), ctx.Err())
		case <-tick.C:
		}
	}
}

// maxOutput is how large the file may get in bytes before it begins anew.
const maxOutput = 1 << 20

func (f files) boundOutput() error {
	stat, err := os.Stat(f.output())
	if errors.Is(err, fs.ErrNotExist) || (err == nil && stat.Size() < maxOutput) {
		return nil
	}
	if err != nil {
		return err
	}
	// HAProxy appends, and goes on at the new end.
	return os.Truncate(f.output(), 0)
}

// complaint is the line of HAProxy's output that says why it ended.
func (f files) complaint() string {
	data, _ := os.ReadFile(f.output())
	lines := strings.Split(strings.TrimSpace(string(data)), "\n")
	for _, line := range lines {
		if strings.Contains(line, "[ALERT]") {
			return line
		}
	}
	return lines[len(lines)-1]
}

// Remove ends the balancer and takes everything of it away.
func (d *Driver) Remove(ctx context.Context, id string) error {
	if err := validateID(id); err != nil {
		return err
	}
	f := d.files(id)
	if err := d.stop(ctx, f); err != nil {
		return fmt.Errorf("balancer %s: %w", id, err)
	}
	if err := d.unplug(ctx, f); err != nil {
		return fmt.Errorf("balancer %s: %w", id, err)
	}
	if err := netns.Delete(Namespace(id)); err != nil {
		return fmt.Errorf("balancer %s: %w", id, err)
	}
	return os.RemoveAll(f.dir())
}

// stop ends the balancer's process, and those that still finish what a former configuration began.
func (d *Driver) stop(ctx context.Context, f files) error {
	for {
		p, err := process.Find(f.dir())
		if errors.Is(err, fs.ErrNotExist) || (err == nil && p == nil) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := p.Stop(ctx, time.Second); err != nil {
			return err
		}
	}
}

// List names the balancers that left anything on this host: files or a namespace.
func (d *Driver) List(context.Context) ([]string, error) {
	seen := map[string]bool{}
	entries, err := os.ReadDir(filepath.Join(d.options.Dir, "lbaas"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	var ids []string
	add := func(id string) {
		if validateID(id) == nil && !seen[id] {
			seen[id] = true
			ids = append(ids, id)
		}
	}
	for _, entry := range entries {
		add(entry.Name())
	}
	namespaces, err := netns.List()
	if err != nil {
		return nil, err
	}
	for _, name := range namespaces {
		if id, ok := strings.CutPrefix(name, namespacePrefix); ok {
			add(id)
		}
	}
	return ids, nil
}

// Status asks the running balancer.
func (d *Driver) Status(ctx context.Context, id string) (driver.Status, error) {
	if err := validateID(id); err != nil {
		return driver.Status{}, err
	}
	f := d.files(id)
	conf, err := os.ReadFile(f.conf())
	if err != nil {
		return driver.Status{}, fmt.Errorf("balancer %s: %w", id, err)
	}
	status, err := socket(f.socket()).status(ctx, configuredMembers(string(conf)))
	if err == nil {
		return status, nil
	}
	if p, findErr := process.Find(f.dir()); findErr == nil && p == nil {
		return driver.Status{}, nil
	}
	return driver.Status{}, fmt.Errorf("balancer %s: %w", id, err)
}

// replaceFile makes the file hold text, in one step; it leaves a file alone that does already.
func replaceFile(path, text string) error {
	if old, err := os.ReadFile(path); err == nil && string(old) == text {
		return nil
	}
	if err := os.WriteFile(path+".new", []byte(text), 0o644); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}
