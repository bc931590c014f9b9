package s3

import (
	"encoding/xml"
	"net/http"
	"strings"

	"github.com/kintoun/kintoun/objectstore"
)

// Access lists. A bucket's canned list is its container's Read and Write; objects have none of their own, as in buckets of
// Amazon's whose owner is enforced.

// The lists of containers that the canned ones are, in Swift's notation.
const (
	everybodyReads = ".r:*,.rlistings"
	everybodyElse  = "*:*" // everybody who has shown who it is
)

type grants struct{ read, write string }

func (g grants) apply(s *objectstore.Settings) error {
	s.Read, s.Write = g.read, g.write
	return nil
}

var canned = map[string]grants{
	"":                   {},
	"private":            {},
	"public-read":        {read: everybodyReads},
	"public-read-write":  {read: everybodyReads, write: everybodyElse},
	"authenticated-read": {read: everybodyElse},
}

// cannedACL reads x-amz-acl of a bucket.
func cannedACL(q *request) (grants, error) {
	for name := range q.Header {
		if strings.HasPrefix(strings.ToLower(name), "x-amz-grant-") {
			return grants{}, fail("NotImplemented", "Access is granted by x-amz-acl alone.").with("Header", strings.ToLower(name))
		}
	}
	name := q.Header.Get("X-Amz-Acl")
	g, known := canned[name]
	switch {
	case known:
		return g, nil
	case name == "log-delivery-write", name == "aws-exec-read", name == "bucket-owner-read", name == "bucket-owner-full-control":
		return grants{}, fail("NotImplemented", "The canned access list %q is not implemented.", name)
	}
	return grants{}, fail("InvalidArgument", "").with("ArgumentName", "x-amz-acl").with("ArgumentValue", name)
}

// objectACL accepts what is so anyway, and refuses the rest rather than to let somebody believe it.
func (a *api) objectACL(q *request) error {
	switch name := q.Header.Get("X-Amz-Acl"); name {
	case "", "private", "bucket-owner-read", "bucket-owner-full-control":
		return nil
	default:
		g, known := canned[name]
		if !known {
			return fail("InvalidArgument", "There is no canned access list of that name.").with("ArgumentName", "x-amz-acl").with("ArgumentValue", name)
		}
		c, err := a.objects.Container(q.Context(), q.caller, q.bucket())
		if err != nil {
			return err
		}
		if strings.Contains(c.Read, strings.Split(g.read, ",")[0]) && (g.write == "" || strings.Contains(c.Write, g.write)) {
			return nil
		}
		return fail("AccessControlListNotSupported", "Objects here have no access lists of their own: set the bucket's.")
	}
}

type grantee struct {
	Schema string `xml:"xmlns:xsi,attr"`
	Type   string `xml:"xsi:type,attr"`
	ID     string `xml:",omitempty"`
	Name   string `xml:"DisplayName,omitempty"`
	URI    string `xml:",omitempty"`
}

type grant struct {
	Grantee    grantee
	Permission string
}

type accessDocument struct {
	XMLName xml.Name `xml:"http://s3.amazonaws.com/doc/2006-03-01/ AccessControlPolicy"`
	Owner   *owner
	Grants  []grant `xml:"AccessControlList>Grant"`
}

const (
	schema       = "http://www.w3.org/2001/XMLSchema-instance"
	groupsURI    = "http://acs.amazonaws.com/groups/global/"
	groupAll     = groupsURI + "AllUsers"
	groupUsers   = groupsURI + "AuthenticatedUsers"
	fullControl  = "FULL_CONTROL"
	granteeGroup = "Group"
)

func (q *request) access(c *objectstore.Container, object bool) accessDocument {
	o := q.ownerOf()
	doc := accessDocument{Owner: o, Grants: []grant{{grantee{schema, "CanonicalUser", o.ID, o.DisplayName, ""}, fullControl}}}
	add := func(list, permission string) {
		for element := range strings.SplitSeq(list, ",") {
			switch strings.TrimSpace(element) {
			case ".r:*":
				doc.Grants = append(doc.Grants, grant{grantee{Schema: schema, Type: granteeGroup, URI: groupAll}, permission})
			case everybodyElse:
				doc.Grants = append(doc.Grants, grant{grantee{Schema: schema, Type: granteeGroup, URI: groupUsers}, permission})
			}
		}
	}
	add(c.Read, "READ")
	if !object {
		add(c.Write, "WRITE")
	}
	return doc
}

func (a *api) getBucketACL(q *request) error {
	c, err := a.objects.Container(q.Context(), q.caller, q.bucket())
	if err != nil {
		return err
	}
	return writeXML(q.w, http.StatusOK, q.access(c, false))
}

func (a *api) getObjectACL(q *request) error {
	version, null, err := versionOf(q.query)
	if err != nil {
		return err
	}
	if _, err := a.objects.Open(q.Context(), q.caller, q.path, objectstore.OpenSpec{Version: version, NullVersion: null}); err != nil {
		return missing(err, q)
	}
	c, err := a.objects.Container(q.Context(), q.caller, q.bucket())
	if err != nil {
		return err
	}
	return writeXML(q.w, http.StatusOK, q.access(c, true))
}

type accessRequest struct {
	XMLName xml.Name `xml:"AccessControlPolicy"`
	Owner   struct{ ID string }
	Grants  []struct {
		Grantee struct {
			Type    string `xml:"type,attr"`
			ID, URI string
		}
		Permission string
	} `xml:"AccessControlList>Grant"`
}

// requestedACL is the list in the headers or in the body.
func (q *request) requestedACL() (grants, error) {
	if q.Header.Get("X-Amz-Acl") != "" {
		return cannedACL(q)
	}
	data, err := q.document()
	if err != nil {
		return grants{}, err
	}
	if len(data) == 0 {
		return cannedACL(q)
	}
	var doc accessRequest
	if err := decodeXML(data, &doc); err != nil {
		e := toAPI(err)
		return grants{}, fail("MalformedACLError", "%s", e.Message)
	}
	var all []string
	for _, g := range doc.Grants {
		if (g.Grantee.ID == q.path.Account || g.Grantee.ID == q.caller.Account) && g.Grantee.URI == "" {
			continue // the owner has all rights anyway
		}
		all = append(all, strings.TrimPrefix(g.Grantee.URI, groupsURI)+" "+g.Permission)
	}
	switch strings.Join(all, ", ") {
	case "":
		return canned["private"], nil
	case "AllUsers READ":
		return canned["public-read"], nil
	case "AllUsers READ, AllUsers WRITE", "AllUsers WRITE, AllUsers READ", "AllUsers READ, AuthenticatedUsers WRITE":
		return canned["public-read-write"], nil
	case "AuthenticatedUsers READ":
		return canned["authenticated-read"], nil
	}
	return grants{}, fail("NotImplemented", "Access can be granted to all users or to those who have shown who they are, to read or to write.")
}

func (a *api) putBucketACL(q *request) error {
	g, err := q.requestedACL()
	if err != nil {
		return err
	}
	return a.change(q, http.StatusOK, g.apply)
}

// putObjectACL accepts what is so anyway.
func (a *api) putObjectACL(q *request) error {
	g, err := q.requestedACL()
	if err != nil {
		return err
	}
	if _, err := a.objects.Open(q.Context(), q.caller, q.path, objectstore.OpenSpec{}); err != nil {
		return missing(err, q)
	}
	c, err := a.objects.Container(q.Context(), q.caller, q.bucket())
	if err != nil {
		return err
	}
	if g != canned["private"] && (g.read != c.Read || g.write != c.Write) {
		return fail("AccessControlListNotSupported", "Objects here have no access lists of their own: set the bucket's.")
	}
	q.w.Header().Set("Content-Length", "0")
	q.w.WriteHeader(http.StatusOK)
	return nil
}
