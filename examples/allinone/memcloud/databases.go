package memcloud

import (
	"context"
	"database/sql"
	"errors"
	"sync"

	"github.com/kintoun/kintoun/examples/allinone/cloud"
	"github.com/kintoun/kintoun/internal/sqlitedb"
	"golang.org/x/sync/errgroup"
)

// databases are those of a cloud in memory: each domain has one, because one in memory is for one at a time.
type databases map[string]*sql.DB

// Close closes them all.
func (d databases) Close() error {
	var err error
	for _, db := range d {
		err = errors.Join(err, db.Close())
	}
	return err
}

// templates are what the databases of new clouds are copies of.
type templates map[string]*sqlitedb.Template

// newTemplates makes empty ones. What was made is to be closed in any case.
func newTemplates(ctx context.Context) (templates, error) {
	t := templates{}
	for _, domain := range cloud.Domains() {
		one, err := sqlitedb.NewTemplate(ctx)
		if err != nil {
			return t, err
		}
		t[domain] = one
	}
	return t, nil
}

func (t templates) databases() databases {
	d := databases{}
	for domain, one := range t {
		d[domain] = one.DB
	}
	return d
}

// copy copies them, side by side. What was made is to be closed in any case.
func (t templates) copy(ctx context.Context) (databases, error) {
	var mu sync.Mutex
	var copying errgroup.Group
	d := databases{}
	for domain, one := range t {
		copying.Go(func() error {
			db, err := one.Copy(ctx)
			if err != nil {
				return err
			}
			mu.Lock()
			defer mu.Unlock()
			d[domain] = db
			return nil
		})
	}
	err := copying.Wait()
	return d, err
}

// Close closes them all.
func (t templates) Close() error {
	var err error
	for _, one := range t {
		err = errors.Join(err, one.Close())
	}
	return err
}
