//go:build linux

package haproxy

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/kintoun/kintoun/internal/fault"
	"github.com/kintoun/kintoun/lbaas/driver"
)

// backend is the name of the members' section.
const backend = "pool"

// Every text that reaches a configuration or a command passes one of these; none admits a quote, a blank, a line
// break, or anything else that HAProxy gives a meaning to outside single quotes.
var (
	idPattern     = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$`)
	methodPattern = regexp.MustCompile(`^[A-Z]{1,16}$`)
	pathPattern   = regexp.MustCompile(`^/[!-&(-~]*$`)
	cookiePattern = regexp.MustCompile(`^[A-Za-z0-9!*+.^_|~-]{1,64}$`)
	codesPattern  = regexp.MustCompile(`^[1-5]\d\d(\s*,\s*[1-5]\d\d)*$|^[1-5]\d\d-[1-5]\d\d$`)
	macPattern    = regexp.MustCompile(`^([0-9a-fA-F]{2}(:[0-9a-fA-F]{2}){5})?$`)
)

func validateID(id string) error {
	if !idPattern.MatchString(id) {
		return fault.Wrap(ErrInvalid, "identifier %q has characters that cannot be part of a file's name", id)
	}
	return nil
}

func validate(want driver.Balancer) error {
	if err := validateID(want.ID); err != nil {
		return err
	}
	if err := validateFrontend(want.Frontend); err != nil {
		return err
	}
	if _, ok := balance[want.Method]; !ok {
		return fault.Wrap(ErrInvalid, "method %q is not known", want.Method)
	}
	if want.Protocol != driver.HTTP && want.Protocol != driver.HTTPS && want.Protocol != driver.TCP {
		return fault.Wrap(ErrInvalid, "protocol %q is not known", want.Protocol)
	}
	seen := map[string]bool{}
	for _, m := range want.Members {
		if err := validateID(m.ID); err != nil {
			return err
		}
		if seen[m.ID] || !m.Address.IsValid() || m.Address.Zone() != "" || m.Port == 0 || m.Weight < 0 || m.Weight > 256 {
			return fault.Wrap(ErrInvalid, "member %s: address %s, port %d, weight %d", m.ID, m.Address, m.Port, m.Weight)
		}
		seen[m.ID] = true
	}
	for _, m := range want.Monitors {
		if err := validateMonitor(m); err != nil {
			return err
		}
	}
	return validatePersistence(want)
}

func validateFrontend(f driver.Frontend) error {
	if err := validateID(f.PortID); err != nil {
		return err
	}
	switch {
	case !f.Address.IsValid() || f.Address.Addr().Zone() != "":
		return fault.Wrap(ErrInvalid, "virtual address %s", f.Address)
	case f.Gateway.IsValid() && f.Gateway.Is4() != f.Address.Addr().Is4():
		return fault.Wrap(ErrInvalid, "gateway %s is of another family than %s", f.Gateway, f.Address)
	case f.Port == 0:
		return fault.Wrap(ErrInvalid, "port 0 cannot be listened on")
	case !macPattern.MatchString(f.MAC):
		return fault.Wrap(ErrInvalid, "MAC address %q", f.MAC)
	}
	return nil
}

func validateMonitor(m driver.Monitor) error {
	switch m.Type {
	case "PING", "TCP":
	case "HTTP", "HTTPS":
		switch {
		case !methodPattern.MatchString(m.HTTPMethod):
			return fault.Wrap(ErrInvalid, "monitor %s: HTTP method %q", m.ID, m.HTTPMethod)
		case !pathPattern.MatchString(m.URLPath):
			return fault.Wrap(ErrInvalid, "monitor %s: URL path %q", m.ID, m.URLPath)
		case !codesPattern.MatchString(m.ExpectedCodes):
			return fault.Wrap(ErrInvalid, "monitor %s: expected codes %q", m.ID, m.ExpectedCodes)
		}
	default:
		return fault.Wrap(ErrInvalid, "monitor %s: type %q is not known", m.ID, m.Type)
	}
	if m.Delay < 0 || m.Timeout < 0 || m.MaxRetries < 1 {
		return fault.Wrap(ErrInvalid, "monitor %s: delay %s, timeout %s, %d tries", m.ID, m.Delay, m.Timeout, m.MaxRetries)
	}
	return nil
}

func validatePersistence(want driver.Balancer) error {
	if want.Persistence == nil {
		return nil
	}
	switch p := *want.Persistence; {
	case p.Type == "SOURCE_IP":
		return nil
	case p.Type != "HTTP_COOKIE" && p.Type != "APP_COOKIE":
		return fault.Wrap(ErrInvalid, "persistence %q is not known", p.Type)
	case want.Protocol != driver.HTTP:
		return fault.Wrap(ErrInvalid, "persistence %s needs protocol HTTP, not %s", p.Type, want.Protocol)
	case p.Type == "APP_COOKIE" && !cookiePattern.MatchString(p.CookieName):
		return fault.Wrap(ErrInvalid, "cookie name %q", p.CookieName)
	}
	return nil
}

// config is a configuration file. Its fingerprint covers all that a process cannot be told at run time; the process
// carries it as its description.
type config struct {
	text        string
	fingerprint string
}

var balance = map[driver.Method]string{
	driver.RoundRobin:       "roundrobin",
	driver.LeastConnections: "leastconn",
	driver.SourceIP:         "source",
}

func (d *Driver) render(f files, want driver.Balancer) config {
	connections := max(d.options.MaxConnections, want.Frontend.ConnectionLimit)
	global := []string{
		"user nobody",
		"group nogroup",
		"chroot " + quote(f.root()),
		fmt.Sprintf("nbthread %d", d.options.Threads),
		// Two descriptors for each connection, and some. HAProxy takes fewer where the system allows fewer.
		fmt.Sprintf("fd-hard-limit %d", 2*connections+200),
		fmt.Sprintf("stats socket %s mode 600 level admin expose-fd listeners", quote(f.socket())),
		"stats timeout 10s",
		"server-state-file " + quote(f.state()),
		"hard-stop-after " + milliseconds(d.options.DrainTime),
	}
	rest := section("defaults", "timeout connect 5s", "timeout client 50s", "timeout server 50s", "retries 3", "option redispatch")
	rest += frontend(want)
	rest += section("backend "+backend, backendLines(want)...)
	servers := ""
	for _, m := range want.Members {
		line := "server " + m.ID + " " + memberOptions(m, want.Monitors)
		if cookies(want) {
			line += " cookie " + m.ID
		}
		if m.Disabled {
			line += " disabled"
		}
		servers += "\t" + line + "\n"
	}
	covered := section("global", global...) + rest + checkOptions(want.Monitors)
	if cookies(want) {
		// HAProxy has no cookies for members that it learns of at run time.
		covered += servers
	}
	sum := sha256.Sum256([]byte(covered))
	fingerprint := hex.EncodeToString(sum[:12])
	return config{
		text:        section("global", append(global, "description "+fingerprint)...) + rest + servers,
		fingerprint: fingerprint,
	}
}

func section(title string, lines ...string) string {
	return title + "\n\t" + strings.Join(lines, "\n\t") + "\n"
}

// quote makes one word of a text; HAProxy takes everything between single quotes as it is.
func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

func milliseconds(d time.Duration) string { return fmt.Sprintf("%dms", d.Milliseconds()) }

func mode(p driver.Protocol) string {
	if p == driver.HTTP {
		return "mode http"
	}
	return "mode tcp"
}

func frontend(want driver.Balancer) string {
	if want.Frontend.Disabled {
		return ""
	}
	lines := []string{
		mode(want.Protocol),
		"bind " + endpoint(want.Frontend.Address.Addr(), want.Frontend.Port),
		"default_backend " + backend,
	}
	if want.Frontend.ConnectionLimit >= 0 {
		lines = append(lines, fmt.Sprintf("maxconn %d", want.Frontend.ConnectionLimit))
	}
	if want.Protocol == driver.HTTP {
		lines = append(lines, "option forwardfor")
	}
	return section("frontend front", lines...)
}

func endpoint(address netip.Addr, port uint16) string {
	address = address.Unmap()
	if address.Is6() {
		return fmt.Sprintf("ipv6@%s:%d", address, port)
	}
	return fmt.Sprintf("ipv4@%s:%d", address, port)
}

func backendLines(want driver.Balancer) []string {
	lines := []string{
		mode(want.Protocol),
		"balance " + balance[want.Method],
		// The other kind of hash cannot take in members at run time, and moves nearly all clients when one goes.
		"hash-type consistent",
		"load-server-state-from-file global",
	}
	lines = append(lines, checkLines(want.Monitors)...)
	if p := want.Persistence; p != nil {
		switch p.Type {
		case "SOURCE_IP":
			kind := "ip"
			if want.Frontend.Address.Addr().Is6() {
				kind = "ipv6"
			}
			lines = append(lines, "stick-table type "+kind+" size 10k expire 3h", "stick on src")
		case "HTTP_COOKIE":
			lines = append(lines, "cookie SRV insert indirect nocache")
		case "APP_COOKIE":
			lines = append(lines, "stick-table type string len 64 size 10k expire 3h",
				"stick store-response res.cook("+p.CookieName+")", "stick match req.cook("+p.CookieName+")")
		}
	}
	return lines
}

func cookies(want driver.Balancer) bool {
	return want.Persistence != nil && want.Persistence.Type == "HTTP_COOKIE"
}

// checkLines has a member pass every HTTP monitor in turn. TCP and PING monitors are passed by whoever passes an
// HTTP monitor, or else by a connection: like OpenStack's own driver, for HAProxy cannot ping.
func checkLines(monitors []driver.Monitor) []string {
	if len(monitors) == 0 {
		return nil
	}
	timeout := monitors[0].Timeout
	for _, m := range monitors {
		timeout = min(timeout, m.Timeout)
	}
	lines := []string{"timeout check " + milliseconds(max(timeout, 100*time.Millisecond))}
	http := slices.DeleteFunc(slices.Clone(monitors), func(m driver.Monitor) bool { return m.Type != "HTTP" && m.Type != "HTTPS" })
	if len(http) > 0 {
		lines = append(lines, "option httpchk")
	}
	for _, m := range http {
		if len(http) > 1 {
			lines = append(lines, "http-check connect default")
		}
		lines = append(lines,
			"http-check send meth "+m.HTTPMethod+" uri "+quote(m.URLPath),
			"http-check expect status "+strings.Join(strings.Fields(strings.ReplaceAll(m.ExpectedCodes, ",", " ")), ","))
	}
	return lines
}

// checkOptions go with every member.
func checkOptions(monitors []driver.Monitor) string {
	if len(monitors) == 0 {
		return ""
	}
	delay, retries := monitors[0].Delay, monitors[0].MaxRetries
	for _, monitor := range monitors {
		delay, retries = min(delay, monitor.Delay), min(retries, monitor.MaxRetries)
	}
	options := fmt.Sprintf(" check inter %s fall %d rise 2", milliseconds(max(delay, 50*time.Millisecond)), retries)
	if slices.ContainsFunc(monitors, func(m driver.Monitor) bool { return m.Type == "HTTPS" }) {
		options += " check-ssl verify none"
	}
	return options
}

// memberOptions are what follows a member's name in the configuration and in the command that adds it.
func memberOptions(m driver.Member, monitors []driver.Monitor) string {
	return fmt.Sprintf("%s weight %d", endpoint(m.Address, m.Port), m.Weight) + checkOptions(monitors)
}

// configuredMembers are the members that a configuration file names.
func configuredMembers(conf string) map[string]bool {
	members := map[string]bool{}
	for line := range strings.Lines(conf) {
		if fields := strings.Fields(line); len(fields) > 1 && fields[0] == "server" {
			members[fields[1]] = true
		}
	}
	return members
}
