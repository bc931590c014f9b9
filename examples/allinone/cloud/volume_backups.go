package cloud

import (
	"context"
	"io"

	"github.com/kintoun/kintoun/objectstore"
	"github.com/kintoun/kintoun/volume"
)

// volumeBackups keeps backups as objects of the project that the volume belongs to, where its users see them.
type volumeBackups struct{ objects *objectstore.Service }

var _ volume.BackupStore = volumeBackups{}

func backupPath(projectID, container, object string) (objectstore.Caller, objectstore.Path) {
	return objectstore.Caller{Account: projectID, Admin: true}, objectstore.Path{Account: projectID, Container: container, Object: object}
}

func (b volumeBackups) Put(ctx context.Context, projectID, container, object string, r io.Reader) error {
	caller, path := backupPath(projectID, container, object)
	if _, _, err := b.objects.CreateContainer(ctx, caller, objectstore.Path{Account: path.Account, Container: container}, nil); err != nil {
		return err
	}
	_, err := b.objects.Put(ctx, caller, path, objectstore.PutSpec{Size: -1}, r)
	return err
}

func (b volumeBackups) Open(ctx context.Context, projectID, container, object string) (io.ReadCloser, error) {
	caller, path := backupPath(projectID, container, object)
	r, err := b.objects.Open(ctx, caller, path, objectstore.OpenSpec{})
	if err != nil {
		return nil, err
	}
	return r.Range(ctx, 0, -1)
}

func (b volumeBackups) Delete(ctx context.Context, projectID, container, object string) error {
	caller, path := backupPath(projectID, container, object)
	_, err := b.objects.Delete(ctx, caller, path, objectstore.DeleteSpec{})
	return gone(err)
}
