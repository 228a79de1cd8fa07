package main

import (
	"encoding/json"
	"net/http"
)

// killSwitch returns a handler that lists the members of a cluster and kills the one that a
// client names.
func killSwitch(c *cluster) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		var all []state
		for _, m := range c.members {
			all = append(all, m.state())
		}
		w.Header().Set("Content-Type", "application/json")
		e := json.NewEncoder(w)
		e.SetIndent("", "  ")
		_ = e.Encode(all) // it fails only if the client is gone
	})
	mux.HandleFunc("POST /kill/{name}", func(w http.ResponseWriter, r *http.Request) {
		for _, m := range c.members {
			if m.name != r.PathValue("name") {
				continue
			}
			if err := m.kill(); err != nil {
				http.Error(w, err.Error(), http.StatusConflict)
			}
			return
		}
		http.Error(w, "the cluster has no process of this name", http.StatusNotFound)
	})
	return mux
}
