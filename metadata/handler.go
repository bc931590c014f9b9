package metadata

import (
	"encoding/base64"
	"encoding/binary"
	"errors"
	"io"
	"net/http"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"crypto/hmac"
)

// Limits on what a server sends.
const (
	// passwordLimit is OpenStack Compute's.
	passwordLimit = 1020
	// tokenLifeLimit is EC2's, in seconds.
	tokenLifeLimit = 21600
)

const (
	textType = "text/plain; charset=utf-8"
	jsonType = "application/json"
)

const (
	tokenHeader     = "X-Aws-Ec2-Metadata-Token"
	tokenLifeHeader = "X-Aws-Ec2-Metadata-Token-Ttl-Seconds"
)

// ServeHTTP answers a request that a proxy has signed: 403 without a good signature, 404 for a caller that is no
// server and for what there is not.
func (s *Service) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	caller, ok := verify(r.Header, s.secret)
	if !ok {
		http.Error(w, "the request is not signed", http.StatusForbidden)
		return
	}
	elements := strings.FieldsFunc(path.Clean("/"+r.URL.Path), func(c rune) bool { return c == '/' })
	if slices.Equal(elements, []string{"latest", "api", "token"}) {
		s.token(w, r, caller)
		return
	}
	if !s.tokenGood(r, caller) {
		http.Error(w, "the token is wrong or too old", http.StatusUnauthorized)
		return
	}
	instance, err := s.source.Instance(r.Context(), caller.NetworkID, caller.Address)
	if err != nil {
		s.fail(w, err)
		return
	}
	if len(elements) > 0 && elements[0] == "openstack" {
		s.openstack(w, r, instance, elements[1:])
		return
	}
	if !reading(w, r) {
		return
	}
	// "/ec2" before a path is understood as OpenStack does.
	if len(elements) > 0 && elements[0] == "ec2" {
		elements = elements[1:]
	}
	if len(elements) == 0 {
		write(w, textType, []byte(strings.Join(ec2Versions, "\n")))
		return
	}
	tree, ok := instance.ec2(elements[0], caller)
	if ok {
		tree, ok = tree.find(elements[1:])
	}
	if !ok {
		http.NotFound(w, r)
		return
	}
	contentType := textType
	if elements[len(elements)-1] == "document" {
		contentType = jsonType
	}
	write(w, contentType, []byte(tree.String()))
}

func (s *Service) openstack(w http.ResponseWriter, r *http.Request, instance *Instance, elements []string) {
	if len(elements) == 2 && elements[1] == "password" {
		s.password(w, r, instance, elements[0])
		return
	}
	if !reading(w, r) {
		return
	}
	if len(elements) == 0 {
		write(w, textType, []byte(openstackListing()))
		return
	}
	version, ok := openstackVersion(elements[0])
	if !ok || len(elements) > 2 {
		http.NotFound(w, r)
		return
	}
	documents := instance.documents(version)
	if len(elements) == 1 {
		write(w, textType, []byte(strings.Join(documents, "\n")))
		return
	}
	if !slices.Contains(documents, elements[1]) {
		http.NotFound(w, r)
		return
	}
	s.document(w, instance, version, elements[1])
}

func (s *Service) document(w http.ResponseWriter, instance *Instance, version, name string) {
	var body []byte
	var err error
	contentType := jsonType
	switch name {
	case "meta_data.json":
		body, err = instance.metaData(version, s.options.Random)
	case "network_data.json":
		body, err = instance.networkData()
	case "vendor_data.json":
		body = s.options.VendorData
	case "vendor_data2.json":
		body = []byte("{}")
	default:
		body, contentType = instance.UserData, textType
	}
	if err != nil {
		s.fail(w, err)
		return
	}
	write(w, contentType, body)
}

// password returns or takes the server's encrypted password. A source that keeps none has none and takes none.
func (s *Service) password(w http.ResponseWriter, r *http.Request, instance *Instance, version string) {
	resolved, ok := openstackVersion(version)
	if !ok || resolved < grizzly {
		http.NotFound(w, r)
		return
	}
	store, keeps := s.source.(Passwords)
	if r.Method != http.MethodPost || !keeps {
		if !reading(w, r) {
			return
		}
		var password []byte
		if keeps {
			var err error
			if password, err = store.Password(r.Context(), instance.ID); err != nil {
				s.fail(w, err)
				return
			}
		}
		write(w, textType, password)
		return
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, passwordLimit+1))
	if err != nil || len(body) > passwordLimit {
		http.Error(w, "the password is too long", http.StatusBadRequest)
		return
	}
	if err := store.SetPassword(r.Context(), instance.ID, body); err != nil {
		s.fail(w, err)
	}
}

// token hands out a session token, as version 2 of EC2's service does. It needs no memory: the token says until when
// it is good, for whom, and that we say so.
func (s *Service) token(w http.ResponseWriter, r *http.Request, caller Caller) {
	if r.Method != http.MethodPut {
		w.Header().Set("Allow", http.MethodPut)
		http.Error(w, "tokens are asked for with PUT", http.StatusMethodNotAllowed)
		return
	}
	seconds, err := strconv.Atoi(r.Header.Get(tokenLifeHeader))
	if err != nil || seconds < 1 || seconds > tokenLifeLimit {
		http.Error(w, tokenLifeHeader+" is not from 1 to 21600", http.StatusBadRequest)
		return
	}
	until := binary.BigEndian.AppendUint64(nil, uint64(s.options.Now().Unix()+int64(seconds)))
	token := append(until, keyed(s.secret, tokenText(until, caller))...)
	w.Header().Set(tokenLifeHeader, strconv.Itoa(seconds))
	write(w, textType, []byte(base64.URLEncoding.EncodeToString(token)))
}

func tokenText(until []byte, caller Caller) string {
	return "token\n" + string(until) + caller.Address.String() + "\n" + caller.NetworkID
}

// tokenGood says whether a request has no token, as in version 1 of EC2's service, or a good one.
func (s *Service) tokenGood(r *http.Request, caller Caller) bool {
	text := r.Header.Get(tokenHeader)
	if text == "" {
		return true
	}
	token, err := base64.URLEncoding.DecodeString(text)
	if err != nil || len(token) < 8 {
		return false
	}
	until := token[:8]
	return hmac.Equal(token[8:], keyed(s.secret, tokenText(until, caller))) &&
		s.options.Now().Before(time.Unix(int64(binary.BigEndian.Uint64(until)), 0))
}

// reading refuses methods that would change something.
func reading(w http.ResponseWriter, r *http.Request) bool {
	if r.Method == http.MethodGet || r.Method == http.MethodHead {
		return true
	}
	w.Header().Set("Allow", "GET, HEAD")
	http.Error(w, "metadata can be read only", http.StatusMethodNotAllowed)
	return false
}

func write(w http.ResponseWriter, contentType string, body []byte) {
	w.Header().Set("Content-Type", contentType)
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	_, _ = w.Write(body)
}

func (s *Service) fail(w http.ResponseWriter, err error) {
	switch {
	case errors.Is(err, ErrNotFound):
		http.Error(w, "not found", http.StatusNotFound)
	case errors.Is(err, ErrConflict):
		http.Error(w, "it is set already", http.StatusConflict)
	case errors.Is(err, ErrUnavailable):
		w.Header().Set("Retry-After", "1")
		http.Error(w, "try again", http.StatusServiceUnavailable)
	default:
		s.options.Log.Error("metadata", "error", err)
		http.Error(w, "internal error", http.StatusInternalServerError)
	}
}
