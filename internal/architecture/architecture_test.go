package architecture_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const module = "github.com/kintoun/kintoun"

// listed is what the go command says of a package.
type listed struct {
	ImportPath, Dir, Doc, Name         string
	Standard                           bool
	Imports, TestImports, XTestImports []string
	Deps                               []string
	GoFiles                            []string
}

func (p *listed) path() string { return below(p.ImportPath) }

// below is the path below the module, and "." for what is not of it.
func below(importPath string) string {
	if importPath == module {
		return ""
	}
	path, ok := strings.CutPrefix(importPath, module+"/")
	if !ok {
		return "."
	}
	return path
}

// packages lists the module's packages.
func packages(t *testing.T) []listed {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "list", "-json=ImportPath,Dir,Doc,Name,Imports,TestImports,XTestImports,Deps,GoFiles", "./...")
	cmd.Dir = root(t)
	var problems bytes.Buffer
	cmd.Stderr = &problems
	out, err := cmd.Output()
	require.NoError(t, err, problems.String())
	var list []listed
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		var p listed
		err := d.Decode(&p)
		if errors.Is(err, io.EOF) {
			break
		}
		require.NoError(t, err)
		list = append(list, p)
	}
	require.NotEmpty(t, list)
	return list
}

func root(t *testing.T) string {
	t.Helper()
	dir, err := filepath.Abs("../..")
	require.NoError(t, err)
	require.FileExists(t, filepath.Join(dir, "go.mod"))
	return dir
}

// standard says whether the import is of the standard library.
func standard(importPath string) bool {
	first, _, _ := strings.Cut(importPath, "/")
	return !strings.Contains(first, ".")
}

func under(importPath, prefix string) bool {
	return importPath == prefix || strings.HasPrefix(importPath, prefix+"/")
}

func TestImports(t *testing.T) {
	for _, p := range packages(t) {
		k, self := room(p.path())
		if k == stranger {
			t.Errorf("%s: there is no such room: a package belongs to one of the domains (%s), to event, inject or probe, to internal or to examples", p.ImportPath, strings.Join(domains, ", "))
			continue
		}
		for _, i := range p.Imports {
			if why := forbidden(p.path(), k, self, i); why != "" {
				t.Errorf("%s (a %s) may not import %s: %s", p.path(), k, i, why)
			}
		}
	}
}

// forbidden says why the room may not import i, or nothing.
func forbidden(path string, k kind, self, i string) string {
	r, own := rules[k], below(i)
	switch {
	case own == "." && standard(i):
		return ""
	case own == "." && r.outside != nil && !slices.ContainsFunc(r.outside, func(prefix string) bool { return under(i, prefix) }):
		return r.why
	case own == ".", exceptions[[2]string{path, own}] != "":
		return ""
	case k == technology && under(own, path):
		return "" // a large driver has rooms of its own
	}
	if ik, of := room(own); !r.may(self, own, ik, of) {
		return r.why
	}
	return ""
}

// TestTestImports lets tests use what they test with, which is never another domain.
func TestTestImports(t *testing.T) {
	for _, p := range packages(t) {
		k, self := room(p.path())
		if k == example {
			continue
		}
		for _, i := range append(p.TestImports, p.XTestImports...) {
			own := below(i)
			_, of := room(own)
			if own == "." || of == "" || of == self || exceptions[[2]string{p.path(), own}] != "" || k == dialect && own == "identity" {
				continue
			}
			t.Errorf("the tests of %s may not import %s: a domain must be tested without the others; what spans domains is tested in examples", p.path(), i)
		}
	}
}

// sqlDrivers are the modules that open databases.
var sqlDrivers = []string{"modernc.org/sqlite", "github.com/mattn/go-sqlite3", "github.com/jackc/pgx", "github.com/lib/pq"}

func TestDatabaseDriversStayOutOfLibraries(t *testing.T) {
	for _, p := range packages(t) {
		// The small programs are outsiders, who open their own.
		if k, _ := room(p.path()); k == example && !under(p.path(), "examples/allinone") || slices.Contains([]string{"internal/sqlitedb", "internal/lab/postgres"}, p.path()) {
			continue
		}
		for _, i := range p.Imports {
			if slices.ContainsFunc(sqlDrivers, func(d string) bool { return under(i, d) }) {
				t.Errorf("%s may not import %s: only internal/sqlitedb, and internal/lab/postgres for tests, open databases. Everybody else takes a *sql.DB, whichever driver is behind it", p.path(), i)
			}
		}
		if k, _ := room(p.path()); k == example {
			continue
		}
		for _, d := range p.Deps {
			if slices.ContainsFunc(sqlDrivers, func(driver string) bool { return under(d, driver) }) {
				t.Errorf("%s depends on %s: who embeds one package must not compile a database", p.path(), d)
			}
		}
	}
}

// TestDomainsStandAlone looks at everything that a package drags along, not only at what it imports itself.
func TestDomainsStandAlone(t *testing.T) {
	for _, p := range packages(t) {
		k, self := room(p.path())
		if k == example || self == "" {
			continue
		}
		for _, d := range p.Deps {
			of := ""
			if own := below(d); own != "." {
				_, of = room(own)
			}
			if of != "" && of != self && (k != dialect || below(d) != "identity") {
				t.Errorf("%s depends on %s: who embeds one domain must not compile another", p.path(), d)
			}
		}
	}
}

func TestTestingStaysInTests(t *testing.T) {
	testing := []string{"testing", "github.com/stretchr/testify", "go.uber.org/goleak", "pgregory.net/rapid", "net/http/httptest"}
	for _, p := range packages(t) {
		k, _ := room(p.path())
		if k == suite || k == private || slices.Contains([]string{"internal/lab/labtest", "internal/lab/postgres", "internal/lab/vm", "examples/allinone/cloudtest"}, p.path()) {
			continue
		}
		for _, i := range p.Imports {
			if slices.ContainsFunc(testing, func(m string) bool { return under(i, m) }) {
				t.Errorf("%s may not import %s: a program that embeds it would carry a test framework. That belongs in tests, drivertest, labtest and cloudtest", p.path(), i)
			}
		}
	}
}

func TestPackagesAreDocumented(t *testing.T) {
	for _, p := range packages(t) {
		if len(p.GoFiles) == 0 {
			continue // tests only
		}
		want := "Package " + p.Name
		if p.Name == "main" {
			want = "Command "
		}
		if !strings.HasPrefix(p.Doc, want) {
			t.Errorf("%s: its package comment must begin with %q, and say what the package does, what it needs of the host, its errors and its concurrency", p.ImportPath, want)
		}
	}
}

// maxLines is the longest file; about 400 is what fits a head.
const maxLines = 500

func TestFilesAreShort(t *testing.T) {
	err := filepath.WalkDir(root(t), func(name string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && (entry.Name() == ".git" || entry.Name() == "node_modules" || entry.Name() == "build"):
			return fs.SkipDir
		case entry.IsDir() || filepath.Ext(name) != ".go":
			return nil
		}
		content, err := os.ReadFile(name) //nolint:gosec // the repository's own
		if err != nil {
			return err
		}
		if n := bytes.Count(content, []byte("\n")); n > maxLines {
			t.Errorf("%s has %d lines, more than %d: split it by what its parts are about", name, n, maxLines)
		}
		return nil
	})
	require.NoError(t, err)
}

// TestTheRulesBite makes sure that the table refuses what it should.
func TestTheRulesBite(t *testing.T) {
	for _, c := range []struct {
		from, to string
		good     bool
	}{
		{"network", "network/driver", true},
		{"network", "internal/record", true},
		{"network", "compute", false},
		{"network", "network/neutron", false},
		{"network", "network/ovsgre", false},
		{"network", "internal/sqlitedb", false},
		{"network/driver", "internal/fault", false},
		{"network/drivertest", "network/driver", true},
		{"network/drivertest", "network/memnet", false},
		{"network/memnet", "network/driver", true},
		{"network/memnet", "network", false},
		{"network/neutron", "network", true},
		{"network/neutron", "identity", true},
		{"network/neutron", "compute", false},
		{"network/neutron", "network/driver", false},
		{"network/ovsgre", "network/driver", true},
		{"network/ovsgre", "network/internal/link", true},
		{"network/ovsgre", "network", false},
		{"network/ovsgre", "compute/driver", false},
		{"network/ovsgre", "internal/record", false},
		{"compute/qemu", "compute/qemu/qmp", true},
		{"internal/converge", "internal/record", true},
		{"internal/record", "network", false},
		{"internal/wire", "identity", true},
		{"internal/wire", "network", false},
		{"image", "image/format", true},
		{"image/format", "image", false},
		{"volume", "volume/formula", true},
		{"volume", "volume/internal/nbd", true},
		{"volume", "volume/internal/nbdserver", false},
		{"examples/allinone", "network/ovsgre", true},
		{"network", "event", true},
		{"network", "event/sse", false},
		{"network/bridge", "event", false},
		{"network/bridge", "probe", true},
		{"network", "probe", false},
		{"network/driver", "probe", false},
		{"probe", "internal/fault", true},
		{"probe", "internal/netns", false},
		{"event", "event/sse", false},
		{"event", "internal/fault", false},
		{"event/sse", "event", true},
		{"event/webhook", "internal/record", false},
	} {
		k, self := room(c.from)
		require.Equal(t, c.good, forbidden(c.from, k, self, module+"/"+c.to) == "", "%s imports %s", c.from, c.to)
	}
	for from, to := range map[string]string{
		"network": "github.com/vishvananda/netlink", "network/driver": "github.com/google/uuid", "network/neutron": "modernc.org/sqlite",
	} {
		k, self := room(from)
		require.NotEmpty(t, forbidden(from, k, self, to), "%s imports %s", from, to)
	}
}
