package awstest

import (
	"encoding/base64"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/http"
	"reflect"
	"strconv"
	"strings"
	"time"
)

// xmlCodec is REST with XML: names are those of the fields of the SDK's types.
// Each list is wrapped; how its elements are called is known by what they are.
type xmlCodec struct{}

// node is an element.
type node struct {
	name     string
	text     string
	children []*node
}

func parseXML(r io.Reader) (*node, error) {
	dec := xml.NewDecoder(r)
	var stack []*node
	for {
		token, err := dec.Token()
		if errors.Is(err, io.EOF) {
			return nil, nil // no body
		}
		if err != nil {
			return nil, err
		}
		switch t := token.(type) {
		case xml.StartElement:
			n := &node{name: t.Name.Local}
			if len(stack) > 0 {
				top := stack[len(stack)-1]
				top.children = append(top.children, n)
			}
			stack = append(stack, n)
		case xml.CharData:
			if len(stack) > 0 {
				stack[len(stack)-1].text += string(t)
			}
		case xml.EndElement:
			if len(stack) == 1 {
				return stack[0], nil
			}
			stack = stack[:len(stack)-1]
		}
	}
}

func (xmlCodec) read(r *http.Request, payload string, input reflect.Value) error {
	root, err := parseXML(r.Body)
	if err != nil || root == nil {
		return err
	}
	if payload == "" {
		return fill(input, root)
	}
	return fill(input.FieldByName(payload), root)
}

// fill puts an element into a value. What the type has not is an error.
func fill(v reflect.Value, n *node) error {
	switch v.Kind() {
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		return fill(v.Elem(), n)
	case reflect.Struct:
		if _, ok := v.Interface().(time.Time); ok {
			at, err := time.Parse(time.RFC3339, n.text)
			v.Set(reflect.ValueOf(at))
			return err
		}
		for _, c := range n.children {
			f := v.FieldByName(c.name)
			if !f.IsValid() {
				return fmt.Errorf("%s has no %s", v.Type(), c.name)
			}
			if err := fill(f, c); err != nil {
				return err
			}
		}
		return nil
	case reflect.Slice:
		if v.Type().Elem().Kind() == reflect.Uint8 {
			b, err := base64.StdEncoding.DecodeString(n.text)
			v.SetBytes(b)
			return err
		}
		v.Set(reflect.MakeSlice(v.Type(), len(n.children), len(n.children)))
		for i, c := range n.children {
			if err := fill(v.Index(i), c); err != nil {
				return err
			}
		}
		return nil
	default:
		return setText(v, n.text)
	}
}

// setText sets a value from its text.
func setText(v reflect.Value, text string) error {
	switch v.Kind() {
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		return setText(v.Elem(), text)
	case reflect.String:
		v.SetString(text)
	case reflect.Bool:
		b, err := strconv.ParseBool(text)
		v.SetBool(b)
		return err
	case reflect.Int32, reflect.Int64:
		n, err := strconv.ParseInt(text, 10, 64)
		v.SetInt(n)
		return err
	case reflect.Float64:
		f, err := strconv.ParseFloat(text, 64)
		v.SetFloat(f)
		return err
	default:
		return fmt.Errorf("no text is a %s", v.Type())
	}
	return nil
}

func (xmlCodec) write(w http.ResponseWriter, operation string, output reflect.Value) {
	body := headers(w, output)
	w.Header().Set("Content-Type", "text/xml")
	var b strings.Builder
	b.WriteString(xml.Header)
	switch {
	case len(body) == 0:
		w.WriteHeader(http.StatusOK)
		return
	case len(body) == 1 && body[0].Type.Kind() == reflect.Pointer && body[0].Type.Elem().Kind() == reflect.Struct: // the body is one field
		v := output.FieldByIndex(body[0].Index)
		fmt.Fprintf(&b, "<%s>", body[0].Type.Elem().Name())
		if !v.IsNil() {
			putFields(&b, v.Elem())
		}
		fmt.Fprintf(&b, "</%s>", body[0].Type.Elem().Name())
	default:
		fmt.Fprintf(&b, "<%sResult>", operation)
		putFields(&b, output)
		fmt.Fprintf(&b, "</%sResult>", operation)
	}
	_, _ = io.WriteString(w, b.String())
}

func putFields(b *strings.Builder, v reflect.Value) {
	for i := range v.NumField() {
		f := v.Type().Field(i)
		if !f.IsExported() || f.Name == "ResultMetadata" || v.Field(i).IsZero() {
			continue
		}
		fmt.Fprintf(b, "<%s>", f.Name)
		putValue(b, v.Field(i), v.Type().Name())
		fmt.Fprintf(b, "</%s>", f.Name)
	}
}

func putValue(b *strings.Builder, v reflect.Value, in string) {
	switch v.Kind() {
	case reflect.Pointer:
		putValue(b, v.Elem(), in)
	case reflect.Struct:
		if at, ok := v.Interface().(time.Time); ok {
			b.WriteString(at.UTC().Format(time.RFC3339Nano))
			return
		}
		putFields(b, v)
	case reflect.Slice:
		if bytes, ok := v.Interface().([]byte); ok {
			b.WriteString(base64.StdEncoding.EncodeToString(bytes))
			return
		}
		name := elementOf(v.Type().Elem(), in)
		for i := range v.Len() {
			fmt.Fprintf(b, "<%s>", name)
			putValue(b, v.Index(i), "")
			fmt.Fprintf(b, "</%s>", name)
		}
	default:
		_ = xml.EscapeText(b, fmt.Append(nil, v.Interface()))
	}
}

// members are the types whose lists' elements are called member, textElements how
// the texts in a list are called. Both as in the SDK's deserializers: a test
// holds them to that.
var (
	members      = map[string]bool{"DomainResult": true, "ParameterDefinition": true, "Parameter": true, "EndPoint": true, "ValidationTokenDetail": true}
	textElements = map[string]string{
		"Aliases": "CNAME", "AllowedMethods": "Method", "CachedMethods": "Method", "TrustedSigners": "AwsAccountNumber",
		"TrustedKeyGroups": "KeyGroup", "GeoRestriction": "Location", "GeoRestrictionCustomization": "Location", "Paths": "Path",
		"Headers": "Name", "CookieNames": "Name", "QueryStringCacheKeys": "Name", "OriginSslProtocols": "SslProtocol", "StatusCodes": "StatusCode",
	}
)

func elementOf(element reflect.Type, in string) string {
	if element.Kind() != reflect.Struct {
		return textElements[in]
	}
	if members[element.Name()] {
		return "member"
	}
	return element.Name()
}

func (xmlCodec) refuse(w http.ResponseWriter, no *refusal) {
	var text strings.Builder
	_ = xml.EscapeText(&text, []byte(no.message))
	w.Header().Set("Content-Type", "text/xml")
	w.WriteHeader(statusOf(no.code))
	fmt.Fprintf(w, "<ErrorResponse><Error><Type>Sender</Type><Code>%s</Code><Message>%s</Message></Error><RequestId>test</RequestId></ErrorResponse>",
		no.code, text.String())
}

// statusOf returns the status of an error. Source: "Common errors" of CloudFront
// and the errors of each of its calls.
func statusOf(code string) int {
	switch {
	case strings.HasPrefix(code, "NoSuch"), strings.HasSuffix(code, "NotFound"), strings.HasSuffix(code, "NotFoundException"):
		return http.StatusNotFound
	case code == "PreconditionFailed":
		return http.StatusPreconditionFailed
	case strings.HasSuffix(code, "AlreadyExists"), strings.HasSuffix(code, "NotDisabled"), strings.HasSuffix(code, "InUse"), strings.HasSuffix(code, "ConflictException"):
		return http.StatusConflict
	case strings.HasPrefix(code, "AccessDenied"):
		return http.StatusForbidden
	case code == "TooManyRequestsException":
		return http.StatusTooManyRequests
	}
	return http.StatusBadRequest
}
