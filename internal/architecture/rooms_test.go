package architecture_test

import (
	"slices"
	"strings"
)

// kind is the sort of room that a package is. CONTRIBUTING.md has the table that this is.
type kind string

const (
	domain     kind = "domain"
	contract   kind = "driver contract"
	suite      kind = "conformance suite"
	memory     kind = "in-memory driver"
	dialect    kind = "wire package"
	technology kind = "driver"
	part       kind = "part of a domain"
	private    kind = "domain's internal package"
	shared     kind = "internal package"
	carrier    kind = "carrier over HTTP"
	example    kind = "example"
	plain      kind = "plain package for all rooms"
	stranger   kind = "package outside the floor plan"
)

// domains are the eight.
var domains = []string{"identity", "image", "compute", "network", "lbaas", "metadata", "volume", "objectstore"}

// dialects are the rooms that speak HTTP in OpenStack's words, or others'.
var dialects = []string{
	"identity/keystone", "image/glance", "compute/nova", "network/neutron", "lbaas/lbaasv1", "lbaas/octavia",
	"volume/cinder", "objectstore/swift", "objectstore/s3",
}

// parts are rooms that their domain may use itself: they need nothing but the standard library.
var parts = []string{"image/format", "volume/formula"}

// tools are private rooms that their domain uses too, for what it does between two drivers: they know the contract alone.
var tools = []string{"volume/internal/luks", "volume/internal/nbd"}

// room tells what kind of package a path below the module is, and of which domain.
func room(path string) (k kind, of string) {
	first, rest, _ := strings.Cut(path, "/")
	switch {
	case first == "internal":
		return shared, ""
	case first == "examples":
		return example, ""
	case path == "inject", path == "event", path == "probe":
		return plain, ""
	case path == "inject/injecthttp":
		return carrier, ""
	case first == "event":
		return carrier, ""
	case !slices.Contains(domains, first):
		return stranger, ""
	case rest == "":
		return domain, first
	case rest == "driver":
		return contract, first
	case rest == "drivertest":
		return suite, first
	case slices.Contains(dialects, path):
		return dialect, first
	case slices.Contains(parts, path):
		return part, first
	case strings.HasPrefix(rest, "internal/"):
		return private, first
	case strings.HasPrefix(rest, "mem") && !strings.Contains(rest, "/"):
		return memory, first
	}
	return technology, first
}

// rule is what a kind of room may import of this module, and why no more.
type rule struct {
	// may says whether a room of the domain may import the path, of kind k and domain of.
	may func(self, path string, k kind, of string) bool
	// outside are prefixes of the modules that it may import; nil is any.
	outside []string
	why     string
}

var none = []string{}

// rules is the import table.
var rules = map[kind]rule{
	domain: {
		may: func(self, path string, k kind, of string) bool {
			return of == self && (k == contract || k == part || slices.Contains(tools, path)) || slices.Contains([]string{"event", "internal/fault", "internal/record", "internal/converge"}, path)
		},
		outside: []string{"github.com/google/uuid", "golang.org/x/crypto", "golang.org/x/time/rate"},
		why: "a domain holds types, validation and state. It must be usable with any drivers, any API in front and any database, and beside any other domain: " +
			"it declares the small interface that it needs of another, and an example wires an adapter",
	},
	contract: {
		may:     func(string, string, kind, string) bool { return false },
		outside: none,
		why:     "a contract is plain values and small interfaces, for drivers that know nothing else of this house: it imports the standard library only",
	},
	suite: {
		may:     func(self, _ string, k kind, of string) bool { return of == self && k == contract },
		outside: []string{"github.com/stretchr/testify", "github.com/google/uuid"},
		why:     "a conformance suite is for drivers from outside too: it knows the contract and no driver",
	},
	memory: {
		may: func(self, path string, k kind, of string) bool {
			return isContract(self, k, of) || k == plain || path == "internal/fault"
		},
		outside: []string{"github.com/google/uuid"},
		why:     "in-memory drivers implement the contract for tests anywhere: they drag nothing else along",
	},
	plain: {
		may:     func(string, string, kind, string) bool { return false },
		outside: none,
		why:     "what every room may use must weigh nothing: it imports the standard library only",
	},
	dialect: {
		may: func(self, path string, k kind, of string) bool {
			return k == domain && (of == self || of == "identity") || path == "internal/fault" || path == "internal/wire"
		},
		outside: []string{"github.com/google/uuid"},
		why:     "a wire package turns HTTP into calls of its domain's Service and back: no other domain, no drivers, no SQL",
	},
	technology: {
		may: func(self, path string, k kind, of string) bool {
			return isContract(self, k, of) || of == self && k == private || path == "probe" || k == shared && !slices.Contains(serverSide, path)
		},
		why: "a driver is usable alone, without its domain's Service, any other domain or a database: it knows the contract, the host and its technology's library",
	},
	part: {
		may:     func(string, string, kind, string) bool { return false },
		outside: none,
		why:     "a part of a domain that others may use alone imports the standard library only",
	},
	private: {
		may: func(self, path string, k kind, of string) bool {
			return of == self || path == "probe" || k == shared && !slices.Contains(serverSide, path)
		},
		why: "what a domain's rooms share belongs to that domain",
	},
	shared: {
		may: func(_, path string, k kind, _ string) bool { return k == shared || path == "event" || path == "probe" },
		why: "what all domains share knows none of them",
	},
	carrier: {
		may:     func(_, path string, k kind, _ string) bool { return k == plain || path == "internal/fault" },
		outside: none,
		why:     "events and faults are for programs that may have no cloud in them: they are carried with the standard library",
	},
	example: {
		may: func(_, path string, _ kind, _ string) bool { return path != "internal/record" },
		why: "an example wires domains together through what they export; their tables are theirs",
	},
}

// serverSide are the shared packages that belong to services, not to hosts.
var serverSide = []string{"internal/record", "internal/sqlitedb", "internal/wire", "internal/lab", "internal/lab/labtest", "internal/lab/postgres", "internal/lab/vm"}

// contractless are domains whose contract is the domain itself, a handful of types.
var contractless = []string{"metadata"}

func isContract(self string, k kind, of string) bool {
	return of == self && (k == contract || k == domain && slices.Contains(contractless, self))
}

// exceptions are imports that the table does not have, each with its reason.
var exceptions = map[[2]string]string{
	{"internal/wire", "identity"}: "every request has a caller, which identity defines",
	{"probe", "internal/fault"}:   "what is missing is of the same kind for all drivers; the kinds are the standard library's too",
}
