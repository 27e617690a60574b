package release_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gitopsd/gitopsd/internal/release"
)

func FuzzPointer(f *testing.F) {
	f.Add([]byte(`{"seq":1,"sha256":"` + strings.Repeat("a", 64) + `","size":1,"commit":"c"}`))
	f.Add([]byte(`{"seq":`))
	f.Add([]byte(`{"seq":-1,"sha256":"../../etc"}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		v := newVolume(t)
		if err := os.WriteFile(filepath.Join(v.Dir(), "current"), b, 0o600); err != nil {
			t.Fatal(err)
		}
		p, ok, err := v.Current()
		if (err == nil) != ok {
			t.Fatalf("%+v, %t, %v", p, ok, err)
		}
		if ok && (p.Seq == 0 || len(p.SHA256) != 64 || strings.ContainsAny(p.SHA256, "./")) {
			t.Fatalf("accepted %+v", p)
		}
		if err != nil && !errors.Is(err, release.ErrDamaged) {
			t.Fatal(err)
		}
	})
}

func FuzzName(f *testing.F) {
	for _, s := range []string{"a", "a/b.js", "../a", "/a", "a/./b", "é", ".well-known/x"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, name string) {
		v := newVolume(t)
		s, err := v.Stage()
		if err != nil {
			t.Fatal(err)
		}
		defer s.Abort()
		if s.Add(release.Static, name, strings.NewReader("x")) != nil {
			return
		}
		if !fs.ValidPath(name) {
			t.Fatalf("accepted %q", name)
		}
		found := 0
		_ = filepath.WalkDir(v.Dir(), func(path string, e fs.DirEntry, err error) error {
			if err == nil && e.Type().IsRegular() && strings.HasSuffix(path, "/static/"+name) {
				found++
			}
			return err
		})
		if found != 1 {
			t.Fatalf("%q was not written where it belongs", name)
		}
	})
}
