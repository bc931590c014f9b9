package webdownload_test

import (
	"fmt"

	"github.com/kintoun/kintoun/image/webdownload"
)

func Example() {
	web, err := webdownload.New(&webdownload.Options{Hosts: []string{"cloud-images.example"}})
	if err != nil {
		panic(err)
	}
	fmt.Println(web.Check("https://cloud-images.example/disk.qcow2"))
	fmt.Println(web.Check("http://169.254.169.254/latest/user-data"))
	// Output:
	// <nil>
	// the address is not allowed: host "169.254.169.254"
}
