package settings_test

import (
	"flag"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/kintoun/kintoun/examples/allinone/settings"
	"github.com/stretchr/testify/require"
)

func Example() {
	var dir, config string
	source := settings.Source{Prefix: "BOX_", File: "/etc/box.yaml", Environ: []string{"BOX_DATA=/srv/box"}}
	table := settings.Table{
		source.Config(&config),
		{Name: "data", Kind: "directory", Help: "everything that outlives the process", Value: settings.Text(&dir, "/var/lib/box")},
	}
	flags := flag.NewFlagSet("box serve", flag.ContinueOnError)
	if err := source.Load("serve", table, flags, []string{"-config=", "rest"}); err != nil {
		fmt.Println(err)
	}
	fmt.Println(dir, flags.Args())
	// Output: /srv/box [rest]
}

// world is a program's settings, one of each type.
type world struct {
	source                         settings.Source
	table                          settings.Table
	config, data, kind, listen, pw string
	deep                           bool
	hosts                          int
	pause                          time.Duration
	address                        netip.Addr
	network                        netip.Prefix
	hooks                          []hook
	warnings                       []string
}

type hook struct {
	name  string
	types []string
}

func newWorld(t *testing.T, file string, environ ...string) *world {
	w := &world{}
	path := filepath.Join(t.TempDir(), "settings.yaml")
	require.NoError(t, os.WriteFile(path, []byte(file), 0o600))
	w.source = settings.Source{
		Prefix: "BOX_", File: path, Environ: append(environ, "PATH=/bin"), Known: []string{"BOX_INTERNAL"},
		Warn: func(text string) { w.warnings = append(w.warnings, text) },
	}
	w.table = settings.Table{
		w.source.Config(&w.config),
		{Name: "data", Kind: "directory", Help: "where things are", Value: settings.Text(&w.data, "/var/lib/box")},
		{Name: "kind", Kind: "word", Help: "it's a kind", Value: settings.Choice(&w.kind, "auto", "auto", "one", "other")},
		{Name: "deep", Kind: "switch", Help: "go deep", Value: settings.Bool(&w.deep, false)},
		{Name: "hosts", Kind: "number", Help: "how many", Value: settings.Number(&w.hosts, 1, 1, 9)},
		{Name: "pause", Kind: "duration", Help: "how long", Value: settings.Duration(&w.pause, 0)},
		{Name: "address", Kind: "address", Help: "whose", Value: settings.Address(&w.address)},
		{Name: "network", Kind: "address/bits", Help: "which", Value: settings.Prefix(&w.network)},
		{Name: "listen", Kind: "address:port", Help: "where", Value: settings.HostPort(&w.listen)},
		{Name: "password", Kind: "password", Help: "whispered", Secret: true, Value: secret{settings.Text(&w.pw, "")}},
		{Name: "once", Kind: "word", Help: "now", FlagOnly: true, Value: settings.Text(new(string), "")},
		{Name: "away", Kind: "word", Help: "elsewhere", Commands: []string{"leave"}, Value: settings.Number(new(int), 1, 1, 2)},
		{Name: "hooks", Kind: "list", Help: "callers", Items: w.hook},
	}
	return w
}

// secret takes nothing that is short, and says it.
type secret struct{ settings.Value }

func (s secret) Set(text string) error {
	if len(text) < 4 {
		return fmt.Errorf("%q is too short", text)
	}
	return s.Value.Set(text)
}

func (w *world) hook() settings.Item {
	var h hook
	return settings.Item{
		Fields: settings.Table{
			{Name: "name", Kind: "NAME", Help: "who", Value: settings.Text(&h.name, "")},
			{Name: "types", Kind: "[word]", Help: "what", Value: settings.Words(&h.types)},
		},
		Done: func() error {
			if h.name == "" {
				return fmt.Errorf("it has no name")
			}
			w.hooks = append(w.hooks, h)
			return nil
		},
	}
}

func (w *world) load(command string, arguments ...string) error {
	return w.source.Load(command, w.table, flag.NewFlagSet("box", flag.ContinueOnError), arguments)
}

func TestWhatIsNearerWins(t *testing.T) {
	w := newWorld(t, "")
	require.NoError(t, w.load("serve"))
	require.Equal(t, "/var/lib/box", w.data)
	require.False(t, w.table.Lookup("data").IsSet())

	const file = "data: /file\nhosts: 3\nkind: one\n"
	w = newWorld(t, file)
	require.NoError(t, w.load("serve"))
	require.Equal(t, "/file 3 one", fmt.Sprint(w.data, " ", w.hosts, " ", w.kind))

	w = newWorld(t, file, "BOX_DATA=/environment", "BOX_HOSTS=4", "BOX_KIND=")
	require.NoError(t, w.load("serve", "-hosts", "5"))
	require.Equal(t, "/environment 5 one", fmt.Sprint(w.data, " ", w.hosts, " ", w.kind))
	require.True(t, w.table.Lookup("data").IsSet())
}

func TestTypes(t *testing.T) {
	w := newWorld(t, `
data: &where /shared # an anchor
deep: true
pause: 1m30s
address: 192.0.2.1
network: 192.0.2.1/24
listen: "[::1]:80"
password: 12345678
hooks:
- {name: a, types: [server, port]}
- name: *where
  types: image
`)
	require.NoError(t, w.load("serve"))
	require.True(t, w.deep)
	require.Equal(t, 90*time.Second, w.pause)
	require.Equal(t, "192.0.2.1 192.0.2.1/24 [::1]:80 12345678", fmt.Sprint(w.address, " ", w.network, " ", w.listen, " ", w.pw))
	require.Equal(t, []hook{{"a", []string{"server", "port"}}, {"/shared", []string{"image"}}}, w.hooks)
}

func TestTheFileIsRefusedWithItsLine(t *testing.T) {
	for file, problem := range map[string]string{
		"\ndta: /x\n":                      `:2: there is no setting "dta"; did you mean data?`,
		"zzzzzz: 1\n":                      `:1: there is no setting "zzzzzz"`,
		"hosts: 1\nhosts: 2\n":             `:2: hosts is there twice: remove one of them`,
		"hosts: many\n":                    `:1: hosts: write a whole number, without quotes`,
		"hosts: \"3\"\n":                   `:1: hosts: write a whole number, without quotes`,
		"hosts: 10\n":                      `:1: hosts: "10" is no number from 1 to 9`,
		"deep: yes\n":                      `:1: deep: write true or false, without quotes`,
		"data: true\n":                     `:1: data: it is a text: put true in quotes if you mean that`,
		"data:\n":                          `:1: data: it has no value: write one, or remove the line`,
		"data: [a]\n":                      `:1: data: it takes one value, not a list or a mapping`,
		"kind: third\n":                    `:1: kind: "third" is none of auto, one, other`,
		"pause: 10\n":                      `:1: pause: "10" is no time span: write 10s, 1m30s or 500ms`,
		"address: here\n":                  `:1: address: "here" is not an IP address, such as 192.0.2.1`,
		"network: 10.0.0.1\n":              `:1: network: "10.0.0.1" is not an IP address with its network's bits, such as 192.0.2.1/24`,
		"listen: \"80\"\n":                 `:1: listen: "80" is no address and port: write 127.0.0.1:9464`,
		"listen: a:70000\n":                `:1: listen: "70000" is no port from 0 to 65535`,
		"password: abc\n":                  `:1: password: it can not be that`,
		"config: x\n":                      `:1: there is no setting "config"`,
		"once: x\n":                        `:1: there is no setting "once"`,
		"away: 3\n":                        `:1: away: "3" is no number from 1 to 2`,
		"- data\n":                         `:1: this is no setting: write NAME: VALUE`,
		"hooks: x\n":                       `:1: hooks: write a list, each of its items after a dash`,
		"hooks:\n- name: a\n  tpes: [a]\n": `:3: there is no setting "tpes"; did you mean types?`,
		"hooks:\n- types: [a]\n":           `:2: hooks: it has no name`,
		"hooks:\n- types: [[a]]\n":         `:2: types: its list must have words only`,
		"hooks:\n- a\n":                    `:2: this is no setting: write NAME: VALUE`,
		"data: a\n---\ndata: b\n":          `there is more than one document in it: leave out ---`,
		"data: \"a\nb: c\n":                `yaml: line`,
	} {
		w := newWorld(t, file)
		err := w.load("serve")
		require.ErrorContains(t, err, w.source.File+":", file)
		require.ErrorContains(t, err, problem, file)
		require.NotContains(t, err.Error(), "abc")
	}
	// All of it is told at once.
	w := newWorld(t, "dta: 1\nhosts: 0\n")
	err := w.load("serve")
	require.ErrorContains(t, err, ":1: ")
	require.ErrorContains(t, err, ":2: ")
}

func TestWhichFile(t *testing.T) {
	w := newWorld(t, "data: /file\n")
	require.NoError(t, w.load("serve", "-config="))
	require.Equal(t, "/var/lib/box", w.data)

	other := filepath.Join(t.TempDir(), "other.yaml")
	require.NoError(t, os.WriteFile(other, []byte("# nothing but this\n"), 0o600))
	w = newWorld(t, "data: /file\n", "BOX_CONFIG="+other)
	require.NoError(t, w.load("serve"))
	require.Equal(t, "/var/lib/box", w.data)

	w = newWorld(t, "")
	require.NoError(t, os.Remove(w.source.File))
	require.NoError(t, w.load("serve"), "the default file may be missing")
	w = newWorld(t, "hosts: 3\n")
	require.NoError(t, os.Chmod(w.source.File, 0))
	w.table = w.table[1:]
	require.NoError(t, w.load("serve"), "a program without the setting reads no file")
	require.Equal(t, 1, w.hosts)
	require.ErrorContains(t, newWorld(t, "").load("serve", "-config", other+"x"), "choose another file with -config")
}

func TestTheEnvironment(t *testing.T) {
	w := newWorld(t, "", "BOX_DATTA=1", "BOX_QUITE_ANOTHER_THING=1", "BOX_INTERNAL=1", "BOX_ONCE=1", "BOX_AWAY=7", "BOX_HOOKS=1")
	require.NoError(t, w.load("serve"), "another command's settings are not looked at")
	require.Equal(t, "the environment variable BOX_DATTA names no setting; did you mean BOX_DATA?", w.warnings[0])
	require.Equal(t, "the environment variable BOX_QUITE_ANOTHER_THING names no setting", w.warnings[1])
	require.Len(t, w.warnings, 4, "%v", w.warnings)

	err := newWorld(t, "", "BOX_HOSTS=x", "BOX_PASSWORD=abc").load("serve")
	require.ErrorContains(t, err, `the environment variable BOX_HOSTS: "x" is no number from 1 to 9`)
	require.ErrorContains(t, err, `the environment variable BOX_PASSWORD: it can not be that`)
	require.NoError(t, newWorld(t, "", "BOX_HOSTS=x").load("serve", "-hosts=2"), "a flag goes before it")
}

func TestArgumentsGiveTheSameSettings(t *testing.T) {
	w := newWorld(t, "hosts: 3\npassword: from-the-file\n", "BOX_KIND=one")
	require.NoError(t, w.load("serve", "-deep", "-data=/with space"))
	w.address = netip.MustParseAddr("192.0.2.7") // as a program may
	flags, environ := w.source.Arguments("serve", w.table)
	require.Equal(t, []string{"-data=/with space", "-kind=one", "-deep=true", "-hosts=3", "-address=192.0.2.7"}, flags)
	require.Equal(t, []string{"BOX_PASSWORD=from-the-file"}, environ, "a secret is on no command line")

	other := newWorld(t, "hosts: 9\n", environ...)
	require.NoError(t, other.load("serve", flags...))
	again, secrets := other.source.Arguments("serve", other.table)
	require.Equal(t, flags, again)
	require.Equal(t, environ, secrets)
}

func FuzzFile(f *testing.F) {
	f.Add("data: /x\nhosts: 3\nhooks:\n- {name: a, types: [b, c]}\n")
	f.Add("a: &a [*a]\n")
	f.Add("hooks: &h [{name: *h}]\n? [x]\n: y\n")
	f.Add("<<: {data: x}\n")
	f.Fuzz(func(t *testing.T, file string) {
		w := newWorld(t, file)
		if err := w.load("serve"); err != nil {
			require.ErrorContains(t, err, w.source.File)
		}
	})
}
