package main

import (
	"fmt"
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/kintoun/kintoun/internal/coverage"
)

// document is a text with everything that it includes in place, as lines.
type document struct {
	root  fs.FS
	lines []string
	open  []string // files that are being read, each included by the one before
}

var (
	includePattern   = regexp.MustCompile(`^\.\. include::\s*(\S+)`)
	methodPattern    = regexp.MustCompile(`^\.\. rest_method::\s*(.*)$`)
	adornmentPattern = regexp.MustCompile(`^([=\-~^"'#*+]{3,})\s*$`)
	actionPatterns   = []*regexp.Regexp{
		regexp.MustCompile("[Ss]pecify(?:ing)? (?:the|an?) ``([\\w-]+)`` action"),
		regexp.MustCompile("``([\\w-]+)`` action"),
	}
	titleActionPattern = regexp.MustCompile(`\(([\w-]+) [Aa]ction\)`)
	parameterPattern   = regexp.MustCompile(`^\s+- "?([\w:-]+)"?\s*:\s*(\S+)`)
	linkPattern        = regexp.MustCompile("`([^`<]*?)\\s*(<[^>]*>)?`_*")
)

// read appends a file's lines, and in place of each include those of the file that it names.
func (d *document) read(name string) error {
	if slices.Contains(d.open, name) {
		return fmt.Errorf("%s includes itself", name)
	}
	d.open = append(d.open, name)
	defer func() { d.open = d.open[:len(d.open)-1] }()
	data, err := fs.ReadFile(d.root, name)
	if err != nil {
		return fmt.Errorf("read %s: %w", name, err)
	}
	for line := range strings.Lines(string(data)) {
		line = strings.TrimRight(line, " \t\r\n")
		m := includePattern.FindStringSubmatch(line)
		if m == nil {
			d.lines = append(d.lines, line)
			continue
		}
		if err := d.read(path.Join(path.Dir(name), m[1])); err != nil {
			return err
		}
	}
	return nil
}

// operations finds the directives and the headings that they stand under, up to the heading named end.
func (d *document) operations(s *source) []coverage.Operation {
	var found []coverage.Operation
	var h headings
	for i := 0; i < len(d.lines); i++ {
		if skip := h.take(d.lines[i:]); skip > 0 {
			if s.end != "" && h.title() == s.end {
				break
			}
			i += skip - 1
			continue
		}
		method, where := directive(d.lines[i:])
		if where == "" {
			continue
		}
		if where != "/" && !strings.HasPrefix(where, "/v") && where != "/{api_version}/" {
			where = s.prefix + where
		}
		o := coverage.Operation{Method: method, Path: where}
		if method == "POST" && strings.HasSuffix(where, "/action") {
			if o.Action = s.actions[h.title()]; o.Action == "" {
				o.Action = action(h.title(), where, d.lines[i+1:])
			}
		}
		found = append(found, o)
	}
	return found
}

// directive reads the method and the path of a rest_method that begins the lines; its argument may stand below it.
func directive(lines []string) (method, where string) {
	m := methodPattern.FindStringSubmatch(lines[0])
	if m == nil {
		return "", ""
	}
	words := strings.Fields(m[1])
	for n := 1; len(words) < 2 && n < len(lines) && strings.HasPrefix(lines[n], " "); n++ {
		words = append(words, strings.Fields(lines[n])...)
	}
	if len(words) < 2 {
		return "", ""
	}
	where, _, _ = strings.Cut(words[1], "?")
	// A part of Keystone's reference shows the address of DevStack's web server, one of Cinder's forgets the slash.
	return words[0], "/" + strings.TrimPrefix(strings.TrimPrefix(where, "/identity"), "/")
}

// action finds the name that a request's body gives: in the title, in the text, or else as the first parameter that
// is not of the path. The lines are those behind the directive.
func action(title, where string, lines []string) string {
	if m := titleActionPattern.FindStringSubmatch(title); m != nil {
		return m[1]
	}
	var own []string
	for _, line := range lines {
		if methodPattern.MatchString(line) {
			break
		}
		own = append(own, line)
	}
	text := strings.Join(own, " ")
	for _, p := range actionPatterns {
		if m := p.FindStringSubmatch(text); m != nil {
			return m[1]
		}
	}
	for _, line := range own {
		if m := parameterPattern.FindStringSubmatch(line); m != nil && !strings.HasSuffix(m[2], "_path") && !strings.Contains(where, "{"+m[1]+"}") {
			return m[1]
		}
	}
	return ""
}

// headings are those that a line stands under, outermost first. As in reStructuredText, a style's level is told by
// when the document uses it first.
type headings struct {
	styles []string
	stack  []string
}

// take reads a heading where one begins, and says of how many lines it is.
func (h *headings) take(lines []string) int {
	switch {
	case len(lines) >= 3 && adornment(lines[0]) != "" && lines[1] != "" && adornment(lines[1]) == "" && adornment(lines[2]) == adornment(lines[0]):
		h.push("over"+adornment(lines[0]), lines[1])
		return 3
	case len(lines) >= 2 && lines[0] != "" && lines[0][0] != ' ' && lines[0][0] != '.' && adornment(lines[0]) == "" && adornment(lines[1]) != "" && len(lines[1]) >= len(lines[0])-2:
		h.push(adornment(lines[1]), lines[0])
		return 2
	}
	return 0
}

// adornment is the character that the line repeats, if it does nothing else.
func adornment(line string) string {
	m := adornmentPattern.FindStringSubmatch(line)
	if m == nil || strings.Trim(m[1], m[1][:1]) != "" {
		return ""
	}
	return m[1][:1]
}

func (h *headings) push(style, text string) {
	level := 0
	for level < len(h.styles) && h.styles[level] != style {
		level++
	}
	if level == len(h.styles) {
		h.styles = append(h.styles, style)
	}
	text = strings.NewReplacer("``", "", `\`, "").Replace(linkPattern.ReplaceAllString(text, "$1"))
	text = strings.Join(strings.Fields(text), " ")
	for len(h.stack) < level {
		h.stack = append(h.stack, "")
	}
	h.stack = append(h.stack[:level], text)
}

func (h *headings) title() string {
	if len(h.stack) == 0 {
		return ""
	}
	return h.stack[len(h.stack)-1]
}
