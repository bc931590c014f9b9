package glance

import (
	"net/http"

	"github.com/kintoun/kintoun/identity"
	"github.com/kintoun/kintoun/image"
	"github.com/kintoun/kintoun/internal/fault"
	"github.com/kintoun/kintoun/internal/wire"
)

// locationRoutes are the Image API's from version 2.17 on.
func (a *api) locationRoutes() []wire.Route {
	return []wire.Route{
		{Method: "GET", Path: "/v2/images/{id}/locations", Serve: a.listLocations},
		{Method: "POST", Path: "/v2/images/{id}/locations", Serve: a.addLocation},
	}
}

func (a *api) locations(img *image.Image) []object {
	list := []object{}
	for _, at := range a.images.Locations(img) {
		list = append(list, object{"url": at.URL, "metadata": object{"store": at.Store}})
	}
	return list
}

// listLocations is for services, as in Glance.
func (a *api) listLocations(w http.ResponseWriter, r *http.Request) error {
	if caller := identity.CallerFrom(r.Context()); !caller.HasRole("service") {
		if err := caller.RequireAdmin("get_locations"); err != nil {
			return err
		}
	}
	img, err := a.images.Get(r.Context(), scope(r), r.PathValue("id"))
	if err != nil {
		return err
	}
	return wire.JSON(w, http.StatusOK, a.locations(img))
}

type locationBody struct {
	URL        string `json:"url"`
	Validation struct {
		Checksum  string `json:"checksum"`
		Algorithm string `json:"os_hash_algo"`
		Value     string `json:"os_hash_value"`
	} `json:"validation_data"`
}

// addLocation has the content of a queued image fetched from where it says. Glance would read it there each time; then
// nobody could say that it stays what was looked at, and held against its checksums, when it was added.
func (a *api) addLocation(w http.ResponseWriter, r *http.Request) error {
	var body locationBody
	if err := wire.Decode(r, &body); err != nil {
		return err
	}
	if body.URL == "" {
		return fault.Wrap(image.ErrInvalid, "url is required")
	}
	_, err := a.images.Import(r.Context(), scope(r), r.PathValue("id"), image.ImportSpec{
		Method: image.WebDownload, Address: body.URL,
		Expected: image.Expected{Checksum: body.Validation.Checksum, HashAlgorithm: body.Validation.Algorithm, HashValue: body.Validation.Value},
		UserID:   identity.CallerFrom(r.Context()).UserID, RequestID: w.Header().Get("X-Openstack-Request-Id"),
	})
	if err != nil {
		return err
	}
	w.WriteHeader(http.StatusAccepted)
	return nil
}

// view is an image as the caller sees it, with where its content is if that is shown.
func (a *api) view(r *http.Request, img *image.Image) object {
	v := view(img)
	if !a.options.ShowLocations || img.Status == image.Deactivated && !identity.CallerFrom(r.Context()).IsAdmin() {
		return v
	}
	all := a.locations(img)
	if v["locations"] = all; len(all) > 0 {
		v["direct_url"] = all[0]["url"]
	}
	return v
}
