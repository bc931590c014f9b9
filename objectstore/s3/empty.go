package s3

import "net/http"

// What a bucket can have and here has not: reading it says so with the code that clients know, removing it succeeds, and
// setting it up is not implemented. Clients that look before they act go on.

// absent are the parameters of what is never configured, with what S3 answers then.
var absent = []struct{ query, name, code, message string }{
	{"policy", "BucketPolicy", "NoSuchBucketPolicy", "The bucket policy does not exist"},
	{"encryption", "BucketEncryption", "ServerSideEncryptionConfigurationNotFoundError", "The server side encryption configuration was not found"},
	{"object-lock", "ObjectLockConfiguration", "ObjectLockConfigurationNotFoundError", "Object Lock configuration does not exist for this bucket"},
	{"website", "BucketWebsite", "NoSuchWebsiteConfiguration", "The specified bucket does not have a website configuration"},
	{"replication", "BucketReplication", "ReplicationConfigurationNotFoundError", "The replication configuration was not found"},
	{"publicAccessBlock", "PublicAccessBlock", "NoSuchPublicAccessBlockConfiguration", "The public access block configuration was not found"},
	{"analytics", "BucketAnalyticsConfiguration", "NoSuchConfiguration", "The specified configuration does not exist."},
	{"inventory", "BucketInventoryConfiguration", "NoSuchConfiguration", "The specified configuration does not exist."},
	{"metrics", "BucketMetricsConfiguration", "NoSuchConfiguration", "The specified configuration does not exist."},
	{"intelligent-tiering", "BucketIntelligentTieringConfiguration", "NoSuchConfiguration", "The specified configuration does not exist."},
}

// defaults are the parameters of what always has a value, with that.
var defaults = []struct{ query, name, root, inner string }{
	{"logging", "BucketLogging", "BucketLoggingStatus", ""},
	{"notification", "BucketNotificationConfiguration", "NotificationConfiguration", ""},
	{"accelerate", "BucketAccelerateConfiguration", "AccelerateConfiguration", ""},
	{"requestPayment", "BucketRequestPayment", "RequestPaymentConfiguration", "<Payer>BucketOwner</Payer>"},
	{"ownershipControls", "BucketOwnershipControls", "OwnershipControls", "<Rule><ObjectOwnership>BucketOwnerEnforced</ObjectOwnership></Rule>"},
}

func emptyOperations() []Operation {
	all := []Operation{
		{Name: "GetBucketPolicyStatus", Method: http.MethodGet, Resource: Bucket, Query: "policyStatus", serve: notConfigured("NoSuchBucketPolicy", "The bucket policy does not exist")},
		{Name: "GetObjectRetention", Method: http.MethodGet, Resource: Object, Query: "retention", serve: notConfigured("NoSuchObjectLockConfiguration", "The specified object does not have a ObjectLock configuration")},
		{Name: "GetObjectLegalHold", Method: http.MethodGet, Resource: Object, Query: "legal-hold", serve: notConfigured("NoSuchObjectLockConfiguration", "The specified object does not have a ObjectLock configuration")},
	}
	for _, c := range absent {
		all = append(all,
			Operation{Name: "Get" + c.name, Method: http.MethodGet, Resource: Bucket, Query: c.query, serve: notConfigured(c.code, c.message)},
			Operation{Name: "Delete" + c.name, Method: http.MethodDelete, Resource: Bucket, Query: c.query, serve: (*api).nothingToDelete},
			Operation{Name: "Put" + c.name, Method: http.MethodPut, Resource: Bucket, Query: c.query, Unsupported: "Buckets here have no " + c.query + "."})
	}
	for _, c := range defaults {
		all = append(all,
			Operation{Name: "Get" + c.name, Method: http.MethodGet, Resource: Bucket, Query: c.query, serve: fixed(c.root, c.inner)},
			Operation{Name: "Put" + c.name, Method: http.MethodPut, Resource: Bucket, Query: c.query, Unsupported: "The " + c.query + " of buckets here cannot be changed."})
	}
	return all
}

func unsupportedOperations() []Operation {
	return []Operation{
		{Name: "GetObjectTorrent", Method: http.MethodGet, Resource: Object, Query: "torrent", Unsupported: "There are no torrents of objects."},
		{Name: "SelectObjectContent", Method: http.MethodPost, Resource: Object, Query: "select", Unsupported: "Objects are not queried by SQL."},
		{Name: "RestoreObject", Method: http.MethodPost, Resource: Object, Query: "restore", Unsupported: "No object is archived."},
		{Name: "PutObjectRetention", Method: http.MethodPut, Resource: Object, Query: "retention", Unsupported: "Objects cannot be locked."},
		{Name: "PutObjectLegalHold", Method: http.MethodPut, Resource: Object, Query: "legal-hold", Unsupported: "Objects cannot be locked."},
		{Name: "RenameObject", Method: http.MethodPut, Resource: Object, Query: "renameObject", Unsupported: "Objects are not renamed: copy, then delete."},
	}
}

func notConfigured(code, message string) func(*api, *request) error {
	return func(a *api, q *request) error {
		if _, err := a.objects.Container(q.Context(), q.caller, q.bucket()); err != nil {
			return err
		}
		return fail(code, "%s", message).with("BucketName", q.path.Container)
	}
}

func (a *api) nothingToDelete(q *request) error {
	if _, err := a.objects.Container(q.Context(), q.caller, q.bucket()); err != nil {
		return err
	}
	q.w.WriteHeader(http.StatusNoContent)
	return nil
}

func fixed(root, inner string) func(*api, *request) error {
	return func(a *api, q *request) error {
		if _, err := a.objects.Container(q.Context(), q.caller, q.bucket()); err != nil {
			return err
		}
		return writeRaw(q.w, http.StatusOK, "<"+root+` xmlns="`+namespace+`">`+inner+"</"+root+">")
	}
}
