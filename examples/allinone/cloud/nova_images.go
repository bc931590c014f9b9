package cloud

import (
	"context"
	"maps"

	"github.com/kintoun/kintoun/compute"
	"github.com/kintoun/kintoun/compute/nova"
	"github.com/kintoun/kintoun/image"
)

// novaImages are the images of Nova's old calls for them.
type novaImages struct{ images *image.Service }

var _ nova.Images = novaImages{}

// computeScope is in whose name compute asks for images.
func computeScope(s compute.Scope) image.Scope {
	return image.Scope{ProjectID: s.ProjectID, Admin: s.Admin, Roles: s.Roles}
}

func oldImage(i *image.Image) nova.Image {
	old := nova.Image{
		ID: i.ID, Name: i.Name, Status: string(i.Status), MinDisk: i.MinDisk, MinRAM: i.MinRAM, Properties: i.Properties,
		CreatedAt: i.CreatedAt, UpdatedAt: i.UpdatedAt,
	}
	if i.Data != nil {
		old.SizeBytes = i.Data.Size
	}
	return old
}

func (n novaImages) Images(ctx context.Context, scope compute.Scope, filter nova.ImageFilter) ([]nova.Image, error) {
	f := image.Filter{
		Texts: map[image.Field][]string{}, Numbers: map[image.Field]int64{}, Properties: filter.Properties, Marker: filter.Marker, Limit: filter.Limit,
	}
	for field, value := range map[image.Field]string{image.ByName: filter.Name, image.ByStatus: filter.Status} {
		if value != "" {
			f.Texts[field] = []string{value}
		}
	}
	for field, value := range map[image.Field]*int64{image.ByMinDisk: filter.MinDisk, image.ByMinRAM: filter.MinRAM} {
		if value != nil {
			f.Numbers[field] = *value
		}
	}
	if filter.Since != nil {
		f.Times = []image.TimeBound{{Field: image.ByUpdatedAt, Operator: "gte", Time: *filter.Since}}
	}
	list, err := n.images.List(ctx, computeScope(scope), f)
	old := make([]nova.Image, len(list))
	for i := range list {
		old[i] = oldImage(&list[i])
	}
	return old, err
}

func (n novaImages) Image(ctx context.Context, scope compute.Scope, id string) (nova.Image, error) {
	i, err := n.images.Get(ctx, computeScope(scope), id)
	if err != nil {
		return nova.Image{}, err
	}
	return oldImage(i), nil
}

func (n novaImages) DeleteImage(ctx context.Context, scope compute.Scope, id string) error {
	return n.images.Delete(ctx, computeScope(scope), id)
}

func (n novaImages) SetImageProperties(ctx context.Context, scope compute.Scope, id string, change func(map[string]string) error) (map[string]string, error) {
	i, err := n.images.Update(ctx, computeScope(scope), id, func(i *image.Image) error {
		i.Properties = maps.Clone(i.Properties)
		if i.Properties == nil {
			i.Properties = map[string]string{}
		}
		return change(i.Properties)
	})
	if err != nil {
		return nil, err
	}
	return i.Properties, nil
}
