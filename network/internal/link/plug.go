//go:build linux

package link

import (
	"context"

	"github.com/kintoun/kintoun/internal/fault"
	"github.com/kintoun/kintoun/network/driver"
)

// PlugPort makes the port's device, guards it, and only then plugs it into the bridge.
func (h Host) PlugPort(ctx context.Context, filters driver.Filters, want driver.Port, bridge string) error {
	if err := h.EnsureDevice(want); err != nil {
		return err
	}
	if err := Guard(ctx, filters, want, bridge); err != nil {
		return err
	}
	return h.Plug(HostDevice(want), bridge)
}

// Guard has the port filtered on the bridge, or not at all when it has no security.
func Guard(ctx context.Context, filters driver.Filters, want driver.Port, bridge string) error {
	switch {
	case want.Security == nil && filters == nil:
		return nil
	case want.Security == nil:
		return filters.Remove(ctx, want.ID)
	case filters == nil:
		return fault.Wrap(fault.ErrUnsupported, "port %s wants to be guarded, and this fabric has no filters", want.ID)
	}
	return filters.Apply(ctx, driver.Filter{PortID: want.ID, Device: HostDevice(want), Bridge: bridge, MAC: want.MAC, Security: *want.Security})
}

// UnplugPort removes the port's devices, and then its filter.
func (h Host) UnplugPort(ctx context.Context, filters driver.Filters, id string) error {
	if err := h.RemovePort(id); err != nil {
		return err
	}
	if filters == nil {
		return nil
	}
	return filters.Remove(ctx, id)
}
