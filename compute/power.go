package compute

import (
	"context"
	"fmt"
	"slices"

	"github.com/kintoun/kintoun/internal/fault"
	"github.com/kintoun/kintoun/internal/record"
)

// mayChange refuses what a lock forbids.
func (v *Server) mayChange(scope Scope) error {
	if v.Locked && !scope.Admin {
		return fault.Wrap(ErrConflict, "Instance %s is locked", v.ID)
	}
	return nil
}

// require refuses an action in any but the given states.
func (v *Server) require(action string, states []VMState, tasks ...TaskState) error {
	switch {
	case !slices.Contains(states, v.VMState):
		return fault.Wrap(ErrConflict, "Cannot '%s' instance %s while it is in vm_state %s", action, v.ID, v.VMState)
	case v.TaskState != "" && !slices.Contains(tasks, v.TaskState):
		return fault.Wrap(ErrConflict, "Cannot '%s' instance %s while it is in task_state %s", action, v.ID, v.TaskState)
	case v.Host == "" || v.LaunchedAt == nil:
		return fault.Wrap(ErrConflict, "Cannot '%s' instance %s while it was never launched", action, v.ID)
	}
	return nil
}

// change starts a task: it checks, records the action and lets fn say what is wanted of the host.
func (s *Service) change(ctx context.Context, scope Scope, id, action string, fn func(v *Server) error) error {
	_, err := s.modify(ctx, scope, id, func(tx *record.Tx, v *Server) error {
		if err := v.mayChange(scope); err != nil {
			return err
		}
		if err := fn(v); err != nil {
			return err
		}
		return s.begin(tx, scope, v, action, "compute_"+action+"_instance")
	})
	return err
}

// Start boots a stopped server.
func (s *Service) Start(ctx context.Context, scope Scope, id string) error {
	return s.change(ctx, scope, id, "start", func(v *Server) error {
		if err := v.require("start", []VMState{Stopped}); err != nil {
			return err
		}
		v.TaskState, v.Running, v.Hard = PoweringOn, true, false
		v.Boots++
		return nil
	})
}

// Stop shuts a server down: its system is asked to first.
func (s *Service) Stop(ctx context.Context, scope Scope, id string) error {
	return s.change(ctx, scope, id, "stop", func(v *Server) error {
		if err := v.require("stop", []VMState{Active, Errored}); err != nil {
			return err
		}
		v.TaskState, v.Running, v.Hard = PoweringOff, false, false
		return nil
	})
}

// Reboot restarts a server, softly by asking its system, or hard.
func (s *Service) Reboot(ctx context.Context, scope Scope, id string, hard bool) error {
	return s.change(ctx, scope, id, "reboot", func(v *Server) error {
		states, tasks := []VMState{Active}, []TaskState(nil)
		if hard {
			states, tasks = []VMState{Active, Stopped, Errored}, []TaskState{Rebooting, RebootingHard}
		}
		if err := v.require("reboot", states, tasks...); err != nil {
			return err
		}
		v.TaskState, v.Running, v.Hard = Rebooting, true, hard
		if hard {
			v.TaskState = RebootingHard
		}
		v.Boots++
		return nil
	})
}

// Lock keeps everybody but admins from changing a server; reason may be nil.
func (s *Service) Lock(ctx context.Context, scope Scope, id string, reason *string) error {
	_, err := s.modify(ctx, scope, id, func(tx *record.Tx, v *Server) error {
		v.LockedByAdmin = !v.Locked && scope.UserID != v.UserID || v.LockedByAdmin
		v.Locked, v.LockedReason = true, reason
		return s.instant(tx, scope, v, "lock")
	})
	return err
}

// Unlock ends a lock. One that an admin made is ended by admins only.
func (s *Service) Unlock(ctx context.Context, scope Scope, id string) error {
	_, err := s.modify(ctx, scope, id, func(tx *record.Tx, v *Server) error {
		if v.LockedByAdmin && !scope.Admin {
			return fault.Wrap(ErrForbidden, "Policy doesn't allow os_compute_api:os-lock-server:unlock:unlock_override to be performed.")
		}
		v.Locked, v.LockedByAdmin, v.LockedReason = false, false, nil
		return s.instant(tx, scope, v, "unlock")
	})
	return err
}

// instant records an action that no host takes part in.
func (s *Service) instant(tx *record.Tx, scope Scope, v *Server, name string) error {
	if !v.settled() {
		return nil // the open action is another's
	}
	if err := s.begin(tx, scope, v, name, "api_"+name); err != nil {
		return err
	}
	return s.finish(tx, v, nil)
}

// ResetState lets an admin say what state a server is in: active or in error. Its host is not asked.
func (s *Service) ResetState(ctx context.Context, scope Scope, id string, active bool) error {
	if !scope.Admin {
		return fault.Wrap(ErrForbidden, "Policy doesn't allow os_compute_api:os-admin-actions:reset_state to be performed.")
	}
	_, err := s.modify(ctx, scope, id, func(tx *record.Tx, v *Server) error {
		if v.TaskState == Deleting {
			return fault.Wrap(ErrConflict, "Cannot 'resetState' instance %s while it is in task_state %s", id, v.TaskState)
		}
		v.TaskState, v.VMState = "", Errored
		if active {
			v.VMState = Active
		}
		return s.finish(tx, v, nil)
	})
	return err
}

// Delete ends a server and gives up its disk, the ports that were made for it, and the volumes that go with it, in whatever state it is. Where
// its host is down the server is forgotten at once, and its host clears up when it is back.
func (s *Service) Delete(ctx context.Context, scope Scope, id string) error {
	local := false
	v, err := s.modify(ctx, scope, id, func(tx *record.Tx, v *Server) error {
		if err := v.mayChange(scope); err != nil {
			return err
		}
		h, err := s.hosts.Get(tx, v.Host)
		local = err != nil || !s.Up(h)
		if v.TaskState == Deleting {
			return nil
		}
		v.TaskState, v.Running, v.Hard = Deleting, false, true
		if err := s.finish(tx, v, fmt.Errorf("the server was deleted")); err != nil {
			return err
		}
		return s.begin(tx, scope, v, "delete", "compute_terminate_instance")
	})
	if err != nil || !local {
		return err
	}
	return s.finishDelete(ctx, v.ID)
}

// finishDelete gives up what the server had, once its host has nothing of it any more.
func (s *Service) finishDelete(ctx context.Context, id string) error {
	v, err := s.servers.Get(s.store.Read(ctx), id)
	if err != nil {
		return err
	}
	if err := s.dropPorts(ctx, v); err != nil {
		return fmt.Errorf("ports of server %s: %w", id, err)
	}
	if err := s.dropVolumes(ctx, v, false); err != nil {
		return fmt.Errorf("volumes of server %s: %w", id, err)
	}
	if err := s.dropImage(ctx, id); err != nil {
		return fmt.Errorf("image of server %s: %w", id, err)
	}
	return s.store.Update(ctx, func(tx *record.Tx) error {
		v, err := s.servers.Get(tx, id)
		if err != nil || v.VMState == Deleted {
			return err
		}
		if v.Host != "" {
			if err := s.claim(tx, v.Host, v.footprint(), -1); err != nil {
				return err
			}
		}
		if err := s.finish(tx, v, nil); err != nil {
			return err
		}
		t := s.now()
		v.VMState, v.TaskState, v.PowerState = Deleted, "", NoPowerState
		v.UpdatedAt, v.TerminatedAt = t, &t
		v.UserData, v.AdminPassword, v.Password = "", "", ""
		return s.servers.Update(tx, v)
	})
}
