package s3

import (
	"encoding/base64"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/stretchr/testify/require"
)

// What a chunked body decodes to never depends on how it arrives, and errors are S3's or the end of the body.
func FuzzChunks(f *testing.F) {
	for _, seed := range []string{
		"4\r\ntext\r\n0\r\n\r\n", "4;chunk-signature=ab\r\ntext\r\n0;chunk-signature=cd\r\n\r\n", "0\r\nx-amz-checksum-crc32:AAAAAA==\n\r\nx-amz-trailer-signature:ab\r\n\r\n",
		"ffffffffffffffff\r\n", "-1\r\n", "4\ntext\n0\n\n", "0\r\n\r\n\r\n", "4\r\ntextx0\r\n\r\n", strings.Repeat("0", 600), "",
	} {
		f.Add(seed, true)
		f.Add(seed, false)
	}
	f.Fuzz(func(t *testing.T, body string, trailing bool) {
		for _, sign := range []func() *chunkSigner{
			func() *chunkSigner { return nil },
			func() *chunkSigner { return &chunkSigner{key: []byte("k"), date: "d", scope: "s", previous: "p"} },
		} {
			whole, err := io.ReadAll(newChunkReader(strings.NewReader(body), sign(), trailing))
			piecewise, err2 := io.ReadAll(newChunkReader(iotest.OneByteReader(strings.NewReader(body)), sign(), trailing))
			require.Equal(t, err, err2)
			require.Equal(t, whole, piecewise)
			require.LessOrEqual(t, len(whole), len(body))
			var own *apiError
			require.True(t, err == nil || errors.Is(err, io.ErrUnexpectedEOF) || errors.As(err, &own), "%v", err)
		}
	})
}

// Documents are taken or are S3's error, whatever they hold.
func FuzzDocuments(f *testing.F) {
	for _, seed := range []string{
		"<Delete><Object><Key>k</Key></Object></Delete>", "<!DOCTYPE x><x/>", "<a:b xmlns:a='c'/>", "<Tagging><TagSet><Tag><Key>a</Key></Tag></TagSet></Tagging>",
		"<LifecycleConfiguration><Rule><Status>Enabled</Status><Filter/></Rule></LifecycleConfiguration>", "<AccessControlPolicy><AccessControlList><Grant/></AccessControlList></AccessControlPolicy>",
		"<CORSConfiguration><CORSRule/></CORSConfiguration>", "<CompleteMultipartUpload><Part><PartNumber>1</PartNumber></Part></CompleteMultipartUpload>",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		for _, v := range []any{&deleteRequest{}, &tagging{}, &lifecycle{}, &accessRequest{}, &corsDocument{}, &completeRequest{}, &versioningDocument{}} {
			err := decodeXML([]byte(text), v)
			var own *apiError
			require.True(t, err == nil || errors.As(err, &own), "%v", err)
			if l, ok := v.(*lifecycle); ok && err == nil {
				for i := range l.Rules {
					rule, err := l.Rules[i].rule()
					require.True(t, err == nil || errors.As(err, &own), "%v", err)
					if err == nil {
						shown := document(&rule)
						again, err := shown.rule()
						require.NoError(t, err, "what is answered can be sent back")
						require.Equal(t, rule, again)
					}
				}
			}
		}
	})
}

// What an Authorization header or a query says is either whole or refused.
func FuzzAuthorization(f *testing.F) {
	f.Add(authorization("host;x-amz-date", "abc"), "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=a%2F20130524%2Fus-east-1%2Fs3%2Faws4_request&X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400&X-Amz-SignedHeaders=host&X-Amz-Signature=a")
	f.Add("AWS a:b", "AWSAccessKeyId=a&Signature=b&Expires=1")
	f.Add("AWS4-HMAC-SHA256 Credential=////,SignedHeaders=;,Signature==", "X-Amz-Credential=/&&=&a=%zz&+=+")
	f.Fuzz(func(t *testing.T, header, query string) {
		h := http.Header{"X-Amz-Date": {"20130524T000000Z"}}
		if s, err := parseAuthorization(header, h); err == nil {
			require.NotEmpty(t, s.access)
			require.Len(t, s.date, 8)
			require.Equal(t, "s3", s.service)
			require.NotEmpty(t, s.signature)
		}
		if s, err := parseAuthorizationV2(header); err == nil {
			require.NotEmpty(t, s.access)
			require.NotEmpty(t, s.signature)
		}
		q, err := url.ParseQuery(query)
		if err != nil {
			return
		}
		r := httptest.NewRequest(http.MethodGet, "http://host/path", nil)
		r.URL.RawQuery = query
		if s, err := parsePresigned(q); err == nil {
			require.Positive(t, s.expires)
			require.Error(t, s.check(r, "a secret that nobody has", unsignedPayload))
		}
		if s, err := parsePresignedV2(q); err == nil {
			require.Error(t, s.check(r, q, "a secret that nobody has", ""))
		}
		again := canonicalQuery(canonicalQuery(query))
		require.Equal(t, again, canonicalQuery(again), "canonical is canonical")
	})
}

func FuzzRange(f *testing.F) {
	for _, seed := range []string{"bytes=0-1", "bytes=-5", "bytes=5-", "bytes=9-1", "bytes=0-1,2-3", "bytes= 1-2", "x"} {
		f.Add(seed, int64(10))
	}
	f.Fuzz(func(t *testing.T, text string, size int64) {
		if size < 0 {
			return
		}
		offset, length, ranged := parseRange(text, size)
		if ranged && length < 0 {
			return // not satisfiable
		}
		require.GreaterOrEqual(t, offset, int64(0))
		require.LessOrEqual(t, offset, size-length)
		require.True(t, ranged || offset == 0 && length == size)
		require.True(t, !ranged || length > 0)
	})
}

func FuzzPolicy(f *testing.F) {
	f.Add(`{"expiration": "2100-01-02T03:04:05Z", "conditions": [{"bucket": "b"}, ["starts-with", "$key", ""], ["content-length-range", 1, 5]]}`)
	f.Add(`{"conditions": [[], {}, 1, ["eq", 1, 2], ["content-length-range", "x", -1]]}`)
	a := &api{}
	a.options.Now = func() time.Time { return time.Time{} }
	f.Fuzz(func(t *testing.T, policy string) {
		q := &request{}
		q.path.Container = "b"
		limits, err := a.checkPolicy(q, &form{fields: map[string]string{"key": "k"}}, base64.StdEncoding.EncodeToString([]byte(policy)), formLimits{0, 100})
		if err == nil {
			require.LessOrEqual(t, limits.least, max(limits.most, limits.least))
			require.LessOrEqual(t, limits.most, int64(100))
		}
	})
}
