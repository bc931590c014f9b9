// Command apicoverage writes the tables of what of OpenStack's APIs is served: docs/api-coverage.md, and the short one
// in README.md.
//
//	go run ./examples/allinone/apicoverage [DIR]
//
// DIR is the repository's root, by default the working directory; make generate calls it. It builds each wire
// package's routes without a service behind them, and calls none.
package main

//go:generate go run . ../../..

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/kintoun/kintoun/compute/nova"
	"github.com/kintoun/kintoun/identity/keystone"
	"github.com/kintoun/kintoun/image/glance"
	"github.com/kintoun/kintoun/internal/coverage"
	"github.com/kintoun/kintoun/internal/wire"
	"github.com/kintoun/kintoun/lbaas/lbaasv1"
	"github.com/kintoun/kintoun/network/neutron"
	"github.com/kintoun/kintoun/objectstore/swift"
	"github.com/kintoun/kintoun/volume/cinder"
)

func main() {
	root := "."
	if len(os.Args) > 1 {
		root = os.Args[1]
	}
	if err := write(root); err != nil {
		fmt.Fprintln(os.Stderr, "apicoverage:", err)
		os.Exit(1)
	}
}

func write(root string) error {
	files, err := render(root)
	if err != nil {
		return err
	}
	for name, text := range files {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// render returns what the files have to hold, by their paths below the root.
func render(root string) (map[string]string, error) {
	reports, err := reports()
	if err != nil {
		return nil, err
	}
	readme, err := os.ReadFile(filepath.Join(root, "README.md"))
	if err != nil {
		return nil, err
	}
	short, err := coverage.Insert(string(readme), coverage.Table(reports))
	if err != nil {
		return nil, fmt.Errorf("README.md: %w", err)
	}
	return map[string]string{"README.md": short, "docs/api-coverage.md": coverage.Document(reports)}, nil
}

// groups stands for the security groups that compute's old calls show, so that they are served.
type groups struct{ proxied }

type proxied = nova.SecurityGroups // which has a method of its own name

// volumes stands for the volumes that compute's old calls show.
type volumes struct{ proxiedVolumes }

type proxiedVolumes = nova.Volumes // which has a method of its own name

// images stands for the images that compute's old calls show.
type images struct{ proxiedImages }

type proxiedImages = nova.Images // which has a method of its own name

// served are the APIs in the order of the table, with their routes; those without any have no service yet.
func served() []struct {
	operations string
	routes     []wire.Route
} {
	return []struct {
		operations string
		routes     []wire.Route
	}{
		{"identity", keystone.Routes(nil, nil)},
		{"image", glance.Routes(nil, nil)},
		{"compute", nova.Routes(nil, &nova.Options{SecurityGroups: groups{}, Volumes: volumes{}, Images: images{}})},
		{"network", neutron.Routes(nil, nil)},
		{"lbaasv1", lbaasv1.Routes(nil)},
		{"load-balancer", nil},
		{"block-storage", cinder.Routes(nil, nil)},
		{"object-store", swift.Routes(nil, nil)},
	}
}

func reports() ([]*coverage.Report, error) {
	var all []*coverage.Report
	for _, s := range served() {
		api, err := coverage.Load(s.operations)
		if err != nil {
			return nil, err
		}
		all = append(all, coverage.Compare(api, s.routes))
	}
	return all, nil
}
