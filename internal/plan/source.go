package plan

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"

	"github.com/gitopsd/gitopsd/internal/tenant"
)

// mostDesign bounds how many changes of a design are told.
const mostDesign = 40

// source says what a change of where the app comes from brings about.
func source(d difference) []Consequence {
	from, to := d.from.App, d.to.App
	switch {
	case from.Design != nil && to.Design != nil:
		return redesigned(from.Design, to.Design)
	case to.Design != nil:
		out := []Consequence{{
			Field: "app", From: sourceOf(from), To: "design", Effect: Breaking,
			Text: "The app is generated from a design now. Its database stays: the design's tables are made beside what is there, and the deploy fails where a table of the same name is not a design's.",
		}}
		if !d.to.Database.Enabled {
			out = append(out, withoutDatabase(d.to)...)
		}
		return out
	case from.Design != nil:
		out := []Consequence{{
			Field: "app", From: "design", To: sourceOf(to), Effect: Breaking,
			Text: "The app is no longer generated. Its database stays, with the design's tables and rows: the migrations of " + sourceOf(to) + " run on it.",
		}}
		return withUnseen(out, d.to)
	case from.Git != nil && to.Git != nil && from.Git.URL == to.Git.URL && from.Git.Path == to.Git.Path:
		return []Consequence{{
			Field: "app.git.ref", From: short(from.Git.Ref), To: short(to.Git.Ref), Effect: Note,
			Text: "Built at " + short(to.Git.Ref) + ". " + elsewhere,
		}}
	}
	out := []Consequence{{
		Field: "app", From: sourceOf(from), To: sourceOf(to), Effect: Breaking,
		Text: "The app is built from another place. Its database stays: a migration with a number that ran before does not run again.",
	}}
	return withUnseen(out, d.to)
}

func sourceOf(a tenant.App) string {
	switch {
	case a.Design != nil:
		return "design"
	case a.Git != nil:
		s := a.Git.URL
		if a.Git.Path != "" {
			s += "/" + a.Git.Path
		}
		return short(s)
	}
	return short(a.Path)
}

const elsewhere = "The code is in another repository: its changes and migrations are not shown here."

func unseen(t *tenant.Tenant) Consequence {
	return Consequence{Field: "app.git", To: sourceOf(t.App), Effect: Note, Text: elsewhere}
}

func withUnseen(out []Consequence, t *tenant.Tenant) []Consequence {
	if t.App.Git != nil {
		return append(out, unseen(t))
	}
	return out
}

// redesigned says what changes between two designs. Tables are never dropped
// and columns neither: package design only adds and widens.
func redesigned(from, to *tenant.Design) []Consequence {
	var out []Consequence
	say := func(effect Effect, was, is, format string, args ...any) {
		out = append(out, Consequence{
			Field: "app.design.models", From: short(was), To: short(is), Effect: effect, Text: fmt.Sprintf(format, args...),
		})
	}
	old := map[string]tenant.Model{}
	for _, m := range from.Models {
		old[m.Name] = m
	}
	for _, m := range to.Models {
		if before, ok := old[m.Name]; ok {
			remodelled(before, m, say)
		} else {
			say(Note, "", m.Name, "Model %s is new: a table, an API and a page with %s.", m.Name, count(len(m.Fields), "field"))
		}
		delete(old, m.Name)
	}
	for _, name := range slices.Sorted(maps.Keys(old)) {
		say(Breaking, name, "", "Model %s goes: its API and page stop answering. Its table and rows stay in the database, out of use.", name)
	}
	if len(out) == 0 && !reflect.DeepEqual(from.Models, to.Models) {
		say(Note, "", "", "Models or fields are in another order.")
	}
	if n := len(out); n > mostDesign {
		slices.SortStableFunc(out, func(a, b Consequence) int { return cmp.Compare(a.Effect.Severity(), b.Effect.Severity()) })
		out = out[:mostDesign]
		say(Note, "", "", "And %d more changes of the design.", n-mostDesign)
	}
	if from.Title != to.Title {
		out = append(out, Consequence{
			Field: "app.design.title", From: short(from.Title), To: short(to.Title), Effect: Note, Text: "The title of its page changes.",
		})
	}
	return out
}

type sayDesign func(effect Effect, from, to, format string, args ...any)

func remodelled(from, to tenant.Model, say sayDesign) {
	old := map[string]tenant.Field{}
	for _, f := range from.Fields {
		old[f.Name] = f
	}
	for _, f := range to.Fields {
		name := to.Name + "." + f.Name
		before, ok := old[f.Name]
		delete(old, f.Name)
		switch {
		case !ok && unfillable(f):
			say(Breaking, "", typeOf(f), "%s is new: the deploy fails if there are records, for which there is no right value.", name)
		case !ok && f.Required:
			say(Note, "", typeOf(f), "%s is new and required: records that are there get %s.", name, filling(f))
		case !ok:
			say(Note, "", typeOf(f), "%s is new.", name)
		default:
			retyped(name, before, f, say)
		}
	}
	for _, field := range slices.Sorted(maps.Keys(old)) {
		say(Breaking, typeOf(old[field]), "", "%s.%s goes from API and page. Its column and values stay in the database, out of use.", to.Name, field)
	}
}

// retyped says what changes of one field.
func retyped(name string, from, to tenant.Field, say sayDesign) {
	if typeOf(from) != typeOf(to) {
		text := "%s changes its type: values are converted where none can get lost, else the deploy fails and nothing changes."
		if from.Type == to.Type {
			text = "%s refers to another model: the deploy fails if a value is not the id of one of its records."
		}
		say(Breaking, typeOf(from), typeOf(to), text, name)
	}
	switch {
	case !from.Required && to.Required && to.Default == nil && (to.Unique || to.Type == tenant.FieldRef):
		say(Breaking, "optional", "required", "%s becomes required: the deploy fails if a record has no value.", name)
	case !from.Required && to.Required:
		say(Breaking, "optional", "required", "%s becomes required: records without a value get %s.", name, filling(to))
	case from.Required && !to.Required:
		say(Note, "required", "optional", "%s becomes optional.", name)
	}
	switch {
	case !from.Unique && to.Unique:
		say(Breaking, "", "unique", "%s becomes unique: the deploy fails if two records have the same value.", name)
	case from.Unique && !to.Unique:
		say(Note, "unique", "", "%s need not be unique any more.", name)
	}
	if !reflect.DeepEqual(from.Default, to.Default) {
		text := "A record made without %s gets another default."
		if to.Default == nil {
			text = "A record made without %s no longer gets a default."
		}
		say(Note, literal(from.Default), literal(to.Default), text, name)
	}
}

// unfillable reports whether records that are there cannot get the new field.
func unfillable(f tenant.Field) bool {
	if f.Unique {
		return f.Required || f.Default != nil || f.Type == tenant.FieldBool
	}
	return f.Required && f.Type == tenant.FieldRef
}

func typeOf(f tenant.Field) string {
	if f.Type == tenant.FieldRef {
		return "ref " + f.Ref
	}
	return string(f.Type)
}

// filling is what records without a value get.
func filling(f tenant.Field) string {
	if f.Default != nil {
		return "the default " + short(literal(f.Default))
	}
	return "the zero of its type"
}

// literal writes a default as JSON does.
func literal(v any) string {
	if v == nil {
		return ""
	}
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Sprint(v)
	}
	return string(b)
}
