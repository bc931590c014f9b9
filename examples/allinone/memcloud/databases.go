package memcloud

import (
	"context"
	"database/sql"
	"errors"

	"github.com/kintoun/kintoun/examples/allinone/cloud"
	"github.com/kintoun/kintoun/internal/sqlitedb"
	"golang.org/x/sync/errgroup"
)

// databases are those of a cloud in memory: each domain has one, because one in memory is for one at a time.
type databases map[string]*sql.DB

// openDatabases opens the domains' databases side by side. What was opened is to be closed in any case.
func openDatabases(open func(domain string) (*sql.DB, error)) (databases, error) {
	domains := cloud.Domains()
	opened := make([]*sql.DB, len(domains))
	var opening errgroup.Group
	for i, domain := range domains {
		opening.Go(func() (err error) {
			opened[i], err = open(domain)
			return err
		})
	}
	err := opening.Wait()
	all := databases{}
	for i, db := range opened {
		if db != nil {
			all[domains[i]] = db
		}
	}
	return all, err
}

func (d databases) copy(ctx context.Context) (databases, error) {
	return openDatabases(func(domain string) (*sql.DB, error) { return sqlitedb.Copy(ctx, d[domain]) })
}

// Close closes them all.
func (d databases) Close() error {
	var err error
	for _, db := range d {
		err = errors.Join(err, db.Close())
	}
	return err
}
