// Package objectstore keeps objects in containers in accounts: OpenStack's object storage, which is Amazon's S3 too where its
// buckets are the containers of an account.
//
//	objects, err := objectstore.New(ctx, db, memobjects.New(nil), nil)
//	me := objectstore.Caller{Account: "demo"}
//	song := objectstore.Path{Account: "demo", Container: "music", Object: "2026/song"}
//	_, _, err = objects.CreateContainer(ctx, me, song, nil)
//	_, err = objects.Put(ctx, me, song, objectstore.PutSpec{Size: -1}, strings.NewReader("la la la"))
//	r, err := objects.Open(ctx, me, song, objectstore.OpenSpec{})
//	body, err := r.Range(ctx, 3, -1)
//
// What an object is called, who may read it and what it is made of is in a database; its bytes are in a store, under a
// reference that is never used again: see package objectstore/driver. So an object is replaced by writing another content and
// then one record, whoever was reading goes on reading what was there, and a copy is a record that has the same content. A
// write is visible to every read that begins after it, in lists and in counts too: those are changed in the same transaction.
//
// # What objects can be
//
// A static large object ([ObjectInfo].Segments) is read as the objects that it names, a dynamic one (SegmentPrefix) as those
// whose names begin so, a link (Link) as its target; each by the rights of who reads. S3's uploads in parts
// ([Service.CreateUpload]) make one object of many contents. Older versions are kept in the container itself, with versions that
// have names and delete markers ([Settings].Versioning), or moved to another container as Swift did first (VersionsLocation,
// HistoryLocation). Objects expire one by one ([ObjectInfo].ExpiresAt) or by a container's rules (Lifecycle): they are gone for
// readers at once, and for lists and counts when [Service.Run] comes by.
//
// Names are texts in UTF-8 without NUL, and lists have them in the order of their bytes. A page costs what is on it, wherever it
// is in the list and however many names a delimiter rolls up.
//
// # Who may do what
//
// A [Caller] may do everything in the own account, and elsewhere what the account's access control, the container's lists
// ([ParseACL]) or a signature (Grant) allow. Who may not is told so whether or not there is anything: [ErrForbidden], or
// [ErrUnauthorized] where it is not known who asks. Who callers are, and whether signatures hold, is for the packages that speak
// to them to find out.
//
// How fast accounts and containers may be changed and listed is bounded by [RateLimits], none by default: what comes too fast
// waits, and is [ErrTooFast] in the end.
//
// # What it needs, and what it does not do
//
// It needs a *sql.DB (SQLite or PostgreSQL; see [New]), a driver.Store, and one goroutine in [Service.Run], without which contents
// that are not needed any more stay. It does not speak HTTP: packages swift and s3 do. It does not replicate, encrypt or check
// contents: stores do, or what is below them. It does not sync containers (SyncTo is kept and not followed).
//
// # Errors
//
// Errors wrap the sentinels of this package, which are of the kinds that errors.Is finds: an [ErrNoContainer] is an
// [ErrNotFound]. What a client's body or a callback fails with is returned as it is. Whatever is refused leaves nothing behind.
//
// # Concurrency, and the end of the process
//
// A Service is safe for concurrent use, and several may share a database and a store, each with an [Options].Host of its own.
// Writes that come at the same time share one transaction. A process may be killed at any moment: what was acknowledged is
// there, whole and listed; what was not is there whole or not at all; and contents that nobody has are found by the next Run,
// those of other hosts when they are older than [Options].ReclaimAfter.
package objectstore

import (
	"fmt"
	"time"

	"github.com/kintoun/kintoun/internal/fault"
)

// Errors that this package's errors wrap.
var (
	ErrNotFound     = fault.ErrNotFound
	ErrConflict     = fault.ErrConflict
	ErrInvalid      = fault.ErrInvalid
	ErrQuota        = fault.ErrQuota
	ErrForbidden    = fault.ErrForbidden
	ErrUnauthorized = fault.ErrUnauthorized
	ErrTooLarge     = fault.ErrTooLarge
	ErrUnsupported  = fault.ErrUnsupported
	ErrUnavailable  = fault.ErrUnavailable
	// What exactly is not there.
	ErrNoAccount   = fmt.Errorf("account: %w", ErrNotFound)
	ErrNoContainer = fmt.Errorf("container: %w", ErrNotFound)
	ErrNoObject    = fmt.Errorf("object: %w", ErrNotFound)
	ErrNoVersion   = fmt.Errorf("version: %w", ErrNotFound)
	ErrNoUpload    = fmt.Errorf("upload: %w", ErrNotFound)
	// ErrNotEmpty is a container that cannot be deleted while it has objects.
	ErrNotEmpty = fmt.Errorf("not empty: %w", ErrConflict)
	// ErrChecksum is content that is not what its checksum says.
	ErrChecksum = fmt.Errorf("checksum: %w", ErrInvalid)
	// ErrIncomplete is content that ended early.
	ErrIncomplete = fmt.Errorf("incomplete: %w", ErrInvalid)
	// ErrPartTooSmall is a part of an upload that is too small to be any but the last.
	ErrPartTooSmall = fmt.Errorf("too small: %w", ErrInvalid)
	// ErrPart is a part that an upload has not got, or not with that checksum; ErrPartOrder are parts out of order.
	ErrPart      = fmt.Errorf("part: %w", ErrInvalid)
	ErrPartOrder = fmt.Errorf("order of parts: %w", ErrInvalid)
	// ErrRange is a range that lies outside of the content.
	ErrRange = fmt.Errorf("range: %w", ErrInvalid)
	// ErrSegment is a segment of a large object, or the target of a link, that is not what it was said to be.
	ErrSegment = fmt.Errorf("segment: %w", ErrConflict)
	// ErrTooFast is more requests than [RateLimits] allow.
	ErrTooFast = fmt.Errorf("rate limit: %w", ErrUnavailable)
	// ErrPrecondition and ErrNotModified are conditions that do not hold (RFC 9110, section 13).
	ErrPrecondition = fmt.Errorf("precondition failed: %w", ErrConflict)
	ErrNotModified  = fmt.Errorf("not modified: %w", ErrPrecondition)
	// ErrDeleteMarker is a version that only says that the object was deleted; it comes with ErrNoObject.
	ErrDeleteMarker = fmt.Errorf("delete marker: %w", ErrNoObject)
)

// Caller is who asks. The zero Caller is nobody, who may read what is everybody's.
type Caller struct {
	// Account is the account that the caller may do everything with; empty for none.
	Account string
	// What access control lists can name: a user of a project, by identifiers or names, and roles (or, with TempAuth,
	// groups).
	UserID, UserName, ProjectID, ProjectName string
	Roles                                    []string
	// Admin may do everything with every account, and what only operators may: set account quotas.
	Admin bool
	// Referrer is the page that led here (RFC 9110, section 10.1.3), which lists can name too.
	Referrer string
	// Grant is what a signature of the account's key allows besides, as of a temporary URL; nil for nothing.
	Grant *Grant
}

// Grant allows to read or to write objects whose names begin with Prefix (or the one object of that name, if Exact). An empty
// Container is all of the account's, as the account's own key opens them: large objects and links lead there.
type Grant struct {
	Account, Container, Prefix string
	Exact, Read, Write, Delete bool
}

// Path names an object; without Object a container, without Container an account.
type Path struct{ Account, Container, Object string }

// Account is a project's containers.
type Account struct {
	ID string
	// Metadata are the owner's pairs, names in lower case without a dialect's prefix ("quota-bytes" is not among them).
	Metadata map[string]string
	// Keys sign temporary URLs; who can change the account sees them.
	Keys [2]string
	// QuotaBytes and QuotaObjects bound the account; nil is no bound. Only an admin changes them.
	QuotaBytes, QuotaObjects *int64
	// Access are the rights that the owner gave others on the account (X-Account-Access-Control): JSON of admin,
	// read-write and read-only lists; empty for none.
	Access string
	// Containers, Objects (those that are current) and Bytes (of all versions) are what there is, always.
	Containers, Objects, Bytes int64
	// UploadBytes are those of the parts of unfinished uploads, which are not among Bytes and count for the quota.
	UploadBytes          int64
	CreatedAt, UpdatedAt time.Time
	Revision             int64
}

// VersioningState is what happens to an object that is overwritten or deleted.
type VersioningState string

// The states. A container that never had versioning is "".
const (
	VersioningEnabled   VersioningState = "Enabled"
	VersioningSuspended VersioningState = "Suspended"
)

// Container holds objects.
type Container struct {
	ID, Account, Name string
	Settings
	// Objects and Bytes count the current objects (older versions are in VersionBytes), always.
	Objects, Bytes, VersionBytes int64
	CreatedAt, UpdatedAt         time.Time
	Revision                     int64
}

// Settings are what can be changed about a container.
type Settings struct {
	// Metadata are the owner's pairs, names in lower case without a dialect's prefix. Those that features use are among
	// them under the names that Swift gives them (web-index, web-listings, access-control-allow-origin, temp-url-key…).
	Metadata map[string]string
	// Read and Write are access control lists in Swift's notation (".r:*,.rlistings", "project:user", "role").
	Read, Write string
	// QuotaBytes and QuotaObjects bound the container; nil is no bound.
	QuotaBytes, QuotaObjects *int64
	// Versioning keeps older versions in the container itself.
	Versioning VersioningState
	// VersionsLocation and HistoryLocation name a container that older versions are moved to, as Swift did first; with
	// VersionsLocation a delete brings the last one back.
	VersionsLocation, HistoryLocation string
	// SyncTo and SyncKey are kept for clients and do nothing.
	SyncTo, SyncKey string
	// Documents are what the S3 dialect keeps of a bucket (cors, lifecycle, tagging, policy…), each as its dialect has it.
	Documents map[string]string
	// Lifecycle are the rules that objects expire by.
	Lifecycle []LifecycleRule
}

// LifecycleRule has objects expire.
type LifecycleRule struct {
	ID, Prefix string
	Tags       map[string]string
	Disabled   bool
	// Days and Date say when a current object expires; NoncurrentDays when an older version does; AbortDays when an
	// upload in parts is given up; DeletedMarkers removes delete markers that hide nothing. Zero is never.
	Days, NoncurrentDays, AbortDays int
	Date                            time.Time
	DeletedMarkers                  bool
}

// Object is one version of an object.
type Object struct {
	Container string // the container's identifier
	Name      string
	// Version is empty for the version that was written without versioning ("null" in S3).
	Version string `json:",omitzero"`
	// Current is the version that is read when no version is named. A DeleteMarker hides the older ones.
	Current      bool `json:",omitzero"`
	DeleteMarker bool `json:",omitzero"`
	ObjectInfo
	// Size is in bytes: the manifest's own for a large object. ETag is the content's MD5 in lower-case hexadecimal digits, or
	// for an object uploaded in parts that of its parts' MD5s with the number of parts ("…-3"). See [Object.Length] and
	// [Object.EntityTag] for those of what a static large object is made of.
	Size int64
	ETag string `json:",omitzero"`
	// PartCount is how many parts it was uploaded in; zero for an object that was not.
	PartCount int `json:",omitzero"`
	// CreatedAt is when this version's content was written, ChangedAt when anything but its tags was.
	CreatedAt, ChangedAt time.Time
	Revision             int64 `json:"-"`
}

// LastModified is when the object changed, in whole seconds, rounded up as Swift does.
func (o *Object) LastModified() time.Time { return ceilSecond(o.ChangedAt) }

func ceilSecond(t time.Time) time.Time {
	if whole := t.Truncate(time.Second); !whole.Equal(t) {
		return whole.Add(time.Second)
	}
	return t
}

// ObjectInfo is what a client says of an object besides its content.
type ObjectInfo struct {
	ContentType string `json:",omitzero"`
	// Headers are given back as they came: Cache-Control, Content-Disposition, Content-Encoding, Content-Language, Expires,
	// X-Robots-Tag; names in canonical form.
	Headers map[string]string `json:",omitempty"`
	// Metadata are the owner's pairs, names in lower case without a dialect's prefix.
	Metadata map[string]string `json:",omitempty"`
	Tags     map[string]string `json:",omitempty"`
	// Checksums are those that the client gave and that held, by algorithm: "CRC32C" → base64.
	Checksums map[string]string `json:",omitempty"`
	// ExpiresAt is when the object is gone; zero is never.
	ExpiresAt time.Time `json:",omitzero"`
	// Segments make the object a static large object (Swift's SLO): reading it reads them in order.
	Segments []Segment `json:",omitempty"`
	// SegmentPrefix ("container/prefix") makes it a dynamic large object: reading it reads all objects there, by name.
	SegmentPrefix string `json:",omitzero"`
	// Link makes it a symbolic link.
	Link *Link `json:",omitempty"`
}

// Segment is an element of a static large object: an object, or Data.
type Segment struct {
	Container string `json:",omitzero"`
	Name      string `json:",omitzero"`
	Data      []byte `json:",omitempty"`
	// ETag and Size are checked when the manifest is written, and again when it is read; an empty ETag and a Size below
	// zero are filled in when it is written. Size counts the whole segment.
	ETag string `json:",omitzero"`
	Size int64
	// First and Last are the bytes of the segment that count, if Ranged.
	Ranged bool  `json:",omitzero"`
	First  int64 `json:",omitzero"`
	Last   int64 `json:",omitzero"`
	// SubManifest is a segment that is a large object itself. This and what follows is filled in when the manifest is
	// written.
	SubManifest bool      `json:",omitzero"`
	ContentType string    `json:",omitzero"`
	ModifiedAt  time.Time `json:",omitzero"`
}

// Link is where a symbolic link leads. An empty Account is the link's own. With an ETag the target must have it.
type Link struct {
	Account, Container, Object string
	ETag                       string
	Size                       int64
	ContentType                string
}

// Conditions decide whether a request goes on (RFC 9110, section 13). Entity tags are without quotes; "*" is any.
type Conditions struct {
	IfMatch, IfNoneMatch               []string
	IfModifiedSince, IfUnmodifiedSince time.Time
}
