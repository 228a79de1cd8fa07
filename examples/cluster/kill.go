package main

import (
	"encoding/json"
	"net/http"
)

// killSwitch lists the processes of a cluster, and kills the one it is told to.
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
		_ = e.Encode(all) // a client that has gone is no concern
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
		http.Error(w, "no such process", http.StatusNotFound)
	})
	return mux
}
