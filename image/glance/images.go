package glance

import (
	"encoding/json"
	"net/http"
	"strings"
	"time"

	"github.com/kintoun/kintoun/image"
	"github.com/kintoun/kintoun/internal/fault"
	"github.com/kintoun/kintoun/internal/wire"
)

// timestamp is how Glance writes times.
func timestamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05Z") }

// view is an image as clients see it: its attributes and its owner's properties side by side.
func view(img *image.Image) map[string]any {
	path := "/v2/images/" + img.ID
	v := map[string]any{}
	for name, value := range img.Properties {
		v[name] = value
	}
	for name, value := range map[string]any{
		"id": img.ID, "name": orNull(img.Name), "status": img.Status, "visibility": img.Visibility,
		"protected": img.Protected, "os_hidden": img.Hidden, "owner": orNull(img.ProjectID),
		"disk_format": orNull(img.DiskFormat), "container_format": orNull(img.ContainerFormat),
		"min_disk": img.MinDisk, "min_ram": img.MinRAM, "tags": append([]string{}, img.Tags...),
		"size": nil, "virtual_size": nil, "checksum": nil, "os_hash_algo": nil, "os_hash_value": nil,
		"created_at": timestamp(img.CreatedAt), "updated_at": timestamp(img.UpdatedAt),
		"self": path, "file": path + "/file", "schema": "/v2/schemas/image",
	} {
		v[name] = value
	}
	if d := img.Data; d != nil {
		v["size"], v["checksum"], v["os_hash_algo"], v["os_hash_value"] = d.Size, d.Checksum, d.HashAlgorithm, d.HashValue
		v["stores"] = strings.Join(d.Stores(), ",")
		if d.VirtualSize > 0 || d.Size == 0 {
			v["virtual_size"] = d.VirtualSize
		}
	}
	if i := img.Import; i != nil {
		v["os_glance_importing_to_stores"], v["os_glance_failed_import"] = strings.Join(i.Stores, ","), strings.Join(i.Failed, ",")
		if len(i.Refs) > 0 {
			v["os_glance_import_task"] = i.TaskID
		}
	}
	return v
}

func orNull(text string) any {
	if text == "" {
		return nil
	}
	return text
}

func (a *api) create(w http.ResponseWriter, r *http.Request) error {
	var body map[string]json.RawMessage
	if err := wire.Decode(r, &body); err != nil {
		return err
	}
	if body == nil {
		return fault.Wrap(image.ErrInvalid, "the request's body must be a JSON object")
	}
	var options image.CreateOptions
	if raw, ok := body["id"]; ok {
		if err := decode("id", raw, &options.ID); err != nil {
			return err
		}
		if options.ID == "" {
			return fault.Wrap(image.ErrInvalid, "an image's id cannot be empty")
		}
		delete(body, "id")
	}
	img := &image.Image{}
	for name, raw := range body {
		if err := writable(name); err != nil {
			return err
		}
		if err := set(img, name, raw); err != nil {
			return err
		}
	}
	options.ProjectID = img.ProjectID
	img, err := a.images.Create(r.Context(), scope(r), img.Spec, &options)
	if err != nil {
		return err
	}
	w.Header().Set("Location", a.base(r)+"/v2/images/"+img.ID)
	w.Header().Set("Openstack-Image-Import-Methods", strings.Join(a.importMethods(), ","))
	w.Header().Set("Openstack-Image-Store-Ids", strings.Join(a.storeNames(), ","))
	return wire.JSON(w, http.StatusCreated, a.view(r, img))
}

func (a *api) show(w http.ResponseWriter, r *http.Request) error {
	img, err := a.images.Get(r.Context(), scope(r), r.PathValue("id"))
	if err != nil {
		return err
	}
	return wire.JSON(w, http.StatusOK, a.view(r, img))
}

func (a *api) delete(w http.ResponseWriter, r *http.Request) error {
	if err := a.images.Delete(r.Context(), scope(r), r.PathValue("id")); err != nil {
		return err
	}
	return empty(w)
}

func (a *api) deactivate(w http.ResponseWriter, r *http.Request) error {
	if _, err := a.images.Deactivate(r.Context(), scope(r), r.PathValue("id")); err != nil {
		return err
	}
	return empty(w)
}

func (a *api) reactivate(w http.ResponseWriter, r *http.Request) error {
	if _, err := a.images.Reactivate(r.Context(), scope(r), r.PathValue("id")); err != nil {
		return err
	}
	return empty(w)
}

func (a *api) addTag(w http.ResponseWriter, r *http.Request) error {
	tag := r.PathValue("tag")
	_, err := a.images.Update(r.Context(), scope(r), r.PathValue("id"), func(img *image.Image) error {
		img.Tags = append(img.Tags, tag)
		return nil
	})
	if err != nil {
		return err
	}
	return empty(w)
}

func (a *api) removeTag(w http.ResponseWriter, r *http.Request) error {
	tag := r.PathValue("tag")
	_, err := a.images.Update(r.Context(), scope(r), r.PathValue("id"), func(img *image.Image) error {
		for i, have := range img.Tags {
			if have == tag {
				img.Tags = append(img.Tags[:i:i], img.Tags[i+1:]...)
				return nil
			}
		}
		return fault.Wrap(image.ErrNotFound, "image %s has no tag %q", img.ID, tag)
	})
	if err != nil {
		return err
	}
	return empty(w)
}
