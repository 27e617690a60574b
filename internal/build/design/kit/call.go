package kit

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// requestTimeout bounds one request's time at the database.
const requestTimeout = 20 * time.Second

type call struct {
	ctx context.Context
	w   http.ResponseWriter
	r   *http.Request
	id  int64
}

// endpoint serves one path by method.
func (a *app) endpoint(m *Model, methods map[string]func(Call) error) http.Handler {
	allow := strings.Join(slices.Sorted(maps.Keys(methods)), ", ")
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), requestTimeout)
		defer cancel()
		method := r.Method
		if method == http.MethodHead {
			method = http.MethodGet
		}
		handle, ok := methods[method]
		if !ok {
			w.Header().Set("Allow", allow)
			write(w, http.StatusMethodNotAllowed, &httpError{Message: "this path knows only " + allow})
			return
		}
		c := &call{ctx: ctx, w: w, r: r}
		if text := r.PathValue("id"); text != "" {
			id, err := strconv.ParseInt(text, 10, 64)
			if err != nil {
				write(w, http.StatusNotFound, NotFound())
				return
			}
			c.id = id
		}
		if err := handle(c); err != nil {
			answer := answerTo(err, m, method)
			if answer.Status >= http.StatusInternalServerError {
				a.log.Error("request failed", "method", r.Method, "path", r.URL.Path, "err", err)
			}
			write(w, answer.Status, answer)
		}
	})
}

func (c *call) Context() context.Context { return c.ctx }
func (c *call) ID() int64                { return c.id }

func (c *call) Decode(m *Model, partial bool, dst []any) error {
	object, err := body(c.w, c.r)
	if err != nil {
		return err
	}
	return invalid(decode(m, object, partial, dst))
}

func (c *call) List(m *Model) (List, error) { return newList(m, c.r.URL.Query()) }

func (c *call) OK(v any) error {
	write(c.w, http.StatusOK, v)
	return nil
}

func (c *call) Created(v any, id int64) error {
	c.w.Header().Set("Location", fmt.Sprintf("%s/%d", c.r.URL.Path, id))
	write(c.w, http.StatusCreated, v)
	return nil
}

func (c *call) Page(items any, next int64) error {
	page := struct {
		Items any    `json:"items"`
		Next  *int64 `json:"next"` // pass it as ?after= to get the next page; null on the last
	}{Items: items}
	if next != 0 {
		page.Next = &next
	}
	write(c.w, http.StatusOK, page)
	return nil
}

func (c *call) Gone() error {
	c.w.WriteHeader(http.StatusNoContent)
	return nil
}
