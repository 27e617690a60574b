package tenant_test

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/gitopsd/gitopsd/internal/tenant"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func TestProblemMessages(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/problems/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no files: %v", err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			t.Parallel()
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			got, problems := tenant.Parse("tenants/"+filepath.Base(file), data)
			if got != nil || len(problems) == 0 {
				t.Fatalf("Parse accepted the file as %+v", got)
			}
			golden := strings.TrimSuffix(file, ".yaml") + ".golden"
			text := problems.Error() + "\n"
			if *update {
				if err := os.WriteFile(golden, []byte(text), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), text); diff != "" {
				t.Errorf("problems (-want +got):\n%s", diff)
			}
		})
	}
}
