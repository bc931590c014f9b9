package image_test

import (
	"context"
	"fmt"
	"strings"

	"github.com/kintoun/kintoun/image"
	"github.com/kintoun/kintoun/image/memstore"
	"github.com/kintoun/kintoun/internal/sqlitedb"
)

func Example() {
	ctx := context.Background()
	db, err := sqlitedb.Memory(ctx)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = db.Close() }()
	images, err := image.New(ctx, db, memstore.New(nil), nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	scope := image.Scope{ProjectID: "demo"}
	img, _ := images.Create(ctx, scope, image.Spec{Name: "disk", DiskFormat: "raw", ContainerFormat: "bare"}, nil)
	img, _ = images.Upload(ctx, scope, img.ID, strings.NewReader("a disk"), -1)
	fmt.Println(img.Name, img.Status, img.Data.Size)

	img, _ = images.Create(ctx, scope, image.Spec{Name: "trap", DiskFormat: "raw", ContainerFormat: "bare"}, nil)
	_, err = images.Upload(ctx, scope, img.ID, strings.NewReader("QFI\xfb"), -1)
	fmt.Println(strings.ReplaceAll(err.Error(), img.ID, "ID"))
	// Output:
	// disk active 6
	// the data was refused: image ID: the content does not match the disk format: it was said to be raw and is qcow2
}
