package glance

import (
	"net/http"

	"github.com/kintoun/kintoun/image"
	"github.com/kintoun/kintoun/internal/fault"
	"github.com/kintoun/kintoun/internal/wire"
)

func memberView(m *image.Member) map[string]any {
	return map[string]any{
		"image_id": m.ImageID, "member_id": m.ProjectID, "status": m.Status, "schema": "/v2/schemas/member",
		"created_at": timestamp(m.CreatedAt), "updated_at": timestamp(m.UpdatedAt),
	}
}

func (a *api) listMembers(w http.ResponseWriter, r *http.Request) error {
	members, err := a.images.Members(r.Context(), scope(r), r.PathValue("id"))
	if err != nil {
		return err
	}
	views := make([]map[string]any, len(members))
	for i := range members {
		views[i] = memberView(&members[i])
	}
	return wire.JSON(w, http.StatusOK, map[string]any{"members": views, "schema": "/v2/schemas/members"})
}

func (a *api) addMember(w http.ResponseWriter, r *http.Request) error {
	var body struct{ Member string }
	if err := wire.Decode(r, &body); err != nil {
		return err
	}
	if body.Member == "" {
		return fault.Wrap(image.ErrInvalid, "Member to be added not specified")
	}
	return a.answerMember(w)(a.images.AddMember(r.Context(), scope(r), r.PathValue("id"), body.Member))
}

func (a *api) showMember(w http.ResponseWriter, r *http.Request) error {
	return a.answerMember(w)(a.images.Member(r.Context(), scope(r), r.PathValue("id"), r.PathValue("member")))
}

func (a *api) setMember(w http.ResponseWriter, r *http.Request) error {
	var body struct{ Status string }
	if err := wire.Decode(r, &body); err != nil {
		return err
	}
	if body.Status == "" {
		return fault.Wrap(image.ErrInvalid, "Status not specified")
	}
	return a.answerMember(w)(a.images.SetMember(r.Context(), scope(r), r.PathValue("id"), r.PathValue("member"), image.MemberStatus(body.Status)))
}

func (a *api) answerMember(w http.ResponseWriter) func(*image.Member, error) error {
	return func(m *image.Member, err error) error {
		if err != nil {
			return err
		}
		return wire.JSON(w, http.StatusOK, memberView(m))
	}
}

func (a *api) removeMember(w http.ResponseWriter, r *http.Request) error {
	if err := a.images.RemoveMember(r.Context(), scope(r), r.PathValue("id"), r.PathValue("member")); err != nil {
		return err
	}
	return empty(w)
}
