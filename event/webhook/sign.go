package webhook

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/kintoun/kintoun/internal/fault"
)

// The headers of Standard Webhooks.
const (
	HeaderID        = "Webhook-Id"
	HeaderTimestamp = "Webhook-Timestamp"
	HeaderSignature = "Webhook-Signature"
)

// ErrUnauthorized is a message that the owner of the secret did not send, or not lately.
var ErrUnauthorized = fault.ErrUnauthorized

const (
	secretPrefix           = "whsec_"
	signaturePrefix        = "v1,"
	minSecret, maxSecret   = 24, 64
	tolerance              = 5 * time.Minute
	maxSignatures, newSize = 16, 32
)

// NewSecret makes a secret of 32 random bytes.
func NewSecret() string {
	key := make([]byte, newSize)
	_, _ = rand.Read(key) // it never fails
	return secretPrefix + base64.StdEncoding.EncodeToString(key)
}

func parseSecret(secret string) ([]byte, error) {
	text, ok := strings.CutPrefix(secret, secretPrefix)
	key, err := base64.StdEncoding.DecodeString(text)
	if !ok || err != nil || len(key) < minSecret || len(key) > maxSecret {
		return nil, fault.Wrap(ErrInvalid, "its secret is not %s and the base64 of %d to %d bytes", secretPrefix, minSecret, maxSecret)
	}
	return key, nil
}

func sign(key []byte, id, timestamp string, body []byte) string {
	mac := hmac.New(sha256.New, key)
	_, _ = fmt.Fprintf(mac, "%s.%s.", id, timestamp)
	_, _ = mac.Write(body)
	return signaturePrefix + base64.StdEncoding.EncodeToString(mac.Sum(nil))
}

// Verify says whether a request with these headers and this body was sent by the owner of the secret, at most five
// minutes from now; else it is [ErrUnauthorized]. It is for receivers.
func Verify(secret string, header http.Header, body []byte, now time.Time) error {
	key, err := parseSecret(secret)
	if err != nil {
		return err
	}
	id, timestamp := header.Get(HeaderID), header.Get(HeaderTimestamp)
	seconds, err := strconv.ParseInt(timestamp, 10, 64)
	if err != nil || id == "" {
		return fault.Wrap(ErrUnauthorized, "the message has no %s or no %s", HeaderID, HeaderTimestamp)
	}
	if age := now.Sub(time.Unix(seconds, 0)); age > tolerance || age < -tolerance {
		return fault.Wrap(ErrUnauthorized, "the message is of another time")
	}
	want := []byte(sign(key, id, timestamp, body))
	signatures := strings.SplitN(header.Get(HeaderSignature), " ", maxSignatures+1)
	for _, signature := range signatures[:min(len(signatures), maxSignatures)] {
		if hmac.Equal([]byte(signature), want) {
			return nil
		}
	}
	return fault.Wrap(ErrUnauthorized, "the message has no valid %s", HeaderSignature)
}
