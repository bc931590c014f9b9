package keystone_test

import (
	"crypto/hmac"
	"crypto/sha1"
	"encoding/base64"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestS3Tokens(t *testing.T) {
	c := start(t)
	user, project, token := c.member("m")
	created := c.do("POST", "/v3/users/"+user.ID+"/credentials/OS-EC2", token, `{"tenant_id": "`+project.ID+`"}`)
	require.Equal(t, 201, created.status, created.text)
	access, secret := created.at("credential", "access").(string), created.at("credential", "secret").(string)
	admin := c.admin().Token()
	ask := func(token, access, text, signature string) answer {
		return c.do("POST", "/v3/s3tokens", token, `{"credentials": {"access": "`+access+`", "token": "`+base64.URLEncoding.EncodeToString([]byte(text))+`", "signature": "`+signature+`"}}`)
	}
	h := hmac.New(sha1.New, []byte(secret))
	h.Write([]byte("GET\n\n\n\n/bucket/key"))
	v2 := base64.StdEncoding.EncodeToString(h.Sum(nil))
	good := ask(admin, access, "GET\n\n\n\n/bucket/key", v2)
	require.Equal(t, 200, good.status, good.text)
	require.Equal(t, user.ID, good.at("token", "user", "id"))
	require.Equal(t, project.ID, good.at("token", "project", "id"))
	require.Empty(t, good.header.Get("X-Subject-Token"))

	// The vector of Keystone's own tests.
	made := c.do("POST", "/v3/credentials", token, `{"credential": {"project_id": "`+project.ID+`", "type": "ec2", "blob": "{\"access\": \"v4\", \"secret\": \"e7a7a2240136494986991a6598d9fb9f\"}"}}`)
	require.Equal(t, 201, made.status, made.text)
	v4 := "AWS4-HMAC-SHA256\n20150824T112041Z\n20150824/RegionOne/s3/aws4_request\nf2215580eeb9a167351bd93e86c3b6f04a928f5c5520a3935a453540a09564b5"
	good = ask(admin, "v4", v4, "730ba8f58df6ffeadd78f402e990b2910d60bc5c2aec63619734f096a4dd77be")
	require.Equal(t, 200, good.status, good.text)
	require.Equal(t, 401, ask(admin, "v4", v4+"0", "730ba8f58df6ffeadd78f402e990b2910d60bc5c2aec63619734f096a4dd77be").status)

	require.Equal(t, 401, ask(admin, access, "GET\n\n\n\n/bucket/other", v2).status)
	require.Equal(t, 404, ask(admin, "nothing", "x", "y").status)
	require.Equal(t, 401, ask(admin, access, "AWS4", "").status)
	require.Equal(t, 401, ask(admin, access, "AWS4\n\n\n", "x").status, "never an empty signature")
	require.Equal(t, 403, ask(token, access, "GET\n\n\n\n/bucket/key", v2).status, "members are not told")
	require.Equal(t, 401, ask("", access, "GET\n\n\n\n/bucket/key", v2).status)
}
