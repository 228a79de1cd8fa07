package serve

import (
	"log/slog"
	"net/http"
	"time"
)

// NewServer returns a server with the limits that a server on a network needs: 10
// seconds for a request's header of at most 128 KiB, 1 minute to write an answer, 2
// minutes between two requests on a connection. There is no ReadTimeout, which would
// also end requests that wait for version control; an [athens.Handler] bounds bodies,
// and gives large answers the time they need. A nil logger drops what net/http
// complains about.
func NewServer(handler http.Handler, logger *slog.Logger) *http.Server {
	if logger == nil {
		logger = slog.New(slog.DiscardHandler)
	}
	return &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: 10 * time.Second,
		WriteTimeout:      time.Minute,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    128 << 10,
		ErrorLog:          slog.NewLogLogger(logger.Handler(), slog.LevelWarn),
	}
}
