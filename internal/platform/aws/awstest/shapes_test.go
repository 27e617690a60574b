package awstest_test

import (
	"bytes"
	"context"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	awssdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/middleware"
	smithy "github.com/aws/smithy-go/middleware"

	"github.com/gitopsd/gitopsd/internal/platform/aws/awstest"
)

// shapes are the answers of an AWS, by call: each field's path and kind.
type shapes struct {
	mu     sync.Mutex
	by     map[string]map[string]string
	refuse map[string]string // why a call was refused
}

// record has a configuration's answers be looked at.
func (s *shapes) record(c awssdk.Config) awssdk.Config {
	next := c.HTTPClient
	if next == nil {
		next = http.DefaultClient
	}
	c.APIOptions = append(c.APIOptions, func(stack *smithy.Stack) error {
		return stack.Deserialize.Add(smithy.DeserializeMiddlewareFunc("shapes", func(ctx context.Context, in smithy.DeserializeInput, h smithy.DeserializeHandler) (smithy.DeserializeOutput, smithy.Metadata, error) {
			return h.HandleDeserialize(context.WithValue(ctx, callKey{}, middleware.GetServiceID(ctx)+"."+middleware.GetOperationName(ctx)), in)
		}), smithy.Before)
	})
	c.HTTPClient = client(func(r *http.Request) (*http.Response, error) {
		res, err := next.Do(r)
		if err != nil {
			return nil, err
		}
		b, err := io.ReadAll(res.Body)
		res.Body.Close()
		res.Body = io.NopCloser(bytes.NewReader(b))
		call, _ := r.Context().Value(callKey{}).(string)
		s.see(call, res, b)
		return res, err
	})
	return c
}

type callKey struct{}

type client func(*http.Request) (*http.Response, error)

func (c client) Do(r *http.Request) (*http.Response, error) { return c(r) }

func (s *shapes) see(call string, res *http.Response, body []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if res.StatusCode >= http.StatusBadRequest {
		s.refuse[call] = fmt.Sprintf("%d %.150s", res.StatusCode, body)
		return
	}
	fields := s.by[call]
	if fields == nil {
		fields = make(map[string]string)
		s.by[call] = fields
	}
	var document any
	switch trimmed := bytes.TrimSpace(body); {
	case len(trimmed) == 0:
	case trimmed[0] == '<':
		_ = xmlShape(xml.NewDecoder(bytes.NewReader(trimmed)), fields)
	case json.Unmarshal(trimmed, &document) == nil:
		jsonShape(document, "", fields)
	}
}

func jsonShape(v any, at string, fields map[string]string) {
	switch v := v.(type) {
	case map[string]any:
		for k, e := range v {
			jsonShape(e, at+"/"+k, fields)
		}
	case []any:
		for _, e := range v {
			jsonShape(e, at+"/[]", fields)
		}
	case string:
		fields[at] = "text"
	case float64:
		fields[at] = "number"
	case bool:
		fields[at] = "yes or no"
	}
}

var number = regexp.MustCompile(`^-?[0-9]+$`)

// xmlShape finds the leaves of a document, without its root's name.
func xmlShape(dec *xml.Decoder, fields map[string]string) error {
	var path []string
	text := ""
	for {
		token, err := dec.Token()
		if err != nil {
			return err
		}
		switch t := token.(type) {
		case xml.StartElement:
			path, text = append(path, t.Name.Local), ""
		case xml.CharData:
			text += string(t)
		case xml.EndElement:
			if text = strings.TrimSpace(text); text != "" && len(path) > 1 {
				kind := "text"
				switch {
				case text == "true" || text == "false":
					kind = "yes or no"
				case number.MatchString(text):
					kind = "number"
				}
				fields["/"+strings.Join(path[1:], "/")] = kind
			}
			path, text = path[:len(path)-1], ""
		}
	}
}

// TestShapesAreAnothersToo makes the same calls of what we play and of ministack,
// which others wrote, and holds the answers against each other: a field that both
// have is of the same kind. What only one has, or neither, is told.
func TestShapesAreAnothersToo(t *testing.T) {
	t.Parallel()
	theirs, ours := newShapes(), newShapes()
	url := awstest.StartMinistack(t)
	s := awstest.New(t, "")
	s.PlayECS(t, &awstest.Records{}, s.PlayCloudMap())
	s.PlayLogs()
	s.PlayCloudFront()
	s.PlayACM(func(context.Context, string) string { return "" })
	s.PlayElastiCache("users", nil, 0)
	other := s.Config()
	other.BaseEndpoint = awssdk.String(url)
	other.HTTPClient = &http.Client{Transport: &http.Transport{ // whatever word is put before the host
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, strings.TrimPrefix(url, "http://"))
		},
	}}
	for name, sequence := range sequences() {
		for who, config := range map[string]awssdk.Config{"ours": ours.record(s.Config()), "ministack's": theirs.record(other)} {
			if err := sequence(t.Context(), config); err != nil {
				t.Logf("%s, %s: ended early: %v", name, who, err)
			}
		}
	}
	compared := 0
	for _, call := range slices.Sorted(maps.Keys(ours.by)) {
		if theirs.by[call] == nil {
			t.Logf("%s: only ours answers: theirs says %q", call, theirs.refuse[call])
			continue
		}
		compared++
		var here, there []string
		for field, kind := range ours.by[call] {
			switch other := theirs.by[call][field]; {
			case other == "":
				here = append(here, field)
			case other != kind:
				t.Errorf("%s: %s is a %s, and ministack's a %s", call, field, kind, other)
			}
		}
		for field := range theirs.by[call] {
			if ours.by[call][field] == "" {
				there = append(there, field)
			}
		}
		slices.Sort(here)
		slices.Sort(there)
		t.Logf("%s: %d fields agree; only ours: %v; only theirs: %v", call, len(ours.by[call])-len(here), here, there)
	}
	for _, call := range slices.Sorted(maps.Keys(ours.refuse)) {
		if ours.by[call] == nil {
			t.Errorf("%s: ours refuses: %s", call, ours.refuse[call])
		}
	}
	if compared < 35 {
		t.Errorf("only %d calls were compared", compared)
	}
	t.Logf("%d calls compared", compared)
}

func newShapes() *shapes {
	return &shapes{by: make(map[string]map[string]string), refuse: make(map[string]string)}
}
