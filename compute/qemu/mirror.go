//go:build linux

package qemu

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/kintoun/kintoun/compute/qemu/qmp"
	"github.com/kintoun/kintoun/internal/fault"
)

// jobGlance is how often a job's state is asked for, should its events be missed.
const jobGlance = time.Second

// copying is a conversation with a QEMU about the copy of its disk. What there is it asks every time: whatever a killed
// predecessor has begun is seen.
type copying struct{ client *qmp.Client }

func (c copying) do(ctx context.Context, command string, arguments map[string]any) error {
	_, err := execute[json.RawMessage](ctx, c.client, command, arguments)
	return err
}

// blockNode is a block node as QEMU tells of it.
type blockNode struct {
	Name  string `json:"node-name"`
	Image struct {
		Size int64 `json:"virtual-size"`
	}
}

func (c copying) node(ctx context.Context, name string) (*blockNode, error) {
	nodes, err := execute[[]blockNode](ctx, c.client, "query-named-block-nodes", map[string]any{"flat": true})
	if i := slices.IndexFunc(nodes, func(n blockNode) bool { return n.Name == name }); i >= 0 {
		return &nodes[i], err
	}
	return nil, err
}

// size is the disk's size in bytes.
func (c copying) size(ctx context.Context) (int64, error) {
	root, err := c.node(ctx, rootNode)
	if err != nil {
		return 0, err
	}
	if root == nil {
		return 0, fault.Wrap(ErrInvalid, "it runs without a disk of its own")
	}
	return root.Image.Size, nil
}

// blockJob is a job as QEMU tells of it.
type blockJob struct{ ID, Status, Error string }

// concluded is the status of a job that has ended and is remembered.
const concluded = "concluded"

func (c copying) job(ctx context.Context) (*blockJob, error) {
	jobs, err := execute[[]blockJob](ctx, c.client, "query-jobs", nil)
	if i := slices.IndexFunc(jobs, func(j blockJob) bool { return j.ID == captureName }); i >= 0 {
		return &jobs[i], err
	}
	return nil, err
}

// mirror copies the disk to the file at path, which has its size.
func (c copying) mirror(ctx context.Context, path, format string) error {
	file, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	_, set, err := giveFile(ctx, c.client, file, captureName)
	if err = errors.Join(err, file.Close()); err != nil {
		return err
	}
	err = c.do(ctx, "blockdev-add", map[string]any{
		"driver": format, "node-name": captureName, "discard": "unmap", "file": fileNode(set),
	})
	if err != nil {
		return err
	}
	watching, cancel := context.WithCancel(ctx)
	defer cancel()
	events, err := c.client.Events(watching)
	if err != nil {
		return err
	}
	err = c.do(ctx, "blockdev-mirror", map[string]any{
		"job-id": captureName, "device": rootNode, "target": captureName, "sync": "full", "auto-dismiss": false,
	})
	if err != nil {
		return err
	}
	return c.await(ctx, events)
}

// await waits until a mirror has copied everything, and ends it there: the disk does not change places with its copy.
func (c copying) await(ctx context.Context, events <-chan qmp.Event) error {
	ticker := time.NewTicker(jobGlance)
	defer ticker.Stop()
	ending := false
	for {
		job, err := c.job(ctx)
		switch {
		case err != nil:
			return err
		case job == nil:
			return fault.Wrap(ErrUnavailable, "QEMU has forgotten the job")
		case job.Error != "":
			return fault.Wrap(ErrUnavailable, "QEMU: %s", job.Error)
		case job.Status == concluded && ending:
			return nil
		case job.Status == concluded:
			return fault.Wrap(ErrUnavailable, "QEMU ended the job")
		case job.Status == "ready" && !ending:
			if err := c.do(ctx, "block-job-cancel", map[string]any{"device": captureName}); err != nil {
				return err
			}
			ending = true
		}
		select {
		case _, ok := <-events:
			if !ok {
				events = nil
			}
		case <-ticker.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// clear ends a copy that is under way, and has QEMU let go of it. A node may be in use for a moment after its job has ended.
func (c copying) clear(ctx context.Context) error {
	for try := 1; ; try++ {
		err := c.tryClear(ctx)
		var said *qmp.Error
		if err == nil || !errors.As(err, &said) || try == lookAgain {
			return err
		}
		if err := pause(ctx, lookPause); err != nil {
			return err
		}
	}
}

func (c copying) tryClear(ctx context.Context) error {
	if err := c.endJob(ctx); err != nil {
		return err
	}
	node, err := c.node(ctx, captureName)
	if err == nil && node != nil {
		err = c.do(ctx, "blockdev-del", map[string]any{"node-name": captureName})
	}
	if err != nil {
		return err
	}
	sets, err := fileSets(ctx, c.client)
	for _, set := range sets {
		if err == nil && set.belongsTo(func(opaque string) bool { return opaque == captureName }) {
			err = c.do(ctx, "remove-fd", map[string]any{"fdset-id": set.ID})
		}
	}
	return err
}

func (c copying) endJob(ctx context.Context) error {
	for asked := false; ; {
		job, err := c.job(ctx)
		if err != nil || job == nil {
			return err
		}
		if job.Status == concluded {
			return c.do(ctx, "job-dismiss", map[string]any{"id": captureName})
		}
		if !asked {
			asked = true
			if err := c.do(ctx, "block-job-cancel", map[string]any{"device": captureName, "force": true}); err != nil {
				return fmt.Errorf("job %s: %w", job.Status, err)
			}
		}
		if err := pause(ctx, lookPause); err != nil {
			return err
		}
	}
}
