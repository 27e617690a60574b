package console

import (
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"mime"
	"net/http"
	"path"
)

//go:embed assets
var assetFiles embed.FS

// asset is a file that pages refer to. Its path changes with its content, so
// that browsers may keep it for good.
type asset struct {
	content []byte
	mime    string
	path    string
}

func loadAssets() (map[string]asset, error) {
	entries, err := assetFiles.ReadDir("assets")
	if err != nil {
		return nil, fmt.Errorf("read assets: %w", err)
	}
	all := map[string]asset{}
	for _, e := range entries {
		b, err := assetFiles.ReadFile(path.Join("assets", e.Name()))
		if err != nil {
			return nil, fmt.Errorf("read assets: %w", err)
		}
		sum := sha256.Sum256(b)
		all[e.Name()] = asset{b, mime.TypeByExtension(path.Ext(e.Name())), "/assets/" + e.Name() + "?" + hex.EncodeToString(sum[:6])}
	}
	return all, nil
}

func (p *pages) path(name string) string { return p.assets[name].path }

// asset answers with a style or a script. They are the same for everybody.
func (s *Server) asset(w http.ResponseWriter, r *http.Request) {
	a, ok := s.pages.assets[r.PathValue("name")]
	if !ok {
		refuse(w, http.StatusNotFound, unknown(w, r))
		return
	}
	w.Header().Set("Content-Type", a.mime)
	w.Header().Set("Cache-Control", "public, max-age=31536000, immutable")
	_, _ = w.Write(a.content) // the client is gone if this fails
}
