package images

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"io"
	"os"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/kintoun/kintoun/event"
	"github.com/kintoun/kintoun/image"
	"github.com/kintoun/kintoun/image/filestore"
	_ "modernc.org/sqlite"
)

func TestImages(t *testing.T) {
	ctx := t.Context()
	db, err := sql.Open("sqlite", "file:"+t.TempDir()+"/images.db?_txlock=immediate&_pragma=busy_timeout(10000)&_pragma=journal_mode(WAL)")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	store, err := filestore.New(t.TempDir(), nil)
	if err != nil {
		t.Fatal(err)
	}
	images, err := image.New(ctx, db, store, nil)
	if err != nil {
		t.Fatal(err)
	}
	mine := image.Scope{ProjectID: "p1"}
	i, err := images.Create(ctx, mine, image.Spec{Name: "tiny", DiskFormat: "raw", ContainerFormat: "bare"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	content := bytes.Repeat([]byte{0x90}, 1<<20)
	copy(content[510:], "\x55\xaa")
	broken := io.MultiReader(bytes.NewReader(content[:1000]), iotest.ErrReader(errors.New("the line is cut")))
	if _, err := images.Upload(ctx, mine, i.ID, broken, -1); err == nil || !strings.Contains(err.Error(), "the line is cut") {
		t.Error(err)
	}
	if i, err = images.Get(ctx, mine, i.ID); err != nil || i.Status != image.Queued {
		t.Error(i, err)
	}
	if i, err = images.Upload(ctx, mine, i.ID, bytes.NewReader(content), int64(len(content))); err != nil || i.Status != image.Active {
		t.Fatal(i, err)
	}
	path, err := images.LocalPath(ctx, mine, i.ID)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, content) {
		t.Error(len(got), err)
	}
	_, f, err := images.Open(ctx, mine, i.ID)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(f); err != nil || !bytes.Equal(got, content) {
		t.Error(len(got), err)
	}
	f.Close()
	if _, err := images.Get(ctx, image.Scope{ProjectID: "p2"}, i.ID); !errors.Is(err, image.ErrNotFound) {
		t.Error(err)
	}
	if err := images.Delete(ctx, mine, i.ID); err != nil {
		t.Fatal(err)
	}

	// Everything was told.
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	var told []event.Action
	for e, err := range images.Watch(ctx, 0) {
		if err != nil {
			t.Fatal(err)
		}
		t.Log(e.Seq, e.Type, e.Action, e.Status)
		told = append(told, e.Action)
		if e.Action == event.Deleted {
			break
		}
	}
	if len(told) < 3 || told[0] != event.Created {
		t.Error(told)
	}
}
