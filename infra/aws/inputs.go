package aws

import (
	"fmt"
	"maps"
	"reflect"
	"strings"

	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"
)

// inputs returns args as what Pulumi takes, with tags where there is room.
func inputs(args any, tags map[string]string) pulumi.Map {
	v := reflect.ValueOf(args)
	m := structMap(v)
	for i := range v.NumField() {
		f := v.Type().Field(i)
		if name, _ := tagOf(f); name == "tags" && f.Type == reflect.TypeFor[map[string]string]() {
			all := maps.Clone(tags)
			maps.Copy(all, v.Field(i).Interface().(map[string]string))
			m["tags"] = pulumi.ToStringMap(all)
		}
	}
	return m
}

// tagOf returns the name of a field's input, and whether zero is a value.
func tagOf(f reflect.StructField) (name string, zero bool) {
	name, opts, _ := strings.Cut(f.Tag.Get("pulumi"), ",")
	return name, opts == "zero"
}

func structMap(v reflect.Value) pulumi.Map {
	m := pulumi.Map{}
	for i := range v.NumField() {
		f := v.Type().Field(i)
		name, zero := tagOf(f)
		if name == "" || v.Field(i).IsZero() && !zero {
			continue
		}
		m[name] = input(v.Field(i))
	}
	return m
}

// input returns one value. The kinds are those our structs are made of: another
// one is a mistake in this package, not of its user.
func input(v reflect.Value) pulumi.Input {
	if v.CanInterface() {
		if in, ok := v.Interface().(pulumi.Input); ok {
			return in
		}
	}
	switch v.Kind() {
	case reflect.String:
		return pulumi.String(v.String())
	case reflect.Bool:
		return pulumi.Bool(v.Bool())
	case reflect.Int:
		return pulumi.Int(int(v.Int()))
	case reflect.Float64:
		return pulumi.Float64(v.Float())
	case reflect.Slice:
		out := make(pulumi.Array, v.Len())
		for i := range out {
			out[i] = input(v.Index(i))
		}
		return out
	case reflect.Map:
		out := pulumi.Map{}
		for it := v.MapRange(); it.Next(); {
			out[it.Key().String()] = input(it.Value())
		}
		return out
	case reflect.Pointer:
		return input(v.Elem())
	case reflect.Struct:
		return structMap(v)
	default:
		panic(fmt.Sprintf("no input: %s", v.Type()))
	}
}
