package live

import (
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"io/fs"
	"net/http"
	"path"
)

//go:embed page
var page embed.FS

// contentTypes are those of the page's files. The machine's own table of types, which
// package mime reads, may say anything.
var contentTypes = map[string]string{
	".html": "text/html; charset=utf-8",
	".js":   "text/javascript; charset=utf-8",
	".css":  "text/css; charset=utf-8",
	".svg":  "image/svg+xml",
	".png":  "image/png",
}

// addPage adds the page at / and its files at /static/.
func (s *Server) addPage(mux *http.ServeMux) {
	files, err := fs.Sub(page, "page")
	if err != nil {
		panic(err) // the name of an embedded folder is valid
	}
	entries, err := fs.ReadDir(files, ".")
	if err != nil {
		panic(err)
	}
	for _, entry := range entries {
		if entry.IsDir() {
			continue
		}
		content, err := fs.ReadFile(files, entry.Name())
		if err != nil {
			panic(err)
		}
		contentType := contentTypes[path.Ext(entry.Name())]
		if contentType == "" {
			contentType = "text/plain; charset=utf-8"
		}
		sum := sha256.Sum256(content)
		etag := `"` + base64.RawURLEncoding.EncodeToString(sum[:12]) + `"`
		file := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { send(w, r, contentType, etag, content) })
		mux.Handle("/static/"+entry.Name(), file)
		if entry.Name() == "index.html" {
			mux.Handle("/{$}", file)
		}
	}
}
