package settings

import (
	"fmt"
	"io"
	"strings"
)

// Program is what documents tell of: a program with commands, and their settings.
type Program struct {
	// Name is what the program is called by.
	Name string
	// Summary is half a sentence about it.
	Summary string
	// Description is a paragraph or more, as plain text.
	Description string
	Commands    []Command
	Table       Table
	Source      Source
}

// Command is one thing that the program does.
type Command struct {
	// Name is the program's first argument.
	Name string
	// Summary is what it does, in half a sentence.
	Summary string
	// Arguments are those that follow the flags: "-- COMMAND…".
	Arguments string
	// Words are the arguments that shells complete.
	Words []string
	// Next is what to do after it, or to know of it; the last paragraph of its help.
	Next string
}

// Command returns the command of that name, or nil.
func (p *Program) Command(name string) *Command {
	for i := range p.Commands {
		if p.Commands[i].Name == name {
			return &p.Commands[i]
		}
	}
	return nil
}

// Usage writes what the program can do, or one command with its flags.
func (p *Program) Usage(w io.Writer, command *Command) {
	var b strings.Builder
	if command == nil {
		fmt.Fprintf(&b, "%s: %s\n\nusage: %[1]s COMMAND [flags]\n\n", p.Name, p.Summary)
		for _, c := range p.Commands {
			fmt.Fprintf(&b, "  %-*s  %s\n", p.width(), c.Name, c.Summary)
		}
		fmt.Fprintf(&b, "\n%s COMMAND -h tells of a command and lists its flags.\n", p.Name)
		_, _ = io.WriteString(w, b.String())
		return
	}
	table := p.Table.Of(command.Name)
	fmt.Fprintf(&b, "usage: %s %s", p.Name, command.Name)
	if len(table) > 0 {
		b.WriteString(" [flags]")
	}
	if command.Arguments != "" {
		b.WriteString(" " + command.Arguments)
	}
	fmt.Fprintf(&b, "\n\n%s\n", sentence(command.Summary))
	if len(table) > 0 {
		b.WriteString("\n")
	}
	for _, s := range table {
		if s.Value != nil {
			fmt.Fprintf(&b, "  -%s\n    \t%s\n", s.flag(), s.described())
		}
	}
	if table.Lookup(ConfigName) != nil {
		fmt.Fprintf(&b, "\nEach flag is also a variable (%s for -%s) and a key in %s;\n`%s config` prints such a file.\n",
			p.Source.Variable(table[len(table)-1].Name), table[len(table)-1].Name, p.Source.File, p.Name)
	}
	if command.Next != "" {
		fmt.Fprintf(&b, "\n%s\n", strings.ReplaceAll(command.Next, "PROGRAM", p.Name))
	}
	_, _ = io.WriteString(w, b.String())
}

func (p *Program) width() int {
	width := 0
	for _, c := range p.Commands {
		width = max(width, len(c.Name))
	}
	return width
}

// flag is the flag with the kind of its value.
func (s *Setting) flag() string {
	if s.isBool() {
		return s.Name
	}
	return s.Name + " " + strings.ToUpper(s.Kind)
}

// described is the help with the choices and the default.
func (s *Setting) described() string {
	text := plain(s.Help)
	if choices := s.choices(); len(choices) > 0 && !s.isBool() {
		text += "; one of " + strings.Join(choices, ", ")
	}
	if d := s.otherwise(); d != "" && !s.isBool() {
		text += " (default " + d + ")"
	}
	return text
}

// plain is the text without quotes around words.
func plain(text string) string { return strings.ReplaceAll(text, "`", "") }

// sentence is half a sentence made whole.
func sentence(text string) string {
	if text == "" {
		return ""
	}
	return strings.ToUpper(text[:1]) + text[1:] + "."
}
