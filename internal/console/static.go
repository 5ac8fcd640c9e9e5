package console

import (
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"io/fs"
	"net/http"
	"path"
	"strings"
)

//go:embed static
var staticFiles embed.FS

// static is every file by the name it is served under, which holds a digest of
// its content: a browser may keep it for ever.
type static struct {
	files map[string][]byte // "style.1a2b3c4d.css"
	names map[string]string // "style.css" → "/static/style.1a2b3c4d.css"
}

func loadStatic() (static, error) {
	s := static{files: map[string][]byte{}, names: map[string]string{}}
	err := fs.WalkDir(staticFiles, "static", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := staticFiles.ReadFile(name)
		if err != nil {
			return err
		}
		sum := sha256.Sum256(b)
		base := path.Base(name)
		ext := path.Ext(base)
		hashed := strings.TrimSuffix(base, ext) + "." + hex.EncodeToString(sum[:4]) + ext
		s.files[hashed] = b
		s.names[base] = "/static/" + hashed
		return nil
	})
	return s, err
}

// path returns where the file of that name is served.
func (s static) path(name string) (string, error) {
	p, ok := s.names[name]
	if !ok {
		return "", fmt.Errorf("no static file %s", name)
	}
	return p, nil
}

var contentTypes = map[string]string{".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml"}

func (s static) serve(w http.ResponseWriter, r *http.Request) {
	name := r.PathValue("name")
	b, ok := s.files[name]
	if !ok {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Cache-Control", "public, max-age=31536000, immutable")
	w.Header().Set("Content-Type", contentTypes[path.Ext(name)])
	_, _ = w.Write(b) // the browser may be gone; there is nobody else to tell
}
