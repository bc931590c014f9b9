package objectstore

import (
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/kintoun/kintoun/internal/fault"
)

// ParseACL returns an access control list of a container, in Swift's notation, as it is kept: elements trimmed, empty ones left
// out, referrers in the form ".r:host". Lists that say who may write name no referrers. It returns an [ErrInvalid] for what
// means nothing. See https://docs.openstack.org/swift/latest/overview_acl.html.
func ParseACL(list string, write bool) (string, error) {
	var clean []string
	for element := range strings.SplitSeq(list, ",") {
		element = strings.TrimSpace(element)
		if element == "" {
			continue
		}
		kind, value, found := strings.Cut(element, ":")
		kind, value = strings.TrimSpace(kind), strings.TrimSpace(value)
		if found && strings.HasPrefix(kind, ".") {
			host, err := parseReferrer(element, kind, value, write)
			if err != nil {
				return "", err
			}
			element = ".r:" + host
		}
		clean = append(clean, element)
	}
	return strings.Join(clean, ","), nil
}

func parseReferrer(element, kind, host string, write bool) (string, error) {
	if !slices.Contains([]string{".r", ".ref", ".referer", ".referrer"}, kind) {
		return "", fault.Wrap(ErrInvalid, "unknown designator %.40q in ACL: %.80q", kind, element)
	}
	if write {
		return "", fault.Wrap(ErrInvalid, "referrers are not allowed in a write ACL: %.80q", element)
	}
	host, negated := strings.CutPrefix(host, "-")
	host = strings.TrimSpace(host)
	if host != "*" {
		host = strings.TrimSpace(strings.TrimPrefix(host, "*"))
	}
	if host == "" || host == "." {
		return "", fault.Wrap(ErrInvalid, "no host or domain after the referrer designation in ACL: %.80q", element)
	}
	if negated {
		host = "-" + host
	}
	return host, nil
}

// right is what a request needs.
type right int

const (
	readAccount  right = iota // what the account is, and which containers it has
	changeOwn                 // containers and their settings, and the account's
	readList                  // what a container is, and which objects it has
	readObject                //
	writeObject               //
	deleteObject              //
	ownAccount                // the account's settings
)

// somebody says whether it is known who the caller is.
func (c *Caller) somebody() bool {
	return c.Admin || c.Account != "" || c.UserID != "" || c.UserName != "" || c.ProjectID != "" || len(c.Roles) > 0
}

func (c *Caller) owns(account string) bool { return c.Admin || c.Account != "" && c.Account == account }

// allow says whether the caller may do what needs the right; a and c are nil where there are none. Who may not cannot tell
// whether they are.
func (s *Service) allow(caller *Caller, a *Account, c *Container, path Path, need right) error {
	switch {
	case caller.owns(path.Account), a != nil && caller.sharesAccount(a, need), caller.Grant != nil && caller.Grant.allows(path, need):
		return nil
	case c != nil && caller.listed(c, path.Account, need):
		return nil
	case caller.somebody():
		return fmt.Errorf("%s: access was denied: %w", path, ErrForbidden)
	}
	return fmt.Errorf("%s: %w", path, ErrUnauthorized)
}

// String is the path with slashes.
func (p Path) String() string {
	return strings.TrimSuffix(strings.TrimSuffix(p.Account+"/"+p.Container+"/"+p.Object, "/"), "/")
}

// accountAccess is what X-Account-Access-Control holds.
type accountAccess struct {
	Admin     []string `json:"admin,omitempty"`
	ReadWrite []string `json:"read-write,omitempty"`
	ReadOnly  []string `json:"read-only,omitempty"`
}

func (c *Caller) sharesAccount(a *Account, need right) bool {
	var access accountAccess
	if a.Access == "" || json.Unmarshal([]byte(a.Access), &access) != nil {
		return false
	}
	switch {
	case c.among(access.Admin):
		return true
	case c.among(access.ReadWrite):
		return need != ownAccount
	case c.among(access.ReadOnly):
		return need == readAccount || need == readList || need == readObject
	}
	return false
}

// among says whether a list names the caller's role or group, or the caller.
func (c *Caller) among(list []string) bool {
	return slices.ContainsFunc(list, func(name string) bool { return c.isRole(name) || c.isUser(name) })
}

func (c *Caller) isRole(name string) bool {
	return name != "" && slices.ContainsFunc(c.Roles, func(role string) bool { return strings.EqualFold(role, name) })
}

// isUser says whether the element is "project:user" and means the caller; either may be "*".
func (c *Caller) isUser(element string) bool {
	project, user, found := strings.Cut(element, ":")
	if !found || c.UserID == "" && c.UserName == "" {
		return false
	}
	means := func(word string, names ...string) bool {
		return word == "*" || word != "" && slices.Contains(names, word)
	}
	return means(project, c.ProjectID, c.ProjectName) && means(user, c.UserID, c.UserName)
}

// listed says whether a container's lists let the caller do it. Roles are what the caller has in a project, so they count in
// that project's account; groups, of callers without a project, count everywhere.
func (c *Caller) listed(on *Container, account string, need right) bool {
	var list string
	switch need {
	case readList, readObject:
		list = on.Read
	case writeObject, deleteObject:
		list = on.Write
	default:
		return false
	}
	if list == "" {
		return false
	}
	elements := strings.Split(list, ",")
	if c.referred(elements) && (need == readObject || need == readList && slices.Contains(elements, ".rlistings")) {
		return true
	}
	rolesCount := c.ProjectID == "" || c.ProjectID == account
	return slices.ContainsFunc(elements, func(e string) bool {
		return !strings.HasPrefix(e, ".") && (c.isUser(e) || rolesCount && c.isRole(e))
	})
}

// referred says whether the elements allow everybody who comes from the caller's page; the last that fits decides.
func (c *Caller) referred(elements []string) bool {
	host := "unknown"
	if u, err := url.Parse(c.Referrer); err == nil && u.Hostname() != "" {
		host = u.Hostname()
	}
	allowed := false
	for _, e := range elements {
		pattern, found := strings.CutPrefix(e, ".r:")
		if !found {
			continue
		}
		pattern, negated := strings.CutPrefix(pattern, "-")
		if pattern == host || strings.HasPrefix(pattern, ".") && strings.HasSuffix(host, pattern) || pattern == "*" && !negated {
			allowed = !negated
		}
	}
	return allowed
}

func (g *Grant) allows(path Path, need right) bool {
	if g.Account != path.Account || g.Container != "" && g.Container != path.Container {
		return false
	}
	if g.Container == "" && need == readList && path.Container != "" {
		return g.Read // as the segments of a dynamic large object are found
	}
	if path.Object == "" || g.Exact && path.Object != g.Prefix || !strings.HasPrefix(path.Object, g.Prefix) {
		return false
	}
	return need == readObject && g.Read || need == writeObject && g.Write || need == deleteObject && g.Delete
}
