package compute

import (
	"context"
	"errors"
	"fmt"

	"github.com/kintoun/kintoun/compute/driver"
	"github.com/kintoun/kintoun/internal/record"
)

// defaultCommandLine boots a kernel and an initial RAM disk whose image says nothing of a command line.
const defaultCommandLine = "root=/dev/vda console=tty0 console=ttyS0"

// Reconcile makes one server on this host match what is wanted of it.
func (a *Agent) Reconcile(ctx context.Context, id string) error {
	v, err := a.service.servers.Get(a.service.store.Read(ctx), id)
	if err != nil && !errors.Is(err, ErrNotFound) {
		return err
	}
	switch {
	case err != nil || v.Host != a.host || v.VMState == Deleted:
		return a.remove(ctx, id)
	case v.TaskState == Deleting:
		return a.delete(ctx, v)
	case v.TaskState == Scheduling || v.TaskState == Networking:
		return nil // its creator is not ready
	case v.settled():
		return a.settled(ctx, v)
	}
	return a.attempt(ctx, v)
}

// remove clears a server that does not belong here. What this host never had to do with is another host's.
func (a *Agent) remove(ctx context.Context, id string) error {
	a.mu.Lock()
	known := a.seen[id] || a.unsure[id]
	a.mu.Unlock()
	if !known {
		return nil
	}
	if err := a.servers.Remove(ctx, id); err != nil {
		return err
	}
	a.forget(id)
	return nil
}

func (a *Agent) delete(ctx context.Context, v *Server) error {
	if err := a.servers.Remove(ctx, v.ID); err != nil {
		return err
	}
	for _, p := range v.Ports {
		if err := a.plugger.Unplug(ctx, p.ID); err != nil {
			return fmt.Errorf("port %s: %w", p.ID, err)
		}
	}
	for i := range v.Volumes {
		if err := a.disconnect(ctx, &v.Volumes[i]); err != nil {
			return fmt.Errorf("volume %s: %w", v.Volumes[i].VolumeID, err)
		}
	}
	a.forget(v.ID)
	return a.service.finishDelete(ctx, v.ID)
}

func (a *Agent) forget(id string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.unsure, id)
	delete(a.seen, id)
	delete(a.failures, id)
}

func (a *Agent) find(ctx context.Context, id string) (driver.Observed, bool, error) {
	list, err := a.servers.List(ctx)
	if err != nil {
		return driver.Observed{}, false, err
	}
	for _, o := range list {
		if o.ID == id {
			return o, true, nil
		}
	}
	return driver.Observed{}, false, nil
}

// settled looks after a server that no task is under way with: how it is, and what there is to do with its volumes.
func (a *Agent) settled(ctx context.Context, v *Server) error {
	at := v.nextVolume()
	if at != nil {
		a.doubt(v.ID) // a server that has just ended by itself is not started again by the way
	}
	if err := errors.Join(a.observe(ctx, v), a.endAbandonedVolumes(ctx, v)); err != nil || at == nil {
		return err
	}
	v, err := a.service.servers.Get(a.service.store.Read(ctx), v.ID)
	if err != nil || !v.settled() {
		return err // a task that has begun meanwhile is heard of
	}
	if at = v.nextVolume(); at == nil {
		return nil
	}
	return a.changeVolume(ctx, v, at)
}

// observe reports how a server is with which nothing is being done. Reality wins: one that ended by itself is
// stopped. Only when the agent has just started may one that should run be started again.
func (a *Agent) observe(ctx context.Context, v *Server) error {
	a.mu.Lock()
	unsure, first := a.unsure[v.ID], !a.seen[v.ID]
	delete(a.unsure, v.ID)
	a.mu.Unlock()
	if !unsure && !first {
		return nil
	}
	o, exists, err := a.find(ctx, v.ID)
	if err != nil {
		a.doubt(v.ID)
		return err
	}
	if v.Running && first && a.options.Resume && (!exists || o.State != driver.Running) {
		err = a.resume(ctx, v)
		o.State = driver.Running
	}
	if err == nil {
		err = a.service.observed(ctx, v, o, exists)
	}
	if err != nil {
		a.doubt(v.ID)
		return err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.seen[v.ID] = true
	return nil
}

func (a *Agent) resume(ctx context.Context, v *Server) error {
	if v.VMState != Active {
		return nil
	}
	want, err := a.want(ctx, v)
	if err != nil {
		return err
	}
	return a.servers.Apply(ctx, want)
}

// attempt does the task that the server is in, and reports its end.
func (a *Agent) attempt(ctx context.Context, v *Server) error {
	err := a.apply(ctx, v)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if errors.Is(err, context.Canceled) {
		return nil // interrupted: what is wanted now is looked at next
	}
	a.mu.Lock()
	if err != nil {
		a.failures[v.ID]++
	}
	failures := a.failures[v.ID]
	if err == nil || failures >= a.options.Attempts {
		delete(a.failures, v.ID)
	}
	a.seen[v.ID] = true
	a.mu.Unlock()
	switch {
	case err == nil:
		return a.service.done(ctx, v)
	case failures < a.options.Attempts:
		return err
	}
	a.options.Log.Error("giving up", "server", v.ID, "task", v.TaskState, "error", err)
	a.doubt(v.ID)
	return a.service.gaveUp(ctx, v, err)
}

// apply makes the host match the server as it is wanted, and can be interrupted.
func (a *Agent) apply(ctx context.Context, v *Server) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	a.mu.Lock()
	a.busy[v.ID] = &attempt{of: *v, cancel: cancel}
	a.mu.Unlock()
	defer func() {
		a.mu.Lock()
		defer a.mu.Unlock()
		delete(a.busy, v.ID)
	}()
	want, err := a.want(ctx, v)
	if err != nil {
		return err
	}
	if err := a.servers.Apply(ctx, want); err != nil {
		return err
	}
	return a.settleVolumes(ctx, v)
}

// want is the server as the driver needs to know it; its ports are plugged in, and its volumes connected.
func (a *Agent) want(ctx context.Context, v *Server) (driver.Server, error) {
	w := driver.Server{
		ID: v.ID, Name: v.InstanceName(), DisplayName: v.Name, VCPUs: v.Flavor.VCPUs, MemoryMiB: v.Flavor.MemoryMiB,
		Running: v.Running, Boots: v.Boots, Hard: v.Hard,
	}
	image := v.VolumeImage
	if !v.VolumeBacked() {
		image = v.Image
		w.Root = v.root()
	}
	for _, f := range []struct {
		image string
		path  *string
	}{{v.Image.ID, &w.Root.Base}, {image.KernelID, &w.Kernel}, {image.RamdiskID, &w.Initrd}} {
		if f.image == "" {
			continue
		}
		path, err := a.files.ImageFile(ctx, f.image)
		if err != nil {
			return w, fmt.Errorf("image %s: %w", f.image, err)
		}
		*f.path = path
	}
	if w.Kernel != "" {
		if w.CommandLine = image.CommandLine; w.CommandLine == "" {
			w.CommandLine = defaultCommandLine
		}
	}
	var err error
	if w.Volumes, err = a.volumesOf(ctx, v); err != nil || !v.Running {
		return w, err
	}
	for _, p := range v.Ports {
		nic, err := a.plugger.Plug(ctx, p.ID)
		if err != nil {
			return w, fmt.Errorf("port %s: %w", p.ID, err)
		}
		nic.PortID = p.ID
		w.NICs = append(w.NICs, nic)
	}
	return w, nil
}

// root is the server's own disk, but for the file that it is made from.
func (v *Server) root() driver.Disk {
	root := driver.Disk{Format: v.Image.Format, SizeGiB: v.Flavor.DiskGiB}
	if root.Format == "ami" {
		root.Format = "raw"
	}
	return root
}

// sameWish says whether the same is wanted of the host.
func (v *Server) sameWish(of *Server) bool {
	return v.TaskState.asked() == of.TaskState.asked() && v.Boots == of.Boots && v.Running == of.Running && v.Hard == of.Hard
}

// report changes a server as its agent saw it at was, unless something new has been asked since. The agent does not hear
// of it.
func (s *Service) report(ctx context.Context, was *Server, fn func(tx *record.Tx, v *Server) error) error {
	return s.saw(ctx, was, s.servers.Report, fn)
}

func (s *Service) saw(ctx context.Context, was *Server, save func(*record.Tx, *Server) error, fn func(tx *record.Tx, v *Server) error) error {
	err := s.store.Update(ctx, func(tx *record.Tx) error {
		v, err := s.servers.Get(tx, was.ID)
		if err != nil {
			return err
		}
		if !v.sameWish(was) || v.VMState != was.VMState {
			return errNothing
		}
		if err := fn(tx, v); err != nil {
			return err
		}
		v.UpdatedAt = s.now()
		return save(tx, v)
	})
	if errors.Is(err, errNothing) || errors.Is(err, ErrNotFound) {
		return nil
	}
	return err
}

// done ends a task that succeeded.
func (s *Service) done(ctx context.Context, was *Server) error {
	return s.report(ctx, was, func(tx *record.Tx, v *Server) error {
		v.settledVolumes(was)
		v.TaskState, v.Fault = "", nil
		v.VMState, v.PowerState = Stopped, PowerOff
		if v.Running {
			v.VMState, v.PowerState = Active, PowerRunning
		}
		if v.LaunchedAt == nil {
			t := s.now()
			v.LaunchedAt = &t
		}
		return s.finish(tx, v, nil)
	})
}

// gaveUp ends a task that failed. A server that could not be built, or rebooted, is in error; one that could not be
// started or stopped is as it was. The agent hears of it, and looks how the server is.
func (s *Service) gaveUp(ctx context.Context, was *Server, cause error) error {
	return s.saw(ctx, was, s.servers.Update, func(tx *record.Tx, v *Server) error {
		switch v.TaskState {
		case PoweringOn:
			v.Running = false
		case PoweringOff:
			v.Running = v.VMState == Active
		default:
			v.VMState = Errored
		}
		v.TaskState = ""
		v.fail(s.now(), 500, "%s", firstLine(cause))
		v.Fault.Details = cause.Error()
		return s.finish(tx, v, cause)
	})
}

// observed reports how a server is that nothing is being done with.
func (s *Service) observed(ctx context.Context, was *Server, o driver.Observed, exists bool) error {
	state := o.State
	if !exists {
		state = driver.Stopped
	}
	return s.report(ctx, was, func(_ *record.Tx, v *Server) error {
		before := *v
		v.power(state)
		switch {
		case state == driver.Running && v.VMState == Stopped:
			v.VMState, v.Running = Active, true
		case state != driver.Running && v.VMState == Active:
			v.VMState, v.Running = Stopped, false
		case !exists && v.VMState == Errored:
			v.PowerState = NoPowerState
		}
		if before.VMState == v.VMState && before.PowerState == v.PowerState {
			return errNothing
		}
		return nil
	})
}

// firstLine is the part of an error that users see.
func firstLine(err error) string {
	text := err.Error()
	for i, r := range text {
		if r == '\n' || i > 250 {
			return text[:i]
		}
	}
	return text
}
