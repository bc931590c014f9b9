// Package probe is the form in which drivers say what a host lacks.
//
// Every driver that needs something of its host has a function Probe, which tries what the driver will do, once, in
// places that are thrown away, and returns nil or an error that holds a [Missing] for each thing that is not there.
// With the answers of haproxy.Probe(ctx, nil) and netnsrouter.Probe(ctx, nil):
//
//	err := probe.Join(balancers, routers)
//	for _, m := range probe.All(err) {
//		fmt.Printf("%s: %s\n", m.What, m.How)
//	}
//
// Run a Probe before the driver's New, or in a program's "check" command; the drivers themselves never run it, and say
// what failed when it fails. A nil error means that everything could be done at that moment, not that it can be for
// ever.
//
// The package needs nothing of the host and imports only the standard library, so that drivers from elsewhere can speak
// in the same words. It tries nothing itself, and mends nothing: How is for people to read. All its functions are pure;
// a Missing that nobody changes may be read by many goroutines.
//
// Errors: a Missing is of the kind that drivers export as ErrUnavailable, and wraps what the attempt answered, so that
// errors.Is(err, exec.ErrNotFound) or errors.Is(err, syscall.EPERM) look into it.
package probe

import (
	"errors"
	"fmt"

	"github.com/kintoun/kintoun/internal/fault"
)

// ErrUnavailable is the kind of every [Missing]; the drivers' errors of that name are the same.
var ErrUnavailable = fault.ErrUnavailable

// Missing is one thing that a host lacks, as an error.
type Missing struct {
	// What is missing: a program ("qemu-img"), a capability ("CAP_NET_ADMIN"), a part of the kernel ("vxlan devices"). Two
	// that have the same What are taken for the same thing.
	What string
	// Why says what it is needed for: "tunnels between hosts".
	Why string
	// How says how to get it: "apt-get install qemu-utils", "modprobe vxlan". Packages are Debian's.
	How string
	// Err is what the attempt answered; nil if nothing was there to be tried.
	Err error
}

// Error is all of it in one line.
func (m *Missing) Error() string {
	text := fmt.Sprintf("%s: missing, needed for %s: %s", m.What, m.Why, m.How)
	if m.Err != nil {
		text += fmt.Sprintf(" (%v)", m.Err)
	}
	return text
}

// Unwrap is what the attempt answered.
func (m *Missing) Unwrap() error { return m.Err }

// Is says that target is [ErrUnavailable].
func (m *Missing) Is(target error) bool { return target == ErrUnavailable }

// All takes apart what [errors.Join], [Join] or %w put together: every Missing in err, in order, each What once.
func All(err error) []*Missing {
	var all []*Missing
	seen := map[string]bool{}
	visit(err, func(err error) bool {
		m, ok := err.(*Missing) //nolint:errorlint // visit unwraps
		if ok && !seen[m.What] {
			seen[m.What] = true
			all = append(all, m)
		}
		return ok
	})
	return all
}

// Join puts the answers of several Probes together: every Missing with the same What once, and after them whatever else went
// wrong. It is nil if all are.
func Join(errs ...error) error {
	joined := errors.Join(errs...)
	var list []error
	for _, m := range All(joined) {
		list = append(list, m)
	}
	return errors.Join(append(list, others(joined)...)...)
}

// others are the parts of err that hold no Missing.
func others(err error) []error {
	switch e := err.(type) { //nolint:errorlint // one level at a time
	case nil, *Missing:
		return nil
	case interface{ Unwrap() []error }:
		var list []error
		for _, part := range e.Unwrap() {
			list = append(list, others(part)...)
		}
		return list
	case interface{ Unwrap() error }:
		if len(All(err)) > 0 {
			return others(e.Unwrap())
		}
	}
	return []error{err}
}

// visit walks the tree of err, as errors.Is does, and does not go below what see says is enough.
func visit(err error, see func(error) bool) {
	if err == nil || see(err) {
		return
	}
	switch e := err.(type) { //nolint:errorlint // the walk itself
	case interface{ Unwrap() error }:
		visit(e.Unwrap(), see)
	case interface{ Unwrap() []error }:
		for _, part := range e.Unwrap() {
			visit(part, see)
		}
	}
}
