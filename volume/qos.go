package volume

import (
	"context"
	"time"
)

// QoS limits what volumes of some types may do.
type QoS struct {
	ID, Name string
	// Consumer is "front-end", "back-end" or "both".
	Consumer             string
	Specs                map[string]string
	CreatedAt, UpdatedAt time.Time
	Revision             int64
}

// CreateQoS makes a set of limits.
func (s *Service) CreateQoS(ctx context.Context, scope Scope, name, consumer string, specs map[string]string) (*QoS, error) {
	return nil, unsupported("CreateQoS")
}

// QoS returns a set of limits.
func (s *Service) QoS(ctx context.Context, scope Scope, id string) (*QoS, error) {
	return nil, unsupported("QoS")
}

// QoSSpecs lists sets of limits.
func (s *Service) QoSSpecs(ctx context.Context, scope Scope, options ListOptions) ([]QoS, error) {
	return nil, unsupported("QoSSpecs")
}

// SetQoSKeys adds limits.
func (s *Service) SetQoSKeys(ctx context.Context, scope Scope, id string, consumer string, specs map[string]string) (map[string]string, error) {
	return nil, unsupported("SetQoSKeys")
}

// UnsetQoSKeys removes limits.
func (s *Service) UnsetQoSKeys(ctx context.Context, scope Scope, id string, keys []string) error {
	return unsupported("UnsetQoSKeys")
}

// DeleteQoS deletes a set.
func (s *Service) DeleteQoS(ctx context.Context, scope Scope, id string, force bool) error {
	return unsupported("DeleteQoS")
}

// AssociateQoS gives a type the set.
func (s *Service) AssociateQoS(ctx context.Context, scope Scope, id, typeID string) error {
	return unsupported("AssociateQoS")
}

// DisassociateQoS takes it away.
func (s *Service) DisassociateQoS(ctx context.Context, scope Scope, id, typeID string) error {
	return unsupported("DisassociateQoS")
}

// DisassociateAllQoS takes it away from all types.
func (s *Service) DisassociateAllQoS(ctx context.Context, scope Scope, id string) error {
	return unsupported("DisassociateAllQoS")
}

// QoSAssociations lists the types that have the set.
func (s *Service) QoSAssociations(ctx context.Context, scope Scope, id string) ([]Type, error) {
	return nil, unsupported("QoSAssociations")
}
