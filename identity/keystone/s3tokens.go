package keystone

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha1" //nolint:gosec // what the first signatures are made of
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"net/http"

	"github.com/kintoun/kintoun/identity"
	"github.com/kintoun/kintoun/internal/fault"
	"github.com/kintoun/kintoun/internal/wire"
)

// signedBody is what POST /v3/s3tokens is sent: what was signed, in base64, and the signature. Its outer name has varied.
type signedBody struct {
	Credentials *signedText `json:"credentials"`
	Credential  *signedText `json:"credential"`
}

type signedText struct {
	Access    string `json:"access"`
	Signature string `json:"signature"`
	Token     string `json:"token"`
}

// s3Tokens says who signed a request to S3, to a service that was sent it. A signature is easily come by (each presigned
// address has one), so that only services and administrators are told, as in Keystone since OSSA-2025-002; the answer has no
// token to go on with.
func (h *handler) s3Tokens(w http.ResponseWriter, r *http.Request, caller *identity.Caller) error {
	if err := serviceOrAdmin(caller, "s3tokens_validate"); err != nil {
		return err
	}
	var b signedBody
	if err := wire.Decode(r, &b); err != nil {
		return err
	}
	given := b.Credentials
	if given == nil {
		given = b.Credential
	}
	if given == nil || given.Access == "" || given.Signature == "" {
		return fault.Wrap(identity.ErrUnauthorized, "EC2 Signature not supplied")
	}
	key, err := h.accessKey(r, given.Access)
	if err != nil {
		return err
	}
	text, err := base64.URLEncoding.DecodeString(given.Token)
	if err != nil {
		return fault.Wrap(identity.ErrInvalid, "What was signed is not in base64.")
	}
	want := signature(key.Secret, text)
	if want == "" || !hmac.Equal([]byte(want), []byte(given.Signature)) {
		return fault.Wrap(identity.ErrUnauthorized, "Credential signature mismatch")
	}
	return h.writeToken(w, r, http.StatusOK, &identity.Token{Caller: key.Caller})
}

// signature signs what Signature Version 4 or its predecessors sign; it is empty for what is neither.
func signature(secret string, text []byte) string {
	if !bytes.HasPrefix(text, []byte("AWS4")) {
		h := hmac.New(sha1.New, []byte(secret))
		_, _ = h.Write(text) // a hash never fails
		return base64.StdEncoding.EncodeToString(h.Sum(nil))
	}
	lines := bytes.Split(text, []byte("\n"))
	if len(lines) != 4 || string(lines[0]) != "AWS4-HMAC-SHA256" {
		return ""
	}
	scope := bytes.Split(lines[2], []byte("/"))
	if len(scope) != 4 || string(scope[2]) != "s3" || string(scope[3]) != "aws4_request" {
		return ""
	}
	return signature4(secret, append(scope, text))
}

// signature4 is Signature Version 4: the parts of the scope make the key, one after the other, that signs the last part.
func signature4(secret string, parts [][]byte) string {
	key := []byte("AWS4" + secret)
	for _, part := range parts {
		h := hmac.New(sha256.New, key)
		_, _ = h.Write(part)
		key = h.Sum(nil)
	}
	return hex.EncodeToString(key)
}

// serviceOrAdmin lets services and administrators pass; action is Keystone's name of what is asked.
func serviceOrAdmin(caller *identity.Caller, action string) error {
	if caller.HasRole("service") {
		return nil
	}
	return caller.RequireAdmin("identity:" + action)
}

// accessKey returns the key that something is said to be signed with.
func (h *handler) accessKey(r *http.Request, access string) (*identity.AccessKey, error) {
	key, err := h.service.AccessKey(r.Context(), access)
	if wire.Status(err) == http.StatusNotFound {
		return nil, fault.Wrap(identity.ErrNotFound, "EC2 access key not found.")
	}
	return key, err
}
