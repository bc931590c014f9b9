//go:build linux

package ovsgre

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/kintoun/kintoun/internal/fault"
	"github.com/kintoun/kintoun/internal/netns"
	"github.com/kintoun/kintoun/internal/process"
)

const (
	systemRunDir = "/var/run/openvswitch"
	schema       = "/usr/share/openvswitch/vswitch.ovsschema"
	// startTime is how long a daemon may take to open its socket.
	startTime = 10 * time.Second
)

// daemons are a pair of ovsdb-server and ovs-vswitchd: the system's, or ones of our own.
type daemons struct {
	// runDir holds their sockets.
	runDir    string
	own       bool
	namespace string
}

func (d *daemons) socket() string { return filepath.Join(d.runDir, "db.sock") }

// management is the OpenFlow socket of a bridge.
func (d *daemons) management(bridge string) string {
	return "unix:" + filepath.Join(d.runDir, bridge+".mgmt")
}

// findDaemons takes our own if they run, the system's if those do, and else starts our own.
func findDaemons(ctx context.Context, opts *Options) (*daemons, error) {
	own := &daemons{runDir: opts.RunDir, own: true, namespace: opts.Namespace}
	if running, err := process.Find(own.state("db")); err != nil {
		return nil, err
	} else if running == nil && systemRuns(opts.Namespace) {
		return &daemons{runDir: systemRunDir, namespace: opts.Namespace}, nil
	}
	return own, own.ensure(ctx)
}

// systemRuns says whether the system's ovs-vswitchd runs, in the very network namespace that plays the host: its
// sockets may be visible from others.
func systemRuns(namespace string) bool {
	pid, err := readPID(filepath.Join(systemRunDir, "ovs-vswitchd.pid"))
	if err != nil {
		return false
	}
	theirs, err := os.Stat(fmt.Sprintf("/proc/%d/ns/net", pid))
	if err != nil {
		return false
	}
	path := "/proc/self/ns/net"
	if namespace != "" {
		path = netns.Path(namespace)
	}
	ours, err := os.Stat(path)
	name, _ := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
	return err == nil && os.SameFile(theirs, ours) && strings.TrimSpace(string(name)) == "ovs-vswitchd"
}

func readPID(path string) (int, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(strings.TrimSpace(string(data)))
}

func (d *daemons) state(name string) string { return filepath.Join(d.runDir, name) }

// ensure starts what does not run of our own daemons; of the system's it starts none.
func (d *daemons) ensure(ctx context.Context) error {
	if !d.own {
		return nil
	}
	for _, dir := range []string{d.state("db"), d.state("switch")} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return err
		}
	}
	file := filepath.Join(d.runDir, "conf.db")
	if _, err := os.Stat(file); errors.Is(err, os.ErrNotExist) {
		tool, err := process.Program("ovsdb-tool", "a database of one's own", debianPackage)
		if err != nil {
			return err
		}
		if out, err := exec.CommandContext(ctx, tool, "create", file, schema).CombinedOutput(); err != nil {
			return fmt.Errorf("create the database of Open vSwitch: %w: %s", err, out)
		}
	}
	if err := d.start("db", "ovsdb-server", file, "--remote=punix:"+d.socket(), "--unixctl="+filepath.Join(d.runDir, "db.ctl")); err != nil {
		return err
	}
	if err := listens(ctx, d.socket()); err != nil {
		return err
	}
	if err := d.initialize(ctx); err != nil {
		return err
	}
	if err := d.start("switch", "ovs-vswitchd", "unix:"+d.socket(), "--unixctl="+filepath.Join(d.runDir, "switch.ctl")); err != nil {
		return err
	}
	return listens(ctx, filepath.Join(d.runDir, "switch.ctl"))
}

// start runs a daemon that outlives us, unless it runs already.
func (d *daemons) start(name, program string, args ...string) error {
	if running, err := process.Find(d.state(name)); err != nil || running != nil {
		return err
	}
	path, err := process.Program(program, "Open vSwitch", debianPackage)
	if err != nil {
		return err
	}
	environment, err := exec.LookPath("env")
	if err != nil {
		return err
	}
	_, err = process.Start(process.Spec{
		Dir: d.state(name), Path: environment, Namespace: d.namespace, Output: filepath.Join(d.state(name), "log"),
		Args: append([]string{"OVS_RUNDIR=" + d.runDir, path, "-vconsole:warn", "-vsyslog:off"}, args...),
	})
	return err
}

// listens waits until a socket is served. The daemons have no other sign that they are ready.
func listens(ctx context.Context, socket string) error {
	ctx, cancel := context.WithTimeout(ctx, startTime)
	defer cancel()
	ticker := time.NewTicker(5 * time.Millisecond)
	defer ticker.Stop()
	for {
		conn, err := (&net.Dialer{}).DialContext(ctx, "unix", socket)
		if err == nil {
			return conn.Close()
		}
		select {
		case <-ctx.Done():
			return fault.Wrap(ErrUnavailable, "Open vSwitch did not come up: %v", err)
		case <-ticker.C:
		}
	}
}

// initialize makes the database's only root row, as ovs-vsctl init does.
func (d *daemons) initialize(ctx context.Context) error {
	results, err := transact(ctx, d.socket(), operation{"op": "select", "table": "Open_vSwitch", "where": []any{}, "columns": []any{"_uuid"}})
	if err != nil || len(results[0]) > 0 {
		return err
	}
	_, err = transact(ctx, d.socket(), operation{"op": "insert", "table": "Open_vSwitch", "row": map[string]any{}})
	return err
}

// control is the socket of ovs-vswitchd's own, which closes when it ends.
func (d *daemons) control() (string, error) {
	if d.own {
		return filepath.Join(d.runDir, "switch.ctl"), nil
	}
	pid, err := readPID(filepath.Join(d.runDir, "ovs-vswitchd.pid"))
	return filepath.Join(d.runDir, fmt.Sprintf("ovs-vswitchd.%d.ctl", pid)), err
}

// epoch tells one run of ovs-vswitchd from another: its process identifier and start time.
func (d *daemons) epoch() (string, error) {
	var pid int
	if d.own {
		running, err := process.Find(d.state("switch"))
		if err != nil {
			return "", err
		}
		if running == nil {
			return "", fault.Wrap(ErrUnavailable, "ovs-vswitchd does not run")
		}
		pid = running.PID
	} else {
		var err error
		if pid, err = readPID(filepath.Join(d.runDir, "ovs-vswitchd.pid")); err != nil {
			return "", fault.Wrap(ErrUnavailable, "ovs-vswitchd does not run: %v", err)
		}
	}
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return "", fault.Wrap(ErrUnavailable, "ovs-vswitchd does not run: %v", err)
	}
	// Field 22 is the start time (proc(5)); the program's name before may hold spaces.
	fields := strings.Fields(string(data[strings.LastIndexByte(string(data), ')')+1:]))
	if len(fields) < 20 {
		return "", fmt.Errorf("process %d: unexpected stat", pid)
	}
	return fmt.Sprintf("%d-%s", pid, fields[19]), nil
}

// stop ends our own daemons, the switch first.
func (d *daemons) stop(ctx context.Context) error {
	if !d.own {
		return nil
	}
	var errs []error
	for _, name := range []string{"switch", "db"} {
		running, err := process.Find(d.state(name))
		if err == nil && running != nil {
			err = running.Stop(ctx, 5*time.Second)
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}
