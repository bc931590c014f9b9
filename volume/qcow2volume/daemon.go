//go:build linux

package qcow2volume

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"syscall"
	"time"

	"github.com/kintoun/kintoun/internal/process"
	"github.com/kintoun/kintoun/volume/driver"
	"github.com/kintoun/kintoun/volume/internal/nbdserver"
	"golang.org/x/sys/unix"
)

// What belongs to the storage daemon lies in a directory of its own, its socket for clients in another, which they may enter.
const (
	daemonDir     = "daemon"
	monitorSocket = "monitor"
	unreadySocket = "monitor.new"
	daemonLog     = "log"
	socketsDir    = "sockets"
	exportSocket  = "nbd"
	stopGrace     = 10 * time.Second

	reserveFile  = "reserve"
	reserveBytes = 256 << 10
)

// running connects to the pool's storage daemon; nil if none runs.
func (d *Driver) running(ctx context.Context) (*monitor, error) {
	m, err := dialMonitor(ctx, d.path(daemonDir, monitorSocket))
	if cutOff(err) {
		// One that was killed, and has not closed all its sockets yet.
		return nil, d.ended(ctx, err)
	}
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ECONNREFUSED) {
		return nil, nil //nolint:nilnil // none
	}
	return m, err
}

// cutOff says whether err is a connection's whose other side has ended.
func cutOff(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, unix.ECONNRESET) || errors.Is(err, unix.EPIPE)
}

// ended waits until the daemon that cut us off has ended. It is an error if it has not.
func (d *Driver) ended(ctx context.Context, cutOff error) error {
	p, err := process.Find(d.path(daemonDir))
	if p == nil || err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, stopGrace)
	defer cancel()
	if err := p.Wait(ctx); err != nil {
		return fmt.Errorf("qemu-storage-daemon, which goes on, ended a connection: %w", errors.Join(cutOff, err))
	}
	return nil
}

// daemon connects to the pool's storage daemon, which is started if it does not run: then it serves what is connected.
func (d *Driver) daemon(ctx context.Context) (*monitor, error) {
	m, err := d.running(ctx)
	if m != nil || err != nil {
		return m, err
	}
	m, err = d.startDaemon(ctx)
	if errors.Is(roomed(err), driver.ErrFull) {
		// What is kept in a full pool can be read, and removed.
		if err := unlessMissing(os.Remove(d.path(daemonDir, reserveFile))); err != nil {
			return nil, err
		}
		m, err = d.startDaemon(ctx)
	}
	if err != nil {
		return nil, err
	}
	// A connection that cannot be served again says so when it is asked for.
	_ = d.serveAll(ctx, m)
	return m, nil
}

// reserve keeps room for starting the daemon when everything else is full. There may be none left already.
func (d *Driver) reserve() error {
	path := d.path(daemonDir, reserveFile)
	if _, err := os.Stat(path); err == nil {
		return nil
	}
	err := os.WriteFile(path, bytes.Repeat([]byte("reserve\n"), reserveBytes/8), 0o600)
	if errors.Is(roomed(err), driver.ErrFull) {
		return unlessMissing(os.Remove(path))
	}
	return err
}

func (d *Driver) startDaemon(ctx context.Context) (*monitor, error) {
	dir := d.path(daemonDir)
	if err := d.settle(ctx); err != nil {
		return nil, err
	}
	program, err := nbdserver.Program("volumes that are qcow2 files")
	if err != nil {
		return nil, err
	}
	if err := d.give(); err != nil {
		return nil, err
	}
	layers, err := os.Open(d.path(layersDir))
	if err != nil {
		return nil, err
	}
	defer func() { _ = layers.Close() }()
	sockets, ready, err := d.sockets()
	if err != nil {
		return nil, err
	}
	defer func() { _ = ready.Close() }()
	p, err := process.Start(process.Spec{
		Dir: dir, Path: program, Output: d.path(daemonDir, daemonLog), Credential: d.account, Cloneflags: nbdserver.Sandbox(),
		Files: append([]*os.File{layers}, sockets...),
		Args: []string{
			"--chardev", "socket,id=monitor,fd=5,server=on,wait=off", "--monitor", "chardev=monitor",
			"--chardev", "socket,id=ready,fd=6", "--monitor", "chardev=ready",
			"--nbd-server", "addr.type=fd,addr.str=4",
		},
	})
	// Ours have to be closed before we connect: we would wait for ourselves.
	if err := errors.Join(err, closeAll(sockets)); err != nil {
		return nil, err
	}
	d.ends.Started(daemonDir, p)
	m, err := d.published(ctx, ready)
	if err != nil {
		return nil, fmt.Errorf("qemu-storage-daemon does not start: %w: %s", err, nbdserver.Said(d.path(daemonDir, daemonLog)))
	}
	return m, nil
}

// sockets opens the daemon's: for clients, for control under a name that nobody looks for yet, and a connection whose other side
// is ours.
func (d *Driver) sockets() (theirs []*os.File, ready net.Conn, err error) {
	exports, err := listenUnix(d.path(socketsDir, exportSocket), 0o666)
	if err != nil {
		return nil, nil, err
	}
	control, err := listenUnix(d.path(daemonDir, unreadySocket), 0o600)
	if err != nil {
		return nil, nil, errors.Join(err, exports.Close())
	}
	ready, other, err := pair()
	if err != nil {
		return nil, nil, errors.Join(err, exports.Close(), control.Close())
	}
	return []*os.File{exports, control, other}, ready, nil
}

func closeAll(sockets []*os.File) (err error) {
	for _, socket := range sockets {
		err = errors.Join(err, unix.SetNonblock(int(socket.Fd()), true), socket.Close())
	}
	return err
}

// published waits until a daemon that was just started hears its control socket, and only then gives that its name. Who connects
// earlier meets two of its threads, and may be heard by neither, for ever. What it answers by the connection that it had from its
// beginning comes from the thread that both are served by, after it has seen to both.
func (d *Driver) published(ctx context.Context, ready net.Conn) (*monitor, error) {
	if _, err := greeted(ready); err != nil {
		return nil, err
	}
	if err := os.Rename(d.path(daemonDir, unreadySocket), d.path(daemonDir, monitorSocket)); err != nil {
		return nil, err
	}
	return dialMonitor(ctx, d.path(daemonDir, monitorSocket))
}

// give lets the daemon's account open the layers.
func (d *Driver) give() error {
	if d.account == nil {
		return nil
	}
	uid, gid := int(d.account.Uid), int(d.account.Gid)
	entries, err := os.ReadDir(d.path(layersDir))
	if err != nil {
		return err
	}
	err = os.Chown(d.path(layersDir), uid, gid)
	for _, e := range entries {
		info, statErr := e.Info()
		if stat, ok := statOf(info); statErr == nil && ok && stat.Uid != d.account.Uid {
			err = errors.Join(err, os.Lchown(d.layerPath(e.Name()), uid, gid))
		}
	}
	return err
}

func statOf(info os.FileInfo) (*syscall.Stat_t, bool) {
	if info == nil {
		return nil, false
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	return stat, ok
}

// export is one of the daemon's.
type export struct {
	ID   string
	Node string `json:"node-name"`
}

func (m *monitor) exports() (all []export, err error) {
	err = m.do("query-block-exports", nil, &all)
	return all, err
}

// rest closes the layers of these nodes, and what is below them, as far as nobody uses them, and ends the daemon if nobody uses
// anything.
func (d *Driver) rest(ctx context.Context, m *monitor, nodes ...string) error {
	for _, node := range nodes {
		if err := d.close(m, node); err != nil {
			return err
		}
	}
	exports, err := m.exports()
	if err != nil || len(exports) > 0 {
		return err
	}
	if jobs, err := m.jobs(); err != nil || len(jobs) > 0 {
		return err
	}
	return d.stopDaemon(ctx)
}

// sweep closes all layers that nobody uses: a process that was killed may have left some open.
func (d *Driver) sweep(m *monitor) error {
	var all []struct {
		Name string `json:"node-name"`
	}
	if err := m.do("query-named-block-nodes", map[string]any{"flat": true}, &all); err != nil {
		return err
	}
	for _, node := range all {
		if layerOf(node.Name) != "" {
			if err := d.close(m, node.Name); err != nil {
				return err
			}
		}
	}
	return nil
}

// stopDaemon ends it: nothing that it has open was promised to anybody.
func (d *Driver) stopDaemon(ctx context.Context) error {
	if err := d.endDaemon(ctx); err != nil {
		return err
	}
	return d.unname()
}

// settle leaves none behind, and nothing of one that was killed.
func (d *Driver) settle(ctx context.Context) error {
	err := d.endDaemon(ctx)
	if err == nil {
		err = d.mendLeaks(ctx)
	}
	if err == nil {
		err = d.unname()
	}
	return err
}

// endDaemon ends what runs. A process that was killed while it started one may have left another, which nobody knew of yet.
func (d *Driver) endDaemon(ctx context.Context) error {
	for {
		running, err := process.Find(d.path(daemonDir))
		if err != nil || running == nil {
			return err
		}
		if err := running.Stop(context.WithoutCancel(ctx), stopGrace); err != nil {
			return err
		}
	}
}

// unname has nobody look for a daemon.
func (d *Driver) unname() error { return unlessMissing(os.Remove(d.path(daemonDir, monitorSocket))) }

// Stop ends everything that runs for the pool, for a host that is shut down: connected volumes are cut off from their servers. What
// was flushed is durable. The next New has them served again.
func (d *Driver) Stop(ctx context.Context) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	all, err := d.connections().All()
	for _, c := range all {
		err = errors.Join(err, nbdserver.Stop(ctx, d.connections().Dir(c.Connection)))
	}
	if err = errors.Join(err, d.stopDaemon(ctx)); err != nil {
		return fmt.Errorf("qcow2volume: %w", err)
	}
	return nil
}

// Watch says which connections are to be mended: all of the pool's when its daemon has ended, another host's when its server has.
func (d *Driver) Watch(ctx context.Context, changed func(connectionID string)) error {
	return d.ends.Watch(ctx, d.serving, func(name string) {
		if name != daemonDir {
			changed(name)
			return
		}
		all, _ := d.connections().All() // those that can be read
		for _, c := range all {
			changed(c.ID)
		}
	})
}

// serving are the processes that there should be.
func (d *Driver) serving(context.Context) (map[string]*process.Process, error) {
	all, err := d.connections().All()
	if err != nil || len(all) == 0 {
		return nil, err
	}
	processes, err := d.connections().Servers()
	if err == nil {
		processes[daemonDir], err = process.Find(d.path(daemonDir))
	}
	return processes, err
}
