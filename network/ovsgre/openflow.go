//go:build linux

package ovsgre

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"

	"github.com/digitalocean/go-openvswitch/ovs"
	"github.com/kintoun/kintoun/internal/process"
)

// push changes the tunnel bridge's flows, all or none. ovs-ofctl is run once for any number of flows.
func (d *daemons) push(ctx context.Context, change flowChange) error {
	if _, err := process.Program("ovs-ofctl", "flows", debianPackage); err != nil {
		return err
	}
	runner := &ofctl{ctx: ctx, runDir: d.runDir}
	err := runner.client().OpenFlow.AddFlowBundle(d.management(tunnelBridge), func(tx *ovs.FlowTransaction) error {
		tx.Delete(change.delete...)
		tx.Add(change.add...)
		return tx.Commit()
	})
	if runner.err != nil {
		err = runner.err
	}
	if err != nil {
		return fmt.Errorf("push %d changes of flows: %w", len(change.delete)+len(change.add), err)
	}
	return nil
}

// An ofctl runs the programs of one call of go-openvswitch, which knows no contexts, until ctx is done. It keeps the
// error of the one that failed: the library's own cannot be unwrapped.
type ofctl struct {
	ctx    context.Context
	runDir string
	err    error
}

// client is good for one call. OpenFlow 1.4 has bundles.
func (o *ofctl) client() *ovs.Client {
	return ovs.New(ovs.Protocols([]string{ovs.ProtocolOpenFlow14}), ovs.Pipe(o.run), ovs.Exec(func(name string, args ...string) ([]byte, error) {
		return o.run(nil, name, args...)
	}))
}

func (o *ofctl) run(stdin io.Reader, name string, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(o.ctx, name, args...)
	cmd.Env = append(os.Environ(), "OVS_RUNDIR="+o.runDir)
	cmd.Stdin = stdin
	out, err := cmd.CombinedOutput()
	if err != nil {
		o.err = fmt.Errorf("%s: %w: %s", name, errors.Join(o.ctx.Err(), err), bytes.TrimSpace(out))
	}
	return out, o.err
}
