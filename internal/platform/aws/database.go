package aws

import (
	"context"

	"github.com/gitopsd/gitopsd/internal/platform/tenantdb"
)

// Master says how the role that makes tenants' roles and databases connects to
// a cell's Aurora cluster. RDS makes it: it may create roles and databases
// and is no superuser.
type Master = tenantdb.Master

// Database makes tenants' roles and databases in one Aurora cluster.
type Database = tenantdb.Databases

// OpenDatabase returns the databases of a cluster. It does not connect yet.
func OpenDatabase(ctx context.Context, m Master) (*Database, error) {
	return tenantdb.Open(ctx, tenantdb.Config{Master: m})
}
