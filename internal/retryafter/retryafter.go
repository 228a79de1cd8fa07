// Package retryafter writes and reads the Retry-After header, which asks a client to wait
// before its next request. [Set] writes it in whole seconds, and [Parse] reads the forms of
// RFC 9110, section 10.2.3: seconds, or a date.
package retryafter

import (
	"errors"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Set sets the header, rounded up to a whole second: a client that comes back too early is
// refused again. If wait is not positive, Set leaves the header out.
func Set(header http.Header, wait time.Duration) {
	if wait > 0 {
		header.Set("Retry-After", strconv.FormatFloat(math.Ceil(wait.Seconds()), 'f', 0, 64))
	}
}

// Parse returns how long the header asks a client to wait, at most for the given duration.
// It is zero if the header is missing, malformed, or about a time in the past.
func Parse(header http.Header, most time.Duration) time.Duration {
	text := strings.TrimSpace(header.Get("Retry-After"))
	if text == "" {
		return 0
	}
	if strings.Trim(text, "0123456789.") == "" { // some servers send fractions
		seconds, err := strconv.ParseFloat(text, 64)
		if err != nil && !errors.Is(err, strconv.ErrRange) {
			return 0
		}
		return time.Duration(min(seconds, most.Seconds()) * float64(time.Second))
	}
	at, err := http.ParseTime(text)
	if err != nil {
		return 0
	}
	return min(max(time.Until(at), 0), most)
}
