package refusal_test

import (
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/serve/internal/refusal"
)

// Retry-After is rounded up, or the client comes back too early; a login is asked for by the
// challenge of the error.
func TestAnswer(t *testing.T) {
	w := httptest.NewRecorder()
	refusal.Answer(w, slog.New(slog.DiscardHandler), "upload", &refusal.Error{Status: http.StatusTooManyRequests, RetryAfter: 1500 * time.Millisecond, Err: errors.New("too many")})
	assert.Equal(t, http.StatusTooManyRequests, w.Code)
	assert.Equal(t, "2", w.Header().Get("Retry-After"))
	w = httptest.NewRecorder()
	refusal.Answer(w, slog.New(slog.DiscardHandler), "upload", &athens.RefusedError{Status: http.StatusUnauthorized, Challenge: `Basic realm="ci"`})
	assert.Equal(t, `Basic realm="ci"`, w.Header().Get("WWW-Authenticate"))
	assert.Empty(t, w.Header().Get("Retry-After"))
}
