package compute

import (
	"context"
	"errors"
	"maps"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/kintoun/kintoun/internal/fault"
	"github.com/kintoun/kintoun/internal/record"
)

// imageJob is an image to make of a server's own disk: work for the agent of the server's host. It goes on after a kill, and
// its record is deleted in the transaction that ends the server's task. The image's identifier is chosen before there is an image,
// so that none is ever left that no record knows of.
type imageJob struct {
	// ServerID is the server's, which thus has one job at a time.
	ServerID string
	// Host is the server's, whose agent does it.
	Host string
	// Action is the name of the server's action, RequestID its identifier.
	Action, RequestID string
	// ImageID is the image, Made that it exists: until then its creator is not ready.
	ImageID string
	Made    bool `json:",omitempty"`
	// BackupType and Rotation are those of a backup.
	BackupType string `json:",omitempty"`
	Rotation   int    `json:",omitempty"`
	ProjectID  string
	StartedAt  time.Time
	Revision   int64
}

const imageJobsKind = "image_jobs"

var imageJobSpec = record.Spec[imageJob]{
	Key:      func(j *imageJob) string { return j.ServerID },
	Revision: func(j *imageJob) *int64 { return &j.Revision },
	Host:     "host",
	Columns: []record.Column[imageJob]{
		{Name: "host", Value: func(j *imageJob) any { return j.Host }},
	},
}

// copyDisk has an image made of a server's own disk.
func (s *Service) copyDisk(ctx context.Context, scope Scope, v *Server, spec ImageSpec, job imageJob) (imageID string, err error) {
	maker, ok := s.images.(ImageMaker)
	if !ok {
		return "", fault.Wrap(ErrUnsupported, "The image of a server with a disk of its own is not implemented here.")
	}
	base, err := s.images.Image(ctx, Scope{ProjectID: v.ProjectID, Admin: true}, v.Image.ID)
	if errors.Is(err, ErrNotFound) {
		base, err = v.Image, nil // its server outlives it
	}
	if err != nil {
		return "", err
	}
	more := spec.Properties
	spec = v.describeCopy(&base, spec.Name)
	if job.Action == actionCreateBackup {
		spec.Own["image_type"], spec.Own["backup_type"] = "backup", job.BackupType
	}
	spec.Properties = more
	job.ImageID = spec.ID
	if err := s.beginImage(ctx, scope, v.ID, job, more); err != nil {
		return "", err
	}
	err = maker.CreateImage(ctx, scope, spec)
	if err == nil {
		err = s.store.Update(ctx, func(tx *record.Tx) error {
			now, err := s.currentImage(tx, v.ID, spec.ID)
			if err != nil {
				return err
			}
			now.Made = true
			return s.imageJobs.Update(tx, now)
		})
	}
	if err == nil {
		return spec.ID, nil
	}
	ctx = context.WithoutCancel(ctx)
	if gone := s.endImage(ctx, v.ID, spec.ID, err); gone != nil {
		err = errors.Join(err, gone)
	}
	if errors.Is(err, errUnwanted) {
		return "", fault.Wrap(ErrNotFound, "Instance %s could not be found.", v.ID)
	}
	return "", err
}

// describeCopy is the image of the server's disk: what the disk was made from says what else is true of it, as in Nova.
func (v *Server) describeCopy(base *Image, name string) ImageSpec {
	spec := ImageSpec{
		ID: uuid.NewString(), Name: name, Format: "qcow2", MinRAMMiB: base.MinRAMMiB, MinDiskGiB: max(base.MinDiskGiB, v.Flavor.DiskGiB),
		Own: map[string]string{},
	}
	if v.Image.Format == "ami" {
		spec.Format = v.Image.Format
	}
	for name, value := range base.Properties {
		if !strings.HasPrefix(name, "img_signature") && name != "backup_type" {
			spec.Own[name] = value
		}
	}
	maps.Copy(spec.Own, v.imageProperties(base))
	spec.Own["base_image_ref"] = v.Image.ID
	spec.Own["image_location"], spec.Own["image_state"] = "snapshot", "available"
	return spec
}

// beginImage checks whether a server can be copied now, and writes down that it is to be.
func (s *Service) beginImage(ctx context.Context, scope Scope, serverID string, job imageJob, properties map[string]string) error {
	_, err := s.modify(ctx, scope, serverID, func(tx *record.Tx, v *Server) (err error) {
		if err := v.mayChange(scope); err != nil {
			return err
		}
		if err := v.require(job.Action, []VMState{Active, Stopped}); err != nil {
			return err
		}
		if err := s.requireHost(tx, v); err != nil {
			return err
		}
		if err := s.checkMetadata(tx, v.ProjectID, properties); err != nil {
			return err
		}
		event := "compute_snapshot_instance"
		v.TaskState = ImageSnapshotPending
		if job.Action == actionCreateBackup {
			event, v.TaskState = "compute_backup_instance", ImageBackup
		}
		job.ServerID, job.Host, job.ProjectID, job.StartedAt = v.ID, v.Host, v.ProjectID, s.now()
		if job.RequestID, err = s.open(tx, scope, v, job.Action, event); err != nil {
			return err
		}
		return s.imageJobs.Insert(tx, &job)
	})
	if errors.Is(err, record.ErrDuplicate) {
		return fault.Wrap(ErrConflict, "Cannot '%s' instance %s while another image of it is being made", job.Action, serverID)
	}
	return err
}

// errUnwanted ends a job whose server or image has gone, or that is not recorded any more.
var errUnwanted = errors.New("the image is not wanted any more")

// currentImage is the job as it is recorded, if it is still the one that makes the image.
func (s *Service) currentImage(tx *record.Tx, serverID, imageID string) (*imageJob, error) {
	j, err := s.imageJobs.Get(tx, serverID)
	if errors.Is(err, ErrNotFound) || err == nil && j.ImageID != imageID {
		return nil, errUnwanted
	}
	return j, err
}

// endImage ends a job: with a cause the image goes too, unless it is whole. One that has ended already is no error.
func (s *Service) endImage(ctx context.Context, serverID, imageID string, cause error) error {
	if cause != nil {
		if err := s.discardImage(ctx, imageID); err != nil {
			return err
		}
	}
	err := s.store.Update(ctx, func(tx *record.Tx) error {
		j, err := s.currentImage(tx, serverID, imageID)
		if err != nil {
			return err
		}
		if err := s.imageJobs.Delete(tx, serverID); err != nil {
			return err
		}
		v, err := s.servers.Get(tx, serverID)
		if err != nil {
			return err
		}
		if err := s.closeImage(tx, v, j, cause); err != nil {
			return err
		}
		if !v.TaskState.imaging() {
			return nil
		}
		v.TaskState, v.UpdatedAt = "", s.now()
		if cause != nil && !errors.Is(cause, errUnwanted) {
			v.fail(s.now(), 500, "%s", firstLine(cause))
			v.Fault.Details = cause.Error()
		}
		return s.servers.Update(tx, v)
	})
	if errors.Is(err, errUnwanted) || errors.Is(err, ErrNotFound) {
		return nil
	}
	return err
}

// closeImage ends the action of a job, if that has not happened.
func (s *Service) closeImage(tx *record.Tx, v *Server, j *imageJob, cause error) error {
	a, err := s.actions.Get(tx, v.ID+"/"+j.RequestID)
	if errors.Is(err, ErrNotFound) || err == nil && a.Event.FinishedAt != nil {
		return nil
	}
	if err != nil {
		return err
	}
	return s.close(tx, a, v.Host, cause)
}

// discardImage deletes an image that has not become whole.
func (s *Service) discardImage(ctx context.Context, imageID string) error {
	image, err := s.images.Image(ctx, Scope{Admin: true}, imageID)
	if errors.Is(err, ErrNotFound) || err == nil && image.Status == imageActive {
		return nil
	}
	maker, ok := s.images.(ImageMaker)
	if err != nil || !ok {
		return err
	}
	return maker.DeleteImage(ctx, imageID)
}

// imageActive is the status of an image that is whole.
const imageActive = "active"

// dropImage ends the job of a server that is deleted.
func (s *Service) dropImage(ctx context.Context, serverID string) error {
	j, err := s.imageJobs.Get(s.store.Read(ctx), serverID)
	if errors.Is(err, ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	return s.endImage(ctx, serverID, j.ImageID, errors.New("the server was deleted"))
}
