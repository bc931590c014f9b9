package s3

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// The examples of Amazon's documentation ("Signature calculations in the Authorization header", "Query parameters",
// "Transferring payload in multiple chunks", "Including trailing headers", and Signature Version 2's).
const (
	exampleKey    = "AKIAIOSFODNN7EXAMPLE"
	exampleSecret = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
)

func exampleRequest(method, path string, headers ...string) *http.Request {
	r := httptest.NewRequest(method, "http://examplebucket.s3.amazonaws.com"+path, nil)
	r.Header.Set("X-Amz-Date", "20130524T000000Z")
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	return r
}

func authorization(signed, signature string) string {
	return "AWS4-HMAC-SHA256 Credential=" + exampleKey + "/20130524/us-east-1/s3/aws4_request,SignedHeaders=" + signed + ",Signature=" + signature
}

func TestPublishedSignatures(t *testing.T) {
	for _, c := range []struct {
		r                       *http.Request
		hash, signed, signature string
	}{
		{exampleRequest("GET", "/test.txt", "Range", "bytes=0-9"), emptyHash, "host;range;x-amz-content-sha256;x-amz-date", "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"},
		{
			exampleRequest("PUT", "/test$file.text", "Date", "Fri, 24 May 2013 00:00:00 GMT", "X-Amz-Storage-Class", "REDUCED_REDUNDANCY"),
			"44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072", "date;host;x-amz-content-sha256;x-amz-date;x-amz-storage-class", "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd",
		},
		{exampleRequest("GET", "/?lifecycle"), emptyHash, "host;x-amz-content-sha256;x-amz-date", "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543"},
		{exampleRequest("GET", "/?max-keys=2&prefix=J"), emptyHash, "host;x-amz-content-sha256;x-amz-date", "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7"},
	} {
		c.r.Header.Set("X-Amz-Content-Sha256", c.hash)
		s, err := parseAuthorization(authorization(c.signed, c.signature), c.r.Header)
		require.NoError(t, err)
		require.NoError(t, s.covers(c.r))
		require.NoError(t, s.check(c.r, exampleSecret, c.hash), c.r.URL)
		require.Error(t, s.check(c.r, exampleSecret+"x", c.hash))
		require.Error(t, s.check(c.r, exampleSecret, unsignedPayload))
		c.r.URL.Path += "x"
		require.Error(t, s.check(c.r, exampleSecret, c.hash))
	}
}

func TestPublishedPresignedRequest(t *testing.T) {
	r := httptest.NewRequest("GET", "http://examplebucket.s3.amazonaws.com/test.txt?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential="+exampleKey+
		"%2F20130524%2Fus-east-1%2Fs3%2Faws4_request&X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400&X-Amz-SignedHeaders=host&X-Amz-Signature=aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404", nil)
	s, err := parsePresigned(r.URL.Query())
	require.NoError(t, err)
	require.NoError(t, s.check(r, exampleSecret, unsignedPayload))
	begin := time.Date(2013, 5, 24, 0, 0, 0, 0, time.UTC)
	for after, good := range map[time.Duration]bool{
		-16 * time.Minute: false, -14 * time.Minute: true, 0: true, 24 * time.Hour: true, 24*time.Hour + time.Second: false,
	} {
		require.Equal(t, good, s.fresh(begin.Add(after), 15*time.Minute) == nil, after)
	}
	longer := httptest.NewRequest("GET", strings.Replace(r.URL.String(), "86400", "86401", 1), nil)
	s, err = parsePresigned(longer.URL.Query())
	require.NoError(t, err)
	require.Error(t, s.check(longer, exampleSecret, unsignedPayload))
}

func TestPublishedChunks(t *testing.T) {
	signer := func(seed string) *chunkSigner {
		s := &signatureV4{date: "20130524", region: "us-east-1", service: "s3"}
		return &chunkSigner{key: s.key(exampleSecret), date: "20130524T000000Z", scope: s.scope(), previous: seed}
	}
	body := func(first, second, last, rest string) string {
		return "10000;chunk-signature=" + first + "\r\n" + strings.Repeat("a", 65536) + "\r\n400;chunk-signature=" + second + "\r\n" +
			strings.Repeat("a", 1024) + "\r\n0;chunk-signature=" + last + "\r\n" + rest + "\r\n"
	}
	plain := body("ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648", "0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497",
		"b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9", "")
	const seed = "4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9"
	got, err := io.ReadAll(newChunkReader(strings.NewReader(plain), signer(seed), false))
	require.NoError(t, err)
	require.True(t, bytes.Equal(bytes.Repeat([]byte("a"), 66560), got))

	trailed := body("b474d8862b1487a5145d686f57f013e54db672cee1c953b3010fb58501ef5aa2", "1c1344b170168f8e65b41376b44b20fe354e373826ccbbe2c1d40a8cae51e5c7",
		"2ca2aba2005185cf7159c6277faf83795951dd77a3a99e6e65d5c9f85863f992", "x-amz-checksum-crc32c:sOO8/Q==\r\nx-amz-trailer-signature:d81f82fc3505edab99d459891051a732e8730629a2e4a59689829ca17fe2e435\r\n")
	const trailedSeed = "106e2a8a18243abcf37539882f36619c00e2dfc72633413f02d3b74544bfeb8e"
	r := newChunkReader(strings.NewReader(trailed), signer(trailedSeed), true)
	_, err = io.Copy(io.Discard, r)
	require.NoError(t, err)
	require.Equal(t, "sOO8/Q==", r.trailer.Get("x-amz-checksum-crc32c"))

	// Whatever is off by one is noticed, wherever it is, and so is whatever is missing.
	for _, c := range []struct{ body, seed string }{{plain, seed}, {trailed, trailedSeed}} {
		for _, at := range []int{0, 1, 25, 90, 40000, 65536, 65650, 66000, len(c.body) - 100, len(c.body) - 30} {
			altered := []byte(c.body)
			altered[at] ^= 1
			_, err := io.Copy(io.Discard, newChunkReader(bytes.NewReader(altered), signer(c.seed), c.seed == trailedSeed))
			require.Error(t, err, "byte %d", at)
		}
		for _, length := range []int{0, 5, 86, 87, 40000, 65600, 66700, len(c.body) - 80} {
			_, err := io.Copy(io.Discard, newChunkReader(strings.NewReader(c.body[:length]), signer(c.seed), c.seed == trailedSeed))
			require.Error(t, err, "cut at %d", length)
		}
		_, err := io.Copy(io.Discard, newChunkReader(strings.NewReader(c.body+"0\r\n"), signer(c.seed), c.seed == trailedSeed))
		require.Error(t, err)
	}
}

func TestPublishedSignatureVersion2(t *testing.T) {
	r := httptest.NewRequest("GET", "http://johnsmith.s3.amazonaws.com/photos/puppy.jpg", nil)
	r.Header.Set("Date", "Tue, 27 Mar 2007 19:36:42 +0000")
	s, err := parseAuthorizationV2("AWS " + exampleKey + ":bWq2s1WEIj+Ydj0vQ697zp+IXMU=")
	require.NoError(t, err)
	require.NoError(t, s.check(r, url.Values{}, exampleSecret, "johnsmith"))
	require.NoError(t, s.fresh(r.Header, time.Date(2007, 3, 27, 19, 40, 0, 0, time.UTC), 15*time.Minute))
	require.Error(t, s.fresh(r.Header, time.Date(2007, 3, 27, 20, 40, 0, 0, time.UTC), 15*time.Minute))
	require.Error(t, s.check(r, url.Values{"acl": {""}}, exampleSecret, "johnsmith"))
	require.Error(t, s.check(r, url.Values{}, exampleSecret, "other"))
}

func TestNVMeChecksum(t *testing.T) {
	// The check value of CRC-64/NVME in the catalogue of CRC algorithms.
	a := algorithmBy(func(a *algorithm) bool { return a.name == "CRC64NVME" })
	h := a.make()
	_, _ = h.Write([]byte("123456789"))
	require.Equal(t, []byte{0xae, 0x8b, 0x14, 0x86, 0x0a, 0x79, 0x98, 0x88}, h.Sum(nil))
}

func TestChecksumsOfWholes(t *testing.T) {
	for _, length := range []int{0, 1, 7, 8, 1000, 65537} {
		first, second := []byte("the first part"), bytes.Repeat([]byte("second"), length)[:length]
		for name, crc := range polynomials {
			a := algorithmBy(func(a *algorithm) bool { return a.name == name })
			sum := func(texts ...[]byte) uint64 {
				h := a.make()
				for _, text := range texts {
					_, _ = h.Write(text)
				}
				return number(h.Sum(nil))
			}
			require.Equal(t, sum(first, second), combine(crc.polynomial, crc.width, sum(first), sum(second), int64(length)), "%s %d", name, length)
		}
	}
}
