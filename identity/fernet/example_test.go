package fernet_test

import (
	"fmt"
	"time"

	"github.com/kintoun/kintoun/identity/fernet"
)

func Example() {
	keys := fernet.New(nil)
	token, err := keys.Seal([]byte("who you are"), time.Unix(1_700_000_000, 0))
	if err != nil {
		fmt.Println(err)
		return
	}
	message, sealedAt, err := keys.Open(token)
	fmt.Println(string(message), sealedAt.Format(time.RFC3339), err)
	// Output: who you are 2023-11-14T22:13:20Z <nil>
}
