package modcheck

import (
	"bytes"

	"golang.org/x/mod/modfile"
	"golang.org/x/mod/semver"
)

// A go.mod takes a hundred times its size in memory while it is parsed, if it was made
// for that. What a larger one retracts does not count.
const (
	maxParsedBytes = 4 << 20
	maxParsedLines = 100_000
)

// Retractions are the versions that a go.mod retracts.
type Retractions []modfile.VersionInterval

// Retracted returns what a go.mod retracts: nothing if it can't be parsed.
func Retracted(mod []byte) Retractions {
	if !bytes.Contains(mod, []byte("retract")) || len(mod) > maxParsedBytes || bytes.Count(mod, []byte("\n")) > maxParsedLines {
		return nil
	}
	file, err := modfile.ParseLax("go.mod", mod, nil)
	if err != nil {
		return nil
	}
	var r Retractions
	for _, retract := range file.Retract {
		r = append(r, retract.VersionInterval)
	}
	return r
}

// Include reports whether a version is retracted.
func (r Retractions) Include(version string) bool {
	for _, i := range r {
		if semver.Compare(i.Low, version) <= 0 && semver.Compare(version, i.High) <= 0 {
			return true
		}
	}
	return false
}
