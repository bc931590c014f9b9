package driver

// deviceName is prefix plus as much of id as an interface name of 14 bytes holds, which is what
// operators of OpenStack know: tap3f2504e0-4f.
func deviceName(prefix, id string) string {
	name := prefix + id
	if len(name) > 14 {
		name = name[:14]
	}
	return name
}

// TapName is the device of a server's, DHCP server's or balancer's port: tapXXXXXXXX-XX.
func TapName(portID string) string { return deviceName("tap", portID) }

// RouterPortName is the device of a router's inner leg: qr-XXXXXXXX-XX.
func RouterPortName(portID string) string { return deviceName("qr-", portID) }

// GatewayPortName is the device of a router's outer leg: qg-XXXXXXXX-XX.
func GatewayPortName(portID string) string { return deviceName("qg-", portID) }

// RouterNamespace is the namespace of a router: qrouter-ID.
func RouterNamespace(routerID string) string { return "qrouter-" + routerID }

// DHCPNamespace is the namespace of a network's DHCP server: qdhcp-ID.
func DHCPNamespace(networkID string) string { return "qdhcp-" + networkID }
