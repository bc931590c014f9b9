package s3

import (
	"encoding/xml"
	"errors"
	"net"
	"net/http"
	"regexp"
	"strings"

	"github.com/kintoun/kintoun/objectstore"
)

type owner struct {
	ID          string
	DisplayName string `xml:",omitempty"`
}

// ownerOf names an account as an owner.
func (q *request) ownerOf() *owner {
	o := &owner{ID: q.path.Account, DisplayName: q.path.Account}
	if q.caller.Account == q.path.Account && q.caller.ProjectName != "" {
		o.DisplayName = q.caller.ProjectName
	}
	return o
}

type bucketEntry struct {
	Name, CreationDate string
	BucketRegion       string `xml:",omitempty"`
}

type listBucketsResult struct {
	XMLName           xml.Name      `xml:"http://s3.amazonaws.com/doc/2006-03-01/ ListAllMyBucketsResult"`
	Owner             *owner        `xml:"Owner"`
	Buckets           []bucketEntry `xml:"Buckets>Bucket"`
	ContinuationToken string        `xml:",omitempty"`
	Prefix            string        `xml:",omitempty"`
}

// containersPage is how many containers are asked for at once.
const containersPage = 10000

func (a *api) listBuckets(q *request) error {
	if !q.signed {
		return fail("AccessDenied", "Access Denied")
	}
	answer := listBucketsResult{Owner: q.ownerOf(), Prefix: q.query.Get("prefix")}
	limit := containersPage
	if q.query.Has("max-buckets") {
		n, err := parseCount(q.query.Get("max-buckets"))
		if err != nil || n < 1 || n > containersPage {
			return fail("InvalidArgument", "max-buckets must be between 1 and %d.", containersPage)
		}
		limit = int(n)
	}
	marker, err := readToken(q.query.Get("continuation-token"))
	if err != nil {
		return err
	}
	for {
		page, err := a.objects.Containers(q.Context(), q.caller, q.path.Account, objectstore.Listing{Prefix: answer.Prefix, Marker: marker, Limit: limit})
		if errors.Is(err, objectstore.ErrNoAccount) {
			break // an account comes into being with its first container
		}
		if err != nil {
			return err
		}
		for _, e := range page.Entries {
			answer.Buckets = append(answer.Buckets, bucketEntry{Name: e.Name, CreationDate: stamp(e.CreatedAt)})
			marker = e.Name
		}
		if !page.Truncated || len(page.Entries) == 0 {
			break
		}
		if q.query.Has("max-buckets") {
			answer.ContinuationToken = makeToken(marker)
			break
		}
	}
	return writeXML(q.w, http.StatusOK, answer)
}

var bucketName = regexp.MustCompile(`^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$`)

// checkBucket holds S3's rules for new buckets ("General purpose bucket naming rules").
func checkBucket(name string) error {
	if !bucketName.MatchString(name) || strings.Contains(name, "..") || strings.Contains(name, ".-") || strings.Contains(name, "-.") ||
		net.ParseIP(name) != nil || strings.HasPrefix(name, "xn--") || strings.HasSuffix(name, "-s3alias") {
		return fail("InvalidBucketName", "The specified bucket is not valid.").with("BucketName", name)
	}
	return nil
}

func (a *api) createBucket(q *request) error {
	if !q.signed {
		return fail("AccessDenied", "Access Denied")
	}
	if err := checkBucket(q.path.Container); err != nil {
		return err
	}
	if q.Header.Get("X-Amz-Bucket-Object-Lock-Enabled") == "true" {
		return fail("NotImplemented", "Buckets here have no object-lock.")
	}
	if err := a.checkLocation(q); err != nil {
		return err
	}
	acl, err := cannedACL(q)
	if err != nil {
		return err
	}
	// Who creates a bucket twice hears so, and the bucket stays as it is.
	if _, err := a.objects.Container(q.Context(), q.caller, q.bucket()); err == nil {
		return bucketExists()
	} else if !errors.Is(err, objectstore.ErrNotFound) {
		return err
	}
	_, created, err := a.objects.CreateContainer(q.Context(), q.caller, q.bucket(), acl.apply)
	if err != nil {
		return err
	}
	if !created {
		return bucketExists()
	}
	q.w.Header().Set("Location", "/"+q.path.Container)
	q.w.Header().Set("Content-Length", "0")
	q.w.WriteHeader(http.StatusOK)
	return nil
}

func bucketExists() error {
	return fail("BucketAlreadyOwnedByYou", "Your previous request to create the named bucket succeeded and you already own it.")
}

// checkLocation reads CreateBucketConfiguration, if there is one.
func (a *api) checkLocation(q *request) error {
	data, err := q.document()
	if err != nil || len(data) == 0 {
		return err
	}
	var c struct {
		XMLName            xml.Name `xml:"CreateBucketConfiguration"`
		LocationConstraint string
	}
	if err := decodeXML(data, &c); err != nil {
		return err
	}
	if c.LocationConstraint != "" && c.LocationConstraint != a.options.Region {
		return fail("InvalidLocationConstraint", "The specified location-constraint is not valid").with("LocationConstraint", c.LocationConstraint)
	}
	return nil
}

func (a *api) headBucket(q *request) error {
	if _, err := a.objects.Container(q.Context(), q.caller, q.bucket()); err != nil {
		return err
	}
	q.w.Header().Set("X-Amz-Bucket-Region", a.options.Region)
	q.w.Header().Set("Content-Type", "application/xml")
	q.w.WriteHeader(http.StatusOK)
	return nil
}

func (a *api) deleteBucket(q *request) error {
	if err := a.objects.DeleteContainer(q.Context(), q.caller, q.bucket()); err != nil {
		return err
	}
	q.w.WriteHeader(http.StatusNoContent)
	return nil
}

func (a *api) bucketLocation(q *request) error {
	if _, err := a.objects.Container(q.Context(), q.caller, q.bucket()); err != nil {
		return err
	}
	region := a.options.Region
	if region == "us-east-1" {
		region = "" // as S3 calls its first region
	}
	return writeXML(q.w, http.StatusOK, struct {
		XMLName xml.Name `xml:"http://s3.amazonaws.com/doc/2006-03-01/ LocationConstraint"`
		Region  string   `xml:",chardata"`
	}{Region: region})
}

type versioningDocument struct {
	XMLName   xml.Name                    `xml:"VersioningConfiguration"`
	Namespace string                      `xml:"xmlns,attr,omitempty"`
	Status    objectstore.VersioningState `xml:",omitempty"`
	MFADelete string                      `xml:"MfaDelete,omitempty"`
}

func (a *api) getVersioning(q *request) error {
	c, err := a.objects.Container(q.Context(), q.caller, q.bucket())
	if err != nil {
		return err
	}
	return writeXML(q.w, http.StatusOK, versioningDocument{Namespace: namespace, Status: c.Versioning})
}

func (a *api) putVersioning(q *request) error {
	var v versioningDocument
	if err := q.xml(&v); err != nil {
		return err
	}
	if v.Status != objectstore.VersioningEnabled && v.Status != objectstore.VersioningSuspended {
		return fail("IllegalVersioningConfigurationException", "The versioning status is Enabled or Suspended.")
	}
	if v.MFADelete == "Enabled" {
		return fail("NotImplemented", "Deleting with a second factor is not supported.")
	}
	return a.change(q, http.StatusOK, func(s *objectstore.Settings) error {
		s.Versioning = v.Status
		return nil
	})
}

// change changes the bucket and answers with the status alone.
func (a *api) change(q *request, status int, change func(*objectstore.Settings) error) error {
	if _, err := a.objects.UpdateContainer(q.Context(), q.caller, q.bucket(), change); err != nil {
		return err
	}
	if status == http.StatusOK {
		q.w.Header().Set("Content-Length", "0")
	}
	q.w.WriteHeader(status)
	return nil
}
