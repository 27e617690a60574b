package postgres

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
)

// clean returns s as Postgres can store it.
func clean(s string) string {
	return strings.ReplaceAll(strings.ToValidUTF8(s, "\ufffd"), "\x00", "\ufffd")
}

// encode returns v as JSON that jsonb takes: an escaped NUL, which it refuses,
// is replaced. Broken UTF-8 is replaced by the JSON encoder.
func encode(v any) (string, error) {
	raw, err := json.Marshal(v)
	if err != nil {
		return "", fmt.Errorf("encode as JSON: %w", err)
	}
	if !bytes.Contains(raw, []byte(`\u0000`)) {
		return string(raw), nil
	}
	var out strings.Builder
	for i := 0; i < len(raw); i++ {
		switch {
		case raw[i] != '\\' || i+1 == len(raw):
			out.WriteByte(raw[i])
		case bytes.HasPrefix(raw[i:], []byte(`\u0000`)):
			out.WriteString(`\ufffd`)
			i += len(`\u0000`) - 1
		default: // another escape: two bytes belong together
			out.WriteByte(raw[i])
			out.WriteByte(raw[i+1])
			i++
		}
	}
	return out.String(), nil
}
