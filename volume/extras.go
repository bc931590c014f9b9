package volume

import "github.com/kintoun/kintoun/internal/record"

// extrasTables are the records of groups, backups, transfers, QoS and jobs.
type extrasTables struct{}

func defineExtras(*record.Store) extrasTables { return extrasTables{} }
