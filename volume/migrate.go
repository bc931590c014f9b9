package volume

import "context"

// Retype gives a volume another type, moving it if policy is "on-demand".
func (s *Service) Retype(ctx context.Context, scope Scope, id string, newType, policy string) error {
	return unsupported("Retype")
}

// MigrateVolume moves a volume to another pool.
func (s *Service) MigrateVolume(ctx context.Context, scope Scope, id string, host, cluster string, force, lock bool) error {
	return unsupported("MigrateVolume")
}
