//go:build linux

package rbdvolume

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"strings"

	"github.com/kintoun/kintoun/internal/process"
	"github.com/kintoun/kintoun/volume/driver"
)

// unconnected returns the index, and ErrBusy if the volume has connections.
func (d *Driver) unconnected(ctx context.Context, volumeID string) (*index, error) {
	x, err := d.index(ctx)
	if err != nil {
		return nil, fmt.Errorf("rbdvolume: %w", err)
	}
	if list := x.connections[volumeID]; len(list) > 0 {
		return nil, fmt.Errorf("rbdvolume: volume %s has connection %s: %w", volumeID, list[0].ID, driver.ErrBusy)
	}
	return x, nil
}

// Connect tells the connection's host where the image is, and what to authenticate with.
func (d *Driver) Connect(ctx context.Context, want driver.Connection) (driver.Target, error) {
	if err := errors.Join(ctx.Err(), want.Check()); err != nil {
		return driver.Target{}, fmt.Errorf("rbdvolume: %w", err)
	}
	target, err := d.connect(ctx, want)
	if err != nil {
		return driver.Target{}, fmt.Errorf("rbdvolume: connection %s of volume %s: %w", want.ID, want.VolumeID, err)
	}
	return target, nil
}

func (d *Driver) connect(ctx context.Context, want driver.Connection) (target driver.Target, err error) {
	i, err := d.info(ctx, volumePrefix+want.VolumeID)
	if err != nil {
		return target, err
	}
	x, err := d.index(ctx)
	if err != nil {
		return target, err
	}
	var before driver.Connection
	for _, other := range x.connections[want.VolumeID] {
		if other.ID == want.ID {
			before = other
		} else if !want.Beside(other) {
			return target, fmt.Errorf("it has connection %s: %w", other.ID, driver.ErrBusy)
		}
	}
	rbd, err := d.reach(ctx, i.Name)
	if err != nil {
		return target, err
	}
	if before != want {
		if before.ID != "" {
			err = d.removeKey(ctx, connectionKey(before))
		}
		if err := errors.Join(err, d.setKey(ctx, connectionKey(want))); err != nil {
			return target, err
		}
	}
	target = driver.Target{RBD: rbd, Format: "raw", Bytes: i.Bytes - x.luks[i.ID], ReadOnly: want.ReadOnly}
	if x.luks[i.ID] > 0 {
		target.Format = "luks"
	}
	return target, nil
}

// Disconnect ends a connection.
func (d *Driver) Disconnect(ctx context.Context, volumeID, connectionID string) error {
	if err := errors.Join(ctx.Err(), driver.CheckID(volumeID), driver.CheckID(connectionID)); err != nil {
		return fmt.Errorf("rbdvolume: connection %w", err)
	}
	x, err := d.index(ctx)
	if err != nil {
		return fmt.Errorf("rbdvolume: %w", err)
	}
	for _, c := range x.connections[volumeID] {
		if c.ID == connectionID {
			err = errors.Join(err, d.removeKey(ctx, connectionKey(c)))
		}
	}
	if err != nil {
		return fmt.Errorf("rbdvolume: connection %s of volume %s: %w", connectionID, volumeID, err)
	}
	return nil
}

// reach is how any host opens an image.
func (d *Driver) reach(ctx context.Context, image string) (*driver.RBD, error) {
	monitors := d.o.Monitors
	if len(monitors) == 0 {
		hosts, err := d.setting(ctx, "mon_host")
		if err != nil {
			return nil, err
		}
		if monitors = parseMonitors(hosts); len(monitors) == 0 {
			return nil, errors.New("the cluster's configuration has no \"mon host\": name the monitors in Options.Monitors")
		}
	}
	rbd := &driver.RBD{Monitors: monitors, Pool: d.pool, Namespace: d.o.Namespace, Image: image}
	required, err := d.setting(ctx, "auth_client_required")
	if err != nil || !strings.Contains(required, "cephx") {
		return rbd, err
	}
	rbd.User = d.o.ConnectUser
	rbd.Key, err = d.key(ctx, rbd.User)
	return rbd, err
}

// setting is what the cluster's configuration says to clients, or Ceph's default.
func (d *Driver) setting(ctx context.Context, name string) (string, error) {
	out, err := d.run(ctx, commandPatience, "ceph-conf", "--show-config-value", name)
	return strings.TrimSpace(string(out)), err
}

// parseMonitors reads "mon host": addresses or names, with versions of the protocol and numbers or without, by commas, spaces or
// semicolons: "[v2:10.0.0.1:3300/0,v1:10.0.0.1:6789/0],10.0.0.2".
func parseMonitors(hosts string) (all []string) {
	split := func(r rune) bool { return strings.ContainsRune(", ;\t", r) }
	for _, one := range strings.FieldsFunc(hosts, split) {
		open, close := strings.HasPrefix(one, "[v"), strings.HasSuffix(one, "]")
		if open {
			one = one[1:]
		}
		port := ""
		for version, p := range map[string]string{"v1:": "6789", "v2:": "3300"} {
			if rest, ok := strings.CutPrefix(one, version); ok {
				one, port = rest, p
			}
		}
		// A bracket at the end is an IPv6 address's, or a list's.
		if close && strings.Count(one, "]") > strings.Count(one, "[") {
			one = strings.TrimSuffix(one, "]")
		}
		one, _, _ = strings.Cut(one, "/")
		host, given, err := net.SplitHostPort(one)
		switch {
		case err == nil:
			all = append(all, net.JoinHostPort(host, given))
		case port != "":
			all = append(all, net.JoinHostPort(strings.Trim(one, "[]"), port))
		case one != "":
			host = strings.Trim(one, "[]")
			all = append(all, net.JoinHostPort(host, "3300"), net.JoinHostPort(host, "6789"))
		}
	}
	return all
}

// key is a user's secret, out of the first keyring that has it.
func (d *Driver) key(ctx context.Context, user string) (string, error) {
	path, err := process.Program("ceph-conf", "volumes in Ceph", "ceph-common")
	if err != nil {
		return "", err
	}
	args := append(d.identity(), "--name", "client."+user, "--show-config-value", "keyring")
	out, err := command(ctx, exec.CommandContext(ctx, path, args...))
	if err != nil {
		return "", err
	}
	for file := range strings.SplitSeq(strings.TrimSpace(string(out)), ",") {
		data, err := os.ReadFile(strings.TrimSpace(file))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return "", err
		}
		if key := parseKeyring(string(data), "client."+user); key != "" {
			return key, nil
		}
	}
	return "", fmt.Errorf("no keyring has a key of client.%s: %w", user, fs.ErrNotExist)
}

// parseKeyring finds an entity's key in a keyring, an INI file (ceph-authtool(8)).
func parseKeyring(keyring, entity string) string {
	section := ""
	for line := range strings.Lines(keyring) {
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "[") && strings.HasSuffix(line, "]") {
			section = line[1 : len(line)-1]
		}
		if name, value, ok := strings.Cut(line, "="); ok && section == entity && strings.TrimSpace(name) == "key" {
			return strings.TrimSpace(value)
		}
	}
	return ""
}
