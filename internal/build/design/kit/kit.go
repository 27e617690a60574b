package kit

import (
	"context"
)

// App is a generated application.
type App interface {
	// DB returns the app's database.
	DB() DB
	// Add serves a model's records under /api/ and on the page.
	Add(r Resource)
	// Run serves until SIGTERM or SIGINT, then lets requests in flight end.
	// A failure ends the process with a message on standard error.
	Run()
}

// DB is a database, or one transaction on it.
type DB interface {
	Query(ctx context.Context, sql string, args ...any) (Rows, error)
	QueryRow(ctx context.Context, sql string, args ...any) Row
	// Exec returns the number of rows it touched.
	Exec(ctx context.Context, sql string, args ...any) (int64, error)
	// Tx runs fn in a transaction, which an error rolls back.
	Tx(ctx context.Context, fn func(tx DB) error) error
}

// Row is one row of a result.
type Row interface {
	Scan(dest ...any) error
}

// Rows is a result. Close may be called at any time.
type Rows interface {
	Row
	Next() bool
	Err() error
	Close()
}

// Resource is a model's records as an API. Generated code implements it.
type Resource interface {
	Model() *Model
	List(c Call) error
	Create(c Call) error
	Get(c Call) error
	Replace(c Call) error
	Patch(c Call) error
	Delete(c Call) error
}

// Model describes a kind of record: enough to read one from JSON, to filter a
// list and to draw a form.
type Model struct {
	Name   string  `json:"name"`  // singular
	Table  string  `json:"table"` // also its name in the API's paths
	Title  string  `json:"title"`
	Fields []Field `json:"fields"`
}

// Field describes a field of a model.
type Field struct {
	Name     string `json:"name"`
	Title    string `json:"title"`
	Type     string `json:"type"` // as in the design: string, text, int, float, bool, date, time, uuid, json, ref
	Required bool   `json:"required,omitempty"`
	Unique   bool   `json:"unique,omitempty"`
	Default  any    `json:"default,omitempty"`
	Ref      string `json:"ref,omitempty"` // table of the model that a ref points to
}

// Call is one request to a resource, and its answer.
type Call interface {
	Context() context.Context
	// ID is the record's, from the path.
	ID() int64
	// Decode reads the request's JSON into dst, one pointer a field in the
	// model's order. What is absent keeps its value; with partial, also a
	// required field may be absent. The error names every wrong field.
	Decode(m *Model, partial bool, dst []any) error
	// List reads paging, order and filters from the query.
	List(m *Model) (List, error)
	OK(v any) error
	Created(v any, id int64) error
	// Page answers a list: next is the last record's id if there may be more.
	Page(items any, next int64) error
	Gone() error
}

// List is a request for a list, as SQL.
type List interface {
	// SQL is what follows SELECT … FROM table: condition, order and limit. It
	// asks for one row more than Limit, to know whether there are more.
	SQL() string
	Args() []any
	Limit() int
}

// JSON is a JSON value as text.
type JSON string

// MarshalJSON returns j itself.
func (j JSON) MarshalJSON() ([]byte, error) {
	if j == "" {
		return []byte("null"), nil
	}
	return []byte(j), nil
}

// NotFound is what a resource returns for a record that is not there.
//
//go:noinline
func NotFound() error { return &httpError{Status: 404, Message: "no such record"} }
