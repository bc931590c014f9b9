package metadata

import (
	"encoding/json"
	"net/netip"
	"slices"
	"sort"
	"strconv"
	"strings"
	"time"
)

// ec2Versions are those that the root lists, in the order of their age.
var ec2Versions = []string{
	"1.0", "2007-01-19", "2007-03-01", "2007-08-29", "2007-10-10", "2007-12-15", "2008-02-01", "2008-09-01", "2009-04-04",
}

// newVersions are not listed, as OpenStack does not know them, but answered: cloud-init prefers them to the listed ones.
var newVersions = []string{"2016-09-02", "2018-09-24", "2021-03-23", "latest"}

// node is a directory, or a file where it has no children.
type node struct {
	text     string
	children map[string]node
	// label stands for a directory in its parent's listing, instead of its name with a slash.
	label string
}

func file(text string) node { return node{text: text} }

func dir(children map[string]node) node { return node{children: children} }

// find walks down a path; an empty element is the directory itself.
func (n node) find(path []string) (node, bool) {
	for _, name := range path {
		child, ok := n.children[name]
		if !ok {
			return node{}, false
		}
		n = child
	}
	return n, true
}

// String is a file's text or a directory's listing.
func (n node) String() string {
	if n.children == nil {
		return n.text
	}
	names := make([]string, 0, len(n.children))
	for name, child := range n.children {
		switch {
		case child.label != "":
			name = child.label
		case child.children != nil:
			name += "/"
		}
		names = append(names, name)
	}
	sort.Strings(names)
	return strings.Join(names, "\n")
}

// ec2 is the tree of one version; false where there is no such version.
func (i *Instance) ec2(version string, caller Caller) (node, bool) {
	modern := slices.Contains(newVersions, version)
	if !modern && !slices.Contains(ec2Versions, version) {
		return node{}, false
	}
	since := func(first string) bool { return modern || version != "1.0" && version >= first }
	data := map[string]node{
		"ami-id":           file(i.ImageEC2ID),
		"ami-launch-index": file(strconv.Itoa(i.LaunchIndex)),
		// EC2 has images in parts, described by a manifest; a whole image has none.
		"ami-manifest-path": file("(unknown)"),
		"hostname":          file(i.Hostname),
		"instance-id":       file(i.instanceEC2ID()),
		"local-ipv4":        file(first(i.FixedIPs, caller.Address)),
		"reservation-id":    file(i.ReservationID),
	}
	if len(i.Keys) > 0 {
		data["public-keys"] = dir(i.publicKeys())
	}
	if since("2007-01-19") {
		data["local-hostname"] = file(i.Hostname)
		data["public-hostname"] = file(i.Hostname)
		data["public-ipv4"] = file(first(i.FloatingIPs, netip.Addr{}))
	}
	if since("2007-08-29") {
		data["instance-type"] = file(i.Flavor)
	}
	if since("2007-12-15") {
		data["block-device-mapping"] = dir(i.blockDevices())
		data["kernel-id"] = file(i.KernelEC2ID)
		data["ramdisk-id"] = file(i.RamdiskEC2ID)
	}
	if since("2008-02-01") {
		data["placement"] = dir(map[string]node{"availability-zone": file(i.AvailabilityZone)})
	}
	if since("2008-09-01") {
		data["instance-action"] = file("none")
	}
	root := map[string]node{"meta-data": dir(data)}
	if modern {
		data["security-groups"] = file(strings.Join(i.SecurityGroups, "\n"))
		root["dynamic"] = dir(map[string]node{"instance-identity": dir(map[string]node{"document": file(i.identity(caller))})})
	}
	if i.UserData != nil {
		root["user-data"] = file(string(i.UserData))
	}
	return dir(root), true
}

func (i *Instance) instanceEC2ID() string {
	if i.EC2ID == "" {
		return EC2ID("i", i.ID)
	}
	return i.EC2ID
}

// publicKeys is listed as "0=name", and holds 0/openssh-key.
func (i *Instance) publicKeys() map[string]node {
	keys := make(map[string]node, len(i.Keys))
	for n, key := range i.Keys {
		number := strconv.Itoa(n)
		entry := dir(map[string]node{"openssh-key": file(key.PublicKey)})
		entry.label = number + "=" + key.Name
		keys[number] = entry
	}
	return keys
}

func (i *Instance) rootDevice() string {
	if i.RootDevice == "" {
		return "/dev/vda"
	}
	return i.RootDevice
}

func (i *Instance) blockDevices() map[string]node {
	root := i.rootDevice()
	devices := map[string]node{"ami": file(strings.TrimPrefix(root, "/dev/")), "root": file(root)}
	for n, device := range slices.Sorted(slices.Values(i.VolumeDevices)) {
		devices["ebs"+strconv.Itoa(n)] = file(device)
	}
	return devices
}

// identity is the instance identity document (Amazon EC2 user guide, "Instance identity documents").
func (i *Instance) identity(caller Caller) string {
	optional := func(text string) *string {
		if text == "" {
			return nil
		}
		return &text
	}
	document := struct {
		AccountID        string  `json:"accountId"`
		Architecture     string  `json:"architecture"`
		AvailabilityZone string  `json:"availabilityZone"`
		ImageID          string  `json:"imageId"`
		InstanceID       string  `json:"instanceId"`
		InstanceType     string  `json:"instanceType"`
		KernelID         *string `json:"kernelId"`
		PendingTime      *string `json:"pendingTime"`
		PrivateIP        string  `json:"privateIp"`
		RamdiskID        *string `json:"ramdiskId"`
		Region           string  `json:"region"`
		Version          string  `json:"version"`
	}{
		AccountID: i.ProjectID, Architecture: "x86_64", AvailabilityZone: i.AvailabilityZone, ImageID: i.ImageEC2ID,
		InstanceID: i.instanceEC2ID(), InstanceType: i.Flavor, KernelID: optional(i.KernelEC2ID),
		PrivateIP: first(i.FixedIPs, caller.Address), RamdiskID: optional(i.RamdiskEC2ID), Region: i.AvailabilityZone, Version: "2017-09-30",
	}
	if !i.LaunchedAt.IsZero() {
		document.PendingTime = optional(i.LaunchedAt.UTC().Format(time.RFC3339))
	}
	text, err := json.MarshalIndent(document, "", "  ")
	if err != nil {
		return ""
	}
	return string(text)
}

func first(addresses []netip.Addr, otherwise netip.Addr) string {
	for _, a := range addresses {
		if a.Is4() {
			return a.String()
		}
	}
	if !otherwise.IsValid() {
		return ""
	}
	return otherwise.String()
}
