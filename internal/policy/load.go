package policy

import (
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"path"
	"slices"
	"strconv"
	stdsync "sync"
	"time"

	"github.com/gitopsd/gitopsd/internal/fault"
	"github.com/gitopsd/gitopsd/internal/plan"
	"github.com/gitopsd/gitopsd/internal/sync"
	"github.com/gitopsd/gitopsd/internal/tenant"
)

// File is where a repository has its policy.
const File = "gitopsd.yaml"

// longestAge is the longest that a preview can be kept.
const longestAge = 30 * 24 * time.Hour

//go:embed schema.json
var schema []byte

// Schema returns the JSON Schema of the file, from which editors complete.
func Schema() []byte { return slices.Clone(schema) }

// theFormat compiles the schema when the first file is read.
var theFormat = stdsync.OnceValue(func() *tenant.Format { return tenant.NewFormat("Policy", schema) })

// document is gitopsd.yaml after it passed its schema.
type document struct {
	Spec struct {
		Branch  string
		Tenants string
		Brake   struct {
			Tenants, Percent *int
		}
		Approvers  []string
		Signatures struct {
			Required bool
			Keys     []keySpec
		}
		Require struct{ Labels []string }
		Allow   allowSpec
		Preview struct {
			Label, MaxAge *string
			Max           *int
			Seed          string
		}
		Rules []ruleSpec
	}
}

// Load reads the policy of a directory of files; brake holds where it states
// none. It returns either a policy or the problems of the file, never both:
// where there is no file, the policy that allows everything. It fails only where
// it cannot tell what the file says, or whether there is one.
func Load(root fs.FS, brake plan.Brake) (*Policy, tenant.Problems, error) {
	r, err := load(root, brake)
	if err != nil {
		return nil, nil, fmt.Errorf("read %s: %w", File, err)
	}
	return r.policy, r.problems, nil
}

func load(root fs.FS, brake plan.Brake) (*reading, error) {
	data, problem, err := readFile(root, File)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return &reading{policy: &Policy{settings: defaults(brake)}}, nil
	case err != nil:
		return nil, err
	case problem != "":
		return &reading{problems: tenant.Problems{{File: File, Message: problem, Hint: "commit the file itself"}}}, nil
	}
	l := loader{root: root, yaml: theFormat().Read(File, data), digest: sha256.New(), ids: map[string]string{}}
	l.digest.Write(data)
	if problems := l.yaml.Problems(); len(problems) > 0 {
		return &reading{problems: problems}, nil
	}
	var doc document
	text, err := json.Marshal(l.yaml.Value)
	if err == nil {
		err = json.Unmarshal(text, &doc)
	}
	if err != nil {
		return nil, fault.Errorf(fault.Invalid, "decode: %w", err)
	}
	policy, err := l.policy(&doc, brake)
	if err != nil {
		return nil, err
	}
	r := &reading{problems: l.yaml.Problems(), ids: l.ids}
	if len(r.problems) == 0 {
		policy.settings.Digest = hex.EncodeToString(l.digest.Sum(nil))
		r.policy = policy
	}
	return r, nil
}

// loader makes a policy of a document, and notes what is wrong with it.
type loader struct {
	root   fs.FS
	yaml   *tenant.Document
	digest hash.Hash         // of the file and the key files it names
	ids    map[string]string // the key files
}

func (l *loader) policy(doc *document, brake plan.Brake) (*Policy, error) {
	spec := &doc.Spec
	p := &Policy{settings: defaults(brake)}
	s := &p.settings
	s.Branch, s.Approvers, s.Signed = spec.Branch, spec.Approvers, spec.Signatures.Required
	if spec.Tenants != "" {
		s.Tenants = spec.Tenants
	}
	set(&s.Brake.Tenants, spec.Brake.Tenants)
	set(&s.Brake.Percent, spec.Brake.Percent)
	set(&s.Preview.Label, spec.Preview.Label)
	set(&s.Preview.Max, spec.Preview.Max)
	s.Preview.Seed = spec.Preview.Seed
	if spec.Preview.MaxAge != nil {
		s.Preview.MaxAge = l.age(*spec.Preview.MaxAge)
	}
	if s.Signed && len(spec.Signatures.Keys) == 0 {
		l.yaml.Refuse([]string{"spec", "signatures", "required"}, "signatures are required, but no key is listed: no commit could meet that",
			"list the keys in spec.signatures.keys")
	}
	for i, k := range spec.Signatures.Keys {
		if err := l.key(&p.keys, k, "spec", "signatures", "keys", strconv.Itoa(i)); err != nil {
			return nil, err
		}
	}
	p.limits = l.limits(spec.Require.Labels, &spec.Allow)
	p.rules = l.rules(spec.Rules)
	return p, nil
}

func set[T any](to *T, value *T) {
	if value != nil {
		*to = *value
	}
}

func (l *loader) age(text string) time.Duration {
	age, _ := tenant.ParseDuration(text) // the schema let it through
	at := []string{"spec", "preview", "maxAge"}
	switch {
	case age > longestAge:
		l.yaml.Refuse(at, fmt.Sprintf("spec.preview.maxAge is %q", text), "at most 30d")
	case age < time.Minute:
		l.yaml.Refuse(at, fmt.Sprintf("spec.preview.maxAge is %q", text), "at least 1m; max: 0 allows no preview at all")
	}
	return age
}

// place says where the value at a path stands, as file:line:column.
func (l *loader) place(path ...string) string {
	line, column := l.yaml.Place(path...)
	return fmt.Sprintf("%s:%d:%d", File, line, column)
}

// readFile returns a regular file's bytes, one more than tenant.MaxFile at most.
// What is there, but is no such file, is a problem; no part of the path may be a
// symbolic link.
func readFile(root fs.FS, name string) (data []byte, problem string, err error) {
	for at := name; at != "."; at = path.Dir(at) {
		switch info, err := fs.Lstat(root, at); {
		case err != nil:
			return nil, "", err
		case info.Mode()&fs.ModeSymlink != 0:
			return nil, at + " is a symbolic link, which is not followed", nil
		case at == name && !info.Mode().IsRegular():
			return nil, at + " is not a regular file", nil
		}
	}
	file, err := root.Open(name)
	if err != nil {
		return nil, "", err
	}
	defer func() { _ = file.Close() }() // only read
	data, err = io.ReadAll(io.LimitReader(file, tenant.MaxFile+1))
	return data, "", err
}

// defaults are the settings of a repository that says nothing.
func defaults(brake plan.Brake) sync.Settings {
	return sync.Settings{
		Tenants: "tenants", Brake: brake,
		Preview: sync.PreviewRules{Label: "preview", Max: 5, MaxAge: 72 * time.Hour},
	}
}
