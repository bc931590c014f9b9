package webhook

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/kintoun/kintoun/event"
)

// Cursor keeps how far each hook is. It is called by all hooks at once.
type Cursor interface {
	// Load returns what was saved last for the hook of that name, and nil for a hook that is new.
	Load(ctx context.Context, hook string) (event.Position, error)
	// Save keeps the position; it must not keep the map.
	Save(ctx context.Context, hook string, position event.Position) error
}

// MemoryCursor forgets with the process. The zero MemoryCursor is empty.
type MemoryCursor struct {
	mu    sync.Mutex
	hooks map[string]event.Position
}

// Load is of [Cursor].
func (c *MemoryCursor) Load(_ context.Context, hook string) (event.Position, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return maps.Clone(c.hooks[hook]), nil
}

// Save is of [Cursor].
func (c *MemoryCursor) Save(_ context.Context, hook string, position event.Position) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.hooks == nil {
		c.hooks = map[string]event.Position{}
	}
	c.hooks[hook] = maps.Clone(position)
	return nil
}

// FileCursor keeps a file per hook, NAME.position, in the directory, which it creates. A file is replaced as a whole,
// and on disk when Save returns.
type FileCursor string

func (c FileCursor) path(hook string) string { return filepath.Join(string(c), hook+".position") }

// Load is of [Cursor].
func (c FileCursor) Load(_ context.Context, hook string) (event.Position, error) {
	text, err := os.ReadFile(c.path(hook))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	position, err := event.ParsePosition(strings.TrimSpace(string(text)))
	if err != nil {
		return nil, fmt.Errorf("%s: %w (without the file, the hook begins anew)", c.path(hook), err)
	}
	return position, nil
}

// Save is of [Cursor].
func (c FileCursor) Save(_ context.Context, hook string, position event.Position) (err error) {
	if err := os.MkdirAll(string(c), 0o755); err != nil {
		return err
	}
	file, err := os.CreateTemp(string(c), hook+".*.new")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(file.Name())
		}
	}()
	_, err = file.WriteString(position.String() + "\n")
	if err = errors.Join(err, file.Sync(), file.Close()); err != nil {
		return err
	}
	return os.Rename(file.Name(), c.path(hook))
}
