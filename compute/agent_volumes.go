package compute

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/kintoun/kintoun/compute/driver"
	"github.com/kintoun/kintoun/internal/fault"
	"github.com/kintoun/kintoun/internal/record"
)

// volumeAttempts is how often a volume's attachment or detachment is tried: a guest that is busy booting lets go of a disk late.
const volumeAttempts = 8

// volumesOf are the server's volumes as the driver needs to know them, connected to this host. What is being detached is not
// among them; a server that does not run needs none, but one that it is to get is tried.
func (a *Agent) volumesOf(ctx context.Context, v *Server) ([]driver.Volume, error) {
	var list []driver.Volume
	slices.SortStableFunc(v.Volumes, func(a, b AttachedVolume) int { return strings.Compare(a.Device, b.Device) })
	for i := range v.Volumes {
		at := &v.Volumes[i]
		if at.State == VolumeReserving || at.State == VolumeDetaching || !v.Running && at.State != VolumeAttaching {
			continue
		}
		volume, err := a.connect(ctx, v, at)
		if err != nil {
			return nil, fmt.Errorf("volume %s: %w", at.VolumeID, err)
		}
		volume.ID, volume.Boot = at.VolumeID, at.Root
		if v.Running {
			list = append(list, volume)
		}
	}
	return list, nil
}

func (a *Agent) connect(ctx context.Context, v *Server, at *AttachedVolume) (driver.Volume, error) {
	if a.options.Connector == nil || a.service.volumes == nil {
		return driver.Volume{}, fault.Wrap(ErrUnavailable, "host %s attaches no volumes", a.host)
	}
	if at.AttachmentID == "" {
		if err := a.reserve(ctx, v, at); err != nil {
			return driver.Volume{}, err
		}
	}
	return a.options.Connector.Connect(ctx, at.AttachmentID, a.host)
}

// reserve waits for a volume that is made for the server, and has it promised. What was promised before a kill is found.
func (a *Agent) reserve(ctx context.Context, v *Server, at *AttachedVolume) error {
	volumes, scope := a.service.volumes, Scope{ProjectID: v.ProjectID, UserID: v.UserID}
	promised, err := volumes.Attachments(ctx, v.ID)
	if err != nil {
		return err
	}
	if at.AttachmentID = promised[at.VolumeID]; at.AttachmentID == "" {
		made, err := volumes.AwaitVolume(ctx, scope, at.VolumeID)
		if err != nil {
			return err
		}
		if made.Status != "available" {
			return fault.Wrap(ErrUnavailable, "Volume %s did not finish being created. And its status is %s. %s", at.VolumeID, made.Status, made.Reason)
		}
		if at.AttachmentID, err = volumes.ReserveVolume(ctx, scope, at.VolumeID, v.ID); err != nil {
			return err
		}
	}
	err = a.service.changeVolume(ctx, v.ID, *at, a.service.servers.Report, func(_ *record.Tx, _ *Server, now *AttachedVolume) error {
		now.AttachmentID = at.AttachmentID
		return nil
	})
	if errors.Is(err, errNothing) {
		return context.Canceled // it is not wanted any more
	}
	return err
}

// settleVolumes tells the volume service what the host has done with the server's volumes.
func (a *Agent) settleVolumes(ctx context.Context, v *Server) error {
	for i := range v.Volumes {
		at := &v.Volumes[i]
		var err error
		switch at.State {
		case VolumeAttaching:
			err = a.options.Connector.Connected(ctx, at.AttachmentID, at.Device)
		case VolumeDetaching:
			err = a.disconnect(ctx, at)
		}
		if err != nil {
			return fmt.Errorf("volume %s: %w", at.VolumeID, err)
		}
	}
	return nil
}

func (a *Agent) disconnect(ctx context.Context, at *AttachedVolume) error {
	if at.AttachmentID == "" || a.options.Connector == nil {
		return nil
	}
	return a.options.Connector.Disconnect(ctx, at.AttachmentID)
}

// settledVolumes is what becomes of volumes whose agent has done what there was to do, as it saw them.
func (v *Server) settledVolumes(was *Server) {
	for _, seen := range was.Volumes {
		now := v.volume(seen.VolumeID)
		if now == nil || now.ID != seen.ID || now.State != seen.State || now.SizeGiB != seen.SizeGiB {
			continue
		}
		switch now.State {
		case VolumeAttaching, VolumeExtending:
			now.State = VolumeAttached
		case VolumeDetaching:
			v.dropVolume(now.ID)
		}
	}
}

// only is the server as if that volume were the only one to do anything with.
func (v *Server) only(id string) *Server {
	one := *v
	one.Volumes = nil
	for _, at := range v.Volumes {
		switch {
		case at.ID == id:
		case at.State == VolumeAttaching:
			continue
		case at.State == VolumeDetaching || at.State == VolumeExtending:
			at.State = VolumeAttached
		}
		one.Volumes = append(one.Volumes, at)
	}
	return &one
}

// changeVolume does what there is to do with one volume of a server that nothing else is being done with.
func (a *Agent) changeVolume(ctx context.Context, v *Server, at *AttachedVolume) error {
	was := *at
	err := a.apply(ctx, v.only(at.ID))
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
	if err == nil || failures >= volumeAttempts {
		delete(a.failures, v.ID)
	}
	a.mu.Unlock()
	switch {
	case err == nil:
		return a.service.volumeDone(ctx, v.ID, was)
	case failures < volumeAttempts:
		return err
	}
	a.options.Log.Error("giving up", "server", v.ID, "volume", at.VolumeID, "state", at.State, "error", err)
	return a.service.volumeGaveUp(ctx, v.ID, was, err)
}

// volumeDone ends what was to do with a server's volume. The agent hears of it: there may be more to do.
func (s *Service) volumeDone(ctx context.Context, serverID string, was AttachedVolume) error {
	err := s.changeVolume(ctx, serverID, was, s.servers.Update, func(tx *record.Tx, v *Server, _ *AttachedVolume) error {
		v.settledVolumes(&Server{Volumes: []AttachedVolume{was}})
		return s.finish(tx, v, nil)
	})
	if errors.Is(err, errNothing) || errors.Is(err, ErrNotFound) {
		return nil
	}
	return err
}

// volumeGaveUp ends what could not be done: a volume that the server has stays attached, one that it has not got is let go.
func (s *Service) volumeGaveUp(ctx context.Context, serverID string, was AttachedVolume, cause error) error {
	if was.State == VolumeAttaching {
		if err := s.dropPromise(ctx, serverID, was.VolumeID); err != nil {
			return err
		}
	}
	err := s.changeVolume(ctx, serverID, was, s.servers.Update, func(tx *record.Tx, v *Server, at *AttachedVolume) error {
		if was.State == VolumeAttaching {
			v.dropVolume(at.ID)
		} else {
			at.State, at.Since = VolumeAttached, s.now()
		}
		return s.finish(tx, v, cause)
	})
	if errors.Is(err, errNothing) || errors.Is(err, ErrNotFound) {
		return nil
	}
	return err
}

// endAbandonedVolumes lets go of volumes whose attachment was cut short before it reached the agent.
func (a *Agent) endAbandonedVolumes(ctx context.Context, v *Server) error {
	var failures []error
	for _, at := range v.Volumes {
		if at.State != VolumeReserving || a.service.now().Sub(at.Since) < abandonedAfter || a.service.volumes == nil {
			continue
		}
		err := a.service.dropPromise(ctx, v.ID, at.VolumeID)
		if err == nil {
			err = a.service.giveUpVolume(ctx, v.ID, at, errors.New("the attachment was cut short"))
		}
		failures = append(failures, err)
	}
	return errors.Join(failures...)
}
