package nova

import (
	"context"
	"errors"
	"maps"
	"net/http"
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/kintoun/kintoun/compute"
	"github.com/kintoun/kintoun/internal/fault"
)

// Images is what the deprecated calls on images need of the image service. What the scope may not see is compute.ErrNotFound.
type Images interface {
	// Images lists them, latest first.
	Images(ctx context.Context, scope compute.Scope, filter ImageFilter) ([]Image, error)
	Image(ctx context.Context, scope compute.Scope, id string) (Image, error)
	DeleteImage(ctx context.Context, scope compute.Scope, id string) error
	// SetImageProperties lets change alter an image's properties, and returns them.
	SetImageProperties(ctx context.Context, scope compute.Scope, id string, change func(properties map[string]string) error) (map[string]string, error)
}

// Image is an image as these calls show it.
type Image struct {
	// Status is Glance's.
	ID, Name, Status     string
	SizeBytes            int64
	MinDisk, MinRAM      int64
	Properties           map[string]string
	CreatedAt, UpdatedAt time.Time
}

// ImageFilter narrows a list of images. Empty fields narrow nothing.
type ImageFilter struct {
	Name, Status    string
	MinDisk, MinRAM *int64
	// Since is when they were changed at the earliest.
	Since *time.Time
	// Properties are those that they have, all of them.
	Properties map[string]string
	Marker     string
	Limit      int
}

// lastImageMetadata is the last microversion with the calls on images' metadata.
const lastImageMetadata = 38

func (a *api) imageOperations() []operation {
	if a.options.Images == nil {
		return nil
	}
	return []operation{
		{method: "GET", path: "/images", serve: a.proxyImages(false), until: lastProxy},
		{method: "GET", path: "/images/detail", serve: a.proxyImages(true), until: lastProxy},
		{method: "GET", path: "/images/{image}", serve: a.proxyImage, until: lastProxy},
		{method: "DELETE", path: "/images/{image}", serve: a.proxyDeleteImage, until: lastProxy},
		{method: "GET", path: "/images/{image}/metadata", serve: a.proxyImageMetadata, until: lastImageMetadata},
		{method: "POST", path: "/images/{image}/metadata", serve: a.proxySetImageMetadata(false), until: lastImageMetadata},
		{method: "PUT", path: "/images/{image}/metadata", serve: a.proxySetImageMetadata(true), until: lastImageMetadata},
		{method: "GET", path: "/images/{image}/metadata/{key}", serve: a.proxyImageMetadataItem, until: lastImageMetadata},
		{method: "PUT", path: "/images/{image}/metadata/{key}", serve: a.proxySetImageMetadataItem, until: lastImageMetadata},
		{method: "DELETE", path: "/images/{image}/metadata/{key}", serve: a.proxyDeleteImageMetadataItem, until: lastImageMetadata},
	}
}

// imageStates are Glance's statuses in Nova's words, with how much of the work they are, in percent.
var imageStates = map[string]struct {
	status   string
	progress int
}{
	"active": {"ACTIVE", 100}, "queued": {"SAVING", 25}, "saving": {"SAVING", 50}, "deleted": {"DELETED", 0},
	"pending_delete": {"DELETED", 0}, "killed": {"ERROR", 0},
}

func (c *call) proxiedImage(i *Image) object {
	state, known := imageStates[i.Status]
	if !known {
		state.status = "UNKNOWN"
	}
	o := object{
		"id": i.ID, "name": i.Name, "status": state.status, "progress": state.progress, "minDisk": i.MinDisk, "minRam": i.MinRAM,
		"metadata": properties(i), "created": isotime(i.CreatedAt), "updated": isotime(i.UpdatedAt), "links": c.links("images", i.ID),
		"OS-EXT-IMG-SIZE:size": i.SizeBytes,
	}
	if server := i.Properties["instance_uuid"]; server != "" {
		o["server"] = object{"id": server, "links": c.links("servers", server)}
	}
	return o
}

func properties(i *Image) map[string]string {
	if i.Properties == nil {
		return map[string]string{}
	}
	return i.Properties
}

func (c *call) imageFilter() (f ImageFilter, err error) {
	query := c.URL.Query()
	f = ImageFilter{Name: query.Get("name"), Status: strings.ToLower(query.Get("status")), Properties: map[string]string{}}
	for key, property := range map[string]string{"server": "instance_uuid", "type": "image_type"} {
		if value := query.Get(key); value != "" {
			f.Properties[property] = path.Base(value) // a server may be named by its address
		}
	}
	for key := range query {
		if name, ok := strings.CutPrefix(key, "property-"); ok {
			f.Properties[name] = query.Get(key)
		}
	}
	for key, number := range map[string]**int64{"minDisk": &f.MinDisk, "minRam": &f.MinRAM} {
		if value := query.Get(key); value != "" {
			n, err := strconv.ParseInt(value, 10, 64)
			if err != nil {
				return f, fault.Wrap(compute.ErrInvalid, "Invalid filter %s: %.40q is not a number", key, value)
			}
			*number = &n
		}
	}
	if value := query.Get("changes-since"); value != "" {
		if f.Since, err = instant(value); err != nil {
			return f, err
		}
	}
	f.Limit, f.Marker, err = c.page()
	return f, err
}

func (a *api) proxyImages(detailed bool) func(c *call) error {
	return func(c *call) error {
		filter, err := c.imageFilter()
		if err != nil {
			return err
		}
		found, err := a.options.Images.Images(c.Context(), c.scope(), filter)
		if err != nil {
			return err
		}
		shown, last := []object{}, ""
		for i := range found {
			last = found[i].ID
			if detailed {
				shown = append(shown, c.proxiedImage(&found[i]))
			} else {
				shown = append(shown, object{"id": last, "name": found[i].Name, "links": c.links("images", last)})
			}
		}
		o := object{"images": shown}
		if links := c.next(len(shown), filter.Limit, last); links != nil {
			o["images_links"] = links
		}
		return c.json(http.StatusOK, o)
	}
}

func (c *call) image() (Image, error) {
	i, err := c.api.options.Images.Image(c.Context(), c.scope(), c.PathValue("image"))
	return i, c.imageError(err)
}

// imageError says in Nova's words that there is no such image.
func (c *call) imageError(err error) error {
	if errors.Is(err, compute.ErrNotFound) {
		return fault.Wrap(compute.ErrNotFound, "Image not found.")
	}
	return err
}

func (a *api) proxyImage(c *call) error {
	i, err := c.image()
	if err != nil {
		return err
	}
	return c.json(http.StatusOK, object{"image": c.proxiedImage(&i)})
}

func (a *api) proxyDeleteImage(c *call) error {
	if err := a.options.Images.DeleteImage(c.Context(), c.scope(), c.PathValue("image")); err != nil {
		return c.imageError(err)
	}
	return c.empty(http.StatusNoContent)
}

func (a *api) proxyImageMetadata(c *call) error {
	i, err := c.image()
	if err != nil {
		return err
	}
	return c.json(http.StatusOK, object{"metadata": properties(&i)})
}

func (c *call) setImageProperties(change func(properties map[string]string) error) (map[string]string, error) {
	all, err := c.api.options.Images.SetImageProperties(c.Context(), c.scope(), c.PathValue("image"), change)
	return all, c.imageError(err)
}

func (a *api) proxySetImageMetadata(replace bool) func(c *call) error {
	return func(c *call) error {
		var body struct{ Metadata map[string]string }
		if err := c.body(wrap("metadata", typeMetadata()), &body); err != nil {
			return err
		}
		all, err := c.setImageProperties(func(properties map[string]string) error {
			if replace {
				clear(properties)
			}
			maps.Copy(properties, body.Metadata)
			return nil
		})
		if err != nil {
			return err
		}
		return c.json(http.StatusOK, object{"metadata": all})
	}
}

func (a *api) proxyImageMetadataItem(c *call) error {
	i, err := c.image()
	if err != nil {
		return err
	}
	key := c.PathValue("key")
	value, ok := i.Properties[key]
	if !ok {
		return noMetadata()
	}
	return c.json(http.StatusOK, object{"meta": object{key: value}})
}

func noMetadata() error { return fault.Wrap(compute.ErrNotFound, "Metadata item was not found") }

func (a *api) proxySetImageMetadataItem(c *call) error {
	var body struct{ Meta map[string]string }
	if err := c.body(wrap("meta", typeMetadata()), &body); err != nil {
		return err
	}
	if err := checkMetadataItem(c.PathValue("key"), body.Meta); err != nil {
		return err
	}
	_, err := c.setImageProperties(func(properties map[string]string) error {
		maps.Copy(properties, body.Meta)
		return nil
	})
	if err != nil {
		return err
	}
	return c.json(http.StatusOK, object{"meta": body.Meta})
}

func (a *api) proxyDeleteImageMetadataItem(c *call) error {
	key := c.PathValue("key")
	_, err := c.api.options.Images.SetImageProperties(c.Context(), c.scope(), c.PathValue("image"), func(properties map[string]string) error {
		if _, ok := properties[key]; !ok {
			return noMetadata()
		}
		delete(properties, key)
		return nil
	})
	if err != nil {
		return err
	}
	return c.empty(http.StatusNoContent)
}
