package volume

import (
	"context"

	"github.com/kintoun/kintoun/internal/converge"
	"github.com/kintoun/kintoun/internal/fault"
	"github.com/kintoun/kintoun/internal/record"
	"github.com/kintoun/kintoun/volume/driver"
)

func mustAdmin(scope Scope, rule string) error {
	if scope.Admin {
		return nil
	}
	return fault.Wrap(ErrForbidden, "Policy doesn't allow %s to be performed.", rule)
}

func (s *Service) newKey(context.Context, string, *Type) (string, error)    { return "", nil }
func (s *Service) cloneKey(context.Context, string, string) (string, error) { return "", nil }
func (s *Service) dropKey(context.Context, string) error                    { return nil }
func (s *Service) passphrase(context.Context, string) ([]byte, error)       { return nil, nil }
func (s *Service) restoreInto(*record.Tx, Scope, *Volume, string) error     { return nil }
func (s *Service) groupForVolume(*record.Tx, Scope, string, string) (*Group, error) {
	return nil, nil
}
func (a *Agent) openPlain(ctx context.Context, id string, access driver.Access, keyID string) (driver.Device, error) {
	return a.volumes.Open(ctx, id, access)
}
func (s *Service) usedByExtras(*record.Tx, string, string) (int, error) { return 0, nil }

const jobsKind = "jobs"

type jobRunner struct{ loop *converge.Loop }

func newJobRunner(*Agent) *jobRunner {
	r := &jobRunner{}
	r.loop = converge.New(r, nil)
	return r
}
func (r *jobRunner) List(context.Context) ([]string, error)  { return nil, nil }
func (r *jobRunner) Reconcile(context.Context, string) error { return nil }

func unsupported(what string) error { return fault.Wrap(ErrUnsupported, "%s is not there yet", what) }
