//go:build linux

package ovsgre

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/kintoun/kintoun/network/internal/link"
)

// underlayRecord is what the underlay's device had before br-phy took it over, and what br-phy has to have.
type underlayRecord struct {
	Device string      `json:"device"`
	Layer3 link.Layer3 `json:"layer3"`
}

// ensureUnderlay puts the underlay's device into br-phy and its addresses on br-phy's own port, which the datapath in
// user space needs to find its way. They are kept in the database: a new ovs-vswitchd makes that port anew, without.
func (f *Fabric) ensureUnderlay(ctx context.Context) error {
	if !f.userspace || !f.opts.LocalAddress.IsValid() {
		return nil
	}
	all, err := f.bridges(ctx)
	if err != nil {
		return err
	}
	var record underlayRecord
	if text := all[physicalBridge][underlayKey]; text != "" {
		if err := json.Unmarshal([]byte(text), &record); err != nil {
			return fmt.Errorf("record of the underlay: %w", err)
		}
	}
	if record.Device != f.opts.Underlay {
		if record, err = f.takeUnderlay(ctx, all[physicalBridge] != nil); err != nil {
			return err
		}
	}
	return f.host.MoveLayer3(record.Layer3, record.Device, physicalBridge)
}

// takeUnderlay makes br-phy around the device, and remembers the device's addresses and routes before they move.
func (f *Fabric) takeUnderlay(ctx context.Context, exists bool) (underlayRecord, error) {
	layer3, err := f.host.ReadLayer3(f.opts.Underlay)
	if err != nil {
		return underlayRecord{}, err
	}
	if !layer3.Has(f.opts.LocalAddress) {
		return underlayRecord{}, fmt.Errorf("device %s does not have the local address %s: %w", f.opts.Underlay, f.opts.LocalAddress, ErrInvalid)
	}
	record := underlayRecord{Device: f.opts.Underlay, Layer3: layer3}
	text, err := json.Marshal(record)
	if err != nil {
		return underlayRecord{}, err
	}
	var operations []operation
	if exists {
		operations = switchPort{name: f.opts.Underlay}.insert(physicalBridge)
	} else {
		operations = f.insertBridge(physicalBridge, "standalone", switchPort{name: f.opts.Underlay})
	}
	operations = append(operations, setKey("Bridge", physicalBridge, "external_ids", underlayKey, string(text)))
	return record, configure(ctx, f.daemons.socket(), operations...)
}

// releaseUnderlay gives the addresses back to the device.
func (f *Fabric) releaseUnderlay(ctx context.Context) error {
	all, err := f.bridges(ctx)
	if err != nil || all[physicalBridge][underlayKey] == "" {
		return err
	}
	var record underlayRecord
	if err := json.Unmarshal([]byte(all[physicalBridge][underlayKey]), &record); err != nil {
		return fmt.Errorf("record of the underlay: %w", err)
	}
	_, err = transact(ctx, f.daemons.socket(), delKey("Bridge", physicalBridge, "external_ids", underlayKey))
	return errors.Join(err, f.host.MoveLayer3(record.Layer3, physicalBridge, record.Device))
}
