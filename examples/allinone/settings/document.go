package settings

import (
	"fmt"
	"strings"
)

// Markdown are tables of all settings, by the lists of commands that have them, and of the items that only the file has.
func (p *Program) Markdown() string {
	var b strings.Builder
	b.WriteString("| flag and key | variable | default | what it is | commands |\n|---|---|---|---|---|\n")
	for _, s := range p.Table {
		if !s.isVariable() {
			continue
		}
		what := escape(s.Help)
		if choices := s.choices(); len(choices) > 0 && !s.isBool() {
			what += "; one of `" + strings.Join(choices, "`, `") + "`"
		}
		fmt.Fprintf(&b, "| `%s` | `%s` | %s | %s | %s |\n", s.Name, p.Source.Variable(s.Name), code(s), what, strings.Join(s.Commands, ", "))
	}
	for _, s := range p.Table {
		if s.Items == nil {
			continue
		}
		fmt.Fprintf(&b, "\nOnly the file has `%s`, %s. The keys of each of its items:\n\n| key | what it is |\n|---|---|\n", s.Name, escape(s.Help))
		for _, f := range s.Items().Fields {
			fmt.Fprintf(&b, "| `%s` | %s |\n", f.Name, escape(f.Help))
		}
	}
	return b.String()
}

// code is the default as Markdown: words as they are, values as code.
func code(s *Setting) string {
	if s.Default != "" {
		return escape(s.Default)
	}
	if d := s.otherwise(); d != "" {
		return "`" + d + "`"
	}
	return ""
}

func escape(text string) string { return strings.ReplaceAll(plain(text), "|", `\|`) }

// lineLength is how long comments in the example get.
const lineLength = 100

// YAML is an example of the file: every setting of the commands, commented out, with what it is and its default.
func (p *Program) YAML(commands ...string) string {
	var b strings.Builder
	for _, s := range p.Table {
		if s.Name == ConfigName || s.FlagOnly || !s.isOf(commands) {
			continue
		}
		b.WriteString("\n")
		help := sentence(plain(s.Help))
		if choices := s.choices(); len(choices) > 0 && !s.isBool() {
			help += " One of " + strings.Join(choices, ", ") + "."
		}
		if s.Default != "" {
			help += " Default: " + s.Default + "."
		}
		comment(&b, "# ", help)
		if s.Items == nil {
			fmt.Fprintf(&b, "#%s:%s\n", s.Name, before(" ", s.example()))
			continue
		}
		fmt.Fprintf(&b, "#%s:\n", s.Name)
		dash := "- "
		for _, f := range s.Items().Fields {
			comment(&b, "#    # ", sentence(plain(f.Help)))
			fmt.Fprintf(&b, "#  %s%s: %s\n", dash, f.Name, f.Kind)
			dash = "  "
		}
	}
	return b.String()
}

// isOf says whether one of the commands has it.
func (s *Setting) isOf(commands []string) bool {
	for _, c := range commands {
		if len((Table{s}).Of(c)) > 0 {
			return true
		}
	}
	return len(commands) == 0
}

// example is the default, as the file has it.
func (s *Setting) example() string {
	d, _ := s.Value.(interface{ Otherwise() string })
	if s.Default != "" || d == nil {
		return ""
	}
	return d.Otherwise()
}

func before(space, text string) string {
	if text == "" {
		return ""
	}
	return space + text
}

// comment writes the text in lines that are not too long.
func comment(b *strings.Builder, prefix, text string) {
	line := prefix
	for word := range strings.FieldsSeq(text) {
		if len(line)+len(word) > lineLength && line != prefix {
			b.WriteString(strings.TrimRight(line, " ") + "\n")
			line = prefix
		}
		line += word + " "
	}
	b.WriteString(strings.TrimRight(line, " ") + "\n")
}

// Man is the program's manual page, for man(1), in section 8.
func (p *Program) Man() string {
	var b strings.Builder
	fmt.Fprintf(&b, ".TH %s 8\n.SH NAME\n%s \\- %s\n.SH SYNOPSIS\n.B %[2]s\n.I COMMAND\n[flags]\n.SH DESCRIPTION\n", strings.ToUpper(p.Name), p.Name, roff(p.Summary))
	for i, paragraph := range strings.Split(p.Description, "\n\n") {
		if i > 0 {
			b.WriteString(".PP\n")
		}
		b.WriteString(roff(paragraph) + "\n")
	}
	b.WriteString(".SH COMMANDS\n")
	for _, c := range p.Commands {
		fmt.Fprintf(&b, ".TP\n.B %s\n%s\n", strings.TrimSpace(roff(c.Name+" "+c.Arguments)), roff(sentence(c.Summary)))
	}
	fmt.Fprintf(&b, ".SH SETTINGS\nEach is a flag, an environment variable beginning with %s, and a key in\n.IR %s .\nA flag goes before the environment, the environment before the file.\n", p.Source.Prefix, p.Source.File)
	for _, s := range p.Table {
		name := "\\-" + roff(s.flagOrKey())
		if s.Items != nil {
			name = roff(s.Name) + " (in the file only)"
		}
		fmt.Fprintf(&b, ".TP\n.B %s\n%s\n", name, roff(sentence(s.described())))
		if len(s.Commands) > 0 {
			fmt.Fprintf(&b, "Commands: %s.\n", roff(strings.Join(s.Commands, ", ")))
		}
	}
	fmt.Fprintf(&b, ".SH FILES\n.TP\n.I %s\nThe settings; `%s config` prints one to begin with.\n", p.Source.File, p.Name)
	return b.String()
}

func (s *Setting) flagOrKey() string {
	if s.Value == nil {
		return s.Name
	}
	return s.flag()
}

// roff is the text, safe for troff.
func roff(text string) string {
	text = strings.NewReplacer(`\`, `\e`, "-", `\-`, "`", "", "\n", " ").Replace(text)
	if strings.HasPrefix(text, ".") || strings.HasPrefix(text, "'") {
		return `\&` + text
	}
	return text
}
