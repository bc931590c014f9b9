package server

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strconv"

	"github.com/kintoun/kintoun/examples/allinone/cloud"
	"github.com/kintoun/kintoun/examples/allinone/settings"
	"github.com/kintoun/kintoun/image"
	"github.com/kintoun/kintoun/image/cachestore"
	"github.com/kintoun/kintoun/image/driver"
	"github.com/kintoun/kintoun/image/s3store"
	"github.com/kintoun/kintoun/image/webdownload"
)

// S3Images is the name of the store that keeps images in a bucket of an S3.
const S3Images = "s3"

// Images says where images are kept.
type Images struct {
	// Stores are the names of the stores, the default first: "file", [cloud.ObjectImages] and [S3Images].
	Stores []string
	// S3 says where the bucket of [S3Images] is.
	S3 S3Bucket
	// ShowLocations shows users where the contents of images are kept.
	ShowLocations bool
}

// S3Bucket is a bucket of an S3 that somebody else runs.
type S3Bucket struct {
	URL, Bucket, Prefix, Region, AccessKey, SecretKey string
}

// Settings are what can be set of it.
func (i *Images) Settings() settings.Table {
	return settings.Table{
		{Name: "image-stores", Kind: "names", Default: "file", Value: settings.Words(&i.Stores),
			Help: "where images are kept, the default first: file, " + cloud.ObjectImages + " for the cloud's own object storage, and " + S3Images + " for a bucket of another"},
		{Name: "image-show-locations", Kind: "switch", Value: settings.Bool(&i.ShowLocations, false),
			Help: "shows users where the contents of images that they see are kept, which tells them of the cloud's inside"},
		{Name: "image-s3-url", Kind: "URL", Help: "the S3 of the store " + S3Images + ": https://s3.example.org", Default: "none", Value: settings.Text(&i.S3.URL, "")},
		{Name: "image-s3-bucket", Kind: "name", Help: "bucket of that S3, which must be there", Value: settings.Text(&i.S3.Bucket, "images")},
		{Name: "image-s3-prefix", Kind: "text", Help: "begins the names of all images' objects in the bucket", Default: "none", Value: settings.Text(&i.S3.Prefix, "")},
		{Name: "image-s3-region", Kind: "name", Help: "what requests to that S3 are signed for", Default: "asked of it", Value: settings.Text(&i.S3.Region, "")},
		{Name: "image-s3-access-key", Kind: "key", Help: "access key for that S3", Default: "none, requests are not signed", Value: settings.Text(&i.S3.AccessKey, "")},
		{Name: "image-s3-secret-key", Kind: "password", Secret: true, Help: "its secret key", Default: "none", Value: settings.Text(&i.S3.SecretKey, "")},
	}
}

// open returns the stores that are not the cloud's own. The bucket is tried, so that a wrong one is told now and not by the first
// upload.
func (i *Images) open(ctx context.Context, copies string) (map[string]driver.Store, error) {
	if !slices.Contains(i.Stores, S3Images) {
		return nil, nil
	}
	if i.S3.URL == "" {
		return nil, fmt.Errorf("image-stores has %s: image-s3-url must say where that is", S3Images)
	}
	options := s3store.Options{Prefix: i.S3.Prefix, Region: i.S3.Region, AccessKey: i.S3.AccessKey, SecretKey: i.S3.SecretKey}
	if err := s3store.Probe(ctx, i.S3.URL, i.S3.Bucket, &options); err != nil {
		return nil, fmt.Errorf("image-stores has %s: %w", S3Images, err)
	}
	objects, err := s3store.New(i.S3.URL, i.S3.Bucket, &options)
	if err != nil {
		return nil, err
	}
	store, err := cachestore.New(copies, objects) // QEMU opens files
	return map[string]driver.Store{S3Images: store}, err
}

// ImageProperties says who may do what with images' properties: their owners everything, unless it is set.
type ImageProperties struct {
	// File has the rules, see [image.ReadProtections].
	File string
}

// Settings are what can be set of it.
func (i *ImageProperties) Settings() settings.Table {
	return settings.Table{
		{Name: "image-property-protections", Kind: "file", Value: settings.Text(&i.File, ""), Default: "none, images' owners may do everything",
			Help: "says which roles may create, read, update and delete which properties of images, as Glance's property-protections.conf does"},
	}
}

// Protections are the file's.
func (i *ImageProperties) Protections() ([]image.Protection, error) {
	if i.File == "" {
		return nil, nil
	}
	file, err := os.Open(i.File)
	if err != nil {
		return nil, fmt.Errorf("image-property-protections: %w", err)
	}
	defer func() { _ = file.Close() }()
	all, err := image.ReadProtections(file)
	if err == nil && len(all) == 0 {
		err = errors.New("nobody could do anything with any property: there is no [section] in it")
	}
	if err != nil {
		return nil, fmt.Errorf("image-property-protections: %s: %w", i.File, err)
	}
	return all, nil
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
