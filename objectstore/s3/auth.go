package s3

import (
	"errors"
	"strconv"
	"strings"

	"github.com/kintoun/kintoun/objectstore"
)

func parseCount(text string) (int64, error) { return strconv.ParseInt(text, 10, 64) }
func formatCount(n int64) string            { return strconv.FormatInt(n, 10) }

const unsignedPayload = "UNSIGNED-PAYLOAD"

// authenticate finds out who asks, and prepares the body for what the signature says of it.
func (a *api) authenticate(q *request) error {
	header := q.Header.Get("Authorization")
	inQuery := q.query.Has("X-Amz-Algorithm") || q.query.Has("X-Amz-Signature")
	inQueryV2 := q.query.Has("AWSAccessKeyId") && q.query.Has("Signature")
	switch {
	case header != "" && (inQuery || inQueryV2):
		return fail("InvalidArgument", "Only one auth mechanism allowed; only the X-Amz-Algorithm query parameter, Signature query string parameter or the Authorization header should be specified").
			with("ArgumentName", "Authorization")
	case strings.HasPrefix(header, "AWS "):
		s, err := parseAuthorizationV2(header)
		if err != nil {
			return err
		}
		return a.authenticateV2(q, s)
	case inQueryV2:
		s, err := parsePresignedV2(q.query)
		if err != nil {
			return err
		}
		return a.authenticateV2(q, s)
	case header != "":
		s, err := parseAuthorization(header, q.Header)
		if err != nil {
			return err
		}
		return a.authenticateV4(q, s)
	case inQuery:
		s, err := parsePresigned(q.query)
		if err != nil {
			return err
		}
		return a.authenticateV4(q, s)
	}
	if err := a.anonymous(q); err != nil {
		return err
	}
	return a.openBody(q, unsignedPayload, nil)
}

// anonymous is nobody, who has no account: what is asked must say whose it is, or the options do.
func (a *api) anonymous(q *request) error {
	q.caller = objectstore.Caller{Referrer: q.Referer()}
	if q.path.Account == "" {
		q.path.Account = a.options.Account
	}
	if q.path.Account == "" {
		return fail("AccessDenied", "Access Denied")
	}
	return nil
}

func (a *api) authenticateV4(q *request, s *signatureV4) error {
	if q.Header.Get("X-Amz-Security-Token") != "" || q.query.Has("X-Amz-Security-Token") {
		return fail("InvalidToken", "There are no session tokens here.")
	}
	hash := q.Header.Get("X-Amz-Content-Sha256")
	switch {
	case s.presigned && hash == "":
		if hash = q.query.Get("X-Amz-Content-Sha256"); hash == "" {
			hash = unsignedPayload
		}
	case hash == "":
		return fail("InvalidRequest", "Missing required header for this request: x-amz-content-sha256")
	}
	if err := s.fresh(a.options.Now(), a.options.Skew); err != nil {
		return err
	}
	if err := s.covers(q.Request); err != nil {
		return err
	}
	secret, err := a.identify(q, s.access)
	if err != nil {
		return err
	}
	if err := s.check(q.Request, secret, hash); err != nil {
		return err
	}
	q.signed = true
	return a.openBody(q, hash, &chunkSigner{key: s.key(secret), date: s.at.UTC().Format(amzTime), scope: s.scope(), previous: s.signature})
}

func (a *api) authenticateV2(q *request, s *signatureV2) error {
	if err := s.fresh(q.Header, a.options.Now(), a.options.Skew); err != nil {
		return err
	}
	secret, err := a.identify(q, s.access)
	if err != nil {
		return err
	}
	if err := s.check(q.Request, q.query, secret, q.host); err != nil {
		return err
	}
	q.signed = true
	return a.openBody(q, unsignedPayload, nil)
}

// identify finds the access key. Its caller counts once the signature held.
func (a *api) identify(q *request, access string) (secret string, err error) {
	key, err := a.keys.Key(q.Context(), access)
	switch {
	case errors.Is(err, objectstore.ErrNotFound), err == nil && key.Secret == "":
		return "", fail("InvalidAccessKeyId", "The AWS Access Key Id you provided does not exist in our records.").with("AWSAccessKeyId", access)
	case err != nil:
		return "", err
	}
	q.caller = key.Caller
	q.caller.Referrer = q.Referer()
	if q.path.Account == "" {
		q.path.Account = key.Caller.Account
	}
	if q.path.Account == "" {
		return "", fail("AccessDenied", "Access Denied")
	}
	return key.Secret, nil
}
