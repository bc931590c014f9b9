package keystone_test

import (
	"context"
	"crypto/hmac"
	"crypto/sha1"
	"encoding/base64"
	"testing"
	"time"

	"github.com/kintoun/kintoun/identity"
	"github.com/stretchr/testify/require"
)

// keptKey is the access key "k" of python-keystoneclient's unit tests, in the member's name.
func (c *cloud) keptKey(user *identity.User, project *identity.Project) *identity.Credential {
	c.t.Helper()
	kept, err := c.service.CreateCredential(context.Background(), identity.Credential{
		UserID: user.ID, ProjectID: project.ID, Type: "ec2", Blob: `{"access": "k", "secret": "89cdf9e94e2643cab35b8b8ac5a51f83"}`,
	})
	require.NoError(c.t, err)
	return kept
}

const (
	// timeless is signed without a time.
	timeless = `"access": "k", "signature": "odsGmT811GffUO0Eu13Pq+xTzKNIjJ6NhgZU74tYX/w=", "verb": "GET", "host": "127.0.0.1", "path": "/v1/",
		"params": {"SignatureVersion": "2", "AWSAccessKeyId": "966afbde20b84200ae4e62e09acf46b2"}`
	// longAgo is signed in 2012.
	longAgo = `"access": "k", "signature": "SmXQEZAUdQw5glv5mX8mmixBtas=", "verb": "GET", "host": "127.0.0.1", "path": "/v1/",
		"params": {"SignatureVersion": "0", "AWSAccessKeyId": "966afbde20b84200ae4e62e09acf46b2", "Timestamp": "2012-11-27T11:47:02Z", "Action": "Foo"}`
)

// signedAt is a request of Version 0 at a time.
func signedAt(timestamp string) string {
	h := hmac.New(sha1.New, []byte("89cdf9e94e2643cab35b8b8ac5a51f83"))
	h.Write([]byte("Foo" + timestamp))
	return `"access": "k", "signature": "` + base64.StdEncoding.EncodeToString(h.Sum(nil)) + `", "params": {"SignatureVersion": 0, "Action": "Foo", "Timestamp": "` + timestamp + `"}`
}

func TestEC2Tokens(t *testing.T) {
	c := start(t)
	user, project, token := c.member("m")
	_, other, _ := c.member("other")
	kept := c.keptKey(user, project)
	admin := c.admin().Token()
	ask := func(token, body string) answer { return c.do("POST", "/v3/ec2tokens", token, body) }

	for _, name := range []string{"credentials", "credential", "ec2Credentials"} {
		good := ask(admin, `{"`+name+`": {`+timeless+`}}`)
		require.Equal(t, 200, good.status, good.text)
		require.Equal(t, user.ID, good.at("token", "user", "id"))
		require.Equal(t, project.ID, good.at("token", "project", "id"))
		require.Equal(t, []any{"ec2credential"}, good.at("token", "methods"))
		require.Len(t, good.at("token", "audit_ids"), 1)
		require.NotEmpty(t, good.at("token", "catalog"))
	}
	issued := ask(admin, `{"credentials": {`+signedAt(time.Now().UTC().Format(time.RFC3339))+`}}`)
	require.Equal(t, 200, issued.status, issued.text)
	value := issued.header.Get("X-Subject-Token")

	// Other services take the token; here it can only be looked at and renewed, for the same project.
	caller, err := c.service.Validate(t.Context(), value)
	require.NoError(t, err)
	require.Equal(t, project.ID, caller.ProjectID)
	require.True(t, caller.HasRole("member"))
	seen := c.do("GET", "/v3/auth/tokens", admin, "", "X-Subject-Token", value)
	require.Equal(t, 200, seen.status, seen.text)
	require.Equal(t, []any{"ec2credential"}, seen.at("token", "methods"))
	for _, path := range []string{"/v3/users/" + user.ID, "/v3/auth/projects", "/v3/credentials"} {
		require.Equal(t, 403, c.do("GET", path, value, "").status, path)
		require.Equal(t, 200, c.do("GET", path, token, "").status, path)
	}
	renew := func(scope string) answer {
		return c.do("POST", "/v3/auth/tokens", "", `{"auth": {"identity": {"methods": ["token"], "token": {"id": "`+value+`"}}`+scope+`}}`)
	}
	renewed := renew("")
	require.Equal(t, 201, renewed.status, renewed.text)
	require.Contains(t, renewed.at("token", "methods"), "ec2credential")
	require.Equal(t, project.ID, renewed.at("token", "project", "id"))
	require.Equal(t, 201, renew(`, "scope": {"project": {"id": "`+project.ID+`"}}`).status)
	require.NoError(t, c.service.Assign(t.Context(), identity.Assignment{RoleID: c.role("member"), UserID: user.ID, ProjectID: other.ID}))
	require.Equal(t, 401, renew(`, "scope": {"project": {"id": "`+other.ID+`"}}`).status)
	require.Equal(t, 401, renew(`, "scope": "unscoped"`).status)
	again := renewed.header.Get("X-Subject-Token")
	require.Equal(t, 403, c.do("GET", "/v3/auth/projects", again, "").status, "renewing it makes no other of it")

	require.Equal(t, 204, c.do("DELETE", "/v3/auth/tokens", admin, "", "X-Subject-Token", value).status)
	_, err = c.service.Validate(t.Context(), value)
	require.ErrorIs(t, err, identity.ErrUnauthorized)

	require.Equal(t, 403, ask(token, `{"credentials": {`+timeless+`}}`).status, "members are not told")
	require.Equal(t, 401, ask("", `{"credentials": {`+timeless+`}}`).status)
	require.NotEqual(t, 200, c.do("POST", "/v2.0/ec2tokens", admin, `{"credentials": {`+timeless+`}}`).status)

	disable(t, c, user.ID, true)
	require.Equal(t, 401, ask(admin, `{"credentials": {`+timeless+`}}`).status)
	disable(t, c, user.ID, false)
	require.Equal(t, 200, ask(admin, `{"credentials": {`+timeless+`}}`).status)
	require.NoError(t, c.service.DeleteCredential(t.Context(), kept.ID))
	require.Equal(t, 404, ask(admin, `{"credentials": {`+timeless+`}}`).status)
}

func disable(t *testing.T, c *cloud, user string, off bool) {
	t.Helper()
	_, err := c.service.UpdateUser(t.Context(), user, func(u *identity.UserSpec) error { u.Disabled = off; return nil })
	require.NoError(t, err)
}

func TestEC2TokensNeedAServiceOrAnAdministrator(t *testing.T) {
	c := start(t)
	user, project, _ := c.member("m")
	c.keptKey(user, project)
	service, _, _ := c.member("heat")
	require.NoError(t, c.service.Assign(t.Context(), identity.Assignment{RoleID: c.role("service"), UserID: service.ID, ProjectID: project.ID}))
	value, _, err := c.service.Authenticate(t.Context(), identity.AuthRequest{
		Password: &identity.PasswordProof{User: identity.UserRef{ID: service.ID}, Password: password},
		Scope:    &identity.ScopeRequest{Project: &identity.ProjectRef{ID: project.ID}},
	})
	require.NoError(t, err)
	good := c.do("POST", "/v3/ec2tokens", value, `{"credentials": {`+timeless+`}}`)
	require.Equal(t, 200, good.status, good.text)
	require.Equal(t, user.ID, good.at("token", "user", "id"))
}

func TestEC2TokensRefuse(t *testing.T) {
	c := start(t)
	user, project, _ := c.member("m")
	c.keptKey(user, project)
	admin := c.admin().Token()
	v4 := func(change string) string {
		return `{"credentials": {"access": "k", "signature": "x", "verb": "GET", "host": "h", "path": "/", "body_hash": "b", "params": {"X-Amz-Algorithm": "AWS4-HMAC-SHA256"` + change + `}}`
	}
	for body, status := range map[string]int{
		"":                                 400,
		"x":                                400,
		"[]":                               400,
		`{"credentials": 1}`:               400,
		`{}`:                               401,
		`{"credentials": null}`:            401,
		`{"credentials": {}}`:              401,
		`{"credentials": {"access": 1}}`:   400,
		`{"credentials": {"access": "k"}}`: 401,
		`{"credentials": {"access": "k", "signature": "", "params": {"SignatureVersion": "1"}}}`:                          401,
		`{"credentials": {"access": "k", "signature": "x"}}`:                                                              400,
		`{"credentials": {"access": "k", "signature": "x", "params": []}}`:                                                400,
		`{"credentials": {"access": "k", "signature": "x", "params": {"SignatureVersion": true}}}`:                        400,
		`{"credentials": {"access": "k", "signature": "x", "params": {"SignatureVersion": "3"}}}`:                         400,
		`{"credentials": {"access": "k", "signature": "x", "params": {"SignatureVersion": "0"}}}`:                         400,
		`{"credentials": {"access": "k", "signature": "x", "params": {"SignatureVersion": "1"}}}`:                         401,
		`{"credentials": {"access": "nothing", "signature": "x", "params": {"SignatureVersion": "1"}}}`:                   404,
		`{"credentials": {"access": "k", "signature": "x", "params": {"SignatureVersion": "2"}}}`:                         400,
		`{"credentials": {"access": "k", "signature": "x", "headers": {"Authorization": "AWS k:x"}}}`:                     400,
		`{"credentials": {"access": "k", "signature": "x", "headers": {"A": "1", "a": "2"}}}`:                             400,
		`{"credentials": {"access": "k", "signature": "x", "path": "/\nx", "params": {"SignatureVersion": "1"}}}`:         400,
		`{"credentials": {"access": "k", "signature": "x", "headers": {"a": "\r"}, "params": {"SignatureVersion": "1"}}}`: 400,
		`{"credentials": {` + longAgo + `}}`:                                                                              401,
		`{"credentials": {` + signedAt(time.Now().Add(-16*time.Minute).UTC().Format("2006-01-02T15:04:05")) + `}}`:        401,
		`{"credentials": {` + signedAt(time.Now().Add(-14*time.Minute).UTC().Format("2006-01-02T15:04:05.000000")) + `}}`: 200,
		`{"credentials": {` + signedAt(time.Now().Add(-14*time.Minute).UTC().Format("20060102T150405Z")) + `}}`:           200,
		`{"credentials": {` + signedAt("yesterday") + `}}`:                                                                401,
		v4(`}, "headers": {}`): 400,
		v4(`, "X-Amz-Credential": "k/20150830/r/ec2/aws4_request"}`):                                                400,
		v4(`, "X-Amz-Credential": "k/20150830/r/ec2/aws5_request", "X-Amz-Date": "20150830T123600Z"}`):              400,
		v4(`, "X-Amz-Credential": "20150830/r/ec2/aws4_request", "X-Amz-Date": "20150830T123600Z"}`):                400,
		v4(`, "X-Amz-Credential": "k/20150830/r/ec2/aws4_request", "X-Amz-Date": "20150831T123600Z"}`):              401,
		v4(`, "X-Amz-Credential": "k/20150830/r/ec2/aws4_request", "X-Amz-Date": "20150830T123600Z"}`):              401,
		v4(`, "X-Amz-Credential": "k/20150830/r/ec2/aws4_request"}, "headers": {"x-amz-date": "20150830T123600Z"}`): 401,
	} {
		a := c.do("POST", "/v3/ec2tokens", admin, body)
		require.Equal(t, status, a.status, "%s\n%s", body, a.text)
		require.Equal(t, status == 200, a.header.Get("X-Subject-Token") != "", body)
	}
	require.Equal(t, 405, c.do("GET", "/v3/ec2tokens", admin, "").status)
}
