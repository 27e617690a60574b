package kit

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// maxBody is the largest request body, in bytes.
const maxBody = 1 << 20

// maxString is the longest value of a string field, in characters.
const maxString = 1000

// body reads a request's JSON object.
func body(w http.ResponseWriter, r *http.Request) (map[string]json.RawMessage, error) {
	// A form of another site cannot send this type without asking first.
	if t, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || t != "application/json" {
		return nil, &httpError{Status: http.StatusUnsupportedMediaType, Message: "send JSON, with Content-Type: application/json"}
	}
	b, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return nil, &httpError{Status: http.StatusRequestEntityTooLarge, Message: fmt.Sprintf("the body is larger than %d bytes", maxBody)}
	case err != nil:
		return nil, &httpError{Status: http.StatusBadRequest, Message: "the body cannot be read"}
	}
	var object map[string]json.RawMessage
	if err := json.Unmarshal(b, &object); err != nil || object == nil {
		return nil, &httpError{Status: http.StatusBadRequest, Message: "the body is not a JSON object"}
	}
	return object, nil
}

// decode fills dst from object and returns what is wrong, by field.
func decode(m *Model, object map[string]json.RawMessage, partial bool, dst []any) map[string]string {
	wrong := map[string]string{}
	known := map[string]bool{"id": true, "created_at": true, "updated_at": true} // the server's own
	for i, f := range m.Fields {
		known[f.Name] = true
		raw, present := object[f.Name]
		switch {
		case !present && f.Required && f.Default == nil && !partial:
			wrong[f.Name] = "is required"
		case !present:
		case isNull(raw):
			if !setNull(dst[i]) {
				wrong[f.Name] = "is required"
			}
		default:
			if why := set(f, raw, dst[i]); why != "" {
				wrong[f.Name] = why
			}
		}
	}
	for name := range object {
		if !known[name] {
			wrong[name] = "no such field"
		}
	}
	return wrong
}

func isNull(raw json.RawMessage) bool { return bytes.Equal(bytes.TrimSpace(raw), []byte("null")) }

// setNull empties an optional field.
func setNull(dst any) bool {
	switch d := dst.(type) {
	case **string:
		*d = nil
	case **int64:
		*d = nil
	case **float64:
		*d = nil
	case **bool:
		*d = nil
	case **time.Time:
		*d = nil
	case **JSON:
		*d = nil
	default:
		return false
	}
	return true
}

// set reads raw into dst, and returns what is wrong or "".
func set(f Field, raw json.RawMessage, dst any) string {
	switch f.Type {
	case "int", "ref":
		n, err := strconv.ParseInt(string(raw), 10, 64)
		if err != nil {
			return "must be a whole number of at most 64 bits"
		}
		assign(dst, n)
	case "float":
		n, err := strconv.ParseFloat(string(raw), 64)
		if err != nil {
			return "must be a number"
		}
		assign(dst, n)
	case "bool":
		b, err := strconv.ParseBool(string(raw))
		if err != nil || (raw[0] != 't' && raw[0] != 'f') {
			return "must be true or false"
		}
		assign(dst, b)
	case "json":
		if bytes.Contains(raw, []byte(`\u0000`)) {
			return "must not contain a null character"
		}
		assign(dst, JSON(raw))
	default:
		var s string
		if err := json.Unmarshal(raw, &s); err != nil {
			return "must be a string"
		}
		return setText(f, s, dst)
	}
	return ""
}

var uuidForm = regexp.MustCompile(`^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$`)

// setText reads a value that JSON writes as a string.
func setText(f Field, s string, dst any) string {
	switch {
	case strings.ContainsRune(s, 0):
		return "must not contain a null character"
	case f.Required && (f.Type == "string" || f.Type == "text") && strings.TrimSpace(s) == "":
		return "is required"
	case f.Type == "string" && utf8.RuneCountInString(s) > maxString:
		return fmt.Sprintf("must have at most %d characters", maxString)
	case f.Type == "uuid" && !uuidForm.MatchString(s):
		return "must be a UUID like 01234567-89ab-cdef-0123-456789abcdef"
	case f.Type == "date":
		if _, err := time.Parse(time.DateOnly, s); err != nil {
			return "must be a date like 2006-01-31"
		}
	case f.Type == "time":
		t, err := time.Parse(time.RFC3339, s)
		if err != nil {
			return "must be a time like 2006-01-31T15:04:05Z"
		}
		assign(dst, t)
		return ""
	}
	if f.Type == "uuid" {
		s = strings.ToLower(s)
	}
	assign(dst, s)
	return ""
}

// assign sets *dst, or **dst of an optional field, to v.
func assign[T any](dst any, v T) {
	switch d := dst.(type) {
	case *T:
		*d = v
	case **T:
		*d = &v
	}
}
