package tenant

import "time"

// defaults returns what a file asks for that says nothing but its name and its
// app's source. The schema states the same; a test compares the two.
func defaults() Tenant {
	return Tenant{
		App:       App{Health: "/healthz"},
		Compute:   Compute{CPU: 256, Memory: 512, Scale: Scale{Min: 1, TargetCPU: 60}},
		Isolation: Isolation{Compute: Shared, Database: Shared, Cache: Shared},
		Database:  Database{Enabled: true, Connections: 10},
		Cache:     Cache{Enabled: true},
		Deletion:  Deletion{Grace: 7 * 24 * time.Hour},
	}
}

// decode makes the tenant of a value that passed every check.
func decode(value any) *Tenant {
	t := defaults()
	root := object(value)
	root.at("metadata").text("name", &t.Name)
	t.Labels = root.at("metadata").texts("labels")
	spec := root.at("spec")
	spec.flag("suspend", &t.Suspend)
	t.Domains = spec.list("domains")
	decodeApp(spec.at("app"), &t.App)
	decodeCompute(spec.at("compute"), &t.Compute)
	isolation := spec.at("isolation")
	t.Isolation.Compute = isolation.sharing("compute", t.Isolation.Compute)
	t.Isolation.Database = isolation.sharing("database", t.Isolation.Database)
	t.Isolation.Cache = isolation.sharing("cache", t.Isolation.Cache)
	if edge := isolation.sharing("edge", Shared); edge != Shared {
		t.Isolation.Edge = edge
	}
	spec.at("database").flag("enabled", &t.Database.Enabled)
	spec.at("database").count("connections", &t.Database.Connections)
	spec.at("cache").flag("enabled", &t.Cache.Enabled)
	spec.at("deletion").flag("protect", &t.Deletion.Protect)
	spec.at("deletion").duration("grace", &t.Deletion.Grace)
	return &t
}

func decodeApp(m members, a *App) {
	m.text("path", &a.Path)
	m.text("health", &a.Health)
	a.Env = m.texts("env")
	a.Secrets = m.list("secrets")
	if git := m.at("git"); git != nil {
		a.Git = &GitSource{}
		git.text("url", &a.Git.URL)
		git.text("ref", &a.Git.Ref)
		git.text("path", &a.Git.Path)
	}
	if design := m.at("design"); design != nil {
		a.Design = &Design{}
		design.text("title", &a.Design.Title)
		for _, model := range design.objects("models") {
			a.Design.Models = append(a.Design.Models, decodeModel(model))
		}
	}
}

func decodeModel(m members) Model {
	var model Model
	m.text("name", &model.Name)
	for _, field := range m.objects("fields") {
		var f Field
		var kind string
		field.text("name", &f.Name)
		field.text("type", &kind)
		field.text("ref", &f.Ref)
		field.flag("required", &f.Required)
		field.flag("unique", &f.Unique)
		f.Type, f.Default = FieldType(kind), field["default"]
		if n, ok := number(f.Default); ok { // as it comes back from JSON
			f.Default = n
		}
		model.Fields = append(model.Fields, f)
	}
	return model
}

func decodeCompute(m members, c *Compute) {
	m.count("cpu", &c.CPU)
	m.count("memory", &c.Memory)
	m.duration("idleAfter", &c.IdleAfter)
	scale := m.at("scale")
	scale.count("min", &c.Scale.Min)
	c.Scale.Max = c.Scale.Min
	scale.count("max", &c.Scale.Max)
	scale.count("targetCPU", &c.Scale.TargetCPU)
}

// members is a JSON object of known form. Each method leaves its target alone
// when the key is not there, so a default stays.
type members map[string]any

func object(v any) members {
	m, _ := v.(map[string]any)
	return m
}

func (m members) at(key string) members { return object(m[key]) }

func (m members) text(key string, to *string) {
	if s, ok := m[key].(string); ok {
		*to = s
	}
}

func (m members) flag(key string, to *bool) {
	if b, ok := m[key].(bool); ok {
		*to = b
	}
}

func (m members) count(key string, to *int) {
	if n, ok := number(m[key]); ok {
		*to = int(n)
	}
}

func (m members) duration(key string, to *time.Duration) {
	switch v := m[key].(type) {
	case string:
		*to, _ = ParseDuration(v)
	case int64, float64: // the schema lets no other number through
		*to = 0
	}
}

func (m members) sharing(key string, otherwise Sharing) Sharing {
	if s, ok := m[key].(string); ok {
		return Sharing(s)
	}
	return otherwise
}

// texts returns an object of strings; nil if there is none in it.
func (m members) texts(key string) map[string]string {
	from := m.at(key)
	if len(from) == 0 {
		return nil
	}
	to := make(map[string]string, len(from))
	for k, v := range from {
		to[k], _ = v.(string)
	}
	return to
}

// list returns a list of strings; nil if there is none in it.
func (m members) list(key string) []string {
	from, _ := m[key].([]any)
	if len(from) == 0 {
		return nil
	}
	to := make([]string, len(from))
	for i, v := range from {
		to[i], _ = v.(string)
	}
	return to
}

func (m members) objects(key string) []members {
	from, _ := m[key].([]any)
	to := make([]members, len(from))
	for i, v := range from {
		to[i] = object(v)
	}
	return to
}
