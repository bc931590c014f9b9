package volume

import (
	"context"
	"time"
)

// Transfer is the offer of a volume to another project.
type Transfer struct {
	ID, VolumeID, Name string
	// AuthKey is shown once, to the maker.
	AuthKey                                          string `json:"-"`
	ProjectID, SourceProjectID, DestinationProjectID string
	NoSnapshots, Accepted                            bool
	CreatedAt                                        time.Time
	Revision                                         int64
}

// CreateTransfer offers a volume.
func (s *Service) CreateTransfer(ctx context.Context, scope Scope, volumeID, name string, withSnapshots bool) (*Transfer, error) {
	return nil, unsupported("CreateTransfer")
}

// AcceptTransfer takes an offered volume.
func (s *Service) AcceptTransfer(ctx context.Context, scope Scope, id string, authKey string) (*Transfer, error) {
	return nil, unsupported("AcceptTransfer")
}

// Transfer returns a transfer.
func (s *Service) Transfer(ctx context.Context, scope Scope, id string) (*Transfer, error) {
	return nil, unsupported("Transfer")
}

// Transfers lists transfers.
func (s *Service) Transfers(ctx context.Context, scope Scope, options ListOptions) ([]Transfer, error) {
	return nil, unsupported("Transfers")
}

// DeleteTransfer takes an offer back.
func (s *Service) DeleteTransfer(ctx context.Context, scope Scope, id string) error {
	return unsupported("DeleteTransfer")
}
