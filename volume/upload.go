package volume

import "context"

// UploadSpec is an image to make of a volume.
type UploadSpec struct {
	ImageName, DiskFormat, ContainerFormat, Visibility string
	Protected, Force                                   bool
}

// Upload is an image that is being made.
type Upload struct {
	ImageID string
	Spec    UploadSpec
	Volume  Volume
}

// UploadToImage makes an image of a volume.
func (s *Service) UploadToImage(ctx context.Context, scope Scope, id string, spec UploadSpec) (*Upload, error) {
	return nil, unsupported("UploadToImage")
}
