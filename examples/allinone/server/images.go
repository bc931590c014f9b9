package server

import (
	"fmt"
	"net/netip"
	"strconv"

	"github.com/kintoun/kintoun/examples/allinone/cloud"
	"github.com/kintoun/kintoun/examples/allinone/settings"
	"github.com/kintoun/kintoun/image"
	"github.com/kintoun/kintoun/image/webdownload"
)

// Images says where images are kept.
type Images struct {
	// Stores are the names of the stores, the default first: "file" and [cloud.ObjectImages].
	Stores []string
}

// Settings are what can be set of it.
func (i *Images) Settings() settings.Table {
	return settings.Table{
		{Name: "image-stores", Kind: "names", Default: "file", Value: settings.Words(&i.Stores),
			Help: "where images are kept, the default first: file, and " + cloud.ObjectImages + " for the cloud's own object storage"},
	}
}

// ImageWeb says where images may be downloaded from, if somebody asks the image API to: from nowhere unless it is set.
type ImageWeb struct {
	Hosts, Ports, Networks []string
}

// Settings are what can be set of it.
func (i *ImageWeb) Settings() settings.Table {
	return settings.Table{
		{Name: "image-web-hosts", Kind: "names", Default: "none, no downloads", Value: settings.Words(&i.Hosts),
			Help: "hosts that images may be downloaded from; .example.org is every name below it, * every host"},
		{Name: "image-web-ports", Kind: "ports", Default: "80,443", Value: settings.Words(&i.Ports), Help: "ports of these hosts"},
		{Name: "image-web-networks", Kind: "prefixes", Default: "none", Value: settings.Words(&i.Networks),
			Help: "private addresses that these hosts may have all the same, such as 192.0.2.7/32; those of the internet are allowed"},
	}
}

// Downloader is what downloads, by these rules; nil where nothing may be downloaded.
func (i *ImageWeb) Downloader() (image.Downloader, error) {
	if len(i.Hosts) == 0 {
		return nil, nil
	}
	options := webdownload.Options{Hosts: i.Hosts}
	for _, text := range i.Ports {
		port, err := strconv.ParseUint(text, 10, 16)
		if err != nil {
			return nil, fmt.Errorf("image-web-ports: %q is not a port", text)
		}
		options.Ports = append(options.Ports, int(port))
	}
	for _, text := range i.Networks {
		network, err := netip.ParsePrefix(text)
		if err != nil {
			return nil, fmt.Errorf("image-web-networks: %q is not addresses such as 192.0.2.0/24", text)
		}
		options.Networks = append(options.Networks, network)
	}
	return webdownload.New(&options)
}
