package settings

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// file sets what the file has and nothing nearer has set.
func (s *Source) file(table, own Table) error {
	config := own.Lookup(ConfigName)
	if config == nil || config.Value.String() == "" {
		return nil
	}
	name := config.Value.String()
	data, err := os.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) && !config.IsSet() {
		return nil
	}
	if err != nil {
		return fmt.Errorf("the settings: %w: choose another file with -config, or none with -config=", err)
	}
	return parse(name, data, table, own)
}

// document is a file that is being read.
type document struct {
	name     string
	failures []error
}

// parse sets the settings of own that the file has; others of the table may be there too, and are only looked at.
func parse(name string, data []byte, table, own Table) error {
	d := &document{name: name}
	decoder := yaml.NewDecoder(bytes.NewReader(data))
	var root yaml.Node
	err := decoder.Decode(&root)
	if errors.Is(err, io.EOF) {
		return nil // empty, or nothing but comments
	}
	if err == nil && !errors.Is(decoder.Decode(&yaml.Node{}), io.EOF) {
		err = errors.New("there is more than one document in it: leave out ---")
	}
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	if top := resolve(root.Content[0]); top.ShortTag() != "!!null" {
		d.mapping(top, table, own)
	}
	return errors.Join(d.failures...)
}

func (d *document) fail(n *yaml.Node, format string, arguments ...any) {
	d.failures = append(d.failures, fmt.Errorf("%s:%d: %w", d.name, n.Line, fmt.Errorf(format, arguments...)))
}

// resolve follows an alias to what has its anchor.
func resolve(n *yaml.Node) *yaml.Node {
	if n.Kind == yaml.AliasNode {
		return n.Alias
	}
	return n
}

func (d *document) mapping(n *yaml.Node, table, own Table) {
	if n.Kind != yaml.MappingNode {
		d.fail(n, "this is no setting: write NAME: VALUE")
		return
	}
	var seen []string
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], resolve(n.Content[i+1])
		setting := table.Lookup(key.Value)
		switch {
		case setting == nil || setting.Name == ConfigName || setting.FlagOnly:
			d.fail(key, "there is no setting %q%s", key.Value, didYouMean(key.Value, table.names()))
		case slices.Contains(seen, key.Value):
			d.fail(key, "%s is there twice: remove one of them", key.Value)
		case setting.Items != nil:
			d.items(setting, key, value, own.Lookup(key.Value) != nil)
		default:
			d.scalar(setting, key, value)
		}
		seen = append(seen, key.Value)
	}
}

// scalar checks the value, and sets it unless something nearer did. Another command's settings are set too: nobody reads
// them, and they are checked in passing.
func (d *document) scalar(s *Setting, key, n *yaml.Node) {
	text, problem := s.text(n)
	if problem != "" {
		d.fail(key, "%s: %s", s.Name, problem)
		return
	}
	before, from := s.Value.String(), s.origin
	if err := s.set(text, fromFile); err != nil {
		d.fail(key, "%s: %w", s.Name, s.hide(text, err))
	}
	if from > fromFile {
		_, s.origin = s.Value.Set(before), from
	}
}

// text is what stands in the file, if it is of the setting's type.
func (s *Setting) text(n *yaml.Node) (text, problem string) {
	_, list := s.Value.(*value[[]string])
	switch {
	case n.Kind == yaml.SequenceNode && list:
		var words []string
		for _, one := range n.Content {
			one = resolve(one)
			if one.Kind != yaml.ScalarNode || one.ShortTag() == "!!null" || strings.Contains(one.Value, ",") {
				return "", "its list must have words only"
			}
			words = append(words, one.Value)
		}
		return strings.Join(words, ","), ""
	case n.Kind != yaml.ScalarNode:
		return "", "it takes one value, not a list or a mapping"
	}
	number, _ := s.Value.(interface{ isNumber() bool })
	switch tag := n.ShortTag(); {
	case tag == "!!null":
		return "", "it has no value: write one, or remove the line"
	case s.isBool() && tag != "!!bool":
		return "", "write true or false, without quotes"
	case number != nil && number.isNumber() && tag != "!!int":
		return "", "write a whole number, without quotes"
	case !s.isBool() && tag == "!!bool":
		return "", fmt.Sprintf("it is a text: put %s in quotes if you mean that", n.Value)
	}
	return n.Value, ""
}

// items sets a list of mappings.
func (d *document) items(s *Setting, key, n *yaml.Node, own bool) {
	if n.Kind != yaml.SequenceNode {
		d.fail(key, "%s: write a list, each of its items after a dash", s.Name)
		return
	}
	for _, one := range n.Content {
		one = resolve(one)
		item, failed := s.Items(), len(d.failures)
		d.mapping(one, item.Fields, item.Fields)
		if len(d.failures) > failed || !own {
			continue
		}
		if err := item.Done(); err != nil {
			d.fail(one, "%s: %w", s.Name, err)
		}
	}
	s.origin = fromFile
}

func (t Table) names() []string {
	var names []string
	for _, s := range t {
		names = append(names, s.Name)
	}
	return names
}

// didYouMean names the word that is most like the one that is not there.
func didYouMean(word string, words []string) string {
	best, least := "", len(word)/3+2
	for _, w := range words {
		if n := distance(strings.ToLower(word), strings.ToLower(w)); n < least {
			best, least = w, n
		}
	}
	if best == "" {
		return ""
	}
	return fmt.Sprintf("; did you mean %s?", best)
}

// distance is Levenshtein's: how many letters must be changed, added or removed.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost = 1 + min(diagonal, row[j], row[j+1])
			}
			diagonal, row[j+1] = row[j+1], cost
		}
	}
	return row[len(b)]
}
