package postgres

import (
	"context"
	"time"

	"github.com/gitopsd/gitopsd/internal/fault"
)

// maxDeliveryName is the longest name or signature of a delivery, in bytes: a
// forge's are far shorter, and an index takes no more than some 2,700.
const maxDeliveryName = 512

// PutDelivery notes that a webhook's delivery came in; false if its name or its
// signature did before: names are not signed, so a replay may bear another. It is
// not fenced: whoever hears it may note it.
func (l *Ledger) PutDelivery(ctx context.Context, id, signature string, at time.Time) (fresh bool, err error) {
	if id == "" || len(id) > maxDeliveryName || len(signature) > maxDeliveryName {
		return false, fault.Errorf(fault.Invalid, "put delivery: its name or signature is empty or longer than %d bytes", maxDeliveryName)
	}
	tag, err := l.pool.Exec(ctx, `INSERT INTO gitopsd.deliveries (id, signature, at) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING`,
		clean(id), clean(signature), at)
	return err == nil && tag.RowsAffected() == 1, failure("put delivery", err)
}
