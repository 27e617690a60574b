package kit

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// httpError is an answer other than 2xx: {"error": …, "fields": {field: …}}.
type httpError struct {
	Status  int               `json:"-"`
	Message string            `json:"error"`
	Fields  map[string]string `json:"fields,omitempty"`
}

func (e *httpError) Error() string { return e.Message }

// invalid is the answer to a record with wrong fields.
func invalid(fields map[string]string) error {
	if len(fields) == 0 {
		return nil
	}
	return &httpError{Status: http.StatusUnprocessableEntity, Message: "some fields are not right", Fields: fields}
}

// ConstraintName returns the name of a table's constraint or index on a column,
// within Postgres' 63 bytes. kind is "key" or "fkey".
//
//go:noinline
func ConstraintName(table, column, kind string) string {
	name := table + "_" + column + "_" + kind
	if len(name) <= 63 {
		return name
	}
	var sum uint64 = 14695981039346656037 // FNV-1a, 64 bits
	for _, b := range []byte(name) {
		sum = (sum ^ uint64(b)) * 1099511628211
	}
	return fmt.Sprintf("%.42s_%016x", name, sum)
}

// answerTo turns any error of a handler into an answer. Errors it does not know
// are 500, with nothing of them told.
func answerTo(err error, m *Model, method string) *httpError {
	var answer *httpError
	if errors.As(err, &answer) {
		return answer
	}
	if errors.Is(err, pgx.ErrNoRows) {
		return &httpError{Status: http.StatusNotFound, Message: "no such record"}
	}
	var pg *pgconn.PgError
	if errors.As(err, &pg) {
		if answer = fromPostgres(pg, m, method); answer != nil {
			return answer
		}
	}
	var connect *pgconn.ConnectError
	if errors.As(err, &connect) || errors.Is(err, context.DeadlineExceeded) || pgconn.SafeToRetry(err) {
		return &httpError{Status: http.StatusServiceUnavailable, Message: "the database cannot be reached"}
	}
	return &httpError{Status: http.StatusInternalServerError, Message: "internal error"}
}

func fromPostgres(pg *pgconn.PgError, m *Model, method string) *httpError {
	switch {
	case pg.Code == "23505": // unique_violation
		return &httpError{
			Status: http.StatusConflict, Message: "another record has this value already",
			Fields: map[string]string{fieldOf(pg, m, "key"): "another record has this value already"},
		}
	case pg.Code == "23503" && method == http.MethodDelete: // foreign_key_violation
		return &httpError{Status: http.StatusConflict, Message: fmt.Sprintf("records of %s refer to this one", pg.TableName)}
	case pg.Code == "23503":
		return &httpError{
			Status: http.StatusUnprocessableEntity, Message: "some fields are not right",
			Fields: map[string]string{fieldOf(pg, m, "fkey"): "no such record"},
		}
	case pg.Code == "23502": // not_null_violation
		return &httpError{
			Status: http.StatusUnprocessableEntity, Message: "some fields are not right",
			Fields: map[string]string{pg.ColumnName: "is required"},
		}
	case strings.HasPrefix(pg.Code, "22"): // data exceptions
		return &httpError{Status: http.StatusUnprocessableEntity, Message: pg.Message}
	case pg.Code == "54000": // program_limit_exceeded: a value is too large for an index
		return &httpError{Status: http.StatusUnprocessableEntity, Message: "a value is too long to be unique"}
	case strings.HasPrefix(pg.Code, "53"), strings.HasPrefix(pg.Code, "57"): // no resources, shutting down
		return &httpError{Status: http.StatusServiceUnavailable, Message: "the database is busy"}
	}
	return nil
}

// fieldOf finds the field a constraint is about.
func fieldOf(pg *pgconn.PgError, m *Model, kind string) string {
	for _, f := range m.Fields {
		if ConstraintName(m.Table, f.Name, kind) == pg.ConstraintName {
			return f.Name
		}
	}
	return pg.ConstraintName
}

// write answers v as JSON.
func write(w http.ResponseWriter, status int, v any) {
	b, err := json.Marshal(v)
	if err != nil {
		status, b = http.StatusInternalServerError, []byte(`{"error":"internal error"}`)
	}
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, _ = w.Write(append(b, '\n')) // the client has gone: nothing to do
}
