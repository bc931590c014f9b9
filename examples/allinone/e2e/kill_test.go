//go:build linux

package e2e

import (
	"bufio"
	"bytes"
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/kintoun/kintoun/examples/allinone/cloud"
	"github.com/stretchr/testify/require"
)

var kills = flag.Int("e2e.kills", 8, "how often the server, a virtual machine or the storage daemon is killed under a guest that writes to a volume")

const (
	// The guest writes its volume's first blocks in turn, each full of the number of the write.
	blockBytes = 4096
	blockCount = 64
)

// TestKillsLoseNothing has a guest write to a volume, while the server, the guest's own QEMU and, where there is one, the storage
// daemon are killed at random: what was acknowledged as flushed is there, nothing is torn, and nothing is left in the end.
func TestKillsLoseNothing(t *testing.T) {
	for format, left := range map[string]string{"raw": "volumes/volume-*", "qcow2": "volumes.qcow2/layers/*"} {
		t.Run(format, func(t *testing.T) { killAll(t, format, left) })
	}
}

func killAll(t *testing.T, format, remains string) {
	w := &walk{testCloud: newCloud(t, "bridge", "-volumes-format", format)}
	w.prepare()
	w.demo.t = t
	w.rules()
	w.serverWith("vm1", vm1Address, "--image", "cirros")
	id := w.demo.id("openstack", "server", "show", "vm1")
	w.demo.cli("openstack", "volume", "create", "--size", "1", "data")
	w.demo.volumeBecomes("data", "available")
	w.demo.cli("openstack", "server", "add", "volume", "vm1", "data")
	w.demo.volumeBecomes("data", "in-use")
	w.disk("vdb", gib)
	seed := time.Now().UnixNano()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(uint64(seed), 1)) //nolint:gosec // it draws moments, not secrets
	last := 0
	for n := range *kills {
		writer := w.startWriter(last + 1)
		time.Sleep(time.Duration(300+random.IntN(1200)) * time.Millisecond)
		last = max(last, w.killOne(random, format, id, writer))
		last = w.holds(n, last)
	}
	t.Logf("%d writes were acknowledged over %d kills", last, *kills)
	require.Positive(t, last)
	w.demo.cli("openstack", "server", "delete", "--wait", "vm1")
	w.demo.volumeBecomes("data", "available")
	w.demo.cli("openstack", "volume", "delete", "data")
	w.eventually(time.Minute, "nothing is left in the pool", func() error {
		left, err := filepath.Glob(filepath.Join(w.DataDir, remains))
		if err == nil && len(left) > 0 {
			err = fmt.Errorf("%v are left", left)
		}
		return err
	})
}

// killOne kills one of what there is, has it come back, and returns the last number that was acknowledged.
func (w *walk) killOne(random *rand.Rand, format, server string, writing *writer) int {
	w.t.Helper()
	switch kind := random.IntN(3); {
	case kind == 0:
		w.killMachine(server)
		last := writing.ended(w.t)
		w.startAgain(server)
		return last
	case kind == 1 && format == "qcow2":
		w.killStorage()
		time.Sleep(time.Duration(random.IntN(300)) * time.Millisecond)
	default:
		w.kill()
		time.Sleep(time.Duration(random.IntN(300)) * time.Millisecond)
		w.start()
		w.demo.becomes("vm1", "ACTIVE")
	}
	return w.stop(writing)
}

// writer is a login to vm1 that writes and says what was flushed.
type writer struct {
	cmd  *exec.Cmd
	last chan int
}

func (w *walk) startWriter(from int) *writer {
	w.t.Helper()
	script := fmt.Sprintf(`echo $$ >/tmp/writer; n=%d; while :; do printf %%0%dd $n | dd of=/dev/vdb bs=%d seek=$((n %% %d)) conv=fsync,notrunc 2>/dev/null || exit; echo $n || exit; n=$((n + 1)); done`,
		from, blockBytes, blockBytes, blockCount)
	cmd := exec.CommandContext(w.ctx, "ip", w.sshArguments("sudo sh -c '"+script+"'")...)
	out, err := cmd.StdoutPipe()
	require.NoError(w.t, err)
	require.NoError(w.t, cmd.Start())
	writing := &writer{cmd, make(chan int, 1)}
	go func() {
		last := 0
		for lines := bufio.NewScanner(out); lines.Scan(); {
			if n, err := strconv.Atoi(lines.Text()); err == nil {
				last = n
			}
		}
		writing.last <- last
	}()
	return writing
}

// sshArguments are those of ip(8) for a command in vm1. A dead guest is noticed within seconds.
func (w *walk) sshArguments(command string) []string {
	return []string{
		"netns", "exec", w.dhcp, "ssh", "-i", w.key, "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null",
		"-o", "LogLevel=ERROR", "-o", "ConnectTimeout=5", "-o", "ServerAliveInterval=1", "-o", "ServerAliveCountMax=3", "cirros@" + vm1Address, command,
	}
}

// ended waits until the login has broken, and returns the last number that was acknowledged.
func (w *writer) ended(t testing.TB) int {
	t.Helper()
	select {
	case last := <-w.last:
		_ = w.cmd.Wait() // it broke
		return last
	case <-time.After(time.Minute):
		require.Fail(t, "the writer goes on in a machine that was killed")
		return 0
	}
}

// stop ends a writer that the death of the control plane has not touched.
func (w *walk) stop(writing *writer) int {
	w.t.Helper()
	select {
	case <-writing.last:
		require.Fail(w.t, "the writer was disturbed by the end of the server")
	default:
	}
	w.inGuest(vm1Address, "kill -9 $(cat /tmp/writer); sleep 0.3")
	return writing.ended(w.t)
}

// killMachine kills the server's QEMU.
func (w *walk) killMachine(id string) {
	w.t.Helper()
	pid, err := strconv.Atoi(strings.Fields(w.must("pgrep", "-f", "qemu-system.*guest="+id))[0])
	require.NoError(w.t, err)
	require.NoError(w.t, syscall.Kill(pid, syscall.SIGKILL))
}

// startAgain starts the server once the cloud has seen that it died.
func (w *walk) startAgain(id string) {
	w.t.Helper()
	w.demo.becomes("vm1", "SHUTOFF")
	_, err := w.demo.call("POST", cloud.Compute, "/v2.1/servers/"+id+"/action", `{"os-start": null}`)
	require.NoError(w.t, err)
	w.demo.becomes("vm1", "ACTIVE")
	w.loggedIn(w.dhcp, vm1Address, "vm1")
	w.disk("vdb", gib)
}

// holds checks that the volume has everything up to the last number, or later writes, and nothing torn; it returns the highest.
func (w *walk) holds(round, last int) int {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.ctx, time.Minute)
	defer cancel()
	command := fmt.Sprintf("sudo sh -c 'echo 3 >/proc/sys/vm/drop_caches; dd if=/dev/vdb bs=%d count=%d 2>/dev/null'", blockBytes, blockCount)
	data, err := exec.CommandContext(ctx, "ip", w.sshArguments(command)...).Output()
	require.NoError(w.t, err)
	require.Len(w.t, data, blockBytes*blockCount)
	highest := last
	for i := range blockCount {
		block := data[i*blockBytes : (i+1)*blockBytes]
		n := 0
		if !bytes.Equal(block, make([]byte, blockBytes)) {
			n, err = strconv.Atoi(strings.TrimLeft(string(block), "0"))
			require.NoError(w.t, err, "round %d: block %d is torn", round, i)
			require.Equal(w.t, fmt.Sprintf("%0*d", blockBytes, n), string(block))
		}
		// The newest number up to last that belongs into this block.
		due := last - (last-i+blockCount)%blockCount
		require.GreaterOrEqual(w.t, n, max(due, 0), "round %d: block %d lost a write that was acknowledged", round, i)
		highest = max(highest, n)
	}
	return highest
}
