// Package deployer is an outsider's small gophercloud program.
package deployer

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/gophercloud/gophercloud/v2/openstack"
	"github.com/gophercloud/gophercloud/v2/openstack/compute/v2/servers"
)

// ErrSlow is a server that did not become ACTIVE in time.
var ErrSlow = errors.New("server is not ACTIVE in time")

// ErrStopped is a server that does not run.
var ErrStopped = errors.New("server is stopped")

// Deployer makes servers.
type Deployer struct {
	Compute  *gophercloud.ServiceClient
	Provider *gophercloud.ProviderClient
	Poll     time.Duration
}

// NewDeployer logs in.
func NewDeployer(ctx context.Context, auth gophercloud.AuthOptions, endpoint gophercloud.EndpointOpts) (*Deployer, error) {
	provider, err := openstack.AuthenticatedClient(ctx, auth)
	if err != nil {
		return nil, fmt.Errorf("log in: %w", err)
	}
	provider.RetryFunc = func(_ context.Context, method, _ string, _ *gophercloud.RequestOpts, err error, failed uint) error {
		if failed > 3 || method != http.MethodGet {
			return err
		}
		return nil
	}
	compute, err := openstack.NewComputeV2(provider, endpoint)
	if err != nil {
		return nil, err
	}
	return &Deployer{Compute: compute, Provider: provider, Poll: 5 * time.Millisecond}, nil
}

// Deploy makes a server and waits until it is ACTIVE.
func (d *Deployer) Deploy(ctx context.Context, name, flavor, image, network string) (*servers.Server, error) {
	for try := 0; ; try++ {
		s, err := servers.Create(ctx, d.Compute, servers.CreateOpts{
			Name: name, FlavorRef: flavor, ImageRef: image, Networks: []servers.Network{{UUID: network}},
		}, nil).Extract()
		if err == nil {
			return d.Wait(ctx, s.ID)
		}
		var refused gophercloud.ErrUnexpectedResponseCode
		if !errors.As(err, &refused) || refused.Actual != http.StatusServiceUnavailable || try == 3 {
			return nil, fmt.Errorf("create %s: %w", name, err)
		}
		seconds, err := strconv.Atoi(refused.ResponseHeader.Get("Retry-After"))
		if err != nil {
			return nil, fmt.Errorf("create %s: Retry-After: %w", name, err)
		}
		select {
		case <-time.After(time.Duration(seconds) * time.Second):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// Wait waits until a server is ACTIVE.
func (d *Deployer) Wait(ctx context.Context, id string) (*servers.Server, error) {
	for {
		s, err := servers.Get(ctx, d.Compute, id).Extract()
		switch {
		case ctx.Err() != nil:
			return nil, fmt.Errorf("%w: %w", ErrSlow, ctx.Err())
		case err != nil:
			return nil, fmt.Errorf("get %s: %w", id, err)
		case s.Status == "ACTIVE":
			return s, nil
		case s.Status == "SHUTOFF" && s.TaskState == "":
			return s, fmt.Errorf("server %s: %w", id, ErrStopped)
		case s.Status == "ERROR":
			return s, fmt.Errorf("server %s: %s", id, s.Fault.Message)
		}
		select {
		case <-time.After(d.Poll):
		case <-ctx.Done():
			return nil, fmt.Errorf("%w: %w", ErrSlow, ctx.Err())
		}
	}
}
