// Package remote is what the stores share whose contents are kept by another service over HTTP.
package remote

import (
	"fmt"
	"io"
	"net/http"
	"strconv"

	"github.com/kintoun/kintoun/objectstore/driver"
)

// Fill reads until the buffer is full or r fails. Unlike io.ReadFull it leaves r's error as it is, so that an upload that was
// cut (io.ErrUnexpectedEOF) does not pass for one that ended.
func Fill(r io.Reader, buffer []byte) (n int, err error) {
	for n < len(buffer) && err == nil {
		var more int
		more, err = r.Read(buffer[n:])
		n += more
	}
	return n, err
}

// CompareRange looks at what the service says that it has sent of a content, of which length bytes from offset on were asked
// for, as of [driver.Store].Open.
func CompareRange(header http.Header, offset, length int64) error {
	var first, last, size int64
	said := header.Get("Content-Range")
	if said == "" {
		// All of it, which is right for an empty content, of which every range reaches too far.
		size, _ = strconv.ParseInt(header.Get("Content-Length"), 10, 64)
		last = size - 1
	} else if _, err := fmt.Sscanf(said, "bytes %d-%d/%d", &first, &last, &size); err != nil {
		return fmt.Errorf("the service answers a range with %q", said)
	}
	want, err := driver.Range(size, offset, length)
	if err == nil && (first != offset || last-first+1 != want) {
		err = fmt.Errorf("the service answers a range of %d bytes from %d on with %q", want, offset, said)
	}
	return err
}
