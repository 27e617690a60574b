package tenant

import "time"

// Tenant is one hosted application and everything that belongs to it, as its
// file asks for it, with every default filled in. It survives JSON.
type Tenant struct {
	Name   string            `json:"name"` // a DNS label of at most MaxName bytes; the file's stem
	Labels map[string]string `json:"labels,omitempty"`

	Suspend   bool      `json:"suspend,omitempty"` // reconcile nothing
	App       App       `json:"app"`
	Domains   []string  `json:"domains,omitempty"` // lower-case, unique, without trailing dot
	Compute   Compute   `json:"compute"`
	Isolation Isolation `json:"isolation"`
	Database  Database  `json:"database"`
	Cache     Cache     `json:"cache"`
	Deletion  Deletion  `json:"deletion"`
}

// MaxName is the longest tenant name, in bytes: short enough that a preview's
// suffix and every cloud resource's own limit (S3 63, target groups 32 after
// hashing, Postgres 63) still hold it.
const MaxName = 40

// App says what runs. Exactly one of Design, Path and Git is set.
type App struct {
	Design *Design           `json:"design,omitempty"`
	Path   string            `json:"path,omitempty"` // slash-separated, relative to the repository's root, clean
	Git    *GitSource        `json:"git,omitempty"`
	Env    map[string]string `json:"env,omitempty"`
	// Secrets are names only; the values live in the platform's secret store.
	Secrets []string `json:"secrets,omitempty"`
	Health  string   `json:"health"` // path asked until it answers 200
}

// GitSource is an app whose code lives in another repository.
type GitSource struct {
	URL  string `json:"url"`
	Ref  string `json:"ref"` // commit, tag or branch
	Path string `json:"path,omitempty"`
}

// Design is what the generator turns into an application.
type Design struct {
	Title  string  `json:"title,omitempty"`
	Models []Model `json:"models"` // in the file's order
}

// Model is one kind of record: a table, a JSON API and a page.
type Model struct {
	Name   string  `json:"name"` // singular, lower snake case, e.g. "task"
	Fields []Field `json:"fields"`
}

// FieldType is the type of a model's field.
type FieldType string

// The types a field can have.
const (
	FieldString FieldType = "string" // text, at most 1,000 characters
	FieldText   FieldType = "text"   // text without limit
	FieldInt    FieldType = "int"    // 64 bits
	FieldFloat  FieldType = "float"  // 64 bits
	FieldBool   FieldType = "bool"
	FieldDate   FieldType = "date" // YYYY-MM-DD
	FieldTime   FieldType = "time" // RFC 3339
	FieldUUID   FieldType = "uuid"
	FieldJSON   FieldType = "json"
	FieldRef    FieldType = "ref" // another model's record, by its id
)

// Field is one typed field of a model.
type Field struct {
	Name     string    `json:"name"` // lower snake case
	Type     FieldType `json:"type"`
	Required bool      `json:"required,omitempty"`
	Unique   bool      `json:"unique,omitempty"`
	Default  any       `json:"default,omitempty"` // string, float64, bool: a JSON scalar of the field's type
	Ref      string    `json:"ref,omitempty"`     // the model a FieldRef points to
}

// Compute sizes a tenant's instances.
type Compute struct {
	CPU       int           `json:"cpu"`    // 1024 = one core
	Memory    int           `json:"memory"` // MiB
	Scale     Scale         `json:"scale"`
	IdleAfter time.Duration `json:"idleAfter,omitempty"` // 0 = never stop an idle app
}

// Scale bounds the number of instances.
type Scale struct {
	Min       int `json:"min"`
	Max       int `json:"max"`
	TargetCPU int `json:"targetCPU"` // percent
}

// Sharing says whether a part is shared with other tenants or the tenant's own.
type Sharing string

// The two kinds of sharing.
const (
	Shared    Sharing = "shared"
	Dedicated Sharing = "dedicated"
)

// Isolation says which parts are the tenant's own.
type Isolation struct {
	Compute  Sharing `json:"compute"`
	Database Sharing `json:"database"`
	Cache    Sharing `json:"cache"`
	// Edge is Dedicated or, for a shared one, "": so the digests of the tenants
	// that there were before it are still the same. See EdgeSharing.
	Edge Sharing `json:"edge,omitempty"`
}

// EdgeSharing returns whether the edge is shared.
func (i Isolation) EdgeSharing() Sharing {
	if i.Edge == "" {
		return Shared
	}
	return i.Edge
}

// Database is the tenant's Postgres database.
type Database struct {
	Enabled     bool `json:"enabled"`
	Connections int  `json:"connections"` // its role's connection limit
	// Seed is a SQL file of the repository that fills the empty database once.
	// No tenant file has it: previews do.
	Seed string `json:"seed,omitempty"`
}

// Cache is the tenant's Redis user and key prefix.
type Cache struct {
	Enabled bool `json:"enabled"`
}

// Deletion guards the tenant's data.
type Deletion struct {
	Protect bool          `json:"protect,omitempty"` // a deletion is refused while set
	Grace   time.Duration `json:"grace"`             // data is kept, restorable, for this long after the deletion
}
