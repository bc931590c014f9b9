//go:build linux

package qcow2volume

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"

	"github.com/kintoun/kintoun/internal/process"
	"github.com/kintoun/kintoun/volume/internal/nbdserver"
)

// mendLeaks gives back clusters that a daemon which was killed had taken in layers, and that nothing refers to. No daemon runs. The
// socket of one that was ended in order is removed; what was written to since one got its socket may have leaks.
func (d *Driver) mendLeaks(ctx context.Context) error {
	socket, err := os.Lstat(d.path(daemonDir, monitorSocket))
	if err != nil {
		return unlessMissing(err)
	}
	program, err := process.Program("qemu-img", "clusters of volumes that a killed storage daemon had taken", "qemu-utils")
	if err != nil {
		return nil //nolint:nilerr // they cost room, nothing else
	}
	layers, err := os.Open(d.path(layersDir))
	if err != nil {
		return err
	}
	defer func() { _ = layers.Close() }()
	entries, err := layers.ReadDir(-1)
	if err != nil {
		return err
	}
	for _, e := range entries {
		info, err := e.Info()
		if err != nil || checkName(e.Name()) != nil || filepath.Ext(e.Name()) != "."+formatQCOW2 || info.ModTime().Before(socket.ModTime()) {
			continue
		}
		// One that cannot be mended is found by whoever opens it.
		_ = d.mendLayer(ctx, program, layers, info)
		if err := ctx.Err(); err != nil {
			return err
		}
	}
	return nil
}

// mendLayer runs as the daemon does, and like it does not believe the file what it stands on.
func (d *Driver) mendLayer(ctx context.Context, program string, layers *os.File, layer fs.FileInfo) error {
	cmd := exec.CommandContext(ctx, program, "check", "-q", "-r", "leaks", //nolint:gosec // a layer's name is checked
		fmt.Sprintf(`json:{"driver": "qcow2", "backing": null, "file": {"driver": "file", "filename": "/proc/self/fd/3/%s"}}`, layer.Name()))
	cmd.ExtraFiles = []*os.File{layers}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: d.account, Cloneflags: nbdserver.Sandbox(), Pdeathsig: syscall.SIGKILL}
	return cmd.Run()
}
