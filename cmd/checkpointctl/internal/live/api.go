package live

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/ea947076/checkpointstore/cmd/checkpointctl/internal/report"
)

// schemaVersion is that of all JSON, as of the command's output. It grows when a field
// changes its meaning or goes; new fields may come without.
const schemaVersion = 1

const jsonType = "application/json; charset=utf-8"

// addAPI adds /api/v1/.
func (s *Server) addAPI(mux *http.ServeMux) {
	mux.HandleFunc("/api/v1/groups", func(w http.ResponseWriter, r *http.Request) {
		s.sendBody(w, r, "groups", s.collector.renderGroups)
	})
	mux.HandleFunc("/api/v1/groups/{id}", func(w http.ResponseWriter, r *http.Request) {
		id := r.PathValue("id")
		s.sendBody(w, r, "group "+id, func(v *view) []byte { return renderGroup(v, id) })
	})
	mux.HandleFunc("/api/v1/groups/{id}/history", func(w http.ResponseWriter, r *http.Request) {
		id := r.PathValue("id")
		s.sendBody(w, r, "history "+id, func(v *view) []byte {
			if g := v.group(id); g != nil {
				return g.history.json()
			}
			return nil
		})
	})
	mux.HandleFunc("/api/v1/events", s.stream)
}

// sendBody sends a resource of the latest view.
func (s *Server) sendBody(w http.ResponseWriter, r *http.Request, name string, render func(*view) []byte) {
	b, found := s.collector.body(name, render)
	switch {
	case found:
		send(w, r, jsonType, b.etag, b.content)
	case s.collector.current() == nil:
		w.Header().Set("Retry-After", "1")
		sendError(w, http.StatusServiceUnavailable, "the first round is not over")
	default:
		sendError(w, http.StatusNotFound, "there is no such consumer group")
	}
}

// send sends content that the browser keeps, and asks for again with its ETag.
func send(w http.ResponseWriter, r *http.Request, contentType, etag string, content []byte) {
	w.Header().Set("Content-Type", contentType)
	w.Header().Set("Cache-Control", "no-cache")
	w.Header().Set("ETag", etag)
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(content))
}

func sendError(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", jsonType)
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, _ = w.Write(marshal(struct {
		SchemaVersion int    `json:"schemaVersion"`
		Error         string `json:"error"`
	}{schemaVersion, text}))
}

// marshal writes JSON in which "<", ">" and "&" are escaped.
func marshal(value any) []byte {
	text, err := json.Marshal(value)
	if err != nil {
		panic(err) // the types of this package can all be written
	}
	return append(text, '\n')
}

func (v *view) group(id string) *groupView {
	i := slices.IndexFunc(v.groups, func(g groupView) bool { return g.summary.ID == id })
	if i < 0 {
		return nil
	}
	return &v.groups[i]
}

func (c *collector) renderGroups(v *view) []byte {
	groups := make([]Group, len(v.groups))
	for i, g := range v.groups {
		groups[i] = g.summary
	}
	return marshal(struct {
		SchemaVersion int       `json:"schemaVersion"`
		Time          time.Time `json:"time"`
		Interval      float64   `json:"interval"`
		Demo          bool      `json:"demo"`
		Errors        []string  `json:"errors"`
		Groups        []Group   `json:"groups"`
	}{schemaVersion, v.time.UTC(), c.Interval.Seconds(), c.Demo, v.errors, groups})
}

func renderGroup(v *view, id string) []byte {
	g := v.group(id)
	if g == nil {
		return nil
	}
	return marshal(struct {
		SchemaVersion int                `json:"schemaVersion"`
		Time          time.Time          `json:"time"`
		Group         Group              `json:"group"`
		Partitions    []report.Partition `json:"partitions"`
		Events        []Event            `json:"events"`
	}{schemaVersion, v.time.UTC(), g.summary, append([]report.Partition{}, g.partitions...), append([]Event{}, g.events...)})
}

// healthy is how many intervals the latest round may be old.
const healthy = 3

// healthz answers 200 if the rounds go on, and 503 with the reason otherwise.
func (s *Server) healthz(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	v := s.collector.current()
	if v == nil {
		http.Error(w, "the first round is not over", http.StatusServiceUnavailable)
		return
	}
	if age := time.Since(v.over); age > healthy*s.collector.Interval {
		http.Error(w, fmt.Sprintf("the latest round ended %s ago", age.Round(time.Second)), http.StatusServiceUnavailable)
		return
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	fmt.Fprintln(w, "ok")
}
