package image

import (
	"context"
	"errors"
	"unicode/utf8"

	"github.com/kintoun/kintoun/internal/fault"
	"github.com/kintoun/kintoun/internal/record"
)

// AddMember shares an image with a project, which may accept it. Only images whose visibility is Shared have members.
func (s *Service) AddMember(ctx context.Context, scope Scope, id, project string) (*Member, error) {
	if project == "" || utf8.RuneCountInString(project) > maxText || !sane(project) {
		return nil, fault.Wrap(ErrInvalid, "a member is 1 to %d characters", maxText)
	}
	m := &Member{ImageID: id, ProjectID: project, Status: Pending, CreatedAt: s.now()}
	m.UpdatedAt = m.CreatedAt
	err := s.records.Update(ctx, func(tx *record.Tx) error {
		img, err := s.changeable(tx, scope, id)
		if err != nil {
			return err
		}
		if img.Visibility != Shared {
			return fault.Wrap(ErrForbidden, "only images whose visibility is shared have members: image %s is %s", id, img.Visibility)
		}
		n, err := s.members.Count(tx, record.Eq("image", id))
		if err != nil {
			return err
		}
		if n >= s.options.MaxMembers {
			return fault.Wrap(ErrTooLarge, "image %s has %d members, which is the most that an image has", id, n)
		}
		return s.members.Insert(tx, m)
	})
	if errors.Is(err, record.ErrDuplicate) {
		return nil, fault.Wrap(ErrConflict, "member %s is a member of image %s already", project, id)
	}
	if err != nil {
		return nil, err
	}
	return m, nil
}

// Members lists whom an image is shared with: all for its owner, itself for a member.
func (s *Service) Members(ctx context.Context, scope Scope, id string) ([]Member, error) {
	tx := s.records.Read(ctx)
	img, err := s.visible(tx, scope, id)
	if err != nil {
		return nil, err
	}
	if img.Visibility != Shared {
		if scope.mayChange(img) {
			return nil, nil
		}
		return nil, fault.Wrap(ErrForbidden, "only images whose visibility is shared have members")
	}
	q := record.Query{Where: []record.Condition{record.Eq("image", id)}, Order: []record.Order{{Column: "created_at"}}}
	if !scope.mayChange(img) {
		q.Where = append(q.Where, record.Eq("project", scope.ProjectID))
	}
	return s.members.List(tx, q)
}

// Member returns one of [Service.Members].
func (s *Service) Member(ctx context.Context, scope Scope, id, project string) (*Member, error) {
	tx := s.records.Read(ctx)
	img, err := s.visible(tx, scope, id)
	if err != nil {
		return nil, err
	}
	if !scope.mayChange(img) && project != scope.ProjectID {
		return nil, noMember(id, project)
	}
	return s.member(tx, id, project)
}

func (s *Service) member(tx *record.Tx, id, project string) (*Member, error) {
	m, err := s.members.Get(tx, memberKey(id, project))
	if errors.Is(err, ErrNotFound) {
		return nil, noMember(id, project)
	}
	return m, err
}

func noMember(id, project string) error {
	return fault.Wrap(ErrNotFound, "%s not found in the member list of the image %s", project, id)
}

// SetMember says what a member thinks of the image: only the member itself (or an administrator) does.
func (s *Service) SetMember(ctx context.Context, scope Scope, id, project string, status MemberStatus) (*Member, error) {
	if status != Pending && status != Accepted && status != Rejected {
		return nil, fault.Wrap(ErrInvalid, "invalid member status %.40q: it must be pending, accepted or rejected", status)
	}
	var m *Member
	err := s.records.Update(ctx, func(tx *record.Tx) error {
		img, err := s.visible(tx, scope, id)
		if err != nil {
			return err
		}
		if project != scope.ProjectID && !scope.Admin {
			if !scope.mayChange(img) {
				return noMember(id, project)
			}
			return fault.Wrap(ErrForbidden, "only the member itself accepts or rejects image %s", id)
		}
		if m, err = s.member(tx, id, project); err != nil {
			return err
		}
		m.Status, m.UpdatedAt = status, s.now()
		return s.members.Update(tx, m)
	})
	if err != nil {
		return nil, err
	}
	return m, nil
}

// RemoveMember ends the sharing of an image with a project.
func (s *Service) RemoveMember(ctx context.Context, scope Scope, id, project string) error {
	return s.records.Update(ctx, func(tx *record.Tx) error {
		if _, err := s.changeable(tx, scope, id); err != nil {
			return err
		}
		if _, err := s.member(tx, id, project); err != nil {
			return err
		}
		return s.members.Delete(tx, memberKey(id, project))
	})
}
