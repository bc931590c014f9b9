package compute

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/kintoun/kintoun/compute/driver"
	"github.com/kintoun/kintoun/internal/converge"
	"github.com/kintoun/kintoun/internal/fault"
	"github.com/kintoun/kintoun/internal/record"
)

const (
	// imageWorkers is how many images an agent makes at once: each reads and writes a disk.
	imageWorkers = 2
	// imageGlance is how often it is looked whether an image that is being made has been deleted.
	imageGlance = time.Second
)

// imageRunner makes the images of a host's servers.
type imageRunner struct {
	agent *Agent
	loop  *converge.Loop

	mu       sync.Mutex
	failures map[string]int
	// busy ends what is being done for a server.
	busy map[string]context.CancelFunc
}

func newImageRunner(a *Agent) *imageRunner {
	r := &imageRunner{agent: a, failures: map[string]int{}, busy: map[string]context.CancelFunc{}}
	r.loop = converge.New(r, &converge.Options{Workers: imageWorkers, Resync: a.options.Resync, OnError: func(id string, err error, failures int) {
		a.options.Log.Warn("image not made", "server", id, "host", a.host, "error", err, "failures", failures)
	}})
	return r
}

// List names the servers of the host whose images are to be made.
func (r *imageRunner) List(ctx context.Context) ([]string, error) {
	s := r.agent.service
	return s.imageJobs.Texts(s.store.Read(ctx), "id", record.Eq("host", r.agent.host))
}

// Reconcile makes an image, or goes on with it. One that fails too often is given up.
func (r *imageRunner) Reconcile(ctx context.Context, serverID string) error {
	s := r.agent.service
	j, err := s.imageJobs.Get(s.store.Read(ctx), serverID)
	if errors.Is(err, ErrNotFound) || err == nil && j.Host != r.agent.host {
		r.forget(serverID)
		return nil
	}
	if err != nil {
		return err
	}
	if !j.Made && s.now().Sub(j.StartedAt) < abandonedAfter {
		return nil // its creator is not ready
	}
	cause := fault.Wrap(ErrUnavailable, "the creation of the image was cut short")
	if j.Made {
		cause = r.attempt(ctx, j)
	}
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.Is(cause, errUnwanted):
	case cause != nil && !hopeless(cause) && r.failed(serverID) < r.agent.options.Attempts:
		return cause
	}
	switch log := r.agent.options.Log; {
	case errors.Is(cause, errUnwanted):
		log.Info("an image is not made any more", "server", serverID, "image", j.ImageID, "reason", cause)
	case cause != nil:
		log.Error("giving up an image", "server", serverID, "image", j.ImageID, "error", cause)
	}
	if imager, ok := r.agent.servers.(driver.Imager); ok {
		if err := imager.Discard(ctx, serverID); err != nil {
			return err
		}
	}
	if err := s.endImage(ctx, serverID, j.ImageID, cause); err != nil {
		return err
	}
	r.forget(serverID)
	return nil
}

// hopeless says of a failure that it will be the same the next time.
func hopeless(err error) bool {
	for _, kind := range []error{ErrQuota, ErrForbidden, ErrInvalid, ErrUnsupported, fault.ErrTooLarge} {
		if errors.Is(err, kind) {
			return true
		}
	}
	return false
}

func (r *imageRunner) failed(serverID string) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.failures[serverID]++
	return r.failures[serverID]
}

func (r *imageRunner) forget(serverID string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.failures, serverID)
}

// interrupt ends the making of an image whose server is being deleted.
func (r *imageRunner) interrupt(ctx context.Context, serverID string) {
	r.mu.Lock()
	cancel := r.busy[serverID]
	r.mu.Unlock()
	if cancel == nil {
		return
	}
	s := r.agent.service
	v, err := s.servers.Get(s.store.Read(ctx), serverID)
	if err != nil || !v.TaskState.imaging() {
		cancel()
	}
}

// attempt makes an image until it is not wanted any more.
func (r *imageRunner) attempt(ctx context.Context, j *imageJob) error {
	making, cancel := context.WithCancel(ctx)
	r.mu.Lock()
	r.busy[j.ServerID] = cancel
	r.mu.Unlock()
	var watching sync.WaitGroup
	defer func() {
		cancel()
		watching.Wait()
		r.mu.Lock()
		defer r.mu.Unlock()
		delete(r.busy, j.ServerID)
	}()
	watching.Go(func() { r.watch(making, j, cancel) })
	err := r.do(making, j)
	if err == nil || ctx.Err() != nil {
		return err
	}
	if _, gone := r.wanted(ctx, j); gone != nil {
		return gone
	}
	return err
}

// watch looks from time to time whether an image is still there, and ends its making when it is not.
func (r *imageRunner) watch(ctx context.Context, j *imageJob, cancel func()) {
	ticker := time.NewTicker(imageGlance)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		if _, err := r.wanted(ctx, j); errors.Is(err, errUnwanted) {
			cancel()
			return
		}
	}
}

// wanted says whether an image is still to be made, or is whole.
func (r *imageRunner) wanted(ctx context.Context, j *imageJob) (whole bool, err error) {
	s := r.agent.service
	image, err := s.images.Image(ctx, Scope{Admin: true}, j.ImageID)
	if errors.Is(err, ErrNotFound) {
		return false, fmt.Errorf("image %s was deleted while it was made: %w", j.ImageID, errUnwanted)
	}
	if err != nil || image.Status == imageActive {
		return err == nil, err
	}
	v, err := s.servers.Get(s.store.Read(ctx), j.ServerID)
	if errors.Is(err, ErrNotFound) || err == nil && !v.TaskState.imaging() {
		return false, fmt.Errorf("image %s is of a server that is not to be copied any more: %w", j.ImageID, errUnwanted)
	}
	return false, err
}

func (r *imageRunner) do(ctx context.Context, j *imageJob) error {
	whole, err := r.wanted(ctx, j)
	if err != nil {
		return err
	}
	if !whole {
		if err := r.upload(ctx, j); err != nil {
			return err
		}
	}
	return r.rotate(ctx, j)
}

// upload copies the server's disk into its image.
func (r *imageRunner) upload(ctx context.Context, j *imageJob) error {
	a := r.agent
	imager, ok := a.servers.(driver.Imager)
	maker, makes := a.service.images.(ImageMaker)
	if !ok || !makes {
		return fault.Wrap(ErrUnsupported, "The image of a server with a disk of its own is not implemented on host %s.", a.host)
	}
	v, err := a.service.imageTask(ctx, j, ImageSnapshot)
	if err != nil {
		return err
	}
	root, format := v.root(), "qcow2"
	if v.Image.Format == "ami" {
		format = "raw"
	}
	if root.Base, err = a.files.ImageFile(ctx, v.Image.ID); err != nil && !errors.Is(err, ErrNotFound) {
		return fmt.Errorf("image %s: %w", v.Image.ID, err)
	}
	copied, err := imager.Capture(ctx, v.ID, root, format)
	if err != nil {
		return err
	}
	if _, err = a.service.imageTask(ctx, j, ImageUploading); err == nil {
		err = maker.UploadImage(ctx, j.ImageID, copied, copied.Bytes)
	}
	return errors.Join(err, copied.Close())
}

// imageTask says how far the making of an image is.
func (s *Service) imageTask(ctx context.Context, j *imageJob, task TaskState) (v *Server, err error) {
	err = s.store.Update(ctx, func(tx *record.Tx) error {
		if v, err = s.servers.Get(tx, j.ServerID); err != nil {
			return err
		}
		switch {
		case !v.TaskState.imaging():
			return errUnwanted
		case v.TaskState == task || v.TaskState == ImageBackup && task == ImageSnapshot:
			return nil
		}
		v.TaskState, v.UpdatedAt = task, s.now()
		return s.servers.Report(tx, v)
	})
	return v, err
}

// rotate deletes the backups that are too old once another is whole. One that cannot be deleted stays.
func (r *imageRunner) rotate(ctx context.Context, j *imageJob) error {
	maker, ok := r.agent.service.images.(ImageMaker)
	if j.Action != actionCreateBackup || !ok {
		return nil
	}
	backups, err := maker.FindImages(ctx, j.ProjectID, map[string]string{
		"image_type": "backup", "backup_type": j.BackupType, "instance_uuid": j.ServerID,
	})
	if err != nil {
		return err
	}
	for _, id := range backups[min(j.Rotation, len(backups)):] {
		if err := maker.DeleteImage(ctx, id); err != nil {
			r.agent.options.Log.Warn("an old backup stays", "server", j.ServerID, "image", id, "error", err)
		}
	}
	return nil
}
