package edge

import (
	"testing"

	"github.com/gitopsd/gitopsd/infra/functions"
)

func BenchmarkViewerRequest(b *testing.B) {
	f, err := NewFunction("viewer-request.js", functions.ViewerRequest, func(k string) (string, bool) { return "acme", k == "acme.localhost" })
	if err != nil {
		b.Fatal(err)
	}
	ev := &Event{Request: EventRequest{Method: "GET", URI: "/", Headers: map[string]Values{"host": {Value: "acme.localhost:8080"},
		"user-agent": {Value: "x"}, "accept": {Value: "x"}, "x-tenant": {Value: "x"}, "accept-encoding": {Value: "x"}}}}
	b.ReportAllocs()
	for b.Loop() {
		o, err := f.Call(ev)
		if err != nil || len(o.Set) != 1 {
			b.Fatal(o, err)
		}
	}
}
