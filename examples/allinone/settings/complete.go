package settings

import (
	"fmt"
	"strings"
)

// Shells are those that [Program.Completion] is for.
func Shells() []string { return []string{"bash", "zsh", "fish"} }

// Completion is a script that has the shell complete the program's commands, flags and values of flags.
func (p *Program) Completion(shell string) (string, error) {
	switch shell {
	case "bash":
		return p.bash(), nil
	case "zsh":
		return p.zsh(), nil
	case "fish":
		return p.fish(), nil
	}
	return "", fmt.Errorf("there is no completion for %q: choose one of %s", shell, strings.Join(Shells(), ", "))
}

// flags are a command's settings that are flags.
func (p *Program) flags(command string) Table {
	var flags Table
	for _, s := range p.Table.Of(command) {
		if s.Value != nil {
			flags = append(flags, s)
		}
	}
	return flags
}

func (p *Program) bash() string {
	var commands, words, values strings.Builder
	for _, c := range p.Commands {
		commands.WriteString(" " + c.Name)
		var flags []string
		for _, s := range p.flags(c.Name) {
			flags = append(flags, "-"+s.Name)
		}
		fmt.Fprintf(&words, "    %s) flags='%s' arguments='%s' ;;\n", c.Name, strings.Join(append(flags, "-h"), " "), strings.Join(c.Words, " "))
	}
	for _, s := range p.Table {
		if s.Value == nil || s.isBool() {
			continue
		}
		fmt.Fprintf(&values, "    -%s) %s; return ;;\n", s.Name, s.bash())
	}
	return fmt.Sprintf(`# bash completion for %[1]s
_%[2]s() {
  local cur=${COMP_WORDS[COMP_CWORD]} flag=${COMP_WORDS[COMP_CWORD-1]} flags= arguments=
  COMPREPLY=()
  # -flag=value is three words for bash
  if [ "$cur" = = ]; then cur=; elif [ "$flag" = = ] && [ "$COMP_CWORD" -gt 2 ]; then flag=${COMP_WORDS[COMP_CWORD-2]}; fi
  if [ "$COMP_CWORD" = 1 ]; then COMPREPLY=($(compgen -W '%[3]s -h -version' -- "$cur")); return; fi
  case $flag in
%[5]s  esac
  case ${COMP_WORDS[1]} in
%[4]s  esac
  case $cur in
    -*) COMPREPLY=($(compgen -W "$flags" -- "$cur")) ;;
    *) COMPREPLY=($(compgen -W "$arguments" -- "$cur")) ;;
  esac
}
complete -F _%[2]s %[1]s
`, p.Name, identifier(p.Name), strings.TrimSpace(commands.String()), words.String(), values.String())
}

// bash completes the flag's value.
func (s *Setting) bash() string {
	switch {
	case len(s.choices()) > 0:
		return `COMPREPLY=($(compgen -W '` + strings.Join(s.choices(), " ") + `' -- "$cur"))`
	case s.Kind == "directory":
		return `compopt -o filenames; COMPREPLY=($(compgen -d -- "$cur"))`
	case s.Kind == "file":
		return `compopt -o filenames; COMPREPLY=($(compgen -f -- "$cur"))`
	}
	return ":"
}

func (p *Program) zsh() string {
	var commands, cases strings.Builder
	for _, c := range p.Commands {
		fmt.Fprintf(&commands, "    '%s:%s'\n", c.Name, quoted(c.Summary))
		fmt.Fprintf(&cases, "    %s) _arguments", c.Name)
		for _, s := range p.flags(c.Name) {
			fmt.Fprintf(&cases, " \\\n      %s", s.zsh())
		}
		if len(c.Words) > 0 {
			fmt.Fprintf(&cases, " \\\n      '1:%s:(%s)'", strings.ToLower(quoted(c.Arguments)), strings.Join(c.Words, " "))
		}
		cases.WriteString(" ;;\n")
	}
	return fmt.Sprintf(`#compdef %[1]s
_%[2]s() {
  local -a commands=(
%[3]s  )
  if (( CURRENT == 2 )); then
    _describe command commands
    return
  fi
  local command=$words[2]
  shift words
  (( CURRENT-- ))
  case $command in
%[4]s  esac
}
if [ "$funcstack[1]" = _%[2]s ]; then _%[2]s "$@"; else compdef _%[2]s %[1]s; fi
`, p.Name, identifier(p.Name), commands.String(), cases.String())
}

// zsh is the flag for _arguments.
func (s *Setting) zsh() string {
	help := strings.NewReplacer("[", "(", "]", ")", ":", ",").Replace(quoted(plain(s.Help)))
	if s.isBool() {
		return fmt.Sprintf("'-%s[%s]'", s.Name, help)
	}
	action := ""
	switch {
	case len(s.choices()) > 0:
		action = "(" + strings.Join(s.choices(), " ") + ")"
	case s.Kind == "directory":
		action = "_files -/"
	case s.Kind == "file":
		action = "_files"
	}
	// "=" takes the value in the same word too.
	return fmt.Sprintf("'-%s=[%s]:%s:%s'", s.Name, help, s.Kind, action)
}

func (p *Program) fish() string {
	var b strings.Builder
	fmt.Fprintf(&b, "# fish completion for %s\ncomplete -c %[1]s -f\n", p.Name)
	for _, c := range p.Commands {
		fmt.Fprintf(&b, "complete -c %s -n __fish_use_subcommand -a %s -d '%s'\n", p.Name, c.Name, quoted(c.Summary))
	}
	for _, c := range p.Commands {
		seen := "'__fish_seen_subcommand_from " + c.Name + "'"
		for _, s := range p.flags(c.Name) {
			fmt.Fprintf(&b, "complete -c %s -n %s -o %s -d '%s'%s\n", p.Name, seen, s.Name, quoted(plain(s.Help)), s.fish())
		}
		if len(c.Words) > 0 {
			fmt.Fprintf(&b, "complete -c %s -n %s -a '%s'\n", p.Name, seen, strings.Join(c.Words, " "))
		}
	}
	return b.String()
}

// fish says what the flag's value is.
func (s *Setting) fish() string {
	switch {
	case s.isBool():
		return ""
	case len(s.choices()) > 0:
		return " -x -a '" + strings.Join(s.choices(), " ") + "'"
	case s.Kind == "directory":
		return " -x -a '(__fish_complete_directories)'"
	case s.Kind == "file":
		return " -r -F"
	}
	return " -x"
}

// quoted is the text for inside single quotes, of any of the shells.
func quoted(text string) string { return strings.ReplaceAll(text, "'", "’") }

// identifier is the name as a shell function may have it.
func identifier(name string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' {
			return r
		}
		return '_'
	}, name)
}
