package s3

import (
	"net"
	"net/http"
	"strings"

	"github.com/kintoun/kintoun/objectstore"
)

// Resource is what an operation is about.
type Resource string

// The resources.
const (
	Service Resource = "service"
	Bucket  Resource = "bucket"
	Object  Resource = "object"
)

// Operation is one of S3's: what a request of Method is for a resource, with the parameter Query and the header Header where
// those tell operations apart.
type Operation struct {
	// Name is as S3's API reference has it.
	Name          string
	Method        string
	Resource      Resource
	Query, Header string
	// Unsupported is what is said to everybody, where the operation cannot be done here; empty where it can.
	Unsupported string
	serve       func(*api, *request) error
}

//go:generate go test -run TestOperationsTable -args -write

// Operations are all that [Handler] knows, the more special ones first.
func Operations() []Operation {
	var all []Operation
	for _, group := range [][]Operation{
		bucketOperations(), subresourceOperations(), emptyOperations(), uploadOperations(), objectOperations(), unsupportedOperations(), plainOperations(),
	} {
		all = append(all, group...)
	}
	return all
}

func bucketOperations() []Operation {
	return []Operation{
		{Name: "GetBucketLocation", Method: http.MethodGet, Resource: Bucket, Query: "location", serve: (*api).bucketLocation},
		{Name: "ListObjectVersions", Method: http.MethodGet, Resource: Bucket, Query: "versions", serve: (*api).listVersions},
		{Name: "ListMultipartUploads", Method: http.MethodGet, Resource: Bucket, Query: "uploads", serve: (*api).listUploads},
		{Name: "ListObjectsV2", Method: http.MethodGet, Resource: Bucket, Query: "list-type", serve: (*api).listObjectsV2},
		{Name: "DeleteObjects", Method: http.MethodPost, Resource: Bucket, Query: "delete", serve: (*api).deleteObjects},
	}
}

func subresourceOperations() []Operation {
	return []Operation{
		{Name: "GetBucketVersioning", Method: http.MethodGet, Resource: Bucket, Query: "versioning", serve: (*api).getVersioning},
		{Name: "PutBucketVersioning", Method: http.MethodPut, Resource: Bucket, Query: "versioning", serve: (*api).putVersioning},
		{Name: "GetBucketAcl", Method: http.MethodGet, Resource: Bucket, Query: "acl", serve: (*api).getBucketACL},
		{Name: "PutBucketAcl", Method: http.MethodPut, Resource: Bucket, Query: "acl", serve: (*api).putBucketACL},
		{Name: "GetBucketTagging", Method: http.MethodGet, Resource: Bucket, Query: "tagging", serve: (*api).getBucketTagging},
		{Name: "PutBucketTagging", Method: http.MethodPut, Resource: Bucket, Query: "tagging", serve: (*api).putBucketTagging},
		{Name: "DeleteBucketTagging", Method: http.MethodDelete, Resource: Bucket, Query: "tagging", serve: (*api).deleteBucketTagging},
		{Name: "GetBucketCors", Method: http.MethodGet, Resource: Bucket, Query: "cors", serve: (*api).getCORS},
		{Name: "PutBucketCors", Method: http.MethodPut, Resource: Bucket, Query: "cors", serve: (*api).putCORS},
		{Name: "DeleteBucketCors", Method: http.MethodDelete, Resource: Bucket, Query: "cors", serve: (*api).deleteCORS},
		{Name: "GetBucketLifecycleConfiguration", Method: http.MethodGet, Resource: Bucket, Query: "lifecycle", serve: (*api).getLifecycle},
		{Name: "PutBucketLifecycleConfiguration", Method: http.MethodPut, Resource: Bucket, Query: "lifecycle", serve: (*api).putLifecycle},
		{Name: "DeleteBucketLifecycle", Method: http.MethodDelete, Resource: Bucket, Query: "lifecycle", serve: (*api).deleteLifecycle},
		{Name: "PreflightRequest", Method: http.MethodOptions, Resource: Object, serve: (*api).preflight},
		{Name: "PreflightRequest", Method: http.MethodOptions, Resource: Bucket, serve: (*api).preflight},
	}
}

func uploadOperations() []Operation {
	return []Operation{
		{Name: "CreateMultipartUpload", Method: http.MethodPost, Resource: Object, Query: "uploads", serve: (*api).createUpload},
		{Name: "UploadPartCopy", Method: http.MethodPut, Resource: Object, Query: "uploadId", Header: headerCopySource, serve: (*api).copyPart},
		{Name: "UploadPart", Method: http.MethodPut, Resource: Object, Query: "uploadId", serve: (*api).putPart},
		{Name: "ListParts", Method: http.MethodGet, Resource: Object, Query: "uploadId", serve: (*api).listParts},
		{Name: "CompleteMultipartUpload", Method: http.MethodPost, Resource: Object, Query: "uploadId", serve: (*api).completeUpload},
		{Name: "AbortMultipartUpload", Method: http.MethodDelete, Resource: Object, Query: "uploadId", serve: (*api).abortUpload},
	}
}

func objectOperations() []Operation {
	return []Operation{
		{Name: "GetObjectAttributes", Method: http.MethodGet, Resource: Object, Query: "attributes", serve: (*api).getAttributes},
		{Name: "GetObjectTagging", Method: http.MethodGet, Resource: Object, Query: "tagging", serve: (*api).getTagging},
		{Name: "PutObjectTagging", Method: http.MethodPut, Resource: Object, Query: "tagging", serve: (*api).putTagging},
		{Name: "DeleteObjectTagging", Method: http.MethodDelete, Resource: Object, Query: "tagging", serve: (*api).deleteTagging},
		{Name: "GetObjectAcl", Method: http.MethodGet, Resource: Object, Query: "acl", serve: (*api).getObjectACL},
		{Name: "PutObjectAcl", Method: http.MethodPut, Resource: Object, Query: "acl", serve: (*api).putObjectACL},
	}
}

// plainOperations are those without a parameter, which come last.
func plainOperations() []Operation {
	return []Operation{
		{Name: "ListBuckets", Method: http.MethodGet, Resource: Service, serve: (*api).listBuckets},
		{Name: "ListObjects", Method: http.MethodGet, Resource: Bucket, serve: (*api).listObjects},
		{Name: "HeadBucket", Method: http.MethodHead, Resource: Bucket, serve: (*api).headBucket},
		{Name: "CreateBucket", Method: http.MethodPut, Resource: Bucket, serve: (*api).createBucket},
		{Name: "DeleteBucket", Method: http.MethodDelete, Resource: Bucket, serve: (*api).deleteBucket},
		{Name: "PostObject", Method: http.MethodPost, Resource: Bucket, serve: (*api).postObject},
		{Name: "GetObject", Method: http.MethodGet, Resource: Object, serve: (*api).getObject},
		{Name: "HeadObject", Method: http.MethodHead, Resource: Object, serve: (*api).getObject},
		{Name: "CopyObject", Method: http.MethodPut, Resource: Object, Header: headerCopySource, serve: (*api).copyObject},
		{Name: "PutObject", Method: http.MethodPut, Resource: Object, serve: (*api).putObject},
		{Name: "DeleteObject", Method: http.MethodDelete, Resource: Object, serve: (*api).deleteObject},
	}
}

// operations is the table that requests are looked up in.
var operations = Operations()

// find says what the request asks for. A parameter that belongs to an operation of another method is never overlooked: GET
// ?delete is no list.
func find(q *request) (*Operation, error) {
	resource := Service
	switch {
	case q.path.Object != "":
		resource = Object
	case q.path.Container != "":
		resource = Bucket
	}
	misplaced := false
	for i := range operations {
		o := &operations[i]
		if o.Resource != resource || o.Query != "" && !q.query.Has(o.Query) {
			continue
		}
		if o.Query == "" && misplaced {
			break
		}
		if o.Method != q.Method {
			misplaced = misplaced || o.Query != ""
			continue
		}
		if o.Header == "" || q.Header.Get(o.Header) != "" {
			return o, nil
		}
	}
	return nil, fail("MethodNotAllowed", "The specified method is not allowed against this resource.").
		with("Method", q.Method).with("ResourceType", strings.ToUpper(string(resource)))
}

// locate finds the bucket and the key in the host and the path.
func (a *api) locate(q *request) {
	host := q.Host
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	host = strings.ToLower(host)
	rest := strings.TrimPrefix(q.URL.Path, "/")
	for _, domain := range a.options.Domains {
		if bucket, found := strings.CutSuffix(host, "."+strings.ToLower(domain)); found && bucket != "" {
			q.host, q.path = bucket, objectstore.Path{Container: bucket, Object: rest}
			return
		}
	}
	bucket, key, _ := strings.Cut(rest, "/")
	q.path = bucketPath(bucket)
	q.path.Object = key
}

// bucketPath reads a bucket's name, "bucket" or "account:bucket".
func bucketPath(name string) objectstore.Path {
	if account, bucket, found := strings.Cut(name, ":"); found {
		return objectstore.Path{Account: account, Container: bucket}
	}
	return objectstore.Path{Container: name}
}

// bucket is the path without the object.
func (q *request) bucket() objectstore.Path {
	return objectstore.Path{Account: q.path.Account, Container: q.path.Container}
}
