package architecture_test

import (
	"go/ast"
	"go/doc/comment"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// parts of a package's chapter, each with the words that show that it is there.
var chapterParts = []struct {
	name  string
	words *regexp.Regexp
	hint  string
}{
	{"an example", regexp.MustCompile(`\n\t`), "the lines of the example that matter, indented"},
	{"needs", regexp.MustCompile(`(?i)\bneeds?\b`), "what it needs of the host, the caller and other packages; nothing is an answer"},
	{"limits", regexp.MustCompile(`(?i)\b(does|do|will|is|are|has|have|serves|keeps|knows)\s+(not|no|nothing)\b|\bnever\b`), "what it does not do"},
	{"errors", regexp.MustCompile(`(?i)\berrors?\b`), "which errors there are, and how to tell them apart"},
	{"concurrency", regexp.MustCompile(`(?i)concurren|goroutine`), "what may be called at the same time"},
	{"the end", regexp.MustCompile(`(?i)\b(kill|killed|outlives?|ends?)\b`), "what is left when the process ends"},
}

// lasting are the kinds of packages of which something may be left, or lost, when the process ends.
var lasting = []kind{domain, dialect, technology, memory, carrier}

// untold are parts that a package's chapter has not, each with the reason.
var untold = map[[2]string]string{
	{"inject/injecthttp", "the end"}: "it keeps nothing",
}

// probes are the drivers that need something of the host; their chapters name their Probe.
var probes = []string{
	"compute/qemu", "image/filestore", "image/s3store", "lbaas/haproxy", "metadata/proxy",
	"network/bridge", "network/dhcp", "network/netnsrouter", "network/nftfilter", "network/ovsgre",
	"objectstore/fileobjects", "objectstore/s3objects", "objectstore/swiftobjects",
	"volume/filevolume", "volume/lvmvolume", "volume/qcow2volume", "volume/rbdvolume",
}

// chapter is a package's comment, without the comment's signs.
func chapter(t *testing.T, p *listed) string {
	t.Helper()
	for _, name := range p.GoFiles {
		file, err := parser.ParseFile(token.NewFileSet(), filepath.Join(p.Dir, name), nil, parser.ParseComments|parser.PackageClauseOnly)
		require.NoError(t, err)
		if file.Doc != nil {
			return file.Doc.Text()
		}
	}
	return ""
}

func public(p *listed) bool {
	k, _ := room(p.path())
	return k != example && k != shared && k != private && !strings.Contains(p.path(), "/internal/") && len(p.GoFiles) > 0
}

// TestChapters has every package that others import tell what a stranger has to know.
func TestChapters(t *testing.T) {
	used := map[[2]string]bool{}
	for _, p := range packages(t) {
		if !public(&p) {
			continue
		}
		text := chapter(t, &p)
		for _, part := range chapterParts {
			key := [2]string{p.path(), part.name}
			told := part.words.MatchString(text)
			used[key] = !told
			if k, _ := room(p.path()); part.name == "the end" && !slices.Contains(lasting, k) {
				continue
			}
			if !told && untold[key] == "" {
				t.Errorf("%s: its package comment lacks %s: %s. Or untold has the reason", p.path(), part.name, part.hint)
			}
		}
		if slices.Contains(probes, p.path()) != strings.Contains(text, "[Probe]") && p.path() != "probe" {
			t.Errorf("%s: a driver that needs something of the host has a function Probe, its package comment names it as [Probe], and probes has the package", p.path())
		}
	}
	for key := range untold {
		require.True(t, used[key], "untold has %v, which is told", key)
	}
}

// TestChaptersCodeIsTested keeps the code in package comments true: the lines of each block, leaving some out, are those of one
// test or program, in that order, which is compiled and run.
func TestChaptersCodeIsTested(t *testing.T) {
	all := packages(t)
	for _, p := range all {
		if !public(&p) {
			continue
		}
		sources := codeFor(t, all, &p)
		var parsed comment.Parser
		for _, block := range parsed.Parse(chapter(t, &p)).Content {
			code, ok := block.(*comment.Code)
			if !ok || isProtocol(code.Text) {
				continue
			}
			if err := parses(code.Text); err != nil {
				t.Errorf("%s: this code in its package comment is no Go (%v); what goes over a wire begins as protocols has it:\n%s", p.path(), err, code.Text)
			}
			if !slices.ContainsFunc(sources, func(source []string) bool { return missingLine(source, lines(code.Text)) == "" }) {
				best := ""
				for _, source := range sources {
					if line := missingLine(source, lines(code.Text)); len(line) > len(best) {
						best = line
					}
				}
				t.Errorf("%s: no test or example has the lines of this code in its package comment, in this order (first: %s):\n%s", p.path(), best, code.Text)
			}
		}
	}
}

// protocols begin blocks that are no Go but what goes over a wire.
var protocols = []string{"{", "id: ", "event: "}

func isProtocol(text string) bool {
	return slices.ContainsFunc(protocols, func(begin string) bool { return strings.HasPrefix(text, begin) })
}

// parses says whether text is declarations, or what is in a function.
func parses(text string) error {
	_, err := parser.ParseFile(token.NewFileSet(), "", "package p\n"+text, parser.SkipObjectResolution)
	if err != nil {
		_, err = parser.ParseFile(token.NewFileSet(), "", "package p\nfunc _() {\n"+text+"\n}", parser.SkipObjectResolution)
	}
	return err
}

// codeFor are the sources that a package's code may be from, each as its lines: the package's own tests, then those of its
// domain, and the programs in examples.
func codeFor(t *testing.T, all []listed, p *listed) [][]string {
	t.Helper()
	_, of := room(p.path())
	var sources [][]string
	for _, other := range all {
		k, self := room(other.path())
		if other.Dir != p.Dir && (of == "" || self != of) && k != example {
			continue
		}
		files, err := filepath.Glob(filepath.Join(other.Dir, "*.go"))
		require.NoError(t, err)
		for _, name := range files {
			if k == example || strings.HasSuffix(name, "_test.go") {
				sources = append(sources, functions(t, name)...)
			}
		}
	}
	return sources
}

// functions are the lines of each function of a file: a block's lines are all of one.
func functions(t *testing.T, name string) [][]string {
	t.Helper()
	content, err := os.ReadFile(name) //nolint:gosec // the repository's own
	require.NoError(t, err)
	set := token.NewFileSet()
	file, err := parser.ParseFile(set, name, content, 0)
	require.NoError(t, err)
	var all [][]string
	for _, d := range file.Decls {
		if f, ok := d.(*ast.FuncDecl); ok {
			all = append(all, lines(string(content[set.Position(f.Pos()).Offset:set.Position(f.End()).Offset])))
		}
	}
	return all
}

// lines are a text's, without indentation and empty ones.
func lines(text string) []string {
	var all []string
	for line := range strings.Lines(text) {
		if line = strings.Join(strings.Fields(line), " "); line != "" {
			all = append(all, line)
		}
	}
	return all
}

// missingLine is the first line of wanted that source does not have after the ones before it; empty if it has all.
func missingLine(source, wanted []string) string {
	for _, line := range wanted {
		at := slices.Index(source, line)
		if at < 0 {
			return line
		}
		source = source[at+1:]
	}
	return ""
}

func TestMissingLine(t *testing.T) {
	source := lines("a := 1\n\tb()\n\n\tif err != nil {\n\t}\n\tc()\n")
	require.Empty(t, missingLine(source, lines("a := 1\nc()")))
	require.Equal(t, "b()", missingLine(source, lines("c()\nb()")))
	require.Equal(t, "d()", missingLine(source, lines("a := 1\nd()")))
}
