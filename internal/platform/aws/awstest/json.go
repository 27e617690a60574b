package awstest

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"reflect"
	"strings"
	"time"
)

// The JSON protocols: names are those of the fields of the SDK's types, as they
// are or with a small first letter; times are seconds since 1970.

// targetOf returns the operation that a call of JSON 1.1 names.
func targetOf(r *http.Request) string {
	_, operation, _ := strings.Cut(r.Header.Get("X-Amz-Target"), ".")
	return operation
}

// readJSON fills in one of the SDK's input types. What the document has and the
// type has not is an error.
func readJSON(body io.Reader, input any) error {
	dec := json.NewDecoder(body)
	dec.DisallowUnknownFields()
	if err := dec.Decode(input); err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("%T: %w", input, err)
	}
	return nil
}

func lowerFirst(name string) string { return strings.ToLower(name[:1]) + name[1:] }

func asIs(name string) string { return name }

// writeJSON answers with one of the SDK's output types, its fields under the
// names that the service's protocol has for them.
func writeJSON(w http.ResponseWriter, output any, name func(string) string) {
	w.Header().Set("Content-Type", "application/x-amz-json-1.1")
	_, _ = w.Write(encodeJSON(output, name))
}

func encodeJSON(output any, name func(string) string) []byte {
	b, err := json.Marshal(jsonOf(reflect.ValueOf(output), name))
	if err != nil {
		panic(err) // strings, numbers, lists and maps
	}
	return b
}

func jsonOf(v reflect.Value, name func(string) string) any {
	switch at := v.Interface().(type) {
	case time.Time:
		return float64(at.UnixMilli()) / 1000
	case []byte:
		return base64.StdEncoding.EncodeToString(at)
	}
	switch v.Kind() {
	case reflect.Pointer:
		return jsonOf(v.Elem(), name)
	case reflect.Struct:
		fields := make(map[string]any)
		for i := range v.NumField() {
			if f := v.Type().Field(i); f.IsExported() && f.Name != "ResultMetadata" && told(v.Field(i)) {
				fields[name(f.Name)] = jsonOf(v.Field(i), name)
			}
		}
		return fields
	case reflect.Slice:
		list := make([]any, v.Len())
		for i := range list {
			list[i] = jsonOf(v.Index(i), name)
		}
		return list
	case reflect.Map:
		fields := make(map[string]any)
		for _, k := range v.MapKeys() {
			fields[k.String()] = jsonOf(v.MapIndex(k), name)
		}
		return fields
	default:
		return v.Interface()
	}
}

// told reports whether a field is in an answer: numbers and yes and no always are.
func told(v reflect.Value) bool {
	switch v.Kind() {
	case reflect.Bool, reflect.Int32, reflect.Int64, reflect.Float64:
		return true
	default:
		return !v.IsZero()
	}
}

func refuseJSON(w http.ResponseWriter, code, message string) {
	w.Header().Set("Content-Type", "application/x-amz-json-1.1")
	w.Header().Set("X-Amzn-ErrorType", code)
	w.WriteHeader(http.StatusBadRequest)
	b, _ := json.Marshal(map[string]string{"__type": code, "message": message, "Message": message}) // strings only
	_, _ = w.Write(b)
}
