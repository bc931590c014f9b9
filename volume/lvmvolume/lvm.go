//go:build linux

package lvmvolume

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/kintoun/kintoun/internal/fault"
	"github.com/kintoun/kintoun/internal/process"
	"github.com/kintoun/kintoun/volume/driver"
)

// Tags of logical volumes.
const (
	tagBytes  = "kintoun.bytes=" // what a guest sees
	tagLUKS   = "kintoun.luks="  // where the content of a container begins
	tagOf     = "kintoun.of="    // the volume of a snapshot
	tagMaking = "kintoun.making" // it is not whole
	tagUntil  = "kintoun.until=" // the snapshot without which this one, taken at the same moment, is none
)

// poolVariable marks the commands of a pool's driver, which go on when that is killed.
const poolVariable = "KINTOUN_LVM_POOL"

// patience is how long a command may take: LVM waits for its own lock, and for devices.
const patience = 2 * time.Minute

// logical is a logical volume.
type logical struct {
	name string
	// size is of the device, bytes what a guest sees of it, behind the first outside bytes.
	size, bytes, outside int64
	encrypted            bool
	volumeID, until      string
	making               bool
	active, suspended    bool
	// pool is the thin pool that it is in; isPool says that it is one, data how much of it is used, in percent.
	pool   string
	isPool bool
	data   float64
	fails  bool // writes to a full pool
}

// lvm runs one of LVM's commands, and returns what it printed. It is not interrupted by ctx: what it has begun it ends.
func (d *Driver) lvm(ctx context.Context, command string, args ...string) ([]byte, error) {
	// Archives of the metadata would be one per command, and no use: none goes together with a thin pool that has changed since.
	config := "global { notify_dbus = 0 } backup { archive = 0 }"
	if !d.udev {
		config += " activation { udev_sync = 0 udev_rules = 0 verify_udev_operations = 1 }"
	}
	return d.run(ctx, "lvm", append([]string{command, "--yes", "--quiet", "--config", config}, args...)...)
}

func (d *Driver) run(ctx context.Context, name string, args ...string) ([]byte, error) {
	path, err := process.Program(name, "volumes in LVM", packages[name])
	if err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	bounded, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
	defer cancel()
	cmd := exec.CommandContext(bounded, path, args...)
	cmd.Env = append(os.Environ(), "LC_ALL=C", "LVM_SUPPRESS_FD_WARNINGS=1", poolVariable+"="+d.dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // who ends us from a terminal does not end it
	cmd.WaitDelay = time.Second
	var out, problems bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &problems
	if err := cmd.Run(); err != nil {
		return nil, &commandError{what: name + " " + args[0], said: said(problems.String()), err: err}
	}
	return out.Bytes(), nil
}

// commandError is a command that failed.
type commandError struct {
	what, said string
	err        error
}

func (e *commandError) Error() string { return fmt.Sprintf("%s: %s (%v)", e.what, e.said, e.err) }

// Unwrap also gives the kind that the contract of drivers has for what LVM says.
func (e *commandError) Unwrap() []error {
	errs := []error{e.err}
	for text, kind := range map[string]error{
		"insufficient free space": driver.ErrFull, "Free space in pool": driver.ErrFull, "No space left": driver.ErrFull,
		"out of data space": driver.ErrFull, "reached threshold": driver.ErrFull,
		"in use": driver.ErrBusy, "is used by": driver.ErrBusy, "Failed to find": fs.ErrNotExist,
	} {
		if strings.Contains(e.said, text) {
			errs = append(errs, kind)
		}
	}
	return errs
}

// said are the lines in which a command complains, without its warnings.
func said(problems string) string {
	var lines []string
	for line := range strings.Lines(problems) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "WARNING:") {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines, "; ")
}

// othersRun says whether commands run that a killed process has begun. What these have started and left, such as dmeventd, has their
// environment and another name.
func (d *Driver) othersRun() (bool, error) {
	mark := []byte(poolVariable + "=" + d.dir + "\x00")
	found, err := filepath.Glob("/proc/[0-9]*/environ")
	for _, path := range found {
		environment, _ := os.ReadFile(path) // it may have ended
		if !bytes.Contains(environment, mark) {
			continue
		}
		name, _ := os.ReadFile(filepath.Join(filepath.Dir(path), "comm"))
		if slices.Contains([]string{"lvm", "dmsetup"}, strings.TrimSpace(string(name))) {
			return true, nil
		}
	}
	return false, err
}

// awaitOthers waits for commands that a killed process has begun.
func (d *Driver) awaitOthers(ctx context.Context) error {
	for {
		running, err := d.othersRun()
		if err != nil {
			return err
		}
		if !running {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// measureGroup finds the size of the group's extents.
func (d *Driver) measureGroup(ctx context.Context) error {
	out, err := d.lvm(ctx, "vgs", "--reportformat", "json", "--units", "b", "--nosuffix", "--options", "vg_extent_size", d.group)
	var failed *commandError
	if errors.As(err, &failed) && strings.Contains(failed.said, "not found") {
		return fault.Wrap(ErrUnavailable, "there is no volume group %s: make one (vgcreate %s /dev/DISK), or name another; LVM says: %s", d.group, d.group, failed.said)
	}
	if err != nil {
		return err
	}
	rows, err := parse(out, "vg")
	if err != nil {
		return err
	}
	if len(rows) != 1 {
		return fmt.Errorf("LVM tells of %d groups, not one", len(rows))
	}
	if d.extent, err = strconv.ParseInt(rows[0]["vg_extent_size"], 10, 64); err != nil || d.extent <= 0 {
		return fmt.Errorf("extents of %q bytes: %w", rows[0]["vg_extent_size"], errReport)
	}
	return nil
}

// errReport is what LVM printed and we do not understand.
var errReport = errors.New("not a report of LVM's")

// parse reads a report of lvs or vgs in JSON (lvmreport(7)).
func parse(out []byte, kind string) ([]map[string]string, error) {
	var all struct {
		Report []map[string][]map[string]string `json:"report"`
	}
	if err := json.Unmarshal(out, &all); err != nil {
		return nil, fmt.Errorf("%w: %w", errReport, err)
	}
	var rows []map[string]string
	for _, r := range all.Report {
		rows = append(rows, r[kind]...)
	}
	return rows, nil
}

// report is the thin pool and what is in it, by name: what else the group has, other drivers' pools among it, is none of ours.
func (d *Driver) report(ctx context.Context) (map[string]*logical, error) {
	out, err := d.lvm(ctx, "lvs", "--reportformat", "json", "--units", "b", "--nosuffix", "--options",
		"lv_name,lv_size,lv_tags,pool_lv,lv_active,lv_suspended,data_percent,lv_layout,lv_when_full", d.group)
	if err != nil {
		return nil, err
	}
	rows, err := parse(out, "lv")
	if err != nil {
		return nil, err
	}
	all := map[string]*logical{}
	for _, row := range rows {
		if row["pool_lv"] != d.o.ThinPool && row["lv_name"] != d.o.ThinPool {
			continue
		}
		v, err := logicalOf(row)
		if err != nil {
			return nil, err
		}
		all[v.name] = v
	}
	return all, nil
}

func logicalOf(row map[string]string) (*logical, error) {
	v := &logical{
		name: row["lv_name"], pool: row["pool_lv"], active: row["lv_active"] == "active", suspended: row["lv_suspended"] == "suspended",
		isPool: strings.Contains(row["lv_layout"], "pool"), fails: row["lv_when_full"] == "error",
	}
	var err error
	if v.size, err = strconv.ParseInt(row["lv_size"], 10, 64); err != nil || v.size < 0 || v.name == "" {
		return nil, fmt.Errorf("logical volume %q of %q bytes: %w", v.name, row["lv_size"], errReport)
	}
	if text := row["data_percent"]; text != "" {
		if v.data, err = strconv.ParseFloat(text, 64); err != nil || !(v.data >= 0 && v.data <= 100) {
			return nil, fmt.Errorf("logical volume %q is filled to %q: %w", v.name, text, errReport)
		}
	}
	for tag := range strings.SplitSeq(row["lv_tags"], ",") {
		if err := v.tagged(tag); err != nil {
			return nil, err
		}
	}
	if v.bytes == 0 {
		v.bytes = v.size - v.outside
	}
	if v.bytes < 0 || v.outside < 0 || v.bytes > v.size-v.outside {
		return nil, fmt.Errorf("logical volume %q of %d bytes says that %d are behind %d: %w", v.name, v.size, v.bytes, v.outside, errReport)
	}
	return v, nil
}

func (v *logical) tagged(tag string) error {
	number := func(text string) (n int64, err error) {
		if n, err = strconv.ParseInt(text, 10, 64); err != nil || n < 0 {
			return 0, fmt.Errorf("logical volume %q has the tag %q: %w", v.name, tag, errReport)
		}
		return n, nil
	}
	var err error
	switch name, value, _ := strings.Cut(tag, "="); name + "=" {
	case tagBytes:
		var n int64
		n, err = number(value)
		v.bytes = max(v.bytes, n) // while it grows it may have two
	case tagLUKS:
		v.encrypted = true
		v.outside, err = number(value)
	case tagOf:
		v.volumeID = value
	case tagUntil:
		v.until = value
	case tagMaking + "=":
		v.making = true
	}
	return err
}
