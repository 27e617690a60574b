package main

import (
	"bytes"
	"embed"
	"fmt"
	"io/fs"
	"path"
	"regexp"
	"runtime/debug"
	"strings"
	"text/template"

	"gopkg.in/yaml.v3"

	"github.com/gitopsd/gitopsd/internal/fault"
	"github.com/gitopsd/gitopsd/internal/policy"
	"github.com/gitopsd/gitopsd/internal/tenant"
	"github.com/gitopsd/gitopsd/schema"
)

// starterFiles are templates of the files of a tenants' repository. What is to
// be filled in stands in [[ ]]: the files have {{ }} of their own.
//
//go:embed all:starter
var starterFiles embed.FS

// starter is what a repository of tenants begins with.
type starter struct {
	Name   string // of the first tenant
	Domain string
	Owner  string // of the policy, as CODEOWNERS names people and teams
	Ref    string // of the action that checks pull requests
	// RefNote says of the ref what a reader wants to know.
	RefNote string
}

// URL is where the first tenant is served.
func (s starter) URL() string { return strings.Replace(s.HostURL(), "<name>", s.Name, 1) }

// YAMLName is the first tenant's name as YAML writes it: some words need quotes.
func (s starter) YAMLName() (string, error) {
	b, err := yaml.Marshal(s.Name)
	return strings.TrimSpace(string(b)), err
}

// HostURL is where any tenant is served; locally, where gitopsd up serves it.
func (s starter) HostURL() string {
	if s.Domain == "localhost" {
		return "http://<name>." + s.Domain + port(defaults().EdgeAddr) + "/"
	}
	return "https://<name>." + s.Domain + "/"
}

// starterFile is a file to write.
type starterFile struct {
	path string // slashes, relative to the repository's root
	data []byte
}

// files returns the files, the schemas first: an editor that looks on finds them
// there already.
func (s starter) files() ([]starterFile, error) {
	files := []starterFile{
		{path: "schema/tenant.schema.json", data: schema.Tenant},
		{path: "schema/policy.schema.json", data: policy.Schema()},
	}
	err := fs.WalkDir(starterFiles, "starter", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := s.render(name)
		if err != nil {
			return err
		}
		to := strings.TrimPrefix(name, "starter/")
		if path.Dir(to) == tenantsDir {
			to = path.Join(tenantsDir, s.Name+".yaml")
		}
		files = append(files, starterFile{to, data})
		return nil
	})
	return files, err
}

func (s starter) render(name string) ([]byte, error) {
	text, err := fs.ReadFile(starterFiles, name)
	if err != nil {
		return nil, err
	}
	t, err := template.New(name).Delims("[[", "]]").Option("missingkey=error").Parse(string(text))
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	if err := t.Execute(&out, s); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

var (
	// ownerPattern is what CODEOWNERS takes for a user, a team or an address.
	ownerPattern = regexp.MustCompile(`^(@[A-Za-z0-9][A-Za-z0-9-]*(/[A-Za-z0-9][A-Za-z0-9._-]*)?|[A-Za-z0-9._+-]+@[A-Za-z0-9.-]+)$`)
	hostPattern  = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*$`)
)

// check says what of the user's words would make a repository that is wrong.
func (s starter) check() error {
	if !hostPattern.MatchString(s.Domain) || len(s.Domain) > 200 {
		return fault.Errorf(fault.Invalid, "%q is not a domain", s.Domain).WithHint("give a host name in lower case, such as apps.example.com")
	}
	if !ownerPattern.MatchString(s.Owner) {
		return fault.Errorf(fault.Invalid, "%q owns nothing on GitHub", s.Owner).WithHint("give a team or a user, such as @acme/platform")
	}
	// The name is the one part of a tenant that is not ours; one that says
	// something else in YAML is found here, too.
	data, err := s.render("starter/tenants/hello.yaml")
	if err != nil {
		return err
	}
	if _, problems := tenant.Parse(path.Join(tenantsDir, s.Name+".yaml"), data); len(problems) > 0 {
		return fault.Errorf(fault.Invalid, "%q cannot be a tenant's name", s.Name).
			WithHint("use lower-case letters, digits and dashes, such as hello; at most 40")
	}
	return nil
}

// releaseVersion is a version that is a tag of the repository.
var releaseVersion = regexp.MustCompile(`^v\d+\.\d+\.\d+(-[a-z]+[.0-9]*)?$`)

// actionRef returns the commit or tag at which this program's own repository
// has the action that fits it, and a remark. pinned is false when the program
// does not know what it was built from.
func actionRef(info *debug.BuildInfo) (ref, note string, pinned bool) {
	if info != nil {
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" && s.Value != "" {
				return s.Value, "the commit that gitopsd init was built from", true
			}
		}
		if v := info.Main.Version; releaseVersion.MatchString(v) {
			return v, fmt.Sprintf("as gitopsd %s", v), true
		}
	}
	return "main", "put a commit here: a branch moves", false
}
