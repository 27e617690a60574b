package awstest

import (
	"encoding/xml"
	"fmt"
	"net/http"
	"net/url"
	"reflect"
	"regexp"
	"strconv"
	"strings"
)

// The query protocol: a form is asked, XML is answered. Lists are
// "<name>.member.<n>" or "<name>.<element>.<n>"; the names are those of the
// fields of the SDK's types.

// readQuery fills in one of the SDK's input types. What the form has and the
// type has not is an error.
func readQuery(r *http.Request, input any) error {
	if err := r.ParseForm(); err != nil {
		return err
	}
	for key := range r.PostForm {
		if key == "Action" || key == "Version" {
			continue
		}
		name, _, _ := strings.Cut(key, ".")
		if !reflect.ValueOf(input).Elem().FieldByName(name).IsValid() {
			return fmt.Errorf("%T has no %s", input, name)
		}
	}
	return readFields(r.PostForm, "", reflect.ValueOf(input).Elem())
}

func readFields(form url.Values, prefix string, v reflect.Value) error {
	for i := range v.NumField() {
		if f := v.Type().Field(i); f.IsExported() {
			if err := readField(form, prefix+f.Name, v.Field(i)); err != nil {
				return err
			}
		}
	}
	return nil
}

func readField(form url.Values, key string, v reflect.Value) error {
	switch v.Kind() {
	case reflect.String:
		v.SetString(form.Get(key))
	case reflect.Pointer:
		if v.Type().Elem().Kind() == reflect.Struct || !form.Has(key) {
			return nil
		}
		v.Set(reflect.New(v.Type().Elem()))
		return readField(form, key, v.Elem())
	case reflect.Bool:
		b, err := strconv.ParseBool(form.Get(key))
		v.SetBool(b)
		return err
	case reflect.Int32:
		n, err := strconv.ParseInt(form.Get(key), 10, 32)
		v.SetInt(n)
		return err
	case reflect.Slice:
		return readList(form, key, v)
	}
	return nil
}

func readList(form url.Values, key string, v reflect.Value) error {
	element := regexp.MustCompile(`^` + regexp.QuoteMeta(key) + `\.[A-Za-z]+\.([0-9]+)(\.|$)`)
	heads := make(map[int]string)
	for k := range form {
		if m := element.FindStringSubmatch(k); m != nil {
			n, _ := strconv.Atoi(m[1])
			heads[n] = strings.TrimSuffix(m[0], ".")
		}
	}
	for n := 1; heads[n] != ""; n++ {
		e := reflect.New(v.Type().Elem()).Elem()
		var err error
		if e.Kind() == reflect.Struct {
			err = readFields(form, heads[n]+".", e)
		} else {
			err = readField(form, heads[n], e)
		}
		if err != nil {
			return err
		}
		v.Set(reflect.Append(v, e))
	}
	return nil
}

// writeQuery answers with one of the SDK's output types.
func writeQuery(w http.ResponseWriter, operation string, output any) {
	var b strings.Builder
	fmt.Fprintf(&b, "<%sResponse><%sResult>", operation, operation)
	writeFields(&b, reflect.ValueOf(output).Elem())
	fmt.Fprintf(&b, "</%sResult><ResponseMetadata><RequestId>test</RequestId></ResponseMetadata></%sResponse>", operation, operation)
	w.Header().Set("Content-Type", "text/xml")
	_, _ = w.Write([]byte(b.String()))
}

func writeFields(b *strings.Builder, v reflect.Value) {
	for i := range v.NumField() {
		f := v.Type().Field(i)
		if f.IsExported() && f.Name != "ResultMetadata" && !v.Field(i).IsZero() {
			fmt.Fprintf(b, "<%s>", f.Name)
			writeValue(b, v.Field(i), elements[f.Name])
			fmt.Fprintf(b, "</%s>", f.Name)
		}
	}
}

// elements are the names of lists' elements, where that is not member.
var elements = map[string]string{"TagList": "Tag"}

func writeValue(b *strings.Builder, v reflect.Value, element string) {
	switch v.Kind() {
	case reflect.Pointer:
		writeValue(b, v.Elem(), "")
	case reflect.Struct:
		writeFields(b, v)
	case reflect.Slice:
		if element == "" {
			element = "member"
		}
		for i := range v.Len() {
			fmt.Fprintf(b, "<%s>", element)
			writeValue(b, v.Index(i), "")
			fmt.Fprintf(b, "</%s>", element)
		}
	default:
		_ = xml.EscapeText(b, fmt.Append(nil, v.Interface()))
	}
}

// refuseQuery answers with an error of AWS.
func refuseQuery(w http.ResponseWriter, code, format string, args ...any) {
	var text strings.Builder
	_ = xml.EscapeText(&text, fmt.Appendf(nil, format, args...))
	w.Header().Set("Content-Type", "text/xml")
	status := http.StatusBadRequest
	if strings.HasSuffix(code, "NotFound") {
		status = http.StatusNotFound
	}
	w.WriteHeader(status)
	fmt.Fprintf(w, "<ErrorResponse><Error><Type>Sender</Type><Code>%s</Code><Message>%s</Message></Error><RequestId>test</RequestId></ErrorResponse>",
		code, text.String())
}
