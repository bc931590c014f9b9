package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"runtime"
	"runtime/debug"
	"strings"

	"github.com/kintoun/kintoun/examples/allinone/server"
	"github.com/kintoun/kintoun/examples/allinone/settings"
)

// document is what config prints.
type document struct{ as, out string }

func (d *document) settings() settings.Table {
	return settings.Table{
		{Name: "as", FlagOnly: true, Kind: "form", Help: "what to print", Value: settings.Choice(&d.as, "yaml", "yaml", "markdown", "man")},
		{Name: "out", FlagOnly: true, Kind: "file", Help: "where to write it", Default: "standard output", Value: settings.Text(&d.out, "")},
	}
}

// config prints the settings.
func config(_ context.Context, s *options) error {
	text := s.example()
	switch s.document.as {
	case "markdown":
		text = s.handbook()
	case "man":
		text = s.program.Man()
	}
	if s.document.out == "" {
		_, err := io.WriteString(s.out, text)
		return err
	}
	return server.WriteFile(s.document.out, text, 0o644)
}

// example is a file to begin with: nothing is set in it.
func (s *options) example() string {
	return fmt.Sprintf(`# Settings of %[1]s. All of them are commented out: what is shown is the default.
#
# A flag (-listen) goes before an environment variable (KINTOUN_LISTEN), that before this file, and
# this file before the default. What is misspelt is refused. `+"`%[1]s serve -h`"+` tells of them too.
%[2]s`, s.program.Name, s.program.YAML("serve", "simulate"))
}

// handbook is docs/configuration.md.
func (s *options) handbook() string {
	return "# Configuration\n\n<!-- Written by make generate from the table of settings; change that. -->\n\n" + fmt.Sprintf(`Every setting has one name: the flag `+"`-listen`"+`, the environment variable `+"`KINTOUN_LISTEN`"+` and the key `+"`listen:`"+` of the
YAML file are the same. A flag goes before the environment, the environment before the file, the file before the default.
A variable that is empty counts as not set.

The file is %[1]s, if it is there, or the one that `+"`-config`"+` or `+"`KINTOUN_CONFIG`"+` names; `+"`-config=`"+` reads none.
`+"`%[2]s config`"+` prints one with every setting commented out. It may set what another command than the one that reads it has.

A key of the file that is no setting, a wrong type and a value that can not be are refused, with file and line. A variable
`+"`KINTOUN_…`"+` that names no setting is warned of, and no more than that: in Kubernetes, each service makes such variables.

`+"`%[2]s COMMAND -h`"+` tells the same in the terminal, and the manual page `+"`kintoun(8)`"+` of the Debian package too, which
installs the program as `+"`kintoun`"+`.

## Settings

%[3]s
Traces are sent as the OpenTelemetry specification has it: `+"`OTEL_EXPORTER_OTLP_ENDPOINT`"+` (http://localhost:4318 without it),
`+"`OTEL_EXPORTER_OTLP_HEADERS`"+`, `+"`OTEL_TRACES_SAMPLER`"+`, `+"`OTEL_SERVICE_NAME`"+` and their like are read from the environment;
[package telemetry](../examples/allinone/telemetry/telemetry.go) has the list.

## The file

`+"```yaml\n%[4]s```\n", s.program.Source.File, s.program.Name, s.program.Markdown(), s.example())
}

// completion prints the script of the shell that the argument names.
func completion(_ context.Context, s *options) error {
	if len(s.args) != 1 {
		return fmt.Errorf("say for which shell: %s completion %s", s.program.Name, strings.Join(settings.Shells(), "|"))
	}
	script, err := s.program.Completion(s.args[0])
	if err != nil {
		return err
	}
	_, err = io.WriteString(s.out, script)
	return err
}

// version is the release, set by the linker: -X main.version=1.2.3.
var version string

func tellVersion(_ context.Context, s *options) error {
	info, _ := debug.ReadBuildInfo()
	_, err := fmt.Fprintln(s.out, s.program.Name, describeBuild(info, version))
	return err
}

// describeBuild says what a binary was made of. Without a release it has the module's version, which Go takes from the
// version control system.
func describeBuild(info *debug.BuildInfo, release string) string {
	if info == nil {
		info = &debug.BuildInfo{GoVersion: runtime.Version()}
	}
	of := map[string]string{}
	for _, s := range info.Settings {
		of[s.Key] = s.Value
	}
	var details []string
	if commit := of["vcs.revision"]; commit != "" {
		details = append(details, "commit "+commit[:min(len(commit), 12)], of["vcs.time"])
		if of["vcs.modified"] == "true" {
			details = append(details, "with changes")
		}
	}
	details = append(details, info.GoVersion, runtime.GOOS+"/"+runtime.GOARCH)
	return cmp.Or(release, info.Main.Version, "(devel)") + " (" + strings.Join(details, ", ") + ")"
}
