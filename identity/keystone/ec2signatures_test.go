package keystone

import (
	"encoding/json"
	"maps"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const (
	exampleSecret = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
	keystoneTests = "89cdf9e94e2643cab35b8b8ac5a51f83"
	nothingHashed = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
)

// known is a request whose signature others computed.
type known struct {
	what, secret string
	signedRequest
}

// old is a request of the versions 0 to 2, with the parameters of the unit tests of python-keystoneclient.
func old(what, signature, host, path string, params map[string]value) known {
	return known{what, keystoneTests, signedRequest{Access: "k", Signature: signature, Verb: "GET", Host: host, Path: path, Params: params}}
}

// suite is a request as those of AWS's aws-sig-v4-test-suite are.
func suite(what, signed, signature string, change func(*signedRequest)) known {
	g := signedRequest{
		Access: "k", Signature: signature, Verb: "GET", Host: "example.amazonaws.com", Path: "/", BodyHash: nothingHashed,
		Headers: map[string]value{"Host": "example.amazonaws.com", "X-Amz-Date": "20150830T123600Z"},
	}
	if change != nil {
		change(&g)
	}
	g.Headers["Authorization"] = value("AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, SignedHeaders=" + signed + ", Signature=" + signature)
	return known{what, exampleSecret, g}
}

// botocore is a request that botocore 2.0.0dev155 of Debian's awscli signed for EC2.
func botocore(what, signed, signature string, change func(*signedRequest)) known {
	k := suite(what, signed, signature, func(g *signedRequest) { g.Host, g.Headers["Host"] = "ec2.example.com", "ec2.example.com"; change(g) })
	k.Headers["Authorization"] = value(strings.Replace(string(k.Headers["Authorization"]), "/service/", "/ec2/", 1))
	return k
}

func knownSignatures() []known {
	at := func(host string) func(*signedRequest) {
		return func(g *signedRequest) { g.Host, g.Headers["Host"] = host, value(host) }
	}
	return []known{
		// python-keystoneclient's unit tests.
		old("0", "SmXQEZAUdQw5glv5mX8mmixBtas=", "127.0.0.1", "/v1/", map[string]value{"SignatureVersion": "0", "AWSAccessKeyId": "966afbde20b84200ae4e62e09acf46b2", "Timestamp": "2012-11-27T11:47:02Z", "Action": "Foo"}),
		old("1", "VRnoQH/EhVTTLhwRLfuL7jmFW9c=", "127.0.0.1", "/v1/", map[string]value{"SignatureVersion": "1", "AWSAccessKeyId": "966afbde20b84200ae4e62e09acf46b2"}),
		old("2", "odsGmT811GffUO0Eu13Pq+xTzKNIjJ6NhgZU74tYX/w=", "127.0.0.1", "/v1/", map[string]value{"SignatureVersion": "2", "AWSAccessKeyId": "966afbde20b84200ae4e62e09acf46b2"}),
		old("2 with SHA-1", "ZqCxMI4ZtTXWI175743mJ0hy/Gc=", "127.0.0.1", "/v1/", map[string]value{"SignatureVersion": "2", "SignatureMethod": "HmacSHA1", "AWSAccessKeyId": "966afbde20b84200ae4e62e09acf46b2"}),
		// Computed by Debian's python3-keystoneclient 5.0.1.
		old("1, not of ASCII", "NtE+6gsCM6jVQ0uSWwGoBL7hgNg=", "ec2.example.com", "/", map[string]value{"SignatureVersion": "1", "b": "ü", "A": "x y", "c": "3"}),
		old("2, not of ASCII", "Lv/Gk6Do0yLADCbuAYFlUre2HhUxEl7lcnr5lQCR00k=", "ec2.example.com:8773", "/services/Cloud", map[string]value{"SignatureVersion": "2", "AWSAccessKeyId": "a", "Name": "ü /~+", "Count": "3", "a": "1", "B": "2"}),
		old("2, signed without the port", "p4UbzyLqpzK3D4YvvqWKjNNf439KrHhQYVL2Ix2+rIA=", "ec2.example.com:8773", "/services/Cloud", map[string]value{"SignatureVersion": "2", "AWSAccessKeyId": "a"}),
		// AWS's suite for Version 4.
		suite("get-vanilla", "host;x-amz-date", "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31", nil),
		suite("get-unreserved", "host;x-amz-date", "07ef7494c76fa4850883e2b006601f940f8a34d404d0cfa977f52a65bbf5f24f", func(g *signedRequest) {
			g.Path = "/-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
		}),
		suite("get-vanilla-query-order-key-case", "host;x-amz-date", "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500", func(g *signedRequest) {
			g.Params = map[string]value{"Param2": "value2", "Param1": "value1"}
		}),
		suite("get-vanilla-utf8-query", "host;x-amz-date", "2cdec8eed098649ff3a119c94853b13c643bcf08f8b0a1d91e12c9027818dd04", func(g *signedRequest) {
			g.Params = map[string]value{"ሴ": "bar"}
		}),
		suite("get-header-value-trim", "host;my-header1;my-header2;x-amz-date", "acc3ed3afb60bb290fc8d2dd0098b9911fcaa05412b367055dee359757a9c736", func(g *signedRequest) {
			g.Headers["My-Header1"], g.Headers["My-Header2"] = " value1", `"a   b   c"`
		}),
		suite("post-x-www-form-urlencoded", "content-type;host;x-amz-date", "ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a", func(g *signedRequest) {
			g.Verb, g.BodyHash, g.Params = "POST", "9095672bbd1f56dfc5b65f3e153adc8731a4a654192329106275f4c7b24d0b6e", map[string]value{"Param1": "value1"}
			g.Headers["Content-Type"] = "application/x-www-form-urlencoded"
		}),
		botocore("botocore, GET", "host;x-amz-date", "b0082d43172494063dfa4e2844f6ab201b41dacb08ba55b7bed8c00b0de61f37", func(g *signedRequest) {
			g.Params = map[string]value{"Action": "DescribeInstances", "Version": "2016-11-15"}
		}),
		botocore("botocore, odd names", "host;x-amz-date;x-spaces", "639d31100b9e8e867e142b046f08c86c1dbbf7087e634e11b4e090ab5c7ca926", func(g *signedRequest) {
			at("ec2.example.com:8773")(g)
			g.Path, g.Params = "/services/Cloud", map[string]value{"Action": "Describe It", "Filter.1.Name": "a/b+c~ü", "x:y": "1", "x0": "2"}
			g.Headers["X-Spaces"] = "a   b"
		}),
		botocore("botocore, POST", "content-type;host;x-amz-date", "f991c9f243356d3412165584860c1f3d04021bacee836dc1d3b16038d8d5173e", func(g *signedRequest) {
			at("cfn.example.com:8000")(g)
			g.Verb, g.Path, g.BodyHash = "POST", "/v1/", "e2375914098545bc981e8fe1b5d8fe96117c8c26ec4d45bcb6127e6f56470bae"
			g.Params = map[string]value{"Action": "SignalResource", "Status": "SUCCESS"}
			g.Headers["Content-Type"] = "application/x-www-form-urlencoded"
		}),
		{"botocore, presigned", exampleSecret, signedRequest{
			Access: "k", Signature: "0b2c6736c69ae92a675412a1bf754956f14483ecb40bcca9ea4ba1df5da87987", Verb: "GET", Host: "ec2.example.com", Path: "/", BodyHash: nothingHashed,
			Headers: map[string]value{"Host": "ec2.example.com"},
			Params: map[string]value{
				"Action": "DescribeInstances", "X-Amz-Algorithm": algorithm4, "X-Amz-Credential": "AKIDEXAMPLE/20150830/us-east-1/ec2/aws4_request", "X-Amz-Date": "20150830T123600Z",
				"X-Amz-Expires": "3600", "X-Amz-SignedHeaders": "host", "X-Amz-Signature": "0b2c6736c69ae92a675412a1bf754956f14483ecb40bcca9ea4ba1df5da87987",
			},
		}},
		clientV4("26dd92ea79aaa49f533d13b1055acdcd7d7321460d64621f96cc79c4f4d4ab2b"),
		// Boto before 2.9.3 left out the port.
		clientV4("9a4b2276a5039ada3b90f72ea8ec174514b92b909fb106b22ad910c5d75a54f4"),
	}
}

// clientV4 is python-keystoneclient's request with a port.
func clientV4(signature string) known {
	return known{"keystoneclient, with a port", exampleSecret, signedRequest{
		Access: "k", Signature: signature, Verb: "POST", Host: "foo:8000", Path: "/", BodyHash: "b6359072c78d70ebee1e81adcbab4f01bf2c23245fa365ef83fe8f1f955085e2",
		Headers: map[string]value{
			"Content-type": "application/x-www-form-urlencoded; charset=utf-8", "X-Amz-Date": "20110909T233600Z", "Host": "foo:8000",
			"Authorization": "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20110909/us-east-1/iam/aws4_request,SignedHeaders=content-type;host;x-amz-date,",
		},
	}}
}

func TestKnownSignatures(t *testing.T) {
	good := func(g signedRequest, secret string) bool {
		g.Params, g.Headers = maps.Clone(g.Params), maps.Clone(g.Headers)
		require.NoError(t, g.check())
		s, err := g.scheme()
		require.NoError(t, err)
		return g.signedWith(s, secret)
	}
	for _, k := range knownSignatures() {
		require.True(t, good(k.signedRequest, k.secret), k.what)
		require.False(t, good(k.signedRequest, k.secret+"x"), k.what)
		altered := k.signedRequest
		altered.Signature = "A" + altered.Signature[1:]
		require.False(t, good(altered, k.secret), k.what)
		if v := k.Params["SignatureVersion"]; v == "0" || v == "1" {
			continue // cover no path
		}
		altered = k.signedRequest
		altered.Path += "x"
		require.False(t, good(altered, k.secret), k.what)
		altered = k.signedRequest
		altered.Host = "other"
		if _, v4 := k.Headers["Host"]; v4 {
			altered.Headers = maps.Clone(altered.Headers)
			altered.Headers["Host"] = "other"
		}
		require.False(t, good(altered, k.secret), k.what)
	}
}

func FuzzSignedRequests(f *testing.F) {
	for _, k := range knownSignatures() {
		text, err := json.Marshal(map[string]any{"credentials": map[string]any{
			"access": k.Access, "signature": k.Signature, "verb": k.Verb, "host": k.Host, "path": k.Path, "params": k.Params, "headers": k.Headers, "body_hash": k.BodyHash,
		}})
		require.NoError(f, err)
		f.Add(string(text))
	}
	f.Add(`{"ec2Credentials": {"access": 1, "params": {"a": [], "b": -1e5}}}`)
	f.Fuzz(func(t *testing.T, body string) {
		g, err := decodeSigned(httptest.NewRequest("POST", "/v3/ec2tokens", strings.NewReader(body)))
		if err != nil {
			return
		}
		s, err := g.scheme()
		if err != nil {
			return
		}
		require.False(t, g.signedWith(s, "another secret that nobody knows"))
		// What is signed here is good, and a second reading of it is the same.
		g.Signature = s.sign("secret", g.Host)
		require.NotEmpty(t, g.Signature)
		require.True(t, g.signedWith(s, "secret"))
		require.Equal(t, g.Signature, s.sign("secret", g.Host))
		_, _ = parseStamp(s.timestamp)
	})
}
