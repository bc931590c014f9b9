package machine

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"

	"github.com/kintoun/kintoun/lbaas"
	networkdriver "github.com/kintoun/kintoun/network/driver"
)

// Purge removes everything that earlier processes left on this host: servers, balancers, routers, networks. The
// database, the images and the volumes stay.
func Purge(ctx context.Context, o Options) error {
	if _, err := os.Stat(o.DataDir); err != nil {
		return err
	}
	m, err := purgeable(ctx, o)
	if err != nil {
		return err
	}
	var failures []error
	servers, err := m.servers.List(ctx)
	failures = append(failures, err)
	for _, s := range servers {
		failures = append(failures, m.servers.Remove(ctx, s.ID))
	}
	for _, d := range []remover{m.balancers, m.routers, m.dhcp, m.fabric.Ports(), m.fabric.Networks()} {
		failures = append(failures, removeAll(ctx, d))
	}
	failures = append(failures, m.fabric.purge(ctx), deleteBridge(o.ExternalBridge), m.volumes.stop(ctx))
	return errors.Join(append(failures, m.Close())...)
}

type remover interface {
	List(ctx context.Context) ([]string, error)
	Remove(ctx context.Context, id string) error
}

func removeAll(ctx context.Context, d remover) error {
	ids, err := d.List(ctx)
	failures := []error{err}
	for _, id := range ids {
		failures = append(failures, d.Remove(ctx, id))
	}
	return errors.Join(failures...)
}

// purgeable is a machine without a control plane over it.
func purgeable(ctx context.Context, o Options) (*Machine, error) {
	o.Accelerator, o.ExternalAddress = "tcg", netip.Prefix{}
	m, err := closedUnlessOpen(ctx, o)
	if err != nil {
		return nil, err
	}
	if _, err := m.newBalancers(portsPlugger{m.fabric.Ports()}); err != nil {
		return nil, errors.Join(err, m.Close())
	}
	return m, nil
}

// portsPlugger plugs without a control plane: all that a purge does is unplug.
type portsPlugger struct{ ports networkdriver.Ports }

func (p portsPlugger) Plug(context.Context, string, string, string) error {
	return fmt.Errorf("no port is plugged while the host is cleared: %w", lbaas.ErrUnavailable)
}

func (p portsPlugger) Unplug(ctx context.Context, portID string) error {
	return p.ports.Remove(ctx, portID)
}
