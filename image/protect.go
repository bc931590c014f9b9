package image

import (
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/kintoun/kintoun/internal/fault"
)

// Protection says which roles may do what with properties, as a section of Glance's property protections file does
// (https://docs.openstack.org/glance/latest/admin/property-protections.html).
type Protection struct {
	// Names are the properties that it is about, found anywhere in their names: "^billing_".
	Names *regexp.Regexp
	// Create, Read, Update and Delete are the roles that may; [AnyRole] are all roles, and none is nobody. Case does not count.
	Create, Read, Update, Delete []string
}

// AnyRole stands for every role in a [Protection].
const AnyRole = "@"

// protected says whether the scope is held to protections. A program that acts as itself is not.
func (s *Service) protected(scope Scope) bool {
	return len(s.options.Protections) > 0 && (!scope.Admin || len(scope.Roles) > 0)
}

// permits says whether the scope's roles are among those of the first protection that has the property.
func (s *Service) permits(scope Scope, property string, roles func(*Protection) []string) bool {
	if !s.protected(scope) {
		return true
	}
	for i := range s.options.Protections {
		p := &s.options.Protections[i]
		if !p.Names.MatchString(property) {
			continue
		}
		return slices.ContainsFunc(roles(p), func(role string) bool {
			return role == AnyRole || slices.ContainsFunc(scope.Roles, func(own string) bool { return strings.EqualFold(own, role) })
		})
	}
	return false
}

func mayCreate(p *Protection) []string { return p.Create }
func mayRead(p *Protection) []string   { return p.Read }
func mayUpdate(p *Protection) []string { return p.Update }
func mayDelete(p *Protection) []string { return p.Delete }

// hide takes from an image the properties that the scope may not read, and returns them.
func (s *Service) hide(scope Scope, img *Image) (hidden map[string]string) {
	if img == nil || !s.protected(scope) {
		return nil
	}
	shown := map[string]string{}
	hidden = map[string]string{}
	for name, value := range img.Properties {
		if s.permits(scope, name, mayRead) {
			shown[name] = value
		} else {
			hidden[name] = value
		}
	}
	img.Properties = shown
	return hidden
}

// joined are the properties of both.
func joined(shown, hidden map[string]string) map[string]string {
	if len(hidden) == 0 {
		return shown
	}
	all := maps.Clone(hidden)
	maps.Copy(all, shown)
	return all
}

// checkProtected says whether the scope may turn the properties that it reads into others, beside those that it does not read.
func (s *Service) checkProtected(scope Scope, before, after, hidden map[string]string) error {
	for _, name := range slices.Sorted(maps.Keys(after)) {
		value, had := before[name]
		_, taken := hidden[name]
		switch {
		case had && value == after[name]:
		case had && s.permits(scope, name, mayUpdate):
		case !had && !taken && s.permits(scope, name, mayCreate):
		default:
			return fault.Wrap(ErrForbidden, "Property '%.255s' is protected", name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(before)) {
		if _, kept := after[name]; !kept && !s.permits(scope, name, mayDelete) {
			return fault.Wrap(ErrForbidden, "Property '%.255s' is protected", name)
		}
	}
	return nil
}
