//go:build linux

// Package ceph runs a Ceph cluster of one node in a lab (package lab), for tests: a monitor, a manager and an OSD that keeps its
// blocks in a sparse file.
//
//	cluster, err := ceph.Start(ctx, dir)
//	defer cluster.Stop()
//	pool, err := cluster.Pool(ctx, 2<<30)
//
// It needs Debian's ceph-mon, ceph-mgr, ceph-osd and ceph-common (16), some 500 MiB of memory, and a few seconds to start. It
// listens on the lab's loopback alone, so that a lab has one at a time. It is safe for concurrent use, but for Stop.
package ceph

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
)

// Monitor is where the cluster's monitor listens.
const Monitor = "127.0.0.1:3300"

// Cluster is a running one.
type Cluster struct {
	// Config is its configuration file; the user is "admin".
	Config  string
	dir     string
	daemons []*exec.Cmd
}

// configuration is a file in which DIR and FSID are to be replaced.
const configuration = `[global]
fsid = FSID
mon host = v2:127.0.0.1:3300
public addr = 127.0.0.1
cluster addr = 127.0.0.1
auth allow insecure global id reclaim = false
keyring = DIR/keyring
run dir = DIR
crash dir = DIR
admin socket =
pid file =
log file =
mon cluster log file =
mon data = DIR/mon
mgr data = DIR/mgr
mgr module path = DIR/modules
osd data = DIR/osd
mon data avail warn = 1
mon data avail crit = 1
# One second of batching at each change would be most of the start.
paxos propose interval = 0.05
mgr stats period = 1
# How long a killed client's images count as open.
osd client watch timeout = 15
osd objectstore = bluestore
bluestore block create = true
bluestore block size = 4294967296
osd memory target = 939524096
osd crush chooseleaf type = 0
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 8
osd pool default pg autoscale mode = off
mon allow pool size one = true
mon allow pool delete = true
`

// Start makes a cluster in dir, which is empty and for it alone, and returns when it takes data.
func Start(ctx context.Context, dir string) (_ *Cluster, err error) {
	c := &Cluster{Config: filepath.Join(dir, "ceph.conf"), dir: dir}
	defer func() {
		if err != nil {
			err = errors.Join(err, c.Stop())
		}
	}()
	for _, d := range []string{"mon", "mgr", "osd", "modules"} {
		if err := os.Mkdir(filepath.Join(dir, d), 0o700); err != nil {
			return nil, err
		}
	}
	fsid := uuid.NewString()
	if err := os.WriteFile(c.Config, []byte(strings.NewReplacer("FSID", fsid, "DIR", dir).Replace(configuration)), 0o600); err != nil {
		return nil, err
	}
	return c, errors.Join(c.startMonitor(ctx, fsid), c.startOthers(ctx, fsid))
}

func (c *Cluster) startMonitor(ctx context.Context, fsid string) error {
	keyring, monmap := filepath.Join(c.dir, "keyring"), filepath.Join(c.dir, "monmap")
	for _, command := range [][]string{
		{"ceph-authtool", "--create-keyring", keyring, "--gen-key", "-n", "mon.", "--cap", "mon", "allow *"},
		{"ceph-authtool", keyring, "--gen-key", "-n", "client.admin", "--cap", "mon", "allow *", "--cap", "osd", "allow *", "--cap", "mgr", "allow *"},
		{"ceph-authtool", keyring, "--gen-key", "-n", "mgr.a", "--cap", "mon", "allow profile mgr", "--cap", "osd", "allow *"},
		{"ceph-authtool", keyring, "--gen-key", "-n", "osd.0", "--cap", "mon", "allow profile osd", "--cap", "osd", "allow *"},
		{"monmaptool", "--create", "--fsid", fsid, "--addv", "a", "[v2:" + Monitor + "]", monmap},
		// The keyring becomes the cluster's: those users exist from the beginning.
		{"ceph-mon", "--mkfs", "-i", "a", "--monmap", monmap, "--keyring", keyring, "--conf", c.Config},
	} {
		if _, err := c.Run(ctx, command[0], command[1:]...); err != nil {
			return err
		}
	}
	return c.start("ceph-mon", "a")
}

func (c *Cluster) startOthers(ctx context.Context, fsid string) error {
	if len(c.daemons) == 0 {
		return nil
	}
	if err := c.start("ceph-mgr", "a"); err != nil {
		return err
	}
	if _, err := c.Run(ctx, "ceph", "--conf", c.Config, "--connect-timeout", "150", "osd", "new", fsid); err != nil {
		return err
	}
	if _, err := c.Run(ctx, "ceph-osd", "--conf", c.Config, "-i", "0", "--mkfs", "--osd-uuid", fsid); err != nil {
		return err
	}
	return c.start("ceph-osd", "0")
}

// start runs a daemon. Its log is the file NAME.out.
func (c *Cluster) start(name, id string) error {
	out, err := os.Create(filepath.Join(c.dir, name+".out"))
	if err != nil {
		return err
	}
	defer func() { _ = out.Close() }()
	cmd := exec.Command(name, "--conf", c.Config, "-i", id, "-f") //nolint:noctx // it lives until Stop
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Start(); err != nil {
		return err
	}
	c.daemons = append(c.daemons, cmd)
	return nil
}

// Stop ends the cluster. The directory is the caller's to remove.
func (c *Cluster) Stop() error {
	var err error
	for _, cmd := range c.daemons {
		err = errors.Join(err, cmd.Process.Kill())
		_ = cmd.Wait()
	}
	c.daemons = nil
	return err
}

// Run runs a program with the cluster's configuration, and returns what it printed.
func (c *Cluster) Run(ctx context.Context, name string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = append(os.Environ(), "CEPH_CONF="+c.Config)
	var out, problems bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &problems
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("%s: %w: %s", strings.Join(cmd.Args, " "), err, problems.String())
	}
	return out.String(), nil
}

// Pool makes a pool for images that holds that many bytes at most, and returns when the manager has counted it.
func (c *Cluster) Pool(ctx context.Context, bytes int64) (name string, err error) {
	name = "pool-" + uuid.NewString()[:8]
	for _, command := range [][]string{
		{"ceph", "osd", "pool", "create", name, "8"},
		{"ceph", "osd", "pool", "set-quota", name, "max_bytes", strconv.FormatInt(bytes, 10)},
		{"rbd", "pool", "init", name},
	} {
		if _, err := c.Run(ctx, command[0], command[1:]...); err != nil {
			return "", err
		}
	}
	for ctx.Err() == nil {
		out, err := c.Run(ctx, "ceph", "df", "--format", "json")
		if err != nil {
			return "", err
		}
		if _, counted, _ := strings.Cut(out, `"name":"`+name+`"`); strings.Contains(counted, `"max_avail":`) && !strings.Contains(counted, `"max_avail":0`) {
			return name, nil
		}
	}
	return "", ctx.Err()
}

// Namespace makes a namespace in the pool: it has images of its own.
func (c *Cluster) Namespace(ctx context.Context, pool string) (name string, err error) {
	name = uuid.NewString()[:8]
	_, err = c.Run(ctx, "rbd", "namespace", "create", pool+"/"+name)
	return name, err
}
