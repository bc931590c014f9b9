package memnet

import (
	"context"
	"sync"
	"time"

	"github.com/kintoun/kintoun/internal/fault"
)

// The kinds of error that this package returns.
var (
	ErrInvalid     = fault.ErrInvalid
	ErrConflict    = fault.ErrConflict
	ErrNotFound    = fault.ErrNotFound
	ErrUnsupported = fault.ErrUnsupported
)

// Operation names a verb of a driver for a [Fault].
type Operation string

// The operations.
const (
	NetworkApply  Operation = "network apply"
	NetworkRemove Operation = "network remove"
	NetworkList   Operation = "network list"
	PortApply     Operation = "port apply"
	PortRemove    Operation = "port remove"
	PortList      Operation = "port list"
	FilterApply   Operation = "filter apply"
	FilterRemove  Operation = "filter remove"
	FilterList    Operation = "filter list"
	RouterApply   Operation = "router apply"
	RouterRemove  Operation = "router remove"
	RouterList    Operation = "router list"
	DHCPApply     Operation = "dhcp apply"
	DHCPRemove    Operation = "dhcp remove"
	DHCPList      Operation = "dhcp list"
)

// A Fault makes an operation slow, or fail, or both.
type Fault struct {
	Operation Operation
	// ID is the network's, port's or router's; empty is any.
	ID string
	// Delay passes first, or the context's end.
	Delay time.Duration
	// Err is then returned; nil lets the operation go on.
	Err error
	// Halfway has a PortApply fail after it made the device, before it guards and plugs it.
	Halfway bool
	// Times is how often the fault strikes; zero is always.
	Times int
}

// faults are those that wait for their operations.
type faults struct {
	mu   sync.Mutex
	list []*Fault
}

func (f *faults) inject(all ...Fault) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, one := range all {
		f.list = append(f.list, &one)
	}
}

// strike waits and fails as the first fault that fits says.
func (f *faults) strike(ctx context.Context, operation Operation, id string, halfway bool) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	hit := f.take(operation, id, halfway)
	if hit == nil {
		return nil
	}
	if hit.Delay > 0 {
		timer := time.NewTimer(hit.Delay)
		defer timer.Stop()
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-timer.C:
		}
	}
	return hit.Err
}

func (f *faults) take(operation Operation, id string, halfway bool) *Fault {
	f.mu.Lock()
	defer f.mu.Unlock()
	for i, one := range f.list {
		if one.Operation != operation || one.Halfway != halfway || (one.ID != "" && one.ID != id) {
			continue
		}
		hit := *one
		if one.Times--; one.Times == 0 {
			f.list = append(f.list[:i], f.list[i+1:]...)
		} else if one.Times < 0 {
			one.Times = 0
		}
		return &hit
	}
	return nil
}
