package gocmd

import (
	"regexp"
	"strings"
)

// verdict classifies an error text of the go command.
type verdict uint8

const (
	// unavailable is any unknown text: about the network, credentials, or a tool that
	// is not installed.
	unavailable verdict = iota
	// notFound is a definite "there is no such thing".
	notFound
	// unconfirmed is notFound, unless the tool reads each file from the server, so
	// that the go command can't distinguish "no" from "no answer". svn does.
	unconfirmed
	// invalid is a version whose files don't form a valid module.
	invalid
	// tooNew is a version that needs a newer go command. That does not change until
	// the operator installs one.
	tooNew
	// disallowed is a version control system that GOVCS does not allow.
	disallowed
)

// phrases are the known texts. They match whole texts, so a server's text can't be taken
// for one of them: the go command quotes servers and tools only after
// words of its own. They are from cmd/go/internal/modfetch, its codehost,
// vcs, modload and gover. A "." does not match the end of a line.
var phrases = []struct {
	verdict verdict
	text    *regexp.Regexp
}{
	// The repository has no such version: modfetch/codehost, modload/query.go.
	{unconfirmed, whole(`unknown revision \S+`)},
	{unconfirmed, whole(`no matching versions for query "[^"\n]*"`)},
	{notFound, whole(`no commits`)},
	{notFound, whole(`ambiguous revision \S+`)},

	// The commit has no such module: modfetch/coderepo.go.
	{unconfirmed, whole(`missing \S*go\.mod( and \S*go\.mod)? at revision \S+`)},
	{unconfirmed, whole(`\S*go\.mod is missing module path( \(and \S+ does not exist\))? at revision \S+`)},
	{unconfirmed, whole(`\S*go\.mod has (non-|post-|malformed )\S* ?module path ".*"( \(and \S+ does not exist\))? at revision \S+`)},
	{unconfirmed, whole(`\S*go\.mod and \S*go\.mod both have \S+ module paths at revision \S+`)},
	{unconfirmed, whole(`module contains a go\.mod file, so module path must match major version \(".*"\)`)},
	{notFound, whole(`module path includes a major version suffix, so major version must match`)},
	{notFound, whole(`\+incompatible suffix not allowed: major version \S+ is compatible`)},
	{unconfirmed, whole(`resolves to version \S+ \(\S+ is not a tag\)`)},
	{notFound, whole(`mismatched repo: found \S+ for \S+`)},
	{notFound, whole(`repository rooted at \S+ cannot contain module \S+`)},
	{notFound, whole(`should be v\S+, not v\d+`)},

	// The pseudo-version is not that commit's: validatePseudoVersion there.
	{notFound, whole(`revision is (longer|shorter) than canonical \(expected \S+\)`)},
	{notFound, whole(`does not match short name of revision \(expected \S+\)`)},
	{notFound, whole(`does not match version-control timestamp \(expected \d+\)`)},
	{notFound, whole(`major version without preceding tag must be v0, not v1`)},
	{notFound, whole(`tag \(\S+\) found on revision \S+ is already canonical, so should not be replaced with a pseudo-version derived from that tag`)},
	{unconfirmed, whole(`preceding tag \(\S+\) not found`)},
	{notFound, whole(`(revision \S+ is )?not a descendent of preceding tag \(\S+\)`)},
	{notFound, whole(`(malformed time|lacks base version, but has build metadata) "\S*"`)},
	{notFound, whole(`version before \S+ would have negative patch number`)},

	// The path has no repository: vcs.go. The text of a page follows the
	// status on further lines.
	{notFound, whole(`invalid \S+ import path "\S+"`)},
	{notFound, whole(`malformed (module|import) path ".*": .*`)},
	{notFound, regexp.MustCompile(`^` + unrecognized + `reading https?://\S+: (404|410) `)},
	{notFound, regexp.MustCompile(`^reading https?://\S+: (404|410) `)}, // of a GOPROXY server in a go-import tag
	{notFound, whole(unrecognized + `parse https?://\S+: no go-import meta tags \(.*\)`)},
	{notFound, whole(unrecognized + `parse (https?:)?//\S+: multiple meta tags match import path "\S+"`)},
	{notFound, whole(unrecognized + `fetching \S+: no go-import meta tag found in https?://\S+`)},
	{notFound, whole(unrecognized + `https?://\S+ and (https?:)?//\S+ disagree about go-import for \S+`)},
	{notFound, whole(unrecognized + `https?://\S+: invalid repo root ".*": (no scheme|file scheme disallowed)`)},
	{notFound, whole(unrecognized + `https?://\S+: invalid subdirectory ".*": leading (slash|hyphen)`)},
	{notFound, whole(unrecognized + `https?://\S+: unknown vcs ".*"`)},
	{notFound, whole(unrecognized + `import path does not begin with hostname`)},

	// The server has no such repository: texts of git and hg for a 404.
	{notFound, whole(`git ls-remote -q --end-of-options \S+ in \S+: exit status 128:(\n\tremote: .*)*\n\tfatal: repository '.*' not found`)},
	{notFound, whole(`hg pull -f in \S+: exit status 255:(\n\tpulling from \S+)?\n\tabort: HTTP Error (404|410): .*`)},

	// The files don't form a zip: x/mod/zip, with a line for each file.
	{invalid, regexp.MustCompile(`^create zip: .*: (malformed file path ".*": |case-insensitive file name collision: |` +
		`go\.mod files must have lowercase names|(go\.mod|LICENSE) file too large \(max|file path is not (clean|relative))`)},
	{invalid, regexp.MustCompile(`^create zip: .*(entry ".*" is both a file and a directory|multiple entries for file ".*")`)},
	{invalid, whole(`create zip: module source tree too large \(max size is \d+ bytes\)`)},
	{invalid, whole(`downloaded zip file too large`)},

	{invalid, whole(`(downloaded )?zip file contains more than one top-level directory`)},

	// The go.mod is not one, or is another module's: modload/modfile.go.
	{invalid, regexp.MustCompile(`^(parsing (\S*/)?go\.mod:|errors parsing (\S*/)?go\.mod:)\s+(\S*/)?go\.mod:\d+(:\d+)?: `)},
	{invalid, whole(`parsing (\S*/)?go\.mod: missing module line`)},
	{notFound, whole(`parsing (\S*/)?go\.mod:\n\tmodule declares its path as: \S+\n\t +but was required as: \S+`)},

	// The version is no version, and the path no module's: coderepo.go, vcs.go.
	{notFound, whole(`version \S+ is not canonical`)},
	{notFound, whole(`(version "\S*" invalid: )?(syntax error|must be of the form v1\.2\.3)`)},
	{notFound, whole(`invalid module path ".*"`)},
	{notFound, whole(`(` + unrecognized + `)?(no modules on example\.net|rsc\.io is not a module|".*" not allowed in import path)`)},
	{notFound, whole(`(` + unrecognized + `)?(invalid version control suffix in \S+ path|unknown version control system ".*")`)},

	// A go-import tag of a GOPROXY server whose URL no client can use: proxy.go.
	{notFound, whole(`invalid (file:// )?proxy URL( scheme \(must be https, http, file\)| missing scheme| with non-path elements): .*`)},
	{notFound, whole(`git remote \(.*\) must not be local directory.*`)},
	{notFound, whole(unrecognized + `cannot expand \.\.\. in ".*"`)},

	// What a checksum database or a go.sum contradicts stays wrong: fetch.go.
	{invalid, regexp.MustCompile(`^(\S+@\S+: )?verifying (module|go\.mod|\S+@\S+): checksum mismatch\n`)},

	// This server's own settings: gover/toolchain.go, vcs.go.
	{tooNew, whole(`\S+ requires go >= \S+ \(running go \S+(; GOTOOLCHAIN=\S+)?\)`)},
	{disallowed, whole(`(` + unrecognized + `)?GOVCS disallows using \S+ for (public|private) \S+; see 'go help vcs'`)},
}

const unrecognized = `unrecognized import path "\S+": `

func whole(pattern string) *regexp.Regexp { return regexp.MustCompile(`^(?:` + pattern + `)$`) }

// trimSubject removes what an error text is about from its beginning: "path@version",
// "module path" and "invalid version", in any order and several times.
func trimSubject(path, text string) string {
	text = strings.TrimSpace(text)
	for range 4 {
		text = strings.TrimPrefix(text, "module "+path+": ")
		if rest, ok := strings.CutPrefix(text, path+"@"); ok {
			if version, words, ok := strings.Cut(rest, ": "); ok && !strings.ContainsAny(version, " \t\n") {
				text = words
			}
		}
		text = strings.TrimPrefix(text, "invalid version: ")
		text = strings.TrimSpace(strings.TrimPrefix(text, "invalid pseudo-version: "))
	}
	return text
}

// classify classifies the error text of the go command for a query about a module
// path.
func classify(path, text string) verdict {
	text = trimSubject(path, text)
	for _, p := range phrases {
		if p.text.MatchString(text) {
			return p.verdict
		}
	}
	return unavailable
}
