//go:build linux

// Package nl opens netlink inside named network namespaces. It is apart from package netns because not everybody who
// enters a namespace needs netlink.
package nl

import (
	"fmt"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
)

// Handle opens netlink inside the named namespace; an empty name is the caller's. The caller closes it.
func Handle(name string) (*netlink.Handle, error) {
	if name == "" {
		return netlink.NewHandle()
	}
	ns, err := netns.GetFromName(name)
	if err != nil {
		return nil, fmt.Errorf("network namespace %s: %w", name, err)
	}
	defer func() { _ = ns.Close() }()
	return netlink.NewHandleAt(ns)
}
