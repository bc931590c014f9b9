package nova

import (
	"net/netip"
	"strings"
	"unicode"

	"github.com/kintoun/kintoun/internal/wire"
)

// Rules of Nova's own for texts.

func formatIP() *wire.Format {
	return &wire.Format{Name: "ip", Valid: func(v string) bool { _, err := netip.ParseAddr(v); return err == nil }}
}

func formatIPv4() *wire.Format {
	return &wire.Format{Name: "ipv4", Valid: func(v string) bool { a, err := netip.ParseAddr(v); return err == nil && a.Is4() }}
}

func formatIPv6() *wire.Format {
	return &wire.Format{Name: "ipv6", Valid: func(v string) bool { a, err := netip.ParseAddr(v); return err == nil && a.Is6() }}
}

func formatZone() *wire.Format { return &wire.Format{Name: "az_name", Valid: presentable} }

// checkName is what is wrong with a name.
func checkName(value any) string {
	if name, ok := value.(string); ok && !presentable(name) {
		return "An invalid 'name' value was provided. The name must be: printable characters. Can not start or end with whitespace."
	}
	return ""
}

// presentable texts are printable, and neither begin nor end with space.
func presentable(v string) bool {
	return v == strings.TrimSpace(v) && !strings.ContainsFunc(v, func(r rune) bool { return !unicode.IsPrint(r) && !unicode.Is(unicode.Zs, r) })
}
