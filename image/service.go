package image

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/kintoun/kintoun/image/driver"
	"github.com/kintoun/kintoun/internal/fault"
	"github.com/kintoun/kintoun/internal/record"
)

// Options are optional.
type Options struct {
	// Host tells the Services that share a database apart. A new Service takes the uploads of its own host for dead.
	Host string
	// StoreName names the store that [New] is given, which takes what nobody asks another store for; its Kind by default.
	StoreName string
	// Stores are further stores, by name.
	Stores map[string]driver.Store
	// Web downloads what [Service.Import] is told to; nil allows none.
	Web Downloader
	// Quota bounds what each project has.
	Quota Quota
	// InUse says whether something still needs an image, which then cannot be deleted; nil lets all be deleted.
	InUse func(ctx context.Context, id string) (bool, error)
	// MaxSize bounds an image's content in bytes; 1 TiB by default.
	MaxSize int64
	// MaxVirtualSize bounds the disk that a server sees, in bytes, which a small content can claim to be large; 64 TiB by
	// default.
	MaxVirtualSize int64
	// MaxProperties, MaxTags and MaxMembers bound what one image has; 128 by default.
	MaxProperties, MaxTags, MaxMembers int
	// Protections say who may do what with properties: of each property the first that has it, and nobody anything with those
	// that none has. None at all leaves properties to the images' owners. A [Scope] that is Admin without Roles is not held to them.
	Protections []Protection
	// AllowUnknownContent takes a content that bears no known format for whatever the image's disk format says, as
	// Glance did until 2025. Contents that bear another format, and unsafe ones, are refused all the same.
	AllowUnknownContent bool
	// Now is the clock; time.Now by default.
	Now func() time.Time
	// Log hears of leftovers and of failures to clean up; nil discards them.
	Log *slog.Logger
}

func (o *Options) withDefaults() Options {
	var full Options
	if o != nil {
		full = *o
	}
	if full.MaxSize <= 0 {
		full.MaxSize = 1 << 40
	}
	if full.MaxVirtualSize <= 0 {
		full.MaxVirtualSize = 64 << 40
	}
	for _, limit := range []*int{&full.MaxProperties, &full.MaxTags, &full.MaxMembers} {
		if *limit <= 0 {
			*limit = 128
		}
	}
	if full.Now == nil {
		full.Now = time.Now
	}
	if full.Log == nil {
		full.Log = slog.New(slog.DiscardHandler)
	}
	return full
}

// Service keeps images. Create it with [New].
type Service struct {
	stores     map[string]driver.Store
	options    Options
	records    *record.Store
	images     *record.Table[Image]
	members    *record.Table[Member]
	namespaces *record.Table[Namespace]
	tasks      *record.Table[Task]
	// wake tells Run that there is something to do.
	wake  chan struct{}
	cache cacheQueue
}

// New opens the images in db and the contents in store, and cleans up after uploads and deletions that a killed
// process left half done.
//
// A SQLite database is to be opened with immediate transactions and a busy timeout; with modernc.org/sqlite:
// "file:cloud.db?_txlock=immediate&_pragma=busy_timeout(10000)&_pragma=journal_mode(WAL)"; or with db.SetMaxOpenConns(1).
// Several domains may share it.
func New(ctx context.Context, db *sql.DB, store driver.Store, options *Options) (*Service, error) {
	records, err := record.Open(ctx, db, "image")
	if err != nil {
		return nil, err
	}
	s := &Service{options: options.withDefaults(), records: records, wake: make(chan struct{}, 1), cache: cacheQueue{wake: make(chan struct{}, 1)}}
	if s.options.StoreName == "" {
		s.options.StoreName = store.Kind()
	}
	s.stores = map[string]driver.Store{}
	maps.Copy(s.stores, s.options.Stores)
	if s.stores[s.options.StoreName] != nil {
		return nil, fault.Wrap(ErrInvalid, "two image stores have the name %s", s.options.StoreName)
	}
	s.stores[s.options.StoreName] = store
	s.images = record.Define(records, "images", imageTable)
	s.members = record.Define(records, "members", memberTable)
	s.namespaces = record.Define(records, "namespaces", namespaceTable)
	s.tasks = record.Define(records, "tasks", taskTable)
	records.UseClock(s.options.Now)
	if err := records.Migrate(ctx); err != nil {
		return nil, fmt.Errorf("image records: %w", err)
	}
	if err := s.recover(ctx); err != nil {
		return nil, fmt.Errorf("image: cleaning up: %w", err)
	}
	return s, nil
}

func (s *Service) now() time.Time { return s.options.Now().UTC() }

// CreateOptions are what may be chosen besides a new image's [Spec].
type CreateOptions struct {
	// ID is a UUID; empty makes one.
	ID string
	// ProjectID is the owner; empty is the scope's own. Only an administrator creates for others.
	ProjectID string
}

// Create makes an image without content. An identifier that is taken is [ErrConflict].
func (s *Service) Create(ctx context.Context, scope Scope, spec Spec, options *CreateOptions) (*Image, error) {
	img := &Image{Spec: spec, Status: Queued, ProjectID: scope.ProjectID, CreatedAt: s.now()}
	img.UpdatedAt = img.CreatedAt
	if options != nil {
		img.ID = options.ID
		if options.ProjectID != "" {
			img.ProjectID = options.ProjectID
		}
	}
	if img.ID == "" {
		img.ID = uuid.NewString()
	} else if !isUUID(img.ID) {
		return nil, fault.Wrap(ErrInvalid, "image identifier %q is not a UUID", img.ID)
	}
	if img.ProjectID != scope.ProjectID && !scope.Admin {
		return nil, fault.Wrap(ErrForbidden, "you are not permitted to create images owned by %q", img.ProjectID)
	}
	if img.Visibility == "" {
		img.Visibility = Shared
	}
	if err := s.check(scope, &Image{}, img); err != nil {
		return nil, err
	}
	if err := s.checkProtected(scope, nil, img.Properties, nil); err != nil {
		return nil, err
	}
	err := s.records.Update(ctx, func(tx *record.Tx) error {
		if err := s.checkCount(tx, img.ProjectID); err != nil {
			return err
		}
		return s.images.Insert(tx, img)
	})
	if errors.Is(err, record.ErrDuplicate) {
		return nil, fault.Wrap(ErrConflict, "image ID %s already exists", img.ID)
	}
	s.hide(scope, img)
	return img, err
}

func isUUID(text string) bool {
	_, err := uuid.Parse(text)
	return err == nil && len(text) == 36
}

// Get returns an image that the scope may see.
func (s *Service) Get(ctx context.Context, scope Scope, id string) (*Image, error) {
	img, err := s.visible(s.records.Read(ctx), scope, id)
	if err != nil {
		return nil, err
	}
	s.hide(scope, img)
	return img, nil
}

// visible returns the image; [ErrNotFound] also where the scope may not know of it.
func (s *Service) visible(tx *record.Tx, scope Scope, id string) (*Image, error) {
	img, err := s.images.Get(tx, id)
	if errors.Is(err, ErrNotFound) {
		return nil, notFound(id)
	} else if err != nil {
		return nil, err
	}
	if scope.mayChange(img) || img.Visibility == Public || img.Visibility == Community {
		return img, nil
	}
	if img.Visibility == Shared && scope.ProjectID != "" {
		_, err := s.members.Get(tx, memberKey(id, scope.ProjectID))
		if err == nil {
			return img, nil
		}
		if !errors.Is(err, ErrNotFound) {
			return nil, err
		}
	}
	return nil, notFound(id)
}

func notFound(id string) error { return fault.Wrap(ErrNotFound, "no image found with ID %s", id) }

// changeable returns the image if the scope may change it.
func (s *Service) changeable(tx *record.Tx, scope Scope, id string) (*Image, error) {
	img, err := s.visible(tx, scope, id)
	if err != nil {
		return nil, err
	}
	if !scope.mayChange(img) {
		return nil, fault.Wrap(ErrForbidden, "you are not permitted to modify image %s", id)
	}
	return img, nil
}

func (s Scope) mayChange(img *Image) bool {
	return s.Admin || s.ProjectID != "" && img.ProjectID == s.ProjectID
}

// Update lets change alter what the image's owner says of it (the [Spec], and the owner for administrators), checks the
// result and records it. What change returns is returned, and nothing is recorded. It may be called more than once.
func (s *Service) Update(ctx context.Context, scope Scope, id string, change func(*Image) error) (*Image, error) {
	img, err := s.modify(ctx, scope, id, func(img *Image) error {
		before := *img
		before.Tags, before.Properties = slices.Clone(img.Tags), cloneMap(img.Properties)
		hidden := s.hide(scope, img)
		shown := cloneMap(img.Properties)
		if err := change(img); err != nil {
			return err
		}
		if err := s.checkProtected(scope, shown, img.Properties, hidden); err != nil {
			return err
		}
		img.Properties = joined(img.Properties, hidden)
		spec, project := img.Spec, img.ProjectID
		*img = before // the rest is not the owner's to change
		img.Spec, img.ProjectID = spec, project
		return s.check(scope, &before, img)
	})
	s.hide(scope, img)
	return img, err
}

// modify changes an image that the scope may change.
func (s *Service) modify(ctx context.Context, scope Scope, id string, change func(*Image) error) (img *Image, err error) {
	err = s.records.Update(ctx, func(tx *record.Tx) error {
		if img, err = s.changeable(tx, scope, id); err != nil {
			return err
		}
		if err := change(img); err != nil {
			return err
		}
		img.UpdatedAt = s.now()
		return s.images.Update(tx, img)
	})
	if err != nil {
		return nil, err
	}
	return img, nil
}

// Delete removes an image and its content. A protected one is [ErrForbidden].
func (s *Service) Delete(ctx context.Context, scope Scope, id string) error {
	if err := s.checkUnused(ctx, scope, id); err != nil {
		return err
	}
	var gone *Image
	var unused []place
	err := s.records.Update(ctx, func(tx *record.Tx) (err error) {
		if gone, err = s.changeable(tx, scope, id); err != nil {
			return err
		}
		if gone.Protected {
			return fault.Wrap(ErrForbidden, "image %s is protected and cannot be deleted", id)
		}
		members, err := s.members.List(tx, record.Query{Where: []record.Condition{record.Eq("image", id)}})
		if err != nil {
			return err
		}
		for i := range members {
			if err := s.members.Delete(tx, memberKey(id, members[i].ProjectID)); err != nil {
				return err
			}
		}
		if err := s.images.Delete(tx, id); err != nil {
			return err
		}
		unused, err = s.unused(tx, gone.Data, gone.Staged)
		return err
	})
	if err != nil {
		return err
	}
	s.discard(context.WithoutCancel(ctx), unused)
	return nil
}

// Deactivate keeps everybody but administrators from an active image's content.
func (s *Service) Deactivate(ctx context.Context, scope Scope, id string) (*Image, error) {
	return s.activate(ctx, scope, id, Deactivated)
}

// Reactivate gives the content of a deactivated image back.
func (s *Service) Reactivate(ctx context.Context, scope Scope, id string) (*Image, error) {
	return s.activate(ctx, scope, id, Active)
}

func (s *Service) activate(ctx context.Context, scope Scope, id string, to Status) (*Image, error) {
	img, err := s.modify(ctx, scope, id, func(img *Image) error {
		if img.Status != Active && img.Status != Deactivated {
			return fault.Wrap(ErrForbidden, "not allowed to turn an image that is %s into one that is %s", img.Status, to)
		}
		img.Status = to
		return nil
	})
	s.hide(scope, img)
	return img, err
}
