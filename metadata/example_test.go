package metadata_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"

	"github.com/kintoun/kintoun/metadata"
	"github.com/kintoun/kintoun/metadata/memmetadata"
)

// A server with 172.24.17.2 in a network asks for its availability zone. In a cloud, package proxy signs the request.
func Example() {
	secret := []byte("at least sixteen random bytes")
	caller := metadata.Caller{NetworkID: "net-one", Address: netip.MustParseAddr("172.24.17.2")}
	source := memmetadata.New(nil)
	source.Put(caller.NetworkID, caller.Address, &metadata.Instance{Name: "vm1", AvailabilityZone: "nova"})
	service, err := metadata.New(source, secret, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	request := httptest.NewRequest(http.MethodGet, "http://169.254.169.254/2009-04-04/meta-data/placement/availability-zone", nil)
	metadata.Sign(request.Header, secret, caller)
	answer := httptest.NewRecorder()
	service.ServeHTTP(answer, request)
	fmt.Println(answer.Body)
	// Output: nova
}
