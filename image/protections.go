package image

import (
	"bufio"
	"io"
	"regexp"
	"slices"
	"strings"

	"github.com/kintoun/kintoun/internal/fault"
)

// nobody stands for no role where roles are listed.
const nobody = "!"

// maxProtections bounds a file of protections, in bytes.
const maxProtections = 1 << 20

// ReadProtections reads what [Options].Protections takes from a file like Glance's property-protections.conf with rules by role
// (https://docs.openstack.org/glance/latest/admin/property-protections.html):
//
//	[^billing_]
//	create = admin
//	read = admin,member
//	update = admin
//	delete = admin
//
// A section's name is a regular expression (RE2) that is looked for anywhere in a property's name; the first section that has a property
// says who may. Operations have roles, @ for all or ! for none; one that is left out is nobody's. Lines that begin with # or ; are comments.
// What cannot be read is [ErrInvalid], with the line.
func ReadProtections(r io.Reader) ([]Protection, error) {
	bounded := &io.LimitedReader{R: r, N: maxProtections + 1}
	lines := bufio.NewScanner(bounded)
	p := protectionReader{}
	for lines.Scan() {
		p.line++
		if err := p.read(strings.TrimSpace(lines.Text())); err != nil {
			return nil, err
		}
	}
	if bounded.N == 0 {
		return nil, fault.Wrap(ErrInvalid, "property protections: the file is larger than %d bytes", maxProtections)
	}
	return p.all, lines.Err()
}

// protectionReader reads protections line by line.
type protectionReader struct {
	line int
	all  []Protection
	seen []string // the operations of the last
}

func (p *protectionReader) wrong(format string, args ...any) error {
	return fault.Wrap(ErrInvalid, "property protections: line %d: "+format, append([]any{p.line}, args...)...)
}

func (p *protectionReader) read(text string) error {
	switch {
	case text == "" || strings.HasPrefix(text, "#") || strings.HasPrefix(text, ";"):
		return nil
	case strings.HasPrefix(text, "["):
		return p.section(text)
	case len(p.all) == 0:
		return p.wrong("%.80q is before the first [section]", text)
	}
	at := strings.IndexAny(text, "=:")
	if at < 0 {
		return p.wrong("%.80q is no [section] and no operation = roles", text)
	}
	return p.operation(strings.ToLower(strings.TrimSpace(text[:at])), text[at+1:])
}

func (p *protectionReader) section(text string) error {
	inner, ok := strings.CutSuffix(text[1:], "]")
	if !ok || inner == "" {
		return p.wrong("%.80q is no [section]", text)
	}
	names, err := regexp.Compile(inner)
	if err != nil {
		return p.wrong("%v", err)
	}
	if slices.ContainsFunc(p.all, func(other Protection) bool { return other.Names.String() == inner }) {
		return p.wrong("another section is %.80q", inner)
	}
	p.all, p.seen = append(p.all, Protection{Names: names}), nil
	return nil
}

func (p *protectionReader) operation(name, list string) error {
	last := &p.all[len(p.all)-1]
	of := map[string]*[]string{"create": &last.Create, "read": &last.Read, "update": &last.Update, "delete": &last.Delete}[name]
	switch {
	case of == nil:
		return p.wrong("%.80q is not create, read, update or delete", name)
	case slices.Contains(p.seen, name):
		return p.wrong("%s is said twice", name)
	}
	p.seen = append(p.seen, name)
	var roles []string
	for role := range strings.SplitSeq(list, ",") {
		if role = strings.TrimSpace(role); role != "" {
			roles = append(roles, role)
		}
	}
	if len(roles) > 1 && (slices.Contains(roles, AnyRole) || slices.Contains(roles, nobody)) {
		return p.wrong("%s and %s stand alone", AnyRole, nobody)
	}
	*of = slices.DeleteFunc(roles, func(role string) bool { return role == nobody })
	return nil
}
