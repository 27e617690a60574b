package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"

	"github.com/gitopsd/gitopsd/internal/fault"
)

// maxAnswer bounds what is read of an answer, in bytes: ten thousand tenants
// are some tens of megabytes.
const maxAnswer = 512 << 20

// client asks the daemon's API.
type client struct {
	server, token string
	http          *http.Client
}

// errUnreachable is wrapped by errors that mean that no daemon answers.
var errUnreachable = errors.New("no gitopsd answers")

func newClient(server, token string) *client {
	return &client{server: server, token: token, http: &http.Client{
		// The API never redirects; whoever does is not it.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// apiPath joins and escapes the elements of an API path.
func apiPath(elements ...string) string {
	p := "/api/v1"
	for _, e := range elements {
		p += "/" + url.PathEscape(e)
	}
	return p
}

// get asks and decodes the answer.
func (c *client) get(ctx context.Context, path string, into any) error {
	res, err := c.do(ctx, http.MethodGet, path, nil, nil)
	if err != nil {
		return err
	}
	return decode(res, into)
}

// send asks with a body: bytes as they are, nothing, or anything as JSON.
func (c *client) send(ctx context.Context, method, path string, body, into any) error {
	raw, ok := body.([]byte)
	if !ok && body != nil {
		var err error
		if raw, err = json.Marshal(body); err != nil {
			return fmt.Errorf("encode request: %w", err)
		}
	}
	res, err := c.do(ctx, method, path, raw, nil)
	if err != nil {
		return err
	}
	return decode(res, into)
}

// do asks and returns an answer that is no error; its body is to be closed.
func (c *client) do(ctx context.Context, method, path string, body []byte, header http.Header) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, c.server+path, bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("ask %s: %w", c.server, err)
	}
	for k, v := range header {
		req.Header[k] = v
	}
	if c.token != "" {
		req.Header.Set("Authorization", "Bearer "+c.token)
	}
	res, err := c.http.Do(req)
	if err != nil {
		return nil, c.unreachable(ctx, err)
	}
	if res.StatusCode < 400 && res.StatusCode/100 != 3 || res.StatusCode == http.StatusNotModified {
		return res, nil
	}
	defer res.Body.Close()
	return nil, refusal(res, c.server)
}

func (c *client) unreachable(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	var dial *net.OpError
	if errors.As(err, &dial) && dial.Op == "dial" {
		return fault.Errorf(fault.NotFound, "%w at %s", errUnreachable, c.server).WithHint("start it with: gitopsd up")
	}
	var wrapped *url.Error
	if errors.As(err, &wrapped) {
		err = wrapped.Err
	}
	return fault.Errorf(fault.Transient, "ask %s: %w", c.server, err)
}

// refusal returns the error that an answer tells of.
func refusal(res *http.Response, server string) error {
	var r fault.Record
	err := json.NewDecoder(io.LimitReader(res.Body, 1<<20)).Decode(&r)
	if err != nil || r.Kind == "" || r.Message == "" {
		return fault.Errorf(fault.NotFound, "what answers at %s is not gitopsd (%s)", server, res.Status).
			WithHint("name the right address with --server")
	}
	return r.Err()
}

func decode(res *http.Response, into any) error {
	defer res.Body.Close()
	if err := json.NewDecoder(io.LimitReader(res.Body, maxAnswer)).Decode(into); err != nil {
		return fault.Errorf(fault.Transient, "read the answer of %s: %w", res.Request.URL.Host, err)
	}
	return nil
}
