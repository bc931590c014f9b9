//go:build linux

package qemu

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/kintoun/kintoun/compute/driver"
	"github.com/kintoun/kintoun/compute/qemu/qmp"
	"github.com/kintoun/kintoun/internal/fault"
)

const (
	// plugDeadline bounds a whole change of a running server's volumes, but for the waits for its guest; unplugPatience is how
	// long a guest may keep a disk that it is to let go of, unplugAgain when it is asked again.
	plugDeadline   = time.Minute
	unplugPatience = 20 * time.Second
	unplugAgain    = 2 * time.Second
	// lookAgain is how often it is looked whether a block node is out of use, lookPause apart.
	lookAgain = 100
	lookPause = 20 * time.Millisecond
)

// hotPlug is a conversation with a running QEMU about its disks. What there is it asks every time: whatever a killed
// predecessor has begun is seen.
type hotPlug struct {
	d      *Driver
	client *qmp.Client
	server string
	// devices are the volumes that the guest has, by identifier; nodes are the sizes of the block nodes, by name; ports are the
	// free ones.
	devices map[string]bool
	nodes   map[string]int64
	ports   []string
}

// execute runs a command and decodes what it returns.
func execute[T any](ctx context.Context, client *qmp.Client, command string, arguments map[string]any) (T, error) {
	var answer struct{ Return T }
	data, err := json.Marshal(map[string]any{"execute": command, "arguments": arguments})
	if err == nil && arguments == nil {
		data, err = json.Marshal(map[string]any{"execute": command})
	}
	if err != nil {
		return answer.Return, err
	}
	reply, err := client.RunContext(ctx, data)
	if err != nil {
		return answer.Return, fmt.Errorf("%s: %w", command, err)
	}
	return answer.Return, json.Unmarshal(reply, &answer)
}

func (h *hotPlug) do(ctx context.Context, command string, arguments map[string]any) error {
	_, err := execute[json.RawMessage](ctx, h.client, command, arguments)
	return err
}

// talk opens a conversation.
func (d *Driver) talk(ctx context.Context, id string, fn func(*hotPlug) error) error {
	dialing, cancel := context.WithTimeout(ctx, controlDeadline)
	defer cancel()
	client, err := qmp.Dial(dialing, d.qmpPath(id))
	if err != nil {
		return err
	}
	h := &hotPlug{d: d, client: client, server: id}
	err = h.look(ctx)
	if err == nil {
		err = fn(h)
	}
	return errors.Join(err, client.Disconnect())
}

// look asks QEMU what it has.
func (h *hotPlug) look(ctx context.Context) error {
	h.devices, h.nodes, h.ports = map[string]bool{}, map[string]int64{}, nil
	peripherals, err := h.list(ctx, "/machine/peripheral")
	if err != nil {
		return err
	}
	for _, name := range peripherals {
		if id, ok := strings.CutPrefix(name, volumePrefix); ok {
			h.devices[id] = true
		}
	}
	nodes, err := execute[[]blockNode](ctx, h.client, "query-named-block-nodes", map[string]any{"flat": true})
	if err != nil {
		return err
	}
	for _, n := range nodes {
		h.nodes[n.Name] = n.Image.Size
	}
	buses, err := execute[[]struct {
		Devices []struct {
			ID     string `json:"qdev_id"`
			Bridge *struct {
				Devices []json.RawMessage
			} `json:"pci_bridge"`
		}
	}](ctx, h.client, "query-pci", nil)
	if err != nil {
		return err
	}
	for _, bus := range buses {
		for _, device := range bus.Devices {
			if strings.HasPrefix(device.ID, portPrefix) && device.Bridge != nil && len(device.Bridge.Devices) == 0 {
				h.ports = append(h.ports, device.ID)
			}
		}
	}
	return nil
}

// list names what is below a place in QEMU's tree of objects.
func (h *hotPlug) list(ctx context.Context, path string) ([]string, error) {
	found, err := execute[[]struct{ Name string }](ctx, h.client, "qom-list", map[string]any{"path": path})
	var names []string
	for _, one := range found {
		names = append(names, one.Name)
	}
	return names, err
}

// changeVolumes gives a running server the volumes that it has not got, takes those that it is not to have, and tells it of those
// that have grown.
func (d *Driver) changeVolumes(ctx context.Context, want driver.Server) error {
	return d.talk(ctx, want.ID, func(h *hotPlug) error {
		if err := h.takeAway(ctx, want.Volumes); err != nil {
			return err
		}
		ctx, cancel := context.WithTimeout(ctx, plugDeadline)
		defer cancel()
		for _, v := range want.Volumes {
			var err error
			if h.devices[v.ID] {
				err = h.grow(ctx, v)
			} else {
				err = h.plug(ctx, v)
			}
			if err != nil {
				return fmt.Errorf("volume %s: %w", v.ID, err)
			}
		}
		return nil
	})
}

// takeAway takes the volumes that the server is not to have. A node stays in use for a moment after its device has gone, and
// what a killed predecessor asked for last may still happen: then it looks again.
func (h *hotPlug) takeAway(ctx context.Context, wanted []driver.Volume) error {
	for try := 1; ; try++ {
		var failures []error
		for id := range h.devices {
			if !slices.ContainsFunc(wanted, func(v driver.Volume) bool { return v.ID == id }) {
				failures = append(failures, h.unplug(ctx, id))
			}
		}
		if err := errors.Join(failures...); err != nil {
			return err
		}
		err := h.clear(ctx)
		var said *qmp.Error
		if err == nil || !errors.As(err, &said) || try == lookAgain {
			return err
		}
		if err := errors.Join(pause(ctx, lookPause), h.look(ctx)); err != nil {
			return err
		}
	}
}

// unplug asks the guest to let go of a disk, and waits until it has.
func (h *hotPlug) unplug(ctx context.Context, id string) error {
	ctx, cancel := context.WithTimeoutCause(ctx, unplugPatience, fault.Wrap(ErrUnavailable, "the guest does not let go of volume %s", id))
	defer cancel()
	events, err := h.client.Events(ctx)
	if err != nil {
		return err
	}
	device := volumeDevice(id)
	for ctx.Err() == nil {
		// A guest that is being asked already is asked again: it may not have been listening.
		var said *qmp.Error
		if err := h.do(ctx, "device_del", map[string]any{"id": device}); err != nil && !errors.As(err, &said) && ctx.Err() == nil {
			return err
		}
		if awaitDeleted(ctx, events, device) {
			break
		}
		left, err := h.list(ctx, "/machine/peripheral")
		if err == nil && !slices.Contains(left, device) {
			break
		}
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	delete(h.devices, id)
	return nil
}

func awaitDeleted(ctx context.Context, events <-chan qmp.Event, device string) bool {
	again := time.NewTimer(unplugAgain)
	defer again.Stop()
	for {
		select {
		case e, ok := <-events:
			if !ok {
				return false
			}
			if e.Event == "DEVICE_DELETED" && e.Data["device"] == device {
				return true
			}
		case <-again.C:
			return false
		case <-ctx.Done():
			return false
		}
	}
}

// clear removes what is left of volumes that the guest has not got: block nodes, objects and open files.
func (h *hotPlug) clear(ctx context.Context) error {
	kept := map[string]bool{}
	for id := range h.devices {
		kept[volumeKey(id)] = true
	}
	left := func(name, prefix string) bool {
		key, ok := strings.CutPrefix(name, prefix)
		return ok && len(key) == 28 && !kept[key]
	}
	for name := range h.nodes {
		if left(name, "v-") {
			if err := h.do(ctx, "blockdev-del", map[string]any{"node-name": name}); err != nil {
				return err
			}
		}
	}
	objects, err := h.list(ctx, "/objects")
	if err != nil {
		return err
	}
	for _, name := range objects {
		if left(name, "t-") || left(name, "s-") || left(name, "k-") || left(name, "c-") {
			if err := h.do(ctx, "object-del", map[string]any{"id": name}); err != nil {
				return err
			}
		}
	}
	sets, err := fileSets(ctx, h.client)
	if err != nil {
		return err
	}
	for _, set := range sets {
		lost := set.belongsTo(func(opaque string) bool {
			id, ok := strings.CutPrefix(opaque, volumePrefix)
			return ok && !h.devices[id]
		})
		if lost {
			if err := h.do(ctx, "remove-fd", map[string]any{"fdset-id": set.ID}); err != nil {
				return err
			}
		}
	}
	return nil
}

// fileSet is a set of open files as QEMU tells of it.
type fileSet struct {
	ID  int `json:"fdset-id"`
	FDs []struct{ Opaque string }
}

func fileSets(ctx context.Context, client *qmp.Client) ([]fileSet, error) {
	return execute[[]fileSet](ctx, client, "query-fdsets", nil)
}

func (s *fileSet) belongsTo(owner func(opaque string) bool) bool {
	return slices.ContainsFunc(s.FDs, func(fd struct{ Opaque string }) bool { return owner(fd.Opaque) })
}

// plug gives the guest a disk.
func (h *hotPlug) plug(ctx context.Context, v driver.Volume) error {
	if len(h.ports) == 0 {
		return fault.Wrap(ErrUnavailable, "the server has no port left for another disk until it is started anew")
	}
	b, credentials, err := h.d.openVolume(h.server, v, true, func(file *os.File, node bool) (string, error) {
		defer func() { _ = file.Close() }()
		fd, set, err := giveFile(ctx, h.client, file, volumeDevice(v.ID))
		if node {
			return devFDSet(set), err
		}
		return devFD(fd), err
	})
	for _, command := range h.plugCommands(b) {
		if err == nil {
			err = h.do(ctx, command.name, command.arguments)
		}
	}
	if credentials != "" {
		err = errors.Join(err, os.RemoveAll(credentials))
	}
	if err == nil {
		h.devices[v.ID], h.ports = true, h.ports[1:]
		return nil
	}
	undoing, cancel := context.WithTimeout(context.WithoutCancel(ctx), controlDeadline)
	defer cancel()
	if undo := h.look(undoing); undo != nil {
		return errors.Join(err, undo)
	}
	return errors.Join(err, h.clear(undoing))
}

type command struct {
	name      string
	arguments map[string]any
}

func (h *hotPlug) plugCommands(b *backend) []command {
	if b == nil {
		return nil
	}
	var all []command
	for _, o := range b.objects {
		all = append(all, command{"object-add", o})
	}
	return append(all, command{"blockdev-add", b.node()}, command{"device_add", volumeOptions(b.volume, h.ports[0])})
}

// giveFile hands QEMU an open file.
func giveFile(ctx context.Context, client *qmp.Client, file *os.File, opaque string) (fd, set int, err error) {
	data, err := json.Marshal(map[string]any{"execute": "add-fd", "arguments": map[string]any{"opaque": opaque}})
	if err != nil {
		return 0, 0, err
	}
	reply, err := client.RunWithFile(ctx, data, file)
	if err != nil {
		return 0, 0, fmt.Errorf("add-fd: %w", err)
	}
	var answer struct {
		Return struct {
			FD  int
			Set int `json:"fdset-id"`
		}
	}
	err = json.Unmarshal(reply, &answer)
	return answer.Return.FD, answer.Return.Set, err
}

// grow tells the guest that a disk has become larger. A server of block devices tells a new size only to those who connect:
// one that has ended the connection is connected to again by reading something.
func (h *hotPlug) grow(ctx context.Context, v driver.Volume) error {
	if h.nodes[volumeNode(v.ID)] >= v.Bytes {
		return nil
	}
	if v.NBD != nil {
		line := fmt.Sprintf("qemu-io %s \"read 0 512\"", volumeNode(v.ID))
		if err := h.do(ctx, "human-monitor-command", map[string]any{"command-line": line}); err != nil {
			return err
		}
	}
	return h.do(ctx, "block_resize", map[string]any{"node-name": volumeNode(v.ID), "size": v.Bytes})
}

// Disks says which volumes a running server has, and how large its guest sees them.
func (d *Driver) Disks(ctx context.Context, id string) ([]driver.ObservedVolume, error) {
	if err := validID(id); err != nil {
		return nil, err
	}
	lock := d.lock(id)
	lock.Lock()
	defer lock.Unlock()
	rec, err := d.load(id)
	if errors.Is(err, os.ErrNotExist) {
		return nil, fault.Wrap(ErrNotFound, "qemu: server %s", id)
	}
	if err != nil {
		return nil, fmt.Errorf("qemu: server %s: %w", id, err)
	}
	if proc, err := d.find(ctx, id, rec); err != nil || proc == nil {
		return nil, errors.Join(err, fault.Wrap(ErrNotFound, "qemu: server %s does not run", id))
	}
	var disks []driver.ObservedVolume
	err = d.talk(ctx, id, func(h *hotPlug) error {
		for volume := range h.devices {
			disks = append(disks, driver.ObservedVolume{ID: volume, Bytes: h.nodes[volumeNode(volume)]})
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("qemu: server %s: %w", id, err)
	}
	slices.SortFunc(disks, func(a, b driver.ObservedVolume) int { return strings.Compare(a.ID, b.ID) })
	return disks, nil
}
