package check

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// ErrNoTypes says that the provider's types are not here.
var ErrNoTypes = errors.New("the provider's types are missing: run scripts/pulumi-types")

// typesDir is where scripts/pulumi-types puts them, below the module's root.
const typesDir = "bin/pulumi-types"

// Required reports whether the checks by others' programs must run: `make test-aws`
// says so. Elsewhere what they need may be missing.
func Required() bool { return os.Getenv("GITOPSD_TEST_AWS") != "" }

// TypesDir returns where the provider's types are, or ErrNoTypes.
func TypesDir() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for ; ; dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			break
		}
		if dir == filepath.Dir(dir) {
			return "", ErrNoTypes
		}
	}
	dir = filepath.Join(dir, typesDir)
	if _, err := os.Stat(filepath.Join(dir, "node_modules", ".bin", "tsc")); err != nil {
		return "", ErrNoTypes
	}
	return dir, nil
}

// Types returns what the TypeScript compiler says of the resources: each as a
// `new aws.<module>.<Type>(name, inputs)` of the provider's own package. An
// empty list means that each name and type of an input is right, and that none is
// missing.
func Types(ctx context.Context, dir string, resources []Resource) ([]string, error) {
	work, err := os.MkdirTemp(dir, "check-*")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(work)
	source, err := TypeScript(resources)
	if err != nil {
		return nil, err
	}
	config := `{"compilerOptions": {"strict": true, "noEmit": true, "skipLibCheck": true, "types": [],
"module": "commonjs", "moduleResolution": "node", "target": "es2020"}, "files": ["resources.ts"]}`
	for name, content := range map[string]string{"resources.ts": source, "tsconfig.json": config} {
		if err := os.WriteFile(filepath.Join(work, name), []byte(content), 0o644); err != nil {
			return nil, err
		}
	}
	cmd := exec.CommandContext(ctx, filepath.Join(dir, "node_modules", ".bin", "tsc"), "--pretty", "false", "--project", work)
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	switch {
	case err == nil:
		return nil, nil
	case !errors.As(err, &exit):
		return nil, fmt.Errorf("tsc: %w", err)
	}
	var found []string
	for line := range strings.Lines(string(out)) {
		found = append(found, strings.TrimRight(line, "\n"))
	}
	if len(found) == 0 {
		return nil, fmt.Errorf("tsc: %w without a word", err)
	}
	return found, nil
}

// TypeScript returns a file that makes the resources. Each kind is imported from
// its own module: the whole package takes the compiler gigabytes.
func TypeScript(resources []Resource) (string, error) {
	var imports, body bytes.Buffer
	var seen []string
	for i, r := range resources {
		module, kind, err := split(r.Token)
		if err != nil {
			return "", err
		}
		name := strings.NewReplacer("/", "_").Replace(module)
		if !slices.Contains(seen, module) {
			seen = append(seen, module)
			fmt.Fprintf(&imports, "import * as %s from \"@pulumi/aws/%s\";\n", name, module)
		}
		var inputs bytes.Buffer
		enc := json.NewEncoder(&inputs)
		enc.SetEscapeHTML(false)
		enc.SetIndent("", "  ")
		m := map[string]any{}
		for k, v := range r.Inputs {
			m[string(k)] = plain(v)
		}
		if err := enc.Encode(m); err != nil {
			return "", fmt.Errorf("%s %s: %w", r.Token, r.Name, err)
		}
		fmt.Fprintf(&body, "// %s %s\nnew %s.%s(\"r%d\", %s);\n", r.Token, r.Name, name, kind, i, strings.TrimSpace(inputs.String()))
	}
	return imports.String() + body.String(), nil
}

// split returns the module and the type of a token like aws:s3/bucket:Bucket.
func split(token string) (module, kind string, err error) {
	parts := strings.Split(token, ":")
	if len(parts) != 3 || parts[0] != "aws" {
		return "", "", fmt.Errorf("token %q is not of aws", token)
	}
	return parts[1], parts[2], nil
}
