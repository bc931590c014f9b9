package swift

import (
	"crypto/hmac"
	"crypto/sha1" //nolint:gosec // Swift's first signatures
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"hash"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/kintoun/kintoun/objectstore"
)

// tempURL is what the parameters of a temporary URL say (https://docs.openstack.org/swift/latest/api/temporary_url_middleware.html).
type tempURL struct {
	signature, digest string // the signature in hexadecimal digits
	expires           int64
	prefix            string
	prefixed          bool
	ipRange           string
	filename          string
	inline            bool
}

// parseTempURL reads the parameters; nil and no error for a request without any. What is malformed or over is an error.
func parseTempURL(query url.Values, now time.Time) (*tempURL, error) {
	if !query.Has("temp_url_sig") && !query.Has("temp_url_expires") {
		return nil, nil //nolint:nilnil // no temporary URL is a value
	}
	t := &tempURL{
		prefix: query.Get("temp_url_prefix"), prefixed: query.Has("temp_url_prefix"), ipRange: query.Get("temp_url_ip_range"),
		filename: query.Get("filename"), inline: query.Has("inline"),
	}
	var err error
	if t.digest, t.signature, err = parseSignature(query.Get("temp_url_sig")); err != nil {
		return nil, err
	}
	text := query.Get("temp_url_expires")
	if t.expires, err = strconv.ParseInt(text, 10, 64); err != nil {
		at, err := time.Parse("2006-01-02T15:04:05Z", text)
		if err != nil {
			return nil, errTempURL()
		}
		t.expires = at.Unix()
	}
	if t.expires < now.Unix() {
		return nil, errTempURL()
	}
	return t, nil
}

func errTempURL() error {
	return &refusal{status: http.StatusUnauthorized, text: "401 Unauthorized: Temp URL invalid\n"}
}

// parseSignature tells the digest of a signature by its length, or by its name in front of base64: "sha256:…". The
// signature is returned in hexadecimal digits.
func parseSignature(text string) (digest, signature string, err error) {
	if name, encoded, named := strings.Cut(text, ":"); named {
		encoded = strings.NewReplacer("-", "+", "_", "/").Replace(strings.TrimRight(encoded, "="))
		raw, err := base64.RawStdEncoding.DecodeString(encoded)
		if h := newDigest(name); err != nil || h == nil || len(raw) != h().Size() {
			return "", "", errTempURL()
		}
		return name, hex.EncodeToString(raw), nil
	}
	for _, name := range digests() {
		if _, err := hex.DecodeString(text); err == nil && len(text) == 2*newDigest(name)().Size() {
			return name, strings.ToLower(text), nil
		}
	}
	return "", "", errTempURL()
}

func newDigest(name string) func() hash.Hash {
	return map[string]func() hash.Hash{"sha1": sha1.New, "sha256": sha256.New, "sha512": sha512.New}[name]
}

// signed says whether one of the keys makes the signature of the text.
func signed(digest, signature, key, text string) bool {
	mac := hmac.New(newDigest(digest), []byte(key))
	mac.Write([]byte(text))
	return key != "" && hmac.Equal([]byte(hex.EncodeToString(mac.Sum(nil))), []byte(signature))
}

// keys are those of the account and the container that the request is about.
type keys struct{ account, container [2]string }

// keys fetches the keys that can have signed a request.
func (a *api) keys(q *request) (k keys, err error) {
	account, err := a.store.Account(q.Context(), operator(), q.path.Account)
	if err != nil && !errors.Is(err, objectstore.ErrNotFound) {
		return k, err
	}
	if err == nil {
		k.account = account.Keys
	}
	path := q.path
	path.Object = ""
	container, err := a.store.Container(q.Context(), operator(), path)
	if errors.Is(err, objectstore.ErrNotFound) || errors.Is(err, objectstore.ErrInvalid) {
		return k, nil
	}
	if err != nil {
		return k, err
	}
	for i, name := range keyNames() {
		k.container[i] = container.Metadata[name]
	}
	return k, nil
}

// sign finds the key that made the signature of one of the texts; ofAccount says that it is the account's.
func (k *keys) sign(digest, signature string, texts ...string) (ofAccount, ok bool) {
	for _, text := range texts {
		for i := range k.account {
			if signed(digest, signature, k.account[i], text) {
				return true, true
			}
			if signed(digest, signature, k.container[i], text) {
				return false, true
			}
		}
	}
	return false, false
}

// acceptTempURL checks the parameters of a temporary URL, and makes the caller one who may do what it allows, and nothing
// else.
func (a *api) acceptTempURL(q *request) error {
	t, err := parseTempURL(q.query, a.options.Now())
	if t == nil || err != nil {
		return err
	}
	switch {
	case strings.Trim(q.path.Object, "/") == "", q.Method == "COPY", !strings.HasPrefix(q.path.Object, t.prefix):
		return errTempURL()
	case t.ipRange != "" && !within(t.ipRange, q.RemoteAddr):
		return errTempURL()
	}
	k, err := a.keys(q)
	if err != nil {
		return err
	}
	ofAccount, ok := k.sign(t.digest, t.signature, t.texts(q)...)
	if !ok {
		return errTempURL()
	}
	if q.Method != http.MethodGet && q.Method != http.MethodHead {
		for _, name := range []string{"X-Object-Manifest", "X-Symlink-Target"} {
			if q.Header.Get(name) != "" {
				return refuse(http.StatusBadRequest, "The header '%s' is not allowed in this tempurl", name)
			}
		}
	}
	grant := &objectstore.Grant{Account: q.path.Account, Container: q.path.Container}
	switch q.Method {
	case http.MethodGet, http.MethodHead:
		// What is signed for may be made of other objects: those of the account, or of the container, as the key is.
		grant.Read = true
		if ofAccount {
			grant.Container = ""
		}
	default:
		grant.Prefix, grant.Exact = q.path.Object, true
		grant.Write, grant.Delete = q.Method != http.MethodDelete, q.Method == http.MethodDelete
	}
	q.caller = objectstore.Caller{Referrer: q.Referer(), Grant: grant}
	q.known, q.temp = false, t
	// Parameters that nobody signed do not count.
	q.query = url.Values{}
	return nil
}

// texts are what can have been signed for the request. Who may get, put or post may look too.
func (t *tempURL) texts(q *request) []string {
	path := "/v1/" + q.named.Account + "/" + q.named.Container + "/" + q.named.Object
	if t.prefixed {
		path = "prefix:/v1/" + q.named.Account + "/" + q.named.Container + "/" + t.prefix
	}
	methods := []string{q.Method}
	if q.Method == http.MethodHead {
		methods = []string{http.MethodHead, http.MethodGet, http.MethodPost, http.MethodPut}
	}
	ip := ""
	if t.ipRange != "" {
		ip = "ip=" + t.ipRange + "\n"
	}
	texts := make([]string, len(methods))
	for i, method := range methods {
		texts[i] = ip + method + "\n" + strconv.FormatInt(t.expires, 10) + "\n" + path
	}
	return texts
}

// within says whether the address of a connection is in the range: one address, or a network's.
func within(ipRange, remote string) bool {
	host, _, err := net.SplitHostPort(remote)
	if err != nil {
		return false
	}
	ip, err := netip.ParseAddr(host)
	if err != nil {
		return false
	}
	if one, err := netip.ParseAddr(ipRange); err == nil {
		return one == ip.Unmap()
	}
	network, err := netip.ParsePrefix(ipRange)
	return err == nil && network.Masked() == network && network.Contains(ip.Unmap())
}

// dress changes the headers of an answer as a temporary URL has it: a file to keep under its name, and no metadata that is
// not public.
func (t *tempURL) dress(q *request, code int) {
	if t == nil {
		return
	}
	h := q.w.Header()
	for name := range h {
		if strings.HasPrefix(name, "X-Object-Meta-") && !strings.HasPrefix(name, "X-Object-Meta-Public-") {
			h.Del(name)
		}
	}
	if code >= 300 || q.Method != http.MethodGet && q.Method != http.MethodHead {
		return
	}
	disposition := h.Get("Content-Disposition")
	switch {
	case t.inline && t.filename != "":
		disposition = dispositionOf("inline", t.filename)
	case t.inline:
		disposition = "inline"
	case t.filename != "":
		disposition = dispositionOf("attachment", t.filename)
	case disposition == "":
		disposition = dispositionOf("attachment", path.Base(strings.TrimRight(q.path.Object, "/")))
	}
	h.Set("Content-Disposition", strings.NewReplacer("\n", "%0A", "\r", "%0D").Replace(disposition))
	h.Set("Expires", time.Unix(t.expires, 0).UTC().Format(http.TimeFormat))
}

// dispositionOf names a file in both ways of RFC 6266.
func dispositionOf(kind, filename string) string {
	plain := strings.ReplaceAll(escapePath(filename), "%20", " ")
	return kind + `; filename="` + plain + `"; filename*=UTF-8''` + escapePath(filename)
}
