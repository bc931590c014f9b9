// Command extract collects the operations of OpenStack's APIs from the sources of the API reference.
//
//	go run ./internal/coverage/extract -checkouts DIR -out internal/coverage/operations
//
// DIR holds checkouts of the repositories, each in a directory of its name: nova, neutron-lib, keystone, glance,
// cinder, octavia and swift, of github.com/openstack. It is run by hand, when the reference has moved on; the
// commits that it read are written beside the operations. It takes facts only: methods, paths, the names of
// operations, of actions and of the sections that they stand in.
//
// The reference is written in reStructuredText: an index includes files whose headings name operations, and a
// directive "rest_method" below a heading gives the method and the path.
//
// LBaaS v1 left the reference long ago; its operations, lbaasv1.json, are kept by hand.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/kintoun/kintoun/internal/coverage"
)

// source is where an API's operations are listed.
type source struct {
	file       string // of the operations
	service    string
	name       string
	repository string
	// indexes are the documents that include the reference's parts, below api-ref/source.
	indexes []string
	// prefix stands before paths that do not begin with a version.
	prefix string
	// end is the heading at which reading ends, and note says what that leaves out.
	end, note string
	// actions are names of actions, by the operation's title, that only the reference's examples tell.
	actions map[string]string
}

func sources() []source {
	return []source{
		{file: "identity", service: "identity", name: "Identity API v3 (Keystone)", repository: "keystone", indexes: []string{"v3/index.rst", "v3-ext/index.rst"}},
		{file: "image", service: "image", name: "Image API v2 (Glance)", repository: "glance", indexes: []string{"versions/index.rst", "v2/index.rst", "v2/metadefs-index.rst"}},
		{
			file: "compute", service: "compute", name: "Compute API v2.1 (Nova)", repository: "nova", indexes: []string{"index.rst"}, prefix: "/v2.1",
			end: "Obsolete APIs", note: "Without the chapter Obsolete APIs, which no longer exist in Nova.",
		},
		{
			file: "network", service: "network", name: "Networking API v2.0 (Neutron)", repository: "neutron-lib", indexes: []string{"v2/index.rst"},
			note: "With the extensions of projects beside Neutron: firewalls, VPN, BGP, service function chains, taps.",
		},
		{
			file: "block-storage", service: "block-storage", name: "Block Storage API v3 (Cinder)", repository: "cinder", indexes: []string{"v3/index.rst"},
			actions: map[string]string{
				"Complete attachment": "os-complete", "List replication targets": "list_replication_targets", "Enable group replication": "enable_replication",
				"Disable group replication": "disable_replication", "Failover replication": "failover_replication",
			},
		},
		{file: "object-store", service: "object-store", name: "Object Storage API v1 (Swift)", repository: "swift", indexes: []string{"index.rst"}},
		{file: "load-balancer", service: "load-balancer", name: "Load Balancer API v2 (Octavia)", repository: "octavia", indexes: []string{"v2/index.rst"}},
	}
}

func main() {
	checkouts := flag.String("checkouts", "", "directory of the checkouts")
	out := flag.String("out", "internal/coverage/operations", "directory to write to")
	flag.Parse()
	for _, s := range sources() {
		if err := write(context.Background(), s, *checkouts, *out); err != nil {
			fmt.Fprintln(os.Stderr, "extract:", err)
			os.Exit(1)
		}
	}
}

// write extracts one API and writes its file.
func write(ctx context.Context, s source, checkouts, out string) error {
	checkout := filepath.Join(checkouts, s.repository)
	commit, err := exec.CommandContext(ctx, "git", "-C", checkout, "rev-parse", "HEAD").Output()
	if err != nil {
		return fmt.Errorf("the commit of %s: %w", checkout, err)
	}
	api := coverage.API{Service: s.service, Name: s.name, Note: s.note, Source: "github.com/openstack/" + s.repository + " at " + strings.TrimSpace(string(commit)) + ", api-ref/source"}
	for _, index := range s.indexes {
		d := document{root: os.DirFS(filepath.Join(checkout, "api-ref", "source"))}
		if err := d.read(index); err != nil {
			return fmt.Errorf("%s: %w", s.repository, err)
		}
		api.Operations = append(api.Operations, d.operations(&s)...)
	}
	api.Operations = coverage.Distinct(api.Operations)
	data, err := render(&api)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(out, s.file+".json"), data, 0o644)
}

// render writes an operation a line, so that changes are easily read.
func render(api *coverage.API) ([]byte, error) {
	operations := api.Operations
	head := *api
	head.Operations = []coverage.Operation{}
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	if err := encoder.Encode(head); err != nil {
		return nil, err
	}
	b.Truncate(bytes.LastIndex(b.Bytes(), []byte("[]")))
	encoder.SetIndent("", "")
	b.WriteString("[\n")
	for i, o := range operations {
		if i > 0 {
			b.Truncate(b.Len() - 1)
			b.WriteString(",\n")
		}
		b.WriteString("    ")
		if err := encoder.Encode(o); err != nil {
			return nil, err
		}
	}
	b.WriteString("  ]\n}\n")
	return b.Bytes(), nil
}
