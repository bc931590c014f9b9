package identity

import "time"

// DefaultDomainID is the identifier of the domain that clients mean when they name none.
const DefaultDomainID = "default"

// ProjectSpec is what one can say about a project. A domain is a project too, with IsDomain set and no DomainID,
// as in OpenStack's Identity API v3.
type ProjectSpec struct {
	Name, Description string
	// DomainID is the domain that the project belongs to; empty for a domain.
	DomainID string
	// ParentID is the project above this one, or the domain. Empty means the domain.
	ParentID string
	IsDomain bool
	Disabled bool
	Tags     []string
	// Options and Extra are kept for clients and mean nothing here.
	Options, Extra map[string]any
}

// Project owns resources.
type Project struct {
	ID string
	ProjectSpec
	// Generation is raised when all tokens with this scope must end.
	Generation int64
	Revision   int64
}

// UserSpec is what one can say about a user.
type UserSpec struct {
	Name, Description string
	DomainID          string
	// DefaultProjectID is the scope of tokens that ask for none.
	DefaultProjectID string
	Disabled         bool
	// Password is what the user proves itself with; empty for a user that cannot log in by password. It is never
	// read back.
	Password string `json:"-"`
	// PasswordRandom says that Password was drawn from at least 128 random bits, so that checking it need not be slow.
	PasswordRandom bool `json:"-"`
	// Options and Extra are kept for clients and mean nothing here.
	Options, Extra map[string]any
}

// User is a person or a service.
type User struct {
	ID string
	UserSpec
	// PasswordHash is bcrypt's, or that of a random password.
	PasswordHash string
	// Generation is raised when all the user's tokens must end: with a changed password, or when it is disabled.
	Generation int64
	Revision   int64
}

// GroupSpec is what one can say about a group.
type GroupSpec struct {
	Name, Description, DomainID string
	Extra                       map[string]any
}

// Group is a set of users of any domain; roles given to it are given to all of them.
type Group struct {
	ID string
	GroupSpec
	Revision int64
}

// membership puts a user into a group.
type membership struct {
	GroupID, UserID string
	Revision        int64
}

// implication says that who has the role Prior has the role Implied too.
type implication struct {
	Prior, Implied string
	Revision       int64
}

// Assignment gives a role to a user or a group, on a project, a domain or the whole system.
type Assignment struct {
	RoleID string
	// UserID or GroupID: one of them.
	UserID, GroupID string
	// ProjectID, DomainID or System: one of them.
	ProjectID, DomainID string
	System              bool
	// Inherited says that the role is not held on the target itself but on all projects below it.
	Inherited bool
	Revision  int64 `json:",omitempty"`
}

// ServiceSpec is what one can say about an entry of the catalogue.
type ServiceSpec struct {
	Type, Name, Description string
	Disabled                bool
	Extra                   map[string]any
}

// CatalogService is an entry of the catalogue: one of the cloud's APIs.
type CatalogService struct {
	ID string
	ServiceSpec
	Revision int64
}

// The interfaces that an endpoint can be for.
const (
	Public   = "public"
	Internal = "internal"
	Admin    = "admin"
)

// EndpointSpec is what one can say about an endpoint.
type EndpointSpec struct {
	ServiceID, RegionID string
	// Interface is [Public], [Internal] or [Admin].
	Interface string
	// URL may hold $(project_id)s, %(tenant_id)s and the like, which the catalogue replaces.
	URL      string
	Disabled bool
	Name     string
	Extra    map[string]any
}

// Endpoint is an address of a service.
type Endpoint struct {
	ID string
	EndpointSpec
	Revision int64
}

// Region is a part of the cloud with endpoints of its own.
type Region struct {
	ID, ParentID, Description string
	Extra                     map[string]any
	Revision                  int64
}

// Credential is a secret that the identity service keeps for a user, such as EC2's. Who can read the database can
// read it: signatures are made with it, so it cannot be hashed.
type Credential struct {
	ID, UserID, ProjectID, Type, Blob string
	Revision                          int64
}

// Trust lets one user (the trustee) act in the name, or with the roles, of another (the trustor) on a project.
type Trust struct {
	ID                   string
	TrustorID, TrusteeID string
	ProjectID            string
	Impersonation        bool
	RoleIDs              []string
	ExpiresAt            time.Time
	RemainingUses        *int
	AllowRedelegation    bool
	RedelegationCount    int
	RedelegatedTrustID   string
	Extra                map[string]any
	Revision             int64
}

// AccessRule is one request that an application credential may make. It is kept and shown; services do not enforce
// it.
type AccessRule struct {
	ID, UserID            string
	Service, Method, Path string
	Revision              int64
}

// ApplicationCredential lets a program log in with some of a user's roles on one project.
type ApplicationCredential struct {
	ID, Name, Description string
	UserID, ProjectID     string
	SecretHash            string
	RoleIDs               []string
	ExpiresAt             time.Time
	// Unrestricted ones may make further application credentials and trusts.
	Unrestricted  bool
	AccessRuleIDs []string
	Revision      int64
}

// Document is a record that the identity service keeps for clients without acting on it: policies, endpoint groups,
// registered limits, limits, OAuth consumers, domain configurations.
type Document struct {
	ID, Kind string
	// Owner narrows lists: the domain of a configuration; may be empty.
	Owner      string
	Attributes map[string]any
	Revision   int64
}

// revocation ends one token before its time.
type revocation struct {
	AuditID   string
	ExpiresAt time.Time
	Revision  int64
}

// Page is a part of a list.
type Page struct {
	// Marker is the identifier of the last element of the page before; empty starts at the beginning.
	Marker string
	// Limit bounds the number of elements; zero is no bound.
	Limit int
}
