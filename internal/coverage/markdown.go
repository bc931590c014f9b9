package coverage

import (
	"fmt"
	"math"
	"slices"
	"strings"
)

// The lines in README.md between which the short table stands.
const (
	Begin = "<!-- coverage: written by make generate -->"
	End   = "<!-- coverage ends -->"
)

// Table is the short table: a row for each API.
func Table(reports []*Report) string {
	var b strings.Builder
	b.WriteString("| API | operations | implemented | unsupported | missing | implemented, % |\n|---|---:|---:|---:|---:|---:|\n")
	for _, r := range reports {
		fmt.Fprintf(&b, "| %s | %d | %d | %d | %d | %d |\n", r.Name, len(r.Findings), r.Count(Implemented), r.Count(Unsupported), r.Count(Missing), r.Percent())
	}
	return b.String()
}

// Percent is how many of a hundred operations are implemented, rounded down, so that 100 is all.
func (r *Report) Percent() int {
	if len(r.Findings) == 0 {
		return 0
	}
	return int(math.Floor(100 * float64(r.Count(Implemented)) / float64(len(r.Findings))))
}

const introduction = `# What of OpenStack's APIs is served

Written by ` + "`make generate`" + ` from the routes of the wire packages and the operations of the OpenStack API reference
(` + "[internal/coverage](../internal/coverage)" + `). Do not edit it.

- **implemented**: a route serves the operation; how well, the wire package's tests tell. Lists of what there is none
  of here are empty, and a few resources are kept for clients without any effect, such as Keystone's policies.
- **unsupported**: the operation is known, and answered with 501 and the reason.
- **missing**: nothing serves it: 404.

An operation is a method and a path, and for ` + "`POST …/action`" + ` the action in the body; the reference's several
sections on one of them count once. HEAD is served wherever GET is.
`

// Document is the full table, as Markdown.
func Document(reports []*Report) string {
	var b strings.Builder
	b.WriteString(introduction)
	b.WriteString("\n" + Table(reports))
	for _, r := range reports {
		fmt.Fprintf(&b, "\n## %s\n\nOperations: %s.\n", r.Name, r.Source)
		if r.Note != "" {
			fmt.Fprintf(&b, "%s\n", r.Note)
		}
		fmt.Fprintf(&b, "%d of %d are implemented, %d unsupported, %d missing.\n", r.Count(Implemented), len(r.Findings), r.Count(Unsupported), r.Count(Missing))
		r.groups(&b)
		r.beyond(&b)
	}
	return b.String()
}

// groups writes a table for each kind of resource.
func (r *Report) groups(b *strings.Builder) {
	group := ""
	sorted := slices.Clone(r.Findings)
	slices.SortStableFunc(sorted, func(x, y Finding) int { return strings.Compare(x.Resource(), y.Resource()) })
	for i := range sorted {
		f := &sorted[i]
		if i == 0 || f.Resource() != group {
			group = f.Resource()
			fmt.Fprintf(b, "\n### %s\n\n| operation | state |\n|---|---|\n", group)
		}
		state := string(f.State)
		if f.State == Missing {
			state = "**missing**"
		}
		if f.Reason != "" {
			state += ": " + f.Reason
		}
		fmt.Fprintf(b, "| %s | %s |\n", request(&f.Operation), cell(state))
	}
}

func (r *Report) beyond(b *strings.Builder) {
	if len(r.Beyond) == 0 {
		return
	}
	b.WriteString("\n### Beyond the API reference\n\nServed, and not in the reference's list.\n\n")
	for i := range r.Beyond {
		fmt.Fprintf(b, "- %s\n", request(&r.Beyond[i]))
	}
}

func request(o *Operation) string {
	text := "`" + o.Method + " " + o.Path + "`"
	if o.Action != "" {
		text += " `" + o.Action + "`"
	}
	return text
}

// cell keeps a text from ending its cell.
func cell(text string) string { return strings.ReplaceAll(text, "|", `\|`) }

// Insert replaces what stands between the markers in the text.
func Insert(text, table string) (string, error) {
	before, rest, found := strings.Cut(text, Begin)
	_, after, ends := strings.Cut(rest, End)
	if !found || !ends {
		return "", fmt.Errorf("there are no lines %q and %q", Begin, End)
	}
	return before + Begin + "\n" + table + End + after, nil
}
