package swift

import (
	"errors"
	"net/http"

	"github.com/kintoun/kintoun/internal/wire"
	"github.com/kintoun/kintoun/objectstore"
)

// The bounds of the features that have their own, as /info tells them.
const (
	maxManifestBytes   = 8 << 20
	maxBulkDeletes     = 10000
	maxBulkFailures    = 1000
	maxBulkContainers  = 10000
	bulkYieldFrequency = 10 // seconds
)

// limits are the domain's.
func (a *api) limits() objectstore.Options { return a.store.Options() }

// digests are those that sign temporary URLs and forms.
func digests() []string { return []string{"sha1", "sha256", "sha512"} }

// info says what this server can do, and within which limits.
func (a *api) info(w http.ResponseWriter, _ *http.Request) error {
	type section = map[string]any
	o := a.limits()
	all := section{
		"swift": section{
			"version":       "2.37.0", // of the Swift whose behaviour this is
			"max_file_size": o.MaxObjectSize, "max_object_name_length": o.MaxNameLength,
			"max_container_name_length": o.MaxContainerNameLength, "max_account_name_length": o.MaxAccountNameLength,
			"max_meta_count": o.MaxMetadataCount, "max_meta_name_length": o.MaxMetadataNameLength,
			"max_meta_value_length": o.MaxMetadataValueLength, "max_meta_overall_size": o.MaxMetadataSize,
			"max_header_size":         o.MaxHeaderSize,
			"container_listing_limit": o.ContainerListingLimit, "account_listing_limit": o.AccountListingLimit,
			"valid_api_versions": []string{"v1", "v1.0"}, "account_autocreate": true, "allow_account_management": false,
			"strict_cors_mode": true,
			"policies":         []section{{"name": policy, "aliases": policy, "default": true}},
		},
		"slo": section{
			"max_manifest_segments": o.MaxSegments, "max_manifest_size": maxManifestBytes, "min_segment_size": 1,
			"yield_frequency": bulkYieldFrequency, "allow_async_delete": true,
		},
		"dlo":     section{"max_segments": o.ContainerListingLimit},
		"symlink": section{"symloop_max": o.MaxLinks, "static_links": true},
		"tempurl": section{
			"methods": []string{"GET", "HEAD", "PUT", "POST", "DELETE"}, "allowed_digests": digests(),
			"incoming_remove_headers": []string{"x-timestamp"}, "incoming_allow_headers": []string{},
			"outgoing_remove_headers": []string{"x-object-meta-*"}, "outgoing_allow_headers": []string{"x-object-meta-public-*"},
		},
		"formpost":          section{"allowed_digests": digests()},
		"bulk_upload":       section{"max_containers_per_extraction": maxBulkContainers, "max_failed_extractions": maxBulkFailures},
		"bulk_delete":       section{"max_deletes_per_request": maxBulkDeletes, "max_failed_deletes": maxBulkFailures},
		"versioned_writes":  section{"allowed_flags": []string{"x-versions-location", "x-history-location"}},
		"object_versioning": section{},
		"staticweb":         section{},
		"container_quotas":  section{},
		"account_quotas":    section{},
		"crossdomain":       section{},
	}
	if r := o.RateLimits; r.Account > 0 || len(r.Container) > 0 || len(r.Listing) > 0 {
		all["ratelimit"] = section{
			"account_ratelimit": r.Account, "max_sleep_time_seconds": r.Patience.Seconds(),
			"container_ratelimits": sizeRates(r.Container), "container_listing_ratelimits": sizeRates(r.Listing),
		}
	}
	if len(a.options.Users) > 0 {
		all["tempauth"] = section{"account_acls": true}
	}
	w.Header().Set("Cache-Control", "no-store")
	return wire.JSON(w, http.StatusOK, all)
}

func healthcheck(w http.ResponseWriter, _ *http.Request) error { return text(w, "text/plain", "OK") }

// crossdomain lets the plug-ins that asked for it come from nowhere else: there is nobody left to allow.
func crossdomain(w http.ResponseWriter, _ *http.Request) error {
	return text(w, "application/xml", `<?xml version="1.0"?>
<!DOCTYPE cross-domain-policy SYSTEM "http://www.adobe.com/xml/dtds/cross-domain-policy.dtd" >
<cross-domain-policy>
</cross-domain-policy>`)
}

func text(w http.ResponseWriter, kind, body string) error {
	w.Header().Set("Content-Type", kind)
	_, err := w.Write([]byte(body))
	if errors.Is(err, http.ErrBodyNotAllowed) {
		return nil
	}
	return err
}

func unsupported(http.ResponseWriter, *http.Request) error { return status(http.StatusNotImplemented) }

// sizeRates are pairs, as Swift has them.
func sizeRates(rates []objectstore.SizeRate) [][2]float64 {
	pairs := make([][2]float64, len(rates))
	for i, r := range rates {
		pairs[i] = [2]float64{float64(r.Objects), r.PerSecond}
	}
	return pairs
}
