package edge_test

import (
	"bytes"
	"crypto/tls"
	"encoding/json"
	"io"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// field is one field of an HTTP/2 request, as it is sent.
type field struct{ name, value string }

// frames sends a request of exactly these fields, and returns the status and body
// of the answer; "" if the stream or the connection was refused.
func (f *fixture) frames(t *testing.T, fields []field) (status, body string) {
	t.Helper()
	conn, err := tls.Dial("tcp", f.cfg.TLS.Addr, &tls.Config{
		ServerName: "acme.localhost", RootCAs: f.ownRoots(), NextProtos: []string{"h2"},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
	_, _ = io.WriteString(conn, http2.ClientPreface)
	framer := http2.NewFramer(conn, conn)
	framer.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	_ = framer.WriteSettings()
	var block bytes.Buffer
	enc := hpack.NewEncoder(&block)
	for _, h := range fields {
		_ = enc.WriteField(hpack.HeaderField{Name: h.name, Value: h.value})
	}
	_ = framer.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block.Bytes(), EndStream: true, EndHeaders: true})
	for {
		frame, err := framer.ReadFrame()
		if err != nil {
			return status, body
		}
		switch frame := frame.(type) {
		case *http2.SettingsFrame:
			if !frame.IsAck() {
				_ = framer.WriteSettingsAck()
			}
		case *http2.MetaHeadersFrame:
			status = frame.PseudoValue("status")
		case *http2.DataFrame:
			body += string(frame.Data())
		case *http2.RSTStreamFrame, *http2.GoAwayFrame:
			return status, body
		}
		if frame.Header().StreamID == 1 && frame.Header().Flags.Has(http2.FlagDataEndStream) {
			return status, body
		}
	}
}

// What HTTP/2 lets a client say twice, or differently, names no other tenant.
func TestSpoofedFrames(t *testing.T) {
	t.Parallel()
	f := newSecure(t, nil)
	f.start()
	f.tenant("acme", echo("acme-0"))
	f.tenant("beta", echo("beta-0"))
	request := func(more ...field) []field {
		return append([]field{{":method", "GET"}, {":scheme", "https"}, {":authority", "acme.localhost"}, {":path", "/"}}, more...)
	}
	for name, c := range map[string]struct {
		fields []field
		status string // "": refused as a whole
	}{
		"plain":                 {request(), "200"},
		"another host":          {request(field{"host", "beta.localhost"}), ""},
		"tenant":                {request(field{"x-tenant", "beta"}), "200"},
		"tenant, twice":         {request(field{"x-tenant", "beta"}, field{"x-tenant", "acme"}), "200"},
		"tenant, upper case":    {request(field{"X-Tenant", "beta"}), ""},
		"tenant, underscore":    {request(field{"x_tenant", "beta"}), "200"},
		"secret and tenant":     {request(field{"x-gitopsd-secret", secret}, field{"x-tenant", "beta"}), "200"},
		"key of the edge":       {request(field{"x-gitopsd-edge", "key-of-beta"}), "200"},
		"connection":            {request(field{"connection", "x-gitopsd-edge"}), ""},
		"late pseudo-header":    {request(field{"x-a", "1"}, field{":authority", "beta.localhost"}), ""},
		"two authorities":       {request(field{":authority", "beta.localhost"}), ""},
		"unknown pseudo-header": {request(field{":tenant", "beta"}), ""},
		"line break in a value": {request(field{"x-a", "1\r\nX-Tenant: beta"}), ""},
		"colon in a name":       {request(field{"x-tenant: beta", "1"}), ""},
		"no authority":          {[]field{{":method", "GET"}, {":scheme", "https"}, {":path", "/"}}, "404"},
		"absolute path": {[]field{
			{":method", "GET"}, {":scheme", "https"}, {":authority", "acme.localhost"}, {":path", "https://beta.localhost/"},
		}, ""},
		"a tunnel": {[]field{{":method", "CONNECT"}, {":authority", "acme.localhost"}}, "405"},
		"a websocket's tunnel": {[]field{
			{":method", "CONNECT"}, {":protocol", "websocket"}, {":scheme", "https"}, {":authority", "acme.localhost"}, {":path", "/"},
		}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			status, body := f.frames(t, c.fields)
			if status != c.status && (c.status != "" || status != "400") {
				t.Fatalf("status %q, want %q: %s", status, c.status, body)
			}
			if status != "200" {
				return
			}
			var s seen
			if err := json.Unmarshal([]byte(body), &s); err != nil {
				t.Fatalf("%q: %v", body, err)
			}
			if s.Instance != "acme-0" || s.Host != "acme.localhost" || s.Header.Get("X-Gitopsd-Edge") != "key-of-acme" {
				t.Errorf("the instance saw %+v", s)
			}
			for name := range s.Header {
				if l := strings.ToLower(name); strings.Contains(l, "tenant") || strings.Contains(l, "secret") {
					t.Errorf("%s reached the instance", name)
				}
			}
		})
	}
}
