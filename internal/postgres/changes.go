package postgres

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"
)

// channel is where transactions announce that something is to be seen: a commit
// held, approved or accepted, runs queued, claimed or ended, a status, report or
// notice put. What a run does between is too frequent to wake anyone for.
const channel = "gitopsd_changes"

// Changes delivers whenever something may have changed, until ctx ends; then
// it is closed. Several changes in a row may come as one. It listens on a
// connection of its own, and delivers once after every time it had to connect.
func (l *Ledger) Changes(ctx context.Context) <-chan struct{} {
	out := make(chan struct{}, 1)
	go func() {
		defer close(out)
		pause := 50 * time.Millisecond
		for ctx.Err() == nil {
			heard, err := l.listen(ctx, out)
			if ctx.Err() != nil {
				return
			}
			l.log.Warn("cannot listen for changes; connecting again", "error", err)
			if pause = min(2*pause, 5*time.Second); heard {
				pause = 50 * time.Millisecond
			}
			select {
			case <-ctx.Done():
			case <-time.After(pause):
			}
		}
	}()
	return out
}

// listen passes notifications on until the connection ends, and reports
// whether there was one at all.
func (l *Ledger) listen(ctx context.Context, out chan<- struct{}) (bool, error) {
	conn, err := l.connect(ctx)
	if err != nil {
		return false, err
	}
	defer closeConn(conn)
	if _, err := conn.Exec(ctx, `LISTEN `+channel); err != nil {
		return false, failure("listen", err)
	}
	for {
		select {
		case out <- struct{}{}:
		default:
		}
		if _, err := conn.WaitForNotification(ctx); err != nil {
			return true, failure("listen", err)
		}
	}
}

func closeConn(conn *pgx.Conn) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_ = conn.Close(ctx) // it is given up either way
}
