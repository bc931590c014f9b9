package nova

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"strings"

	"github.com/kintoun/kintoun/compute"
	"github.com/kintoun/kintoun/internal/fault"
	"github.com/kintoun/kintoun/internal/wire"
)

// action is one kind of POST …/action: serve gets an argument that its schema has checked.
type action struct {
	schema func(c *call) *wire.Schema
	serve  func(c *call, id string, argument json.RawMessage) error
	policy string
	// later actions cannot be done here yet, on servers.
	later bool
}

// notImplemented are a server's actions that the API has and that cannot be done here yet.
var notImplemented = []string{
	"pause", "unpause", "suspend", "resume", "rebuild", "resize", "confirmResize", "revertResize", "migrate", "os-migrateLive",
	"evacuate", "rescue", "unrescue", "shelve", "shelveOffload", "unshelve", "restore",
	"changePassword", "resetNetwork", "injectNetworkInfo", "addFixedIp", "removeFixedIp", "addFloatingIp", "removeFloatingIp",
	"os-getVNCConsole", "os-getSPICEConsole", "os-getSerialConsole", "os-getRDPConsole", "trigger_crash_dump",
}

func (a *api) serverActions() map[string]action {
	plain := func(do func(c *call, id string) error) action {
		return action{serve: func(c *call, id string, _ json.RawMessage) error {
			if err := do(c, id); err != nil {
				return err
			}
			return c.empty(http.StatusAccepted)
		}}
	}
	actions := map[string]action{
		"os-start": plain(func(c *call, id string) error { return a.compute.Start(c.Context(), c.scope(), id) }),
		"os-stop":  plain(func(c *call, id string) error { return a.compute.Stop(c.Context(), c.scope(), id) }),
		"reboot": {
			schema: func(*call) *wire.Schema {
				return record(map[string]*wire.Schema{"type": words("HARD", "Hard", "hard", "SOFT", "Soft", "soft")}, "type")
			},
			serve: a.reboot,
		},
		"createImage": {
			schema: func(*call) *wire.Schema {
				return record(map[string]*wire.Schema{"name": typeName(), "metadata": typeMetadata()}, "name")
			},
			serve: a.createImage,
		},
		"createBackup":        {schema: backupSchema, serve: a.createBackup},
		"lock":                {schema: lockSchema, serve: a.lock},
		"unlock":              plain(func(c *call, id string) error { return a.compute.Unlock(c.Context(), c.scope(), id) }),
		"forceDelete":         plain(func(c *call, id string) error { return a.compute.Delete(c.Context(), c.scope(), id) }),
		"os-getConsoleOutput": {schema: consoleSchema, serve: a.consoleOutput},
		"os-resetState": {
			schema: func(*call) *wire.Schema {
				return record(map[string]*wire.Schema{"state": words("active", "error")}, "state")
			},
			serve: a.resetState, policy: "os_compute_api:os-admin-actions:reset_state",
		},
		"addSecurityGroup":    {schema: groupNameSchema, serve: a.changeSecurityGroup(true)},
		"removeSecurityGroup": {schema: groupNameSchema, serve: a.changeSecurityGroup(false)},
	}
	for _, name := range notImplemented {
		actions[name] = action{later: true}
	}
	return actions
}

func consoleSchema(*call) *wire.Schema {
	return record(map[string]*wire.Schema{"length": {Types: []string{"integer", "string", "null"}, Pattern: bounded(0, 0).Pattern}})
}

func groupNameSchema(*call) *wire.Schema {
	return record(map[string]*wire.Schema{"name": typeName()}, "name")
}

// lockSchema takes a reason since 2.73; before, whatever is said is ignored.
func lockSchema(c *call) *wire.Schema {
	if !c.at(73) {
		return nil
	}
	return &wire.Schema{Types: []string{"object", "null"}, Properties: map[string]*wire.Schema{
		"locked_reason": {Types: []string{"string"}, MinLength: 1, MaxLength: 255},
	}}
}

func actionNamed(name string) string { return "The action " + name }

// perform does the action that the body names.
func (c *call) perform(actions map[string]action) error {
	name, argument, err := c.actionBody()
	if err != nil {
		return err
	}
	do, ok := actions[name]
	switch {
	case !ok:
		return fault.Wrap(compute.ErrInvalid, "There is no such action: %s", name)
	case do.later:
		return c.answerLater(actionNamed(name))
	case do.policy != "" && !c.caller.IsAdmin():
		return forbidden(do.policy)
	}
	if do.schema != nil {
		if s := do.schema(c); s != nil {
			if err := checkArgument(wrap(name, s), name, argument, c.legacy); err != nil {
				return err
			}
		}
	}
	return do.serve(c, c.PathValue("id"), argument)
}

// actionBody reads a body with exactly one property, the action's name.
func (c *call) actionBody() (name string, argument json.RawMessage, err error) {
	data, err := io.ReadAll(c.Body)
	if err != nil {
		return "", nil, err
	}
	var body map[string]json.RawMessage
	if json.Unmarshal(data, &body) != nil || body == nil {
		return "", nil, fault.Wrap(compute.ErrInvalid, "Malformed request body")
	}
	if len(body) != 1 {
		return "", nil, fault.Wrap(compute.ErrInvalid, "There is no such action: a request names exactly one")
	}
	for name = range body {
		argument = body[name]
	}
	return name, argument, nil
}

func checkArgument(s *wire.Schema, name string, argument json.RawMessage, lenient bool) error {
	decoder := json.NewDecoder(bytes.NewReader(argument))
	decoder.UseNumber()
	var value any
	if err := decoder.Decode(&value); err != nil {
		return fault.Wrap(compute.ErrInvalid, "Malformed request body")
	}
	return s.Validate(map[string]any{name: value}, lenient)
}

func (a *api) reboot(c *call, id string, argument json.RawMessage) error {
	var how struct{ Type string }
	if err := json.Unmarshal(argument, &how); err != nil {
		return fault.Wrap(compute.ErrInvalid, "Malformed request body")
	}
	if err := a.compute.Reboot(c.Context(), c.scope(), id, strings.EqualFold(how.Type, "hard")); err != nil {
		return err
	}
	return c.empty(http.StatusAccepted)
}

func (a *api) lock(c *call, id string, argument json.RawMessage) error {
	var why struct {
		Reason *string `json:"locked_reason"`
	}
	if c.at(73) {
		if err := json.Unmarshal(argument, &why); err != nil {
			return fault.Wrap(compute.ErrInvalid, "Malformed request body")
		}
	}
	if err := a.compute.Lock(c.Context(), c.scope(), id, why.Reason); err != nil {
		return err
	}
	return c.empty(http.StatusAccepted)
}

func (a *api) consoleOutput(c *call, id string, argument json.RawMessage) error {
	var which struct{ Length *wire.Int }
	if err := json.Unmarshal(argument, &which); err != nil {
		return fault.Wrap(compute.ErrInvalid, "Malformed request body")
	}
	lines := 0
	if which.Length != nil {
		if lines = int(*which.Length); lines < -1 {
			return fault.Wrap(compute.ErrInvalid, "Invalid input for field/attribute length. Value: %d. %d is less than the minimum of -1", lines, lines)
		}
		if lines == 0 {
			return c.json(http.StatusOK, object{"output": ""})
		}
	}
	output, err := a.compute.ConsoleOutput(c.Context(), c.scope(), id, max(lines, 0))
	if err != nil {
		return err
	}
	return c.json(http.StatusOK, object{"output": strings.ToValidUTF8(string(output), "?")})
}

func (a *api) resetState(c *call, id string, argument json.RawMessage) error {
	var to struct{ State string }
	if err := json.Unmarshal(argument, &to); err != nil {
		return fault.Wrap(compute.ErrInvalid, "Malformed request body")
	}
	if err := a.compute.ResetState(c.Context(), c.scope(), id, to.State == "active"); err != nil {
		return err
	}
	return c.empty(http.StatusAccepted)
}

func (a *api) changeSecurityGroup(add bool) func(c *call, id string, argument json.RawMessage) error {
	return func(c *call, id string, argument json.RawMessage) error {
		var group struct{ Name string }
		if err := json.Unmarshal(argument, &group); err != nil {
			return fault.Wrap(compute.ErrInvalid, "Malformed request body")
		}
		if err := a.compute.ChangeSecurityGroup(c.Context(), c.scope(), id, group.Name, add); err != nil {
			return err
		}
		return c.empty(http.StatusAccepted)
	}
}
