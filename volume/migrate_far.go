package volume

import (
	"context"
	"errors"
	"io/fs"

	"github.com/kintoun/kintoun/internal/fault"
	"github.com/kintoun/kintoun/internal/record"
	"github.com/kintoun/kintoun/volume/driver"
	"github.com/kintoun/kintoun/volume/internal/luks"
)

// migrationStep is who has a migration in hand whose pools' agents are in two processes. The agent that has done its part
// passes the job on to the other.
type migrationStep string

const (
	// stepCopy is for the agent of the pool that the volume leaves: it copies.
	stepCopy migrationStep = ""
	// stepLand, stepArrive and stepClear are for the agent of the pool that it goes to: to make the copy and let the other's host
	// reach it; to end that when the copy is whole, which is the volume then; to take away the copy of a migration that failed.
	stepLand   migrationStep = "land"
	stepArrive migrationStep = "arrive"
	stepClear  migrationStep = "clear"
)

// pass gives the job to another pool's agent.
func (s *Service) pass(ctx context.Context, j *job, host string, next migrationStep, reached *driver.Target) error {
	return s.store.Update(ctx, func(tx *record.Tx) error {
		if _, err := s.current(tx, j); err != nil {
			return err
		}
		_, err := s.jobs.Modify(tx, j.ID, func(now *job) error {
			now.Host, now.Step, now.Reached = host, next, reached
			return nil
		})
		return err
	})
}

// connection is how the host that the volume leaves uses the copy.
func (j *job) connection(from string) driver.Connection {
	return driver.Connection{ID: j.ID, VolumeID: j.NewID, Host: hostOf(from)}
}

// land makes the copy, empty, and connects it to the host that the volume leaves.
func (a *Agent) land(ctx context.Context, j *job) error {
	s := a.service
	v, err := s.volumes.Get(s.store.Read(ctx), j.VolumeID)
	if err != nil {
		return err
	}
	keyID, err := a.copyKey(ctx, j, v)
	if err != nil {
		return err
	}
	target, err := a.connectCopy(ctx, j, v, keyID)
	if err != nil {
		return err
	}
	if target.Path == "" && target.NBD == nil && target.RBD == nil {
		return fault.Wrap(ErrUnsupported, "pool %s cannot be reached from the one of volume %s", a.host, v.ID)
	}
	return s.pass(ctx, j, v.Host, stepCopy, &target)
}

func (a *Agent) connectCopy(ctx context.Context, j *job, v *Volume, keyID string) (driver.Target, error) {
	defer a.turn(j.NewID)()
	if err := a.applyCopy(ctx, j, v, keyID); err != nil {
		return driver.Target{}, err
	}
	return a.volumes.Connect(ctx, j.connection(v.Host))
}

// copyFar copies the volume to where the other agent has made room for it.
func (a *Agent) copyFar(ctx context.Context, j *job, v *Volume, keyID string) error {
	if j.Reached == nil {
		return a.service.pass(ctx, j, j.Target, stepLand, nil)
	}
	to, err := a.reach(ctx, *j.Reached, keyID)
	if err != nil {
		return err
	}
	err = a.copyTo(ctx, j, v, to, holesStay(v, keyID))
	if err := errors.Join(err, to.Close()); err != nil {
		return err
	}
	return a.service.pass(ctx, j, j.Target, stepArrive, j.Reached)
}

// reach opens what a guest would see of a volume of another process's pool.
func (a *Agent) reach(ctx context.Context, target driver.Target, keyID string) (driver.Device, error) {
	device, err := a.options.Reach(ctx, target)
	if err != nil || keyID == "" {
		return device, err
	}
	passphrase, err := a.service.passphrase(ctx, keyID)
	if err != nil {
		return nil, errors.Join(err, device.Close())
	}
	inside, err := luks.NewDevice(device, passphrase)
	if err != nil {
		return nil, err // it has closed the device
	}
	return inside, nil
}

// arrive ends the connection by which the volume came, and makes the copy the volume.
func (a *Agent) arrive(ctx context.Context, j *job) error {
	if err := a.disconnectCopy(ctx, j); err != nil {
		return err
	}
	s := a.service
	return s.store.Update(ctx, func(tx *record.Tx) error { return s.moved(tx, j) })
}

func (a *Agent) disconnectCopy(ctx context.Context, j *job) error {
	defer a.turn(j.NewID)()
	if err := a.volumes.Disconnect(ctx, j.NewID, j.ID); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// clearAway takes away what there is of the copy of a migration that failed, and ends that. It is tried until it is done.
func (a *Agent) clearAway(ctx context.Context, j *job) error {
	if err := a.disconnectCopy(ctx, j); err != nil {
		return err
	}
	if err := a.dropVolume(ctx, j.NewID); err != nil {
		return err
	}
	return a.service.endFailed(ctx, j)
}
