package nats

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"golang.org/x/mod/module"
)

const (
	// maxName bounds path and version together, in bytes: in base64 they fit into
	// one line of the protocol, which has at most 4,096.
	maxName = 2048
	// maxDelay bounds the delay of a fill, so that a message of an unknown writer
	// does not stay forever.
	maxDelay = 31 * 24 * time.Hour
	// maxAttempts bounds the attempts that a message can claim.
	maxAttempts = 1 << 30
)

// state is the body of a message. The version is in the subject.
type state struct {
	Zip bool `json:"zip,omitempty"`
	// After is when the fill is due, counted from the message's own time, so
	// that it does not depend on the writer's clock.
	After     time.Duration `json:"after,omitempty"`
	Scheduled time.Time     `json:"scheduled,omitzero"` // zero: with this message
	First     time.Time     `json:"first,omitzero"`     // the first run's start
	Attempts  int           `json:"attempts,omitempty"` // runs that ended with an error
	Reason    string        `json:"reason,omitempty"`   // the latest run's error
}

var tokens = base64.RawURLEncoding.Strict()

// token returns a version as two tokens of a subject, which consist of letters, digits,
// - and _ whatever bytes the version has.
func token(m module.Version) (string, error) {
	if m.Path == "" || m.Version == "" {
		return "", fmt.Errorf("nats: %q has no path or no version", m)
	}
	if n := len(m.Path) + len(m.Version); n > maxName {
		return "", fmt.Errorf("nats: the name of a module version has %d bytes; the maximum is %d", n, maxName)
	}
	return tokens.EncodeToString([]byte(m.Path)) + "." + tokens.EncodeToString([]byte(m.Version)), nil
}

// parseSubject returns the version that a subject below prefix names.
func parseSubject(prefix, subject string) (module.Version, error) {
	rest, ok := strings.CutPrefix(subject, prefix)
	path, version, two := strings.Cut(rest, ".")
	if !ok || !two || len(rest) > 2*maxName {
		return module.Version{}, errors.New("the subject names no module version")
	}
	p, errPath := tokens.DecodeString(path)
	v, errVersion := tokens.DecodeString(version)
	m := module.Version{Path: string(p), Version: string(v)}
	// Each version must have one subject only, otherwise it could be pending
	// twice: base64 also allows line breaks.
	if again, err := token(m); errPath != nil || errVersion != nil || err != nil || again != rest {
		return module.Version{}, errors.New("the subject names no module version")
	}
	return m, nil
}

// parseState reads the body of a message, which may come from an unknown writer.
func parseState(body []byte) (state, error) {
	var s state
	if len(body) > maxMessage {
		return s, fmt.Errorf("the message has %d bytes; the maximum is %d", len(body), maxMessage)
	}
	if err := json.Unmarshal(body, &s); err != nil {
		return state{}, errors.New("the message is not valid JSON")
	}
	if s.After < 0 || s.After > maxDelay || s.Attempts < 0 || s.Attempts > maxAttempts {
		return state{}, errors.New("the message has a number that is out of range")
	}
	return s, nil
}

func (s state) encode() []byte {
	b, err := json.Marshal(s)
	if err != nil { // a time whose year JSON can't hold
		b, _ = json.Marshal(state{Zip: s.Zip, After: s.After, Attempts: s.Attempts, Reason: s.Reason})
	}
	return b
}
