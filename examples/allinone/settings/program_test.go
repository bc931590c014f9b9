package settings_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kintoun/kintoun/examples/allinone/settings"
	"github.com/kintoun/kintoun/internal/lab/labtest"
	"github.com/stretchr/testify/require"
)

func program(t *testing.T) *settings.Program {
	w := newWorld(t, "")
	w.source.File = "/etc/box.yaml"
	w.table[0] = w.source.Config(&w.config)
	return &settings.Program{
		Name: "box", Summary: "a box", Description: "It's a box.\n\n.Really-", Table: w.table, Source: w.source, Commands: []settings.Command{
			{Name: "serve", Summary: "run it", Next: "Then use PROGRAM."}, {Name: "leave", Summary: "don't", Arguments: "WHO", Words: []string{"alice", "bob"}},
		},
	}
}

func TestUsage(t *testing.T) {
	p := program(t)
	var b strings.Builder
	p.Usage(&b, nil)
	require.Equal(t, "box: a box\n\nusage: box COMMAND [flags]\n\n  serve  run it\n  leave  don't\n\nbox COMMAND -h tells of a command and lists its flags.\n", b.String())
	b.Reset()
	p.Usage(&b, p.Command("serve"))
	require.Contains(t, b.String(), "usage: box serve [flags]\n\nRun it.\n\n  -config FILE\n")
	require.Contains(t, b.String(), "  -kind WORD\n    \tit's a kind; one of auto, one, other (default auto)\n  -deep\n    \tgo deep\n")
	require.NotContains(t, b.String(), "-away")
	require.Contains(t, b.String(), "\nThen use box.\n")
	require.Nil(t, p.Command("other"))
}

func TestDocuments(t *testing.T) {
	p := program(t)
	document := p.Markdown()
	require.Contains(t, document, "| `kind` | `BOX_KIND` | `auto` | it's a kind; one of `auto`, `one`, `other` |  |\n")
	require.Contains(t, document, "| `config` | `BOX_CONFIG` | /etc/box.yaml, if it is there | YAML file with settings; -config= for none |  |\n")
	require.Contains(t, document, "Only the file has `hooks`, callers.")
	require.Contains(t, document, "| `types` | what |\n")
	require.NotContains(t, document, "`once`")

	page := p.Man()
	require.Contains(t, page, "\n\\&.Really\\-\n")
	require.Contains(t, page, ".B \\-kind WORD\nIt's a kind; one of auto, one, other (default auto).\n")
	require.Contains(t, page, ".B hooks (in the file only)\n")
}

// TestTheExampleIsRead uncomments every setting of it that has a value.
func TestTheExampleIsRead(t *testing.T) {
	p := program(t)
	var file strings.Builder
	for line := range strings.Lines(p.YAML("serve")) {
		if text, ok := strings.CutPrefix(line, "#"); ok && !strings.HasPrefix(text, " ") && !strings.HasSuffix(text, ":\n") {
			file.WriteString(text)
		}
	}
	require.Equal(t, "data: /var/lib/box\nkind: auto\ndeep: false\nhosts: 1\npause: 0s\n", file.String())
	require.NoError(t, newWorld(t, file.String()).load("serve"))
	require.NotContains(t, p.YAML("serve"), "away")
}

func complete(t *testing.T, shell, suffix string) string {
	t.Helper()
	labtest.RequireProgram(t, shell, shell)
	script, err := program(t).Completion(shell)
	require.NoError(t, err)
	path := filepath.Join(t.TempDir(), "complete"+suffix)
	require.NoError(t, os.WriteFile(path, []byte(script), 0o600))
	return path
}

func output(t *testing.T, dir, name string, args ...string) []string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "HOME="+dir, "XDG_CONFIG_HOME="+dir, "XDG_DATA_HOME="+dir)
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	return strings.Fields(string(out))
}

func TestBashCompletes(t *testing.T) {
	script := complete(t, "bash", ".bash")
	dir := t.TempDir()
	require.NoError(t, os.Mkdir(filepath.Join(dir, "disks"), 0o700))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "dice.yaml"), nil, 0o600))
	for line, want := range map[string]string{
		"s": "serve", "": "serve leave -h -version", "serve -d": "-data -deep", "leave -a": "-address -away",
		"serve -kind ": "auto one other", "serve -kind = o": "one other", "serve -kind =": "auto one other",
		"serve -data di": "disks", "serve -config di": "disks dice.yaml", "serve -hosts ": "", "leave b": "bob", "serve ": "",
	} {
		words := strings.Split(line, " ")
		program := `source "$0"; COMP_WORDS=(box "$@"); COMP_CWORD=$#; compopt() { :; }; _box; echo "${COMPREPLY[*]}"`
		require.ElementsMatch(t, strings.Fields(want), output(t, dir, "bash", append([]string{"--norc", "-c", program, script}, words...)...), line)
	}
}

func TestFishCompletes(t *testing.T) {
	script := complete(t, "fish", ".fish")
	for line, want := range map[string]string{
		"box s": "serve", "box serve -d": "-data -deep", "box serve -kind ": "auto one other", "box leave b": "bob",
	} {
		got := output(t, t.TempDir(), "fish", "--no-config", "-c", "source "+script+"; complete -C '"+line+"' | string split -f1 \\t; true")
		for _, word := range got {
			require.Contains(t, strings.Fields(want), word, line)
		}
		require.NotEmpty(t, got, line)
	}
}

// TestZshCompletes presses the tabulator in a terminal of its own, once the line editor shows its prompt: before that the
// key is a character like others.
func TestZshCompletes(t *testing.T) {
	script := complete(t, "zsh", ".zsh")
	const terminal = `
zmodload zsh/zpty
zpty box zsh -f -i
zpty -w box "PS1=; autoload -Uz compinit; compinit -u -D; source $1; zstyle ':completion:*' list-prompt ''; unsetopt zle_bracketed_paste; PS1=rea''dy"
zpty -r box said '*ready*'
zpty -w -n box "box $2"$'\t\C-a: \C-e  end\n'
zpty -r box said '*end*'
print -r -- $said
zpty -d box`
	for line, want := range map[string]string{"se": "serve", "serve -kind ot": "other", "serve -dat": "-data", "leave b": "bob"} {
		got := output(t, t.TempDir(), "zsh", "-f", "-c", terminal, "zsh", script, line)
		require.Contains(t, strings.Join(got, " "), want, line)
	}
}
