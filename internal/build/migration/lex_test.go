package migration

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5/pgconn"
	"pgregory.net/rapid"
)

func TestSplit(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		sql  string
		want []string
	}{
		"nothing":             {" ;; -- a\n /* ; */ ;", nil},
		"strings":             {`a 'x;''y;' ; b E'\';' ; c U&'\;' ; d N';' ; e'f;' ; fe';' `, []string{`a 'x;''y;'`, `b E'\';'`, `c U&'\;'`, `d N';'`, `e'f;'`, `fe';'`}},
		"plain backslash":     {`a '\' ; b`, []string{`a '\'`, `b`}},
		"continued escapes":   {"a E'x' -- c\n '\\';' ; b", []string{"a E'x' -- c\n '\\';'", "b"}},
		"continued plain":     {"a 'x'\n'\\' ; b", []string{"a 'x'\n'\\'", "b"}},
		"names":               {`a "x;""y;" ; U&"z;"`, []string{`a "x;""y;"`, `U&"z;"`}},
		"dollars":             {"a $$;$x$;$$ ; $x$;$$;$x$ ; a$b$;c$b$ ; $1 ; $;1$a$;$a$", []string{"a $$;$x$;$$", "$x$;$$;$x$", "a$b$", "c$b$", "$1", "$", "1$a$;$a$"}},
		"comments":            {"a -- ;\r;b /* ; /* ; */ ; */ ; c--;", []string{"a", "b", "c"}},
		"operators":           {"a --> ;\n; b */* ; */ c", []string{"a", "b */* ; */ c"}},
		"parentheses":         {"a (b; c) ; d )( ; e);f", []string{"a (b; c)", "d )( ; e)", "f"}},
		"atomic":              {"create or replace function f() begin atomic select case 1 when 1 then 2 end; end; b", []string{"create or replace function f() begin atomic select case 1 when 1 then 2 end; end", "b"}},
		"begin is no block":   {"begin; a; end; b", []string{"begin", "a", "end", "b"}},
		"not in a function":   {"select begin atomic; b", []string{"select begin atomic", "b"}},
		"high bytes in names": {"é'x' ; é$a$;", []string{"é'x'", "é$a$"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tokens, err := lex(c.sql)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, pieces(c.sql, tokens)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func pieces(sql string, tokens []token) []string {
	var all []string
	for _, st := range split(tokens) {
		all = append(all, sql[st[0].at:st[len(st)-1].end])
	}
	return all
}

func TestNotClosed(t *testing.T) {
	t.Parallel()
	for sql, at := range map[string]int{
		"a 'b": 2, `a "b`: 2, "a /* /* */": 2, "a $x$ $$ $X$": 2, `a E'\'`: 2, "a U&'": 2, "$$": 0,
	} {
		_, err := lex(sql)
		var e *lexError
		if !errors.As(err, &e) || e.at != at {
			t.Errorf("%s: %v", sql, err)
		}
	}
}

// Postgres and the lexer agree about any string of the characters that matter:
// where something is not closed, and how many statements there are.
func TestPostgresSplitsAlike(t *testing.T) {
	t.Parallel()
	conn := connect(t).PgConn()
	soup := rapid.SliceOfN(rapid.SampledFrom([]string{"'", "'", "\\", `"`, "$", "$a$", ";", "--", "\n", "\r", "/*", "*/", "E'", "a", "1", " ", "U&'"}), 0, 12)
	part := rapid.Custom(func(t *rapid.T) string {
		inner := strings.Join(soup.Draw(t, "inner"), "")
		around := rapid.SampledFrom([][2]string{
			{"'", "'"}, {"E'", "'"}, {"e'", "'\n'\\''"}, {"U&'", "'"}, {"N'", "'"}, {"$$", "$$"}, {"$a$", "$a$"}, {"$é1$", "$é1$"}, {"1 AS \"", `"`}, {"1 /*", "*/"}, {"1 --", "\n"}, {"1 --", "\r"}, {"'a' --", "\n'\\'"}, {"E'a' --", "\n'\\''"}, {"1+", "1"},
		}).Draw(t, "around")
		return "SELECT " + around[0] + inner + around[1]
	})
	compared, unclosed := 0, 0
	rapid.Check(t, func(rt *rapid.T) {
		sql := strings.Join(rapid.SliceOfN(part, 1, 4).Draw(rt, "parts"), rapid.SampledFrom([]string{";", " ; ", ";\n;"}).Draw(rt, "between"))
		tokens, lexErr := lex(sql)
		results, err := conn.Exec(t.Context(), sql).ReadAll()
		var pg *pgconn.PgError
		switch {
		case err == nil:
			compared++
			if n := len(split(tokens)); lexErr != nil || n != len(results) {
				rt.Fatalf("%q: Postgres runs %d statements, we see %d (%v)", sql, len(results), n, lexErr)
			}
		case errors.As(err, &pg) && strings.HasPrefix(pg.Message, "unterminated"):
			unclosed++
			if pg.Position == 0 {
				return
			}
			var e *lexError
			at := len(string([]rune(sql)[:pg.Position-1]))
			if !errors.As(lexErr, &e) || e.at != at {
				rt.Fatalf("%q: %s at %d; we say %v", sql, pg.Message, at, lexErr)
			}
		}
	})
	if compared == 0 || unclosed == 0 {
		t.Errorf("compared %d statements that run and %d that are not closed", compared, unclosed)
	}
}

func FuzzLex(f *testing.F) {
	for _, sql := range []string{"a;b", "E'\\''", "$a$;$a$", "/*/**/*/--", "create function f() begin atomic select 1; end;", `u&"`, "(;)", "WITH a AS (DELETE FROM b) SELECT c(d)"} {
		f.Add(sql)
	}
	f.Fuzz(func(t *testing.T, sql string) {
		tokens, err := lex(sql)
		at := 0
		for _, tok := range tokens {
			if tok.at < at || tok.end <= tok.at || tok.end > len(sql) {
				t.Fatalf("%q: token %+v after %d", sql, tok, at)
			}
			if gap, gapErr := lex(sql[at:tok.at]); len(gap) > 0 || gapErr != nil {
				t.Fatalf("%q: %q is passed over", sql, sql[at:tok.at])
			}
			at = tok.end
		}
		if err != nil {
			return
		}
		n := 0
		for _, st := range split(tokens) {
			n += len(st)
			// A piece is one statement on its own, too.
			again, err := lex(sql[st[0].at:st[len(st)-1].end])
			if err != nil || len(split(again)) != 1 {
				t.Fatalf("%q: the piece %q is not one statement (%v)", sql, sql[st[0].at:st[len(st)-1].end], err)
			}
		}
		semicolons := len(slices.DeleteFunc(slices.Clone(tokens), func(t token) bool { return !t.sym(";") }))
		if n > len(tokens) || n < len(tokens)-semicolons {
			t.Fatalf("%q: %d of %d tokens are in statements", sql, n, len(tokens))
		}
		newAnalyser(false).statements([]string{sql})
	})
}
