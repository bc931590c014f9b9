//go:build linux

package haproxy

import (
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/kintoun/kintoun/internal/fault"
	"github.com/kintoun/kintoun/lbaas/driver"
)

const (
	// askTime bounds one question to HAProxy, which answers in well under a millisecond when it is well.
	askTime = 5 * time.Second
	// maxAnswer bounds what is read of an answer.
	maxAnswer = 16 << 20
)

// socket is the path of a HAProxy's runtime socket (HAProxy Management Guide, section 9.3).
type socket string

// ask gives one command and returns the answer without the blank lines around it.
func (s socket) ask(ctx context.Context, command string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "unix", string(s))
	if err != nil {
		return "", err
	}
	defer func() { _ = conn.Close() }()
	deadline, _ := ctx.Deadline()
	if err := conn.SetDeadline(deadline); err != nil {
		return "", err
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	if _, err := io.WriteString(conn, command+"\n"); err != nil {
		return "", err
	}
	answer, err := io.ReadAll(io.LimitReader(conn, maxAnswer))
	if err != nil {
		return "", err
	}
	return strings.TrimSpace(string(answer)), nil
}

// order gives a command that succeeds in silence, or with one of the given answers.
func (s socket) order(ctx context.Context, command string, success ...string) error {
	answer, err := s.ask(ctx, command)
	if err != nil || answer == "" {
		return err
	}
	for _, text := range success {
		if answer == text {
			return nil
		}
	}
	return fault.Wrap(ErrUnavailable, "HAProxy refuses %q: %s", command, answer)
}

// info is who answers.
type info struct {
	PID         int
	Description string
}

func (s socket) info(ctx context.Context) (info, error) {
	answer, err := s.ask(ctx, "show info")
	if err != nil {
		return info{}, err
	}
	return parseInfo(answer)
}

func parseInfo(answer string) (info, error) {
	var out info
	for line := range strings.Lines(answer) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), ": ")
		switch name {
		case "Pid":
			pid, err := strconv.Atoi(value)
			if err != nil {
				return info{}, fmt.Errorf("process identifier: %w", err)
			}
			out.PID = pid
		case "description":
			out.Description = value
		}
	}
	if out.PID <= 0 {
		return info{}, errors.New("no process identifier in HAProxy's answer")
	}
	return out, nil
}

// server is a member as the process has it.
type server struct {
	address netip.AddrPort
	weight  int
	// maintenance takes no connections.
	maintenance bool
}

// servers are the members that the process has, by name.
func (s socket) servers(ctx context.Context) (map[string]server, error) {
	answer, err := s.ask(ctx, "show servers state "+backend)
	if err != nil {
		return nil, err
	}
	return parseServers(answer)
}

// maintenanceStates are the bits of a server's administrative state that take it out: by command, by the server
// that it tracks, and for want of a name's address.
const maintenanceStates = 0x01 | 0x02 | 0x20

// parseServers reads version 1 of the servers' state: a line with the version, one with the fields' names after a
// hash sign, and one for each server.
func parseServers(answer string) (map[string]server, error) {
	lines := strings.Split(answer, "\n")
	if len(lines) < 2 || strings.TrimSpace(lines[0]) != "1" || !strings.HasPrefix(lines[1], "# ") {
		return nil, fmt.Errorf("servers' state is of an unknown version: %.80q", answer)
	}
	column := map[string]int{}
	for i, name := range strings.Fields(lines[1][2:]) {
		column[name] = i
	}
	servers := map[string]server{}
	for _, line := range lines[2:] {
		fields := strings.Fields(line)
		if len(fields) == 0 {
			continue
		}
		field := func(name string) string {
			if i, ok := column[name]; ok && i < len(fields) {
				return fields[i]
			}
			return ""
		}
		address, errAddress := netip.ParseAddr(field("srv_addr"))
		port, errPort := strconv.ParseUint(field("srv_port"), 10, 16)
		weight, errWeight := strconv.Atoi(field("srv_uweight"))
		admin, errAdmin := strconv.Atoi(field("srv_admin_state"))
		if err := errors.Join(errAddress, errPort, errWeight, errAdmin); err != nil {
			return nil, fmt.Errorf("state of server %q: %w", field("srv_name"), err)
		}
		servers[field("srv_name")] = server{
			address: netip.AddrPortFrom(address, uint16(port)), weight: weight, maintenance: admin&maintenanceStates != 0,
		}
	}
	return servers, nil
}

// reconcileMembers tells the running process what differs between its members and those that are wanted.
func (d *Driver) reconcileMembers(ctx context.Context, f files, want driver.Balancer) error {
	s := socket(f.socket())
	have, err := s.servers(ctx)
	if err != nil {
		return err
	}
	for _, m := range want.Members {
		now, ok := have[m.ID]
		if !ok {
			options := memberOptions(m, want.Monitors)
			if err := s.order(ctx, "add server "+backend+"/"+m.ID+" "+options, "New server registered."); err != nil {
				return err
			}
			if len(want.Monitors) > 0 {
				if err := s.order(ctx, "enable health "+backend+"/"+m.ID); err != nil {
					return err
				}
			}
			now = server{address: netip.AddrPortFrom(m.Address.Unmap(), m.Port), weight: m.Weight, maintenance: true}
		}
		delete(have, m.ID)
		if err := s.change(ctx, m, now); err != nil {
			return err
		}
	}
	for name := range have {
		if err := s.drop(ctx, name, have[name]); err != nil {
			return err
		}
	}
	return nil
}

// change gives a member its place, weight and state.
func (s socket) change(ctx context.Context, m driver.Member, now server) error {
	name := "set server " + backend + "/" + m.ID
	if m.Disabled && !now.maintenance {
		if err := s.order(ctx, name+" state maint"); err != nil {
			return err
		}
	}
	if now.address != netip.AddrPortFrom(m.Address.Unmap(), m.Port) {
		answer, err := s.ask(ctx, fmt.Sprintf("%s addr %s port %d", name, m.Address.Unmap(), m.Port))
		if err != nil {
			return err
		}
		if !strings.Contains(answer, "changed") && !strings.Contains(answer, "no need to change") {
			return fault.Wrap(ErrUnavailable, "HAProxy refuses to move member %s: %s", m.ID, answer)
		}
	}
	if now.weight != m.Weight {
		if err := s.order(ctx, fmt.Sprintf("%s weight %d", name, m.Weight)); err != nil {
			return err
		}
	}
	if !m.Disabled && now.maintenance {
		return s.order(ctx, name+" state ready")
	}
	return nil
}

// drop takes a server out. One that still has connections lets them finish and is deleted on a later occasion.
func (s socket) drop(ctx context.Context, name string, now server) error {
	if !now.maintenance {
		if err := s.order(ctx, "set server "+backend+"/"+name+" state maint"); err != nil {
			return err
		}
	}
	_, err := s.ask(ctx, "del server "+backend+"/"+name)
	return err
}

func (s socket) status(ctx context.Context, members map[string]bool) (driver.Status, error) {
	who, err := s.info(ctx)
	if err != nil {
		return driver.Status{}, err
	}
	answer, err := s.ask(ctx, "show stat")
	if err != nil {
		return driver.Status{}, err
	}
	status, err := parseStatus(answer, members)
	status.PID = who.PID
	return status, err
}

// parseStatus reads the statistics in CSV format (Management Guide, section 9.1).
func parseStatus(answer string, members map[string]bool) (driver.Status, error) {
	reader := csv.NewReader(strings.NewReader(strings.TrimPrefix(answer, "# ")))
	reader.FieldsPerRecord = -1
	rows, err := reader.ReadAll()
	if err != nil || len(rows) == 0 {
		return driver.Status{}, fmt.Errorf("HAProxy's statistics: %w", errors.Join(err, errors.New("unreadable")))
	}
	column := map[string]int{}
	for i, name := range rows[0] {
		column[name] = i
	}
	status := driver.Status{Members: map[string]bool{}}
	for _, row := range rows[1:] {
		field := func(name string) string {
			if i, ok := column[name]; ok && i < len(row) {
				return row[i]
			}
			return ""
		}
		number := func(name string) uint64 {
			n, _ := strconv.ParseUint(field(name), 10, 64)
			return n
		}
		switch name := field("svname"); {
		case field("pxname") == "front" && name == "FRONTEND":
			status.Stats = driver.Stats{
				BytesIn: number("bin"), BytesOut: number("bout"),
				ActiveConnections: number("scur"), TotalConnections: number("stot"),
			}
		case field("pxname") == backend && members[name]:
			status.Members[name] = answers(field("status"))
		}
	}
	return status, nil
}

// answers says whether a server in that state is taken to answer: "UP", "UP 1/3" (going down), "DRAIN" (weight
// zero) and "no check" are; "DOWN", "DOWN 1/2" (coming up) and "MAINT" are not.
func answers(state string) bool {
	return strings.HasPrefix(state, "UP") || strings.HasPrefix(state, "NOLB") || strings.HasPrefix(state, "DRAIN") || state == "no check"
}
