// Package settings is one table of what can be set in a program, and everything that is made of it: flags, environment
// variables, a YAML file, help, a manual page, a document, an example of the file, and shell completion.
//
//	var dir string
//	table := settings.Table{{
//		Name: "data", Kind: "directory", Help: "everything that outlives the process", Value: settings.Text(&dir, "/var/lib/x"),
//	}}
//	source := settings.Source{Prefix: "X_", File: "/etc/x.yaml", Environ: os.Environ()}
//	flags := flag.NewFlagSet("x", flag.ContinueOnError)
//	err := source.Load("serve", table, flags, os.Args[1:])
//
// A setting has one name: the flag -data, the variable X_DATA and the key data: are the same. What is nearer wins: a flag
// over the environment, that over the file, and all over the default. A variable that is empty counts as not set.
//
// What can not be is refused with where it stands and what to do: a wrong value, and a key of the file that is none. A
// variable that names no setting is only warned of, since other programs make variables too: Kubernetes, of every service.
//
// A Table is used by one goroutine at a time. The package reads the file and nothing else.
package settings

import (
	"errors"
	"flag"
	"fmt"
	"slices"
	"strings"
)

// Setting is one thing that can be set.
type Setting struct {
	// Name is the flag and the key in the file: small letters with dashes. The variable is it in capitals.
	Name string
	// Kind says in a word what the value is: "address", "directory", "port". Shells complete a "file" and a "directory".
	Kind string
	// Help is what it does, in half a sentence.
	Help string
	// Default describes the default where it is not a fixed value.
	Default string
	// Commands are those that have the setting; none is all.
	Commands []string
	// Secret keeps the value off command lines and out of documents.
	Secret bool
	// FlagOnly is what belongs to one call of the program: it is neither a variable nor in the file.
	FlagOnly bool
	// Value holds it; see [Text], [Bool], [Parsed] and the others.
	Value flag.Value
	// Items, instead of Value, are a list that only the file has: it begins a new item, whose own settings are Fields,
	// and Done is called when they are set.
	Items func() Item

	origin origin
}

// Item is a mapping in a list; see [Setting].Items.
type Item struct {
	Fields Table
	Done   func() error
}

// origin is where a setting's value came from; the later ones win.
type origin int

const (
	fromDefault origin = iota
	fromFile
	fromEnvironment
	fromFlag
)

// Table is what can be set. Its order is that of documents.
type Table []*Setting

// Of returns the settings that the command has.
func (t Table) Of(command string) Table {
	var own Table
	for _, s := range t {
		if len(s.Commands) == 0 || slices.Contains(s.Commands, command) {
			own = append(own, s)
		}
	}
	return own
}

// Lookup returns the setting of that name, or nil.
func (t Table) Lookup(name string) *Setting {
	for _, s := range t {
		if s.Name == name {
			return s
		}
	}
	return nil
}

// IsSet says whether a flag, a variable or the file has set it.
func (s *Setting) IsSet() bool { return s.origin != fromDefault }

// set sets it from somewhere.
func (s *Setting) set(text string, from origin) error {
	if err := s.Value.Set(text); err != nil {
		return err
	}
	s.origin = from
	return nil
}

// isBool says whether the flag needs no value.
func (s *Setting) isBool() bool {
	b, ok := s.Value.(interface{ IsBoolFlag() bool })
	return ok && b.IsBoolFlag()
}

// isVariable says whether the environment may set it.
func (s *Setting) isVariable() bool { return s.Value != nil && !s.FlagOnly }

// choices are the only values, if there are few.
func (s *Setting) choices() []string {
	if c, ok := s.Value.(interface{ Choices() []string }); ok {
		return c.Choices()
	}
	return nil
}

// otherwise is the default in words.
func (s *Setting) otherwise() string {
	if s.Default != "" || s.Value == nil {
		return s.Default
	}
	if d, ok := s.Value.(interface{ Otherwise() string }); ok {
		return d.Otherwise()
	}
	return ""
}

// Source is where settings come from.
type Source struct {
	// Prefix is what the names of variables begin with: "KINTOUN_".
	Prefix string
	// File is read if it is there and no other one is given, by -config or the variable.
	File string
	// Environ are the variables, as [os.Environ] returns them.
	Environ []string
	// Known are variables with the prefix that are no settings, and not warned of.
	Known []string
	// Warn hears of variables that name no setting; nil is nobody.
	Warn func(text string)
}

// ConfigName is the setting that names the file.
const ConfigName = "config"

// Variable is the environment variable of a setting.
func (s *Source) Variable(name string) string {
	return s.Prefix + strings.ToUpper(strings.ReplaceAll(name, "-", "_"))
}

// Config is the setting that names the file, for tables.
func (s *Source) Config(file *string) *Setting {
	return &Setting{
		Name: ConfigName, Kind: "file", Help: "YAML `file` with settings; -config= for none",
		Default: s.File + ", if it is there", Value: Text(file, s.File),
	}
}

// Load sets the command's settings from flags, the environment and the file; the arguments that are no flags are left in
// flags. The table is that of all commands: the file and the environment may set what is another command's. A command
// without the setting of [Source.Config] reads no file.
func (s *Source) Load(command string, table Table, flags *flag.FlagSet, arguments []string) error {
	own := table.Of(command)
	own.register(flags)
	if err := flags.Parse(arguments); err != nil {
		return err
	}
	flags.Visit(func(f *flag.Flag) { own.Lookup(f.Name).origin = fromFlag })
	if err := s.environment(table, own); err != nil {
		return err
	}
	return s.file(table, own)
}

func (t Table) register(flags *flag.FlagSet) {
	for _, s := range t {
		if s.Value != nil {
			flags.Var(s.Value, s.Name, s.usage())
		}
	}
}

// usage is the help with the kind in quotes, as package flag wants it.
func (s *Setting) usage() string {
	if s.isBool() || strings.Contains(s.Help, "`") {
		return s.Help
	}
	return "`" + s.Kind + "`: " + s.Help
}

func (s *Source) environment(table, own Table) error {
	var failures []error
	for _, v := range s.Environ {
		name, value, _ := strings.Cut(v, "=")
		if !strings.HasPrefix(name, s.Prefix) || value == "" || slices.Contains(s.Known, name) {
			continue
		}
		is := func(one *Setting) bool { return one.isVariable() && s.Variable(one.Name) == name }
		if !slices.ContainsFunc(table, is) {
			s.warn(name, table)
			continue
		}
		at := slices.IndexFunc(own, is)
		if at < 0 || own[at].origin == fromFlag {
			continue
		}
		if err := own[at].set(value, fromEnvironment); err != nil {
			failures = append(failures, fmt.Errorf("the environment variable %s: %w", name, own[at].hide(value, err)))
		}
	}
	return errors.Join(failures...)
}

func (s *Source) warn(name string, table Table) {
	if s.Warn == nil {
		return
	}
	var variables []string
	for _, one := range table {
		if one.isVariable() {
			variables = append(variables, s.Variable(one.Name))
		}
	}
	s.Warn(fmt.Sprintf("the environment variable %s names no setting%s", name, didYouMean(name, variables)))
}

// hide keeps a secret out of an error.
func (s *Setting) hide(value string, err error) error {
	if s.Secret && strings.Contains(err.Error(), value) {
		return errors.New("it can not be that")
	}
	return err
}

// Arguments are the flags, and for secrets the variables, that give another process of the same program the command's
// settings as they are here. What only the file has, it reads there.
func (s *Source) Arguments(command string, table Table) (flags, environ []string) {
	for _, one := range table.Of(command) {
		if one.Value == nil || !one.changed() {
			continue
		}
		if one.Secret {
			environ = append(environ, s.Variable(one.Name)+"="+one.Value.String())
			continue
		}
		flags = append(flags, "-"+one.Name+"="+one.Value.String())
	}
	return flags, environ
}

// changed says whether the value was set, by anybody.
func (s *Setting) changed() bool {
	d, ok := s.Value.(interface{ Otherwise() string })
	return s.IsSet() || ok && d.Otherwise() != s.Value.String()
}
