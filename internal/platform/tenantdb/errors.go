package tenantdb

import (
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/gitopsd/gitopsd/internal/fault"
)

func code(err error) string {
	var e *pgconn.PgError
	if errors.As(err, &e) {
		return e.Code
	}
	return ""
}

// forbidden reports whether the master may not do what it tried.
func forbidden(err error) bool { return code(err) == "42501" }

// failure says what was being done, without the statement: it may hold a
// password. nil stays nil.
func failure(what string, err error) error {
	if err == nil {
		return nil
	}
	kind := fault.Transient
	var known *fault.Error
	switch c := code(err); {
	case c == "", errors.As(err, &known):
		return fmt.Errorf("%s: %w", what, err)
	case c == "28P01", c == "28000", c == "42501": // wrong password, not let in, not allowed
		kind = fault.Invalid
	case c == "23505", c == "42710", c == "42P04": // another made it at the same time
		kind = fault.Conflict
	}
	return fault.Errorf(kind, "%s: %w", what, err)
}
