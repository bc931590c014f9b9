//go:build linux

package nbdserver

import (
	"context"
	"fmt"
	"time"

	"github.com/kintoun/kintoun/volume/driver"
	"github.com/kintoun/kintoun/volume/internal/nbd"
)

// answers asks the server what it exports, as the connected host will.
func (s *Server) answers(ctx context.Context, patience time.Duration) (*driver.NBD, error) {
	credentials, err := clientTLS(s.Dir)
	if err != nil {
		return nil, err
	}
	target := &driver.NBD{Address: s.Address, Export: s.Export, TLS: credentials}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	client, err := nbd.Open(ctx, target)
	if err != nil {
		return nil, err
	}
	size := client.Size()
	if err := client.Close(); err != nil {
		return nil, err
	}
	if size != s.Bytes {
		return nil, fmt.Errorf("an export of %d bytes, not %d", size, s.Bytes)
	}
	return target, nil
}
