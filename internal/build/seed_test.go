package build_test

import (
	"strings"
	"testing"

	"github.com/gitopsd/gitopsd/internal/fault"
)

func TestSeed(t *testing.T) {
	t.Parallel()
	repo := newRepository(t)
	commit := repo.commit(map[string]string{
		"seed.sql": "INSERT INTO a VALUES (1);\nINSERT INTO a SELECT g FROM generate_series(2, 3) g;\n",
		"bad.sql":  "INSERT INTO a VALUES (9);\nINSERT INTO nowhere VALUES (1);\n",
		"ends.sql": "COMMIT;\n",
	})
	b := newBuilder(t, repo, warm(t))
	files := map[string]string{"001_a.sql": "-- +goose Up\nCREATE TABLE a (x int);\n"}
	for name, c := range map[string]struct {
		seed, fails string
		rows        int
	}{
		"fills the empty database once": {"seed.sql", "", 3},
		"leaves nothing when it fails":  {"bad.sql", "nowhere", 0},
		"cannot end its transaction":    {"ends.sql", "ends its transaction", 0},
		"is a file of the commit":       {"none.sql", "no seed none.sql", 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			in, url := pathApp(t, "seeded", "a", commit), newDatabase(t)
			spec := *in.Tenant
			spec.Database.Seed = c.seed
			in.Tenant = &spec
			digest := pack(t, in, files)
			for range 2 {
				_, err := b.Migrate(t.Context(), in, digest, url)
				if c.fails == "" && err != nil || c.fails != "" && c.seed != "ends.sql" &&
					(!fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), c.fails)) {
					t.Fatalf("got %v", err)
				}
				if c.seed == "ends.sql" {
					if err == nil || !strings.Contains(err.Error(), c.fails) {
						t.Fatalf("got %v", err)
					}
					break
				}
			}
			if got := query[int](t, url, `SELECT count(*)::int FROM a`)[0]; got != c.rows {
				t.Errorf("%d rows, want %d", got, c.rows)
			}
		})
	}
}
