package lbaas

import (
	"net/netip"
	"regexp"
	"time"
	"unicode/utf8"

	"github.com/kintoun/kintoun/lbaas/driver"
)

const (
	maxText     = 255
	maxWeight   = 256
	maxInterval = 24 * time.Hour
)

var (
	codesPattern  = regexp.MustCompile(`^[1-5]\d\d(\s*,\s*[1-5]\d\d)*$|^[1-5]\d\d-[1-5]\d\d$`)
	methodPattern = regexp.MustCompile(`^[A-Z]{1,16}$`)
	pathPattern   = regexp.MustCompile(`^/[!-&(-~]*$`)
	cookiePattern = regexp.MustCompile(`^[A-Za-z0-9!*+.^_|~-]{1,64}$`)
)

func checkText(field, text string) error {
	if n := utf8.RuneCountInString(text); n > maxText {
		return invalid("Invalid input for %s. Reason: it exceeds maximum length of %d.", field, maxText)
	}
	return nil
}

func checkTexts(name, description string) error {
	if err := checkText("name", name); err != nil {
		return err
	}
	return checkText("description", description)
}

func checkProtocol(p Protocol) error {
	if p != driver.HTTP && p != driver.HTTPS && p != driver.TCP {
		return invalid("Invalid input for protocol. Reason: '%s' is not in ['TCP', 'HTTP', 'HTTPS'].", p)
	}
	return nil
}

func checkMethod(m Method) error {
	if m != driver.RoundRobin && m != driver.LeastConnections && m != driver.SourceIP {
		return invalid("Invalid input for lb_method. Reason: '%s' is not in ['ROUND_ROBIN', 'LEAST_CONNECTIONS', 'SOURCE_IP'].", m)
	}
	return nil
}

func checkPort(n int) error {
	if n < 1 || n > 65535 {
		return invalid("Invalid input for protocol_port. Reason: '%d' is not in range 1 through 65535.", n)
	}
	return nil
}

func checkMember(m *Member) error {
	a := m.Address
	if !a.IsValid() || a.Zone() != "" || a.IsUnspecified() || a.IsLoopback() || a.IsMulticast() || a == netip.AddrFrom4([4]byte{255, 255, 255, 255}) {
		return invalid("Invalid input for address. Reason: '%s' is not the IP address of a server.", a)
	}
	if m.Weight < 0 || m.Weight > maxWeight {
		return invalid("Invalid input for weight. Reason: '%d' is not in range 0 through %d.", m.Weight, maxWeight)
	}
	return nil
}

func checkMonitor(m *HealthMonitor) error {
	switch m.Type {
	case "PING", "TCP":
	case "HTTP", "HTTPS":
		switch {
		case !methodPattern.MatchString(m.HTTPMethod):
			return invalid("Invalid input for http_method. Reason: '%s' is not an HTTP method.", m.HTTPMethod)
		case len(m.URLPath) > maxText || !pathPattern.MatchString(m.URLPath):
			return invalid("Invalid input for url_path. Reason: '%s' is not a path of printable characters without quotes.", m.URLPath)
		case len(m.ExpectedCodes) > 64 || !codesPattern.MatchString(m.ExpectedCodes):
			return invalid("Invalid input for expected_codes. Reason: '%s' is not a code, a list of codes or a range of codes.", m.ExpectedCodes)
		}
	default:
		return invalid("Invalid input for type. Reason: '%s' is not in ['PING', 'TCP', 'HTTP', 'HTTPS'].", m.Type)
	}
	switch {
	case m.Delay < 0 || m.Delay > maxInterval:
		return invalid("Invalid input for delay. Reason: it is not in range 0 through %d.", int(maxInterval/time.Second))
	case m.Timeout < 0:
		return invalid("Invalid input for timeout. Reason: it should be non-negative.")
	case m.Timeout > m.Delay:
		return named(ErrInvalid, "DelayOrTimeoutInvalid", "Delay must be greater than or equal to timeout")
	case m.MaxRetries < 1 || m.MaxRetries > 10:
		return invalid("Invalid input for max_retries. Reason: '%d' is not in range 1 through 10.", m.MaxRetries)
	}
	return nil
}

func checkPersistence(v *VIP) error {
	p := v.Persistence
	if p == nil {
		return nil
	}
	switch p.Type {
	case "APP_COOKIE":
		if !cookiePattern.MatchString(p.CookieName) {
			return invalid("Invalid input for session_persistence. Reason: 'cookie_name' should be specified for this type of session persistence, in characters that a cookie's name may have.")
		}
	case "HTTP_COOKIE", "SOURCE_IP":
		if p.CookieName != "" {
			return invalid("Invalid input for session_persistence. Reason: 'cookie_name' is not allowed for this type of session persistence.")
		}
	default:
		return invalid("Invalid input for session_persistence. Reason: '%s' is not in ['APP_COOKIE', 'HTTP_COOKIE', 'SOURCE_IP'].", p.Type)
	}
	if p.Type != "SOURCE_IP" && v.Protocol != driver.HTTP {
		return invalid("Invalid input for session_persistence. Reason: %s needs protocol HTTP, not %s.", p.Type, v.Protocol)
	}
	return nil
}

func checkVIP(v *VIP) error {
	if err := checkTexts(v.Name, v.Description); err != nil {
		return err
	}
	if v.ConnectionLimit < -1 || v.ConnectionLimit > 1_000_000 {
		return invalid("Invalid input for connection_limit. Reason: '%d' is not in range -1 through 1000000.", v.ConnectionLimit)
	}
	return checkPersistence(v)
}

// up is what a specification wishes for that may leave it out.
func up(wished *bool) bool { return wished == nil || *wished }
