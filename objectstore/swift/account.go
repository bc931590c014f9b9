package swift

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"github.com/kintoun/kintoun/objectstore"
)

// keyNames are those of the keys that sign temporary URLs.
func keyNames() [2]string { return [2]string{"temp-url-key", "temp-url-key-2"} }

func (a *api) headAccount(q *request) error {
	account, err := a.store.Account(q.Context(), q.caller, q.path.Account)
	if err != nil {
		return err
	}
	kind, err := listingType(q)
	if err != nil {
		return err
	}
	a.accountHeaders(q, account)
	q.w.Header().Set("Content-Type", kind+"; charset=utf-8")
	return q.empty(http.StatusNoContent)
}

func (a *api) getAccount(q *request) error {
	kind, err := listingType(q)
	if err != nil {
		return err
	}
	page, err := q.page(a.limits().AccountListingLimit)
	if err != nil {
		return err
	}
	account, err := a.store.Account(q.Context(), q.caller, q.path.Account)
	if err != nil {
		return err
	}
	var list objectstore.ContainerList
	if page.Limit > 0 {
		if list, err = a.store.Containers(q.Context(), q.caller, q.path.Account, page); err != nil {
			return err
		}
	}
	a.accountHeaders(q, account)
	return q.listing(kind, func(l *lister) {
		l.begin("account", q.named.Account)
		for i := range list.Entries {
			l.container(&list.Entries[i])
		}
	})
}

// accountHeaders tells what an account has.
func (a *api) accountHeaders(q *request, account *objectstore.Account) {
	h := q.w.Header()
	setMetadata(h, "Account", account.Metadata)
	number := func(name string, n int64) { h.Set(name, strconv.FormatInt(n, 10)) }
	number("X-Account-Container-Count", account.Containers)
	number("X-Account-Object-Count", account.Objects)
	number("X-Account-Bytes-Used", account.Bytes)
	if account.Containers > 0 {
		number("X-Account-Storage-Policy-"+policy+"-Container-Count", account.Containers)
		number("X-Account-Storage-Policy-"+policy+"-Object-Count", account.Objects)
		number("X-Account-Storage-Policy-"+policy+"-Bytes-Used", account.Bytes)
	}
	if account.QuotaBytes != nil {
		number("X-Account-Quota-Bytes", *account.QuotaBytes)
		number("X-Account-Meta-Quota-Bytes", *account.QuotaBytes)
	}
	if account.QuotaObjects != nil {
		number("X-Account-Quota-Count", *account.QuotaObjects)
	}
	h.Set("Accept-Ranges", "bytes")
	created := account.CreatedAt
	if created.IsZero() {
		created = a.options.Now()
	}
	h.Set("X-Timestamp", timestamp(created))
	for i, name := range keyNames() {
		if account.Keys[i] != "" {
			h.Set("X-Account-Meta-"+name, account.Keys[i])
		}
	}
	if account.Access != "" {
		h.Set("X-Account-Access-Control", account.Access)
	}
}

func (a *api) postAccount(q *request) error {
	if q.query.Has("bulk-delete") {
		return a.bulkDelete(q)
	}
	change, err := a.accountChange(q)
	if err != nil {
		return err
	}
	if _, err := a.store.UpdateAccount(q.Context(), q.caller, q.path.Account, change); err != nil {
		return err
	}
	return q.empty(http.StatusNoContent)
}

// accountChange is what the request's headers do to the account.
func (a *api) accountChange(q *request) (func(*objectstore.Account) error, error) {
	pairs := metadata(q.Header, "account")
	if err := checkMetadata(pairs, "Account", a.limits()); err != nil {
		return nil, err
	}
	keys := [2]*string{}
	for i, name := range keyNames() {
		if v, given := pairs.take(name); given {
			keys[i] = &v
		}
	}
	quotas, err := q.accountQuotas(pairs)
	if err != nil {
		return nil, err
	}
	access, accessGiven, err := q.accountAccess()
	if err != nil {
		return nil, err
	}
	return func(account *objectstore.Account) error {
		account.Metadata = pairs.apply(account.Metadata)
		for i, key := range keys {
			if key != nil {
				account.Keys[i] = *key
			}
		}
		if quotas[0] != nil {
			account.QuotaBytes = *quotas[0]
		}
		if quotas[1] != nil {
			account.QuotaObjects = *quotas[1]
		}
		if accessGiven {
			account.Access = access
		}
		return checkMetadata(account.Metadata, "Account", a.limits())
	}, nil
}

// accountQuotas reads the quotas on bytes and objects; nil is one that is not mentioned. Only resellers set them.
func (q *request) accountQuotas(pairs changes) (quotas [2]**int64, err error) {
	texts := [2]*string{}
	if v, given := pairs.take("quota-bytes"); given {
		texts[0] = &v
	}
	for i, name := range []string{"Quota-Bytes", "Quota-Count"} {
		if values, given := q.Header["X-Account-"+name]; given {
			texts[i] = &values[0]
		}
		if _, given := q.Header["X-Remove-Account-"+name]; given {
			texts[i] = new(string)
		}
	}
	for i, text := range texts {
		if text == nil {
			continue
		}
		if !q.caller.Admin {
			return quotas, objectstore.ErrForbidden
		}
		quota, err := parseQuota(*text)
		if err != nil {
			return quotas, status(http.StatusBadRequest)
		}
		quotas[i] = &quota
	}
	return quotas, nil
}

// parseQuota reads a bound; empty is none.
func parseQuota(text string) (*int64, error) {
	if text == "" {
		return nil, nil //nolint:nilnil // no bound is a value
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || strings.Trim(text, "0123456789") != "" {
		return nil, fmt.Errorf("quota %.40q: %w", text, objectstore.ErrInvalid)
	}
	return &n, nil
}

// accountAccess reads the rights that the owner gives others on the account.
func (q *request) accountAccess() (access string, given bool, err error) {
	const name = "X-Account-Access-Control"
	if _, remove := q.Header["X-Remove-"+name[2:]]; remove {
		return "", true, nil
	}
	values, given := q.Header[name]
	if !given || values[0] == "" {
		return "", given, nil
	}
	bad := func(format string, args ...any) error {
		return refuse(http.StatusBadRequest, name+" invalid: %s\n\nInput: %.1000s\n", fmt.Sprintf(format, args...), values[0])
	}
	var lists map[string]json.RawMessage
	if json.Unmarshal([]byte(values[0]), &lists) != nil {
		return "", true, bad("Syntax error in input")
	}
	for key, list := range lists {
		if key != "admin" && key != "read-write" && key != "read-only" {
			return "", true, bad("Key %q not recognized", key)
		}
		var names []string
		if json.Unmarshal(list, &names) != nil {
			return "", true, bad("Value for key %q must be a list of strings", key)
		}
	}
	if len(lists) == 0 {
		return "", true, nil
	}
	text, err := json.Marshal(lists)
	return string(text), true, err
}

// putAccount uploads an archive; accounts come into being by themselves.
func (a *api) putAccount(q *request) error {
	if q.query.Has("extract-archive") {
		return a.extract(q)
	}
	if !q.caller.Admin {
		return objectstore.ErrForbidden
	}
	change, err := a.accountChange(q)
	if err != nil {
		return err
	}
	if _, err := a.store.UpdateAccount(q.Context(), q.caller, q.path.Account, change); err != nil {
		return err
	}
	return q.done(http.StatusAccepted)
}

func (a *api) deleteAccount(q *request) error {
	switch {
	case q.query.Has("bulk-delete"):
		return a.bulkDelete(q)
	case q.URL.RawQuery != "":
		// Somebody meant something else than the whole account.
		return status(http.StatusBadRequest)
	}
	if err := a.store.DeleteAccount(q.Context(), q.caller, q.path.Account); err != nil {
		return err
	}
	return q.empty(http.StatusNoContent)
}
