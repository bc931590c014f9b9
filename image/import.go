package image

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/google/uuid"
	"github.com/kintoun/kintoun/internal/fault"
	"github.com/kintoun/kintoun/internal/record"
)

// Method is a way to import.
type Method string

// The methods, by the names that the Image API has for them.
const (
	// GlanceDirect makes what was staged the content.
	GlanceDirect Method = "glance-direct"
	// WebDownload downloads the content.
	WebDownload Method = "web-download"
	// CopyImage copies the content to further stores.
	CopyImage Method = "copy-image"
)

// Downloader fetches contents from elsewhere. Package webdownload has one.
type Downloader interface {
	// Check says whether the address may be downloaded from, as far as it tells by itself: an [ErrInvalid] if not.
	Check(address string) error
	// Open begins a download. The size is -1 where it is not known.
	Open(ctx context.Context, address string) (content io.ReadCloser, size int64, err error)
}

// ImportSpec says what to import.
type ImportSpec struct {
	Method Method
	// Address is where WebDownload downloads from.
	Address string
	// Expected are checksums that the content from there must have.
	Expected Expected
	// Stores are the stores to import to; empty is the default one. AllStores are all of them.
	Stores    []string
	AllStores bool
	// Partial takes an import for done if some of the stores have the content.
	Partial bool
	// UserID and RequestID say who asked, for people who read the task.
	UserID, RequestID string
}

// ImportMethods are the ways to import that the service offers.
func (s *Service) ImportMethods() []Method {
	methods := []Method{GlanceDirect}
	if s.options.Web != nil {
		methods = append(methods, WebDownload)
	}
	if len(s.stores) > 1 {
		methods = append(methods, CopyImage)
	}
	return methods
}

// Import has [Service.Run] bring a content to stores: one that was staged, one to download, or that of an active image to
// further stores. Meanwhile the image is Importing, or stays Active where it is copied. An import that fails leaves it
// queued without content, and says why in its [Task].
func (s *Service) Import(ctx context.Context, scope Scope, id string, spec ImportSpec) (*Task, error) {
	if !slices.Contains(s.ImportMethods(), spec.Method) {
		return nil, fault.Wrap(ErrInvalid, "Import method '%.40s' is not offered; those that are: %v", spec.Method, s.ImportMethods())
	}
	if spec.Method == WebDownload {
		if err := errors.Join(s.options.Web.Check(spec.Address), spec.Expected.check()); err != nil {
			return nil, err
		}
	}
	targets, err := s.targets(spec)
	if err != nil {
		return nil, err
	}
	t := &Task{ID: uuid.NewString(), ImageID: id, ProjectID: scope.ProjectID, Import: spec, Status: TaskPending, Host: s.options.Host, CreatedAt: s.now()}
	t.UpdatedAt = t.CreatedAt
	err = s.records.Update(ctx, func(tx *record.Tx) error {
		img, err := s.changeable(tx, scope, id)
		if err != nil {
			return err
		}
		stores, err := s.importable(tx, img, spec, targets)
		if err != nil {
			return err
		}
		img.Import = &Import{TaskID: t.ID, Stores: stores, Host: s.options.Host, Refs: map[string]string{}}
		for _, store := range stores {
			img.Import.Refs[store] = uuid.NewString()
		}
		if spec.Method != CopyImage {
			img.Status = Importing
		}
		img.UpdatedAt = s.now()
		return errors.Join(s.images.Update(tx, img), s.forget(tx), s.tasks.Insert(tx, t))
	})
	if err != nil {
		return nil, err
	}
	poke(s.wake)
	return t, nil
}

// targets are the stores that an import is to.
func (s *Service) targets(spec ImportSpec) ([]string, error) {
	if spec.AllStores {
		if len(spec.Stores) > 0 {
			return nil, fault.Wrap(ErrInvalid, "all_stores parameter can't be used with x-image-meta-store header or stores parameter")
		}
		return slices.Sorted(maps.Keys(s.stores)), nil
	}
	if len(spec.Stores) == 0 {
		return []string{s.options.StoreName}, nil
	}
	for _, name := range spec.Stores {
		if s.stores[name] == nil {
			return nil, fault.Wrap(ErrConflict, "there is no store %.80q", name)
		}
	}
	return slices.Compact(slices.Sorted(slices.Values(spec.Stores))), nil
}

// importable says whether the image's state lets it be imported so, and which stores are to get the content.
func (s *Service) importable(tx *record.Tx, img *Image, spec ImportSpec, targets []string) ([]string, error) {
	if img.Import != nil && len(img.Import.Refs) > 0 {
		return nil, fault.Wrap(ErrConflict, "image %s is being imported or copied already", img.ID)
	}
	switch spec.Method {
	case GlanceDirect:
		if img.Status != Uploading || img.Staged == nil {
			return nil, fault.Wrap(ErrConflict, "image %s is %s: %s needs one that is staged", img.ID, img.Status, spec.Method)
		}
		return targets, s.fits(tx, img.ProjectID, img.Staged.Size)
	case WebDownload:
		if img.Status != Queued {
			return nil, fault.Wrap(ErrConflict, "image %s is %s: %s needs one that is queued", img.ID, img.Status, spec.Method)
		}
		if err := complete(img); err != nil {
			return nil, err
		}
		_, err := s.room(tx, img.ProjectID, false)
		return targets, err
	}
	if img.Status != Active {
		return nil, fault.Wrap(ErrConflict, "image %s is %s: only active images are copied", img.ID, img.Status)
	}
	have := img.Data.Stores()
	if !spec.AllStores && slices.ContainsFunc(targets, func(name string) bool { return slices.Contains(have, name) }) {
		return nil, fault.Wrap(ErrConflict, "Image is already present at store(s) %s", strings.Join(have, ","))
	}
	targets = slices.DeleteFunc(targets, func(name string) bool { return slices.Contains(have, name) })
	if len(targets) == 0 {
		return nil, fault.Wrap(ErrConflict, "image %s is in all stores already", img.ID)
	}
	return targets, nil
}

// endImport notes that an import has ended without the stores that failed. What fails altogether is queued again.
func (i *Image) endImport(failed []string) {
	i.Import.Stores, i.Import.Failed, i.Import.Host, i.Import.Refs = nil, failed, "", nil
	if i.Data == nil {
		i.Status, i.Staged = Queued, nil
	}
}

// work does a task.
func (s *Service) work(ctx context.Context, t *Task) {
	img, err := s.startTask(ctx, t)
	if err != nil {
		s.options.Log.Error("an import cannot begin", "task", t.ID, "image", t.ImageID, "error", err)
		return
	}
	var made *Data
	var failed map[string]error
	if img == nil {
		err = fault.Wrap(ErrNotFound, "the image was deleted")
	} else {
		made, failed, err = s.bring(ctx, t, img)
	}
	if ctx.Err() != nil {
		return // the next start ends it
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), finishing)
	defer cancel()
	if err := s.finishTask(ctx, t, made, failed, err); err != nil {
		s.options.Log.Error("the end of an import cannot be recorded", "task", t.ID, "image", t.ImageID, "error", err)
	}
}

// startTask returns the image that the task is for; nil if it was deleted.
func (s *Service) startTask(ctx context.Context, t *Task) (img *Image, err error) {
	err = s.records.Update(ctx, func(tx *record.Tx) error {
		if _, err := s.tasks.Modify(tx, t.ID, func(t *Task) error {
			t.Status, t.UpdatedAt = TaskProcessing, s.now()
			return nil
		}); err != nil {
			return err
		}
		img, err = s.importing(tx, t)
		return err
	})
	return img, err
}

// importing is the image if it still waits for the task; else nil.
func (s *Service) importing(tx *record.Tx, t *Task) (*Image, error) {
	img, err := s.images.Get(tx, t.ImageID)
	if errors.Is(err, ErrNotFound) {
		return nil, nil
	}
	if err != nil || img.Import == nil || img.Import.TaskID != t.ID {
		return nil, err
	}
	return img, nil
}

// bring puts the content in all of the stores that it is to be in, and says where it is then: nil if nowhere.
func (s *Service) bring(ctx context.Context, t *Task, img *Image) (made *Data, failed map[string]error, err error) {
	failed = map[string]error{}
	stores := slices.Clone(img.Import.Stores)
	var from *Data
	switch t.Import.Method {
	case CopyImage:
		from = img.Data
	case GlanceDirect:
		from = img.Staged
		if slices.Contains(stores, from.Store) {
			kept := *from
			made = &kept
			stores = slices.DeleteFunc(stores, func(name string) bool { return name == from.Store })
		}
	case WebDownload:
		first, err := s.download(ctx, t, img, place{stores[0], img.Import.Refs[stores[0]]})
		if err != nil {
			return nil, failed, err
		}
		from, made, stores = first, first, stores[1:]
	}
	for _, store := range stores {
		at := place{store, img.Import.Refs[store]}
		if err := s.copyTo(ctx, from, at); err != nil {
			failed[store] = err
		} else {
			made = made.with(from, at)
		}
		if err := s.progress(ctx, t, store, failed); err != nil {
			return made, failed, err
		}
	}
	return made, failed, nil
}

// with is a content that is in one place more.
func (d *Data) with(from *Data, at place) *Data {
	if d == nil {
		made := *from
		made.Store, made.Ref, made.Copies = at.store, at.ref, nil
		return &made
	}
	made := *d
	made.Copies = maps.Clone(d.Copies)
	if made.Copies == nil {
		made.Copies = map[string]string{}
	}
	made.Copies[at.store] = at.ref
	return &made
}

func (s *Service) download(ctx context.Context, t *Task, img *Image, to place) (*Data, error) {
	content, size, err := s.options.Web.Open(ctx, t.Import.Address)
	if err != nil {
		return nil, err
	}
	defer func() { _ = content.Close() }()
	left, err := s.downloadRoom(ctx, img)
	if err != nil {
		return nil, err
	}
	if size > left {
		return nil, s.tooLarge(left)
	}
	data, err := s.receive(ctx, img, to, content, size, left)
	if err != nil {
		return nil, err
	}
	if err := t.Import.Expected.of(&data); err != nil {
		s.discard(ctx, []place{to})
		return nil, err
	}
	return &data, nil
}

func (s *Service) downloadRoom(ctx context.Context, img *Image) (int64, error) {
	left := s.options.MaxSize
	if most := s.options.Quota.Bytes; most > 0 {
		used, err := s.images.Sum(s.records.Read(ctx), string(BySize), record.Eq(string(ByOwner), img.ProjectID))
		if err != nil {
			return 0, err
		}
		left = min(left, most-used)
	}
	return left, nil
}

// copyTo copies a content to one place more, and holds it against what is known of it.
func (s *Service) copyTo(ctx context.Context, from *Data, to place) error {
	err := fault.Wrap(fault.ErrUnavailable, "no store is left that has it")
	for _, at := range s.places(from) {
		f, openErr := s.stores[at.store].Open(ctx, at.ref)
		if openErr != nil {
			err = openErr
			continue
		}
		content, err := s.stores[to.store].Put(ctx, to.ref, f)
		_ = f.Close() // it was only read
		if isFull(err) {
			return errFull
		}
		if err != nil {
			return err
		}
		if content.SHA512 != from.HashValue {
			s.discard(ctx, []place{to})
			return fmt.Errorf("the content in store %s is damaged", at.store)
		}
		return nil
	}
	return err
}

// progress records that a store has been dealt with.
func (s *Service) progress(ctx context.Context, t *Task, store string, failed map[string]error) error {
	return s.records.Update(ctx, func(tx *record.Tx) error {
		img, err := s.importing(tx, t)
		if err != nil || img == nil {
			return err
		}
		img.Import.Stores = slices.DeleteFunc(img.Import.Stores, func(name string) bool { return name == store })
		img.Import.Failed = slices.Sorted(maps.Keys(failed))
		return s.images.Update(tx, img)
	})
}

// finishTask records what came of a task, and removes what is not needed.
func (s *Service) finishTask(ctx context.Context, t *Task, made *Data, failed map[string]error, cause error) error {
	message := explain(failed, cause)
	if message != "" && !t.Import.Partial {
		cause = errors.New(message)
	}
	var unused []place
	err := s.records.Update(ctx, func(tx *record.Tx) error {
		unused = nil
		text := message
		img, err := s.importing(tx, t)
		if err != nil {
			return err
		}
		good := made != nil && cause == nil && img != nil
		if good && img.Data == nil {
			if err := s.fits(tx, img.ProjectID, made.Size); err != nil {
				good, text = false, err.Error()
			}
		}
		var lost []*Data
		if img != nil {
			lost = append(lost, img.Staged)
			if unused, err = s.settle(tx, img, made, good, slices.Sorted(maps.Keys(failed))); err != nil {
				return err
			}
		}
		if !good {
			lost = append(lost, made)
		}
		more, err := s.unused(tx, lost...)
		if err != nil {
			return err
		}
		unused = append(unused, more...)
		if good {
			text = ""
		}
		return s.end(tx, t.ID, text)
	})
	if err == nil {
		s.discard(ctx, unused)
	}
	return err
}

// settle gives an image what was imported for it, or ends what failed. It returns the places that are not needed then.
func (s *Service) settle(tx *record.Tx, img *Image, made *Data, good bool, failed []string) (surplus []place, err error) {
	if !good {
		if len(failed) == 0 {
			failed = img.Import.Stores
		}
	} else {
		all := *made
		if img.Data != nil { // copied: what the image has stays
			all = *img.Data
			for store, ref := range made.refs() {
				all = *all.with(made, place{store, ref})
			}
		}
		if surplus, err = s.share(tx, &all); err != nil {
			return nil, err
		}
		img.Data, img.Staged = &all, nil
		if img.Status == Importing {
			img.Status = Active
		}
	}
	img.endImport(failed)
	img.UpdatedAt = s.now()
	return surplus, s.images.Update(tx, img)
}

// explain says what failed, in words for whoever asked.
func explain(failed map[string]error, cause error) string {
	var said []string
	if cause != nil {
		said = append(said, cause.Error())
	}
	for _, store := range slices.Sorted(maps.Keys(failed)) {
		said = append(said, fmt.Sprintf("store %s: %s", store, failed[store]))
	}
	return strings.Join(said, "; ")
}
