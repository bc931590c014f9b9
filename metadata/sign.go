package metadata

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"net/netip"
)

// Headers that a proxy adds to a server's request.
const (
	networkHeader   = "X-Kintoun-Network-Id"
	addressHeader   = "X-Kintoun-Address"
	signatureHeader = "X-Kintoun-Signature"
)

// Caller is who asks: an address in a network.
type Caller struct {
	NetworkID string
	Address   netip.Addr
}

// Sign adds to a request's header who asks, and the proof that a holder of the secret says so (HMAC-SHA256, RFC 2104),
// in place of whatever the header says about it. It vouches for the caller, not for the request.
func Sign(header http.Header, secret []byte, caller Caller) {
	header.Set(networkHeader, caller.NetworkID)
	header.Set(addressHeader, caller.Address.String())
	header.Set(signatureHeader, hex.EncodeToString(signature(secret, caller)))
}

// verify returns the signed caller; false where the signature is missing or wrong.
func verify(header http.Header, secret []byte) (Caller, bool) {
	address, err := netip.ParseAddr(header.Get(addressHeader))
	if err != nil {
		return Caller{}, false
	}
	got, err := hex.DecodeString(header.Get(signatureHeader))
	if err != nil {
		return Caller{}, false
	}
	caller := Caller{NetworkID: header.Get(networkHeader), Address: address}
	return caller, hmac.Equal(got, signature(secret, caller))
}

func signature(secret []byte, caller Caller) []byte {
	// An address has no line break, so that no two callers give the same text.
	return keyed(secret, "caller\n"+caller.Address.String()+"\n"+caller.NetworkID)
}

func keyed(secret []byte, text string) []byte {
	mac := hmac.New(sha256.New, secret)
	mac.Write([]byte(text))
	return mac.Sum(nil)
}
