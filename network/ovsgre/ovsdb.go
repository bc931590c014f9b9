//go:build linux

package ovsgre

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/kintoun/kintoun/internal/fault"
)

const database = "Open_vSwitch"

// An operation of an OVSDB transaction (RFC 7047 section 5.2).
type operation map[string]any

// rows is the result of a select.
type rows []map[string]any

// transact runs operations as one transaction of the Open vSwitch database, checks the result of each, and returns
// the rows of those that select. Each transaction has a connection of its own: on a local socket it costs little, and
// there is none to look after. The client of go-openvswitch's ovsdb is not used: it hides the errors of operations and of
// the commit, leaves a request waiting when the server ends, and spins for ever, Close included, on a broken answer.
func transact(ctx context.Context, socket string, operations ...operation) ([]rows, error) {
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "unix", socket)
	if err != nil {
		return nil, fault.Wrap(ErrUnavailable, "the database of Open vSwitch does not answer: %v", err)
	}
	defer func() { _ = conn.Close() }()
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	params := []any{database}
	for _, o := range operations {
		params = append(params, o)
	}
	if err := json.NewEncoder(conn).Encode(map[string]any{"method": "transact", "params": params, "id": 1}); err != nil {
		return nil, errors.Join(ctx.Err(), fmt.Errorf("ask the database of Open vSwitch: %w", err))
	}
	decoder := json.NewDecoder(conn)
	for {
		var message struct {
			ID     any             `json:"id"`
			Method string          `json:"method"`
			Result json.RawMessage `json:"result"`
			Error  json.RawMessage `json:"error"`
		}
		if err := decoder.Decode(&message); err != nil {
			return nil, errors.Join(ctx.Err(), fmt.Errorf("the database of Open vSwitch: %w", err))
		}
		// The server may ask whether we are still there; the answer can wait until we are not.
		if message.Method != "" {
			continue
		}
		if len(message.Error) > 0 && string(message.Error) != "null" {
			return nil, fmt.Errorf("the database of Open vSwitch: %s", message.Error)
		}
		return parseResults(message.Result)
	}
}

// parseResults finds the first operation that failed. The list has one more when the commit itself did.
func parseResults(data []byte) ([]rows, error) {
	var results []struct {
		Rows    rows   `json:"rows"`
		Error   string `json:"error"`
		Details string `json:"details"`
	}
	if err := json.Unmarshal(data, &results); err != nil {
		return nil, fmt.Errorf("the database of Open vSwitch: %w", err)
	}
	all := make([]rows, 0, len(results))
	for i, r := range results {
		if r.Error != "" {
			return nil, fmt.Errorf("the database of Open vSwitch: operation %d: %s: %s", i, r.Error, r.Details)
		}
		all = append(all, r.Rows)
	}
	return all, nil
}

// Values as OVSDB writes them (RFC 7047 section 5.1).

func set(values ...any) any {
	if values == nil {
		values = []any{}
	}
	return []any{"set", values}
}

func pairs(m map[string]string) any {
	list := []any{}
	for k, v := range m {
		list = append(list, []any{k, v})
	}
	return []any{"map", list}
}

func named(name string) any { return []any{"named-uuid", name} }

// stringMap reads a map column.
func stringMap(value any) map[string]string {
	m := map[string]string{}
	outer, _ := value.([]any)
	if len(outer) != 2 {
		return m
	}
	list, _ := outer[1].([]any)
	for _, entry := range list {
		if pair, _ := entry.([]any); len(pair) == 2 {
			key, _ := pair[0].(string)
			m[key], _ = pair[1].(string)
		}
	}
	return m
}

// equals is a condition on a column.
func equals(column string, value any) any { return []any{[]any{column, "==", value}} }

// setKey are the mutations that give one key of a map column a value; delKey takes it away.
func setKey(table, row, column, key, value string) operation {
	return operation{"op": "mutate", "table": table, "where": equals("name", row), "mutations": []any{
		[]any{column, "delete", set(key)},
		[]any{column, "insert", pairs(map[string]string{key: value})},
	}}
}

func delKey(table, row, column, key string) operation {
	return operation{"op": "mutate", "table": table, "where": equals("name", row), "mutations": []any{[]any{column, "delete", set(key)}}}
}

// nextConfiguration asks ovs-vswitchd to carry out the transaction that it is part of.
func nextConfiguration() []operation {
	return []operation{
		{"op": "mutate", "table": "Open_vSwitch", "where": []any{}, "mutations": []any{[]any{"next_cfg", "+=", 1}}},
		{"op": "select", "table": "Open_vSwitch", "where": []any{}, "columns": []any{"_uuid", "next_cfg"}},
	}
}

// settleTime is how long ovs-vswitchd may take.
const settleTime = 10 * time.Second

// configure commits the operations and returns when ovs-vswitchd has carried them out.
func configure(ctx context.Context, socket string, operations ...operation) error {
	results, err := transact(ctx, socket, append(operations, nextConfiguration()...)...)
	if err != nil {
		return err
	}
	last := results[len(results)-1]
	if len(last) != 1 {
		return fmt.Errorf("the database of Open vSwitch has %d root rows", len(last))
	}
	wait := operation{
		"op": "wait", "table": "Open_vSwitch", "timeout": settleTime.Milliseconds(),
		"where":   []any{[]any{"cur_cfg", ">=", last[0]["next_cfg"]}},
		"columns": []any{"_uuid"}, "until": "==", "rows": []any{map[string]any{"_uuid": last[0]["_uuid"]}},
	}
	if _, err := transact(ctx, socket, wait); err != nil {
		return fault.Wrap(ErrUnavailable, "ovs-vswitchd did not carry out a change: %v", err)
	}
	return nil
}
