package modtest

import (
	"embed"
	"fmt"
	"io/fs"
	"path"
	"strconv"
	"strings"
	"testing"
	"time"
)

//go:embed testdata/repos/*.txt
var ready embed.FS

// Ready makes repositories of testdata/repos, each given by its name without
// .txt; [ReadyNames] lists them.
func Ready(t testing.TB, names ...string) []*Repo {
	t.Helper()
	var repos []*Repo
	for _, name := range names {
		script, err := ready.ReadFile("testdata/repos/" + name + ".txt")
		if err != nil {
			t.Fatal(err)
		}
		repos = append(repos, newRepo(t, name, string(script)))
	}
	return repos
}

// ReadyNames lists the repositories that [Ready] can make, sorted.
func ReadyNames() []string {
	files, _ := fs.Glob(ready, "testdata/repos/*.txt")
	var names []string
	for _, f := range files {
		names = append(names, strings.TrimSuffix(path.Base(f), ".txt"))
	}
	return names
}

// NewRepo makes a repository from a script: a txtar archive whose comment holds
// one command a line. Words are split at blanks; a word in double quotes is a
// Go string, one in single quotes is taken as it is. "#" at the start of a line
// begins a comment; the first comment says what the repository is for.
//
//	repo HOST/PATH           where it is served; required, once
//	import PREFIX [SUBDIR]   a module path whose go-import page names it; without
//	                         any, that is HOST/PATH; "import none": no page
//	offer PATH@QUERY...      what a go command can download of it
//	head BRANCH              the default branch, "main" unless given
//	config KEY VALUE         configures the served repository
//	files LABEL              writes the archive's files LABEL/... into the work tree
//	write FILE CONTENT       writes one file
//	symlink TARGET FILE      makes a symbolic link
//	chmod +x FILE...         or -x
//	rm FILE...               removes files or folders
//	authored DATE            author date of the next commit, where it differs
//	commit DATE MESSAGE...   commits the whole work tree; DATE is RFC 3339
//	tag NAME [REVISION]      lightweight; moves the tag if it exists
//	tag -a NAME DATE MESSAGE...
//	branch NAME [REVISION]   creates or moves a branch
//	checkout NAME
//	merge DATE BRANCH MESSAGE...
//	git ARG...               anything else, in the work tree
//
// Merges never fast-forward. Large hosts allow to fetch any commit by its hash
// and partial clones, and so does the repository; "config
// uploadpack.allowAnySHA1InWant false" makes it a strict one.
func NewRepo(t testing.TB, script string) *Repo {
	t.Helper()
	return newRepo(t, "script", script)
}

func newRepo(t testing.TB, name, text string) *Repo {
	t.Helper()
	r, err := madeRepo(name, text)
	if err == nil {
		r, err = r.copyTo(t, t.TempDir())
	}
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// makeRepo makes the repository of a script below root.
func makeRepo(root, name, text string) (*Repo, error) {
	r := &Repo{name: name, text: text, date: time.Unix(0, 0).UTC()}
	s, err := parseScript(name, text)
	if err != nil {
		return nil, err
	}
	r.Purpose = s.purpose
	r.place(root)
	if err := r.create(); err != nil {
		return nil, err
	}
	if err := r.run(s); err != nil {
		return nil, err
	}
	if r.Path == "" {
		return nil, fmt.Errorf("%s: the script has no repo command", name)
	}
	return r, nil
}

// Run changes the repository by more commands: a new commit, a moved tag.
// Clients see the change as a whole when Run returns.
func (r *Repo) Run(script string) {
	r.t.Helper()
	r.text += "\n" + script
	s, err := parseScript(r.name+" (changed)", script)
	if err == nil {
		err = r.run(s)
	}
	if err != nil {
		r.t.Fatal(err)
	}
}

// script is a parsed script.
type script struct {
	name    string
	purpose string
	lines   []scriptLine
	files   []ArchiveFile
}

// ArchiveFile is one file of a txtar archive.
type ArchiveFile struct {
	Name    string // slash-separated
	Content string
}

type scriptLine struct {
	number int
	words  []string
}

func parseScript(name, text string) (*script, error) {
	comment, files := SplitArchive(text)
	s := &script{name: name, files: files}
	for i, line := range strings.Split(comment, "\n") {
		line = strings.TrimSpace(line)
		if comment, ok := strings.CutPrefix(line, "#"); ok {
			if s.purpose == "" {
				s.purpose = strings.TrimSpace(comment)
			}
			continue
		}
		words, err := splitWords(line)
		if err != nil {
			return nil, fmt.Errorf("%s:%d: %w", name, i+1, err)
		}
		if len(words) > 0 {
			s.lines = append(s.lines, scriptLine{i + 1, words})
		}
	}
	return s, nil
}

// SplitArchive splits a txtar archive: the comment up to the first line
// "-- NAME --", and what follows each such line up to the next.
func SplitArchive(text string) (comment string, files []ArchiveFile) {
	into := &comment
	for line := range strings.Lines(text) {
		name, ok := strings.CutPrefix(strings.TrimRight(line, "\r\n"), "-- ")
		if name, ok2 := strings.CutSuffix(name, " --"); ok && ok2 && strings.TrimSpace(name) != "" {
			files = append(files, ArchiveFile{Name: strings.TrimSpace(name)})
			into = &files[len(files)-1].Content
			continue
		}
		*into += line
	}
	return comment, files
}

// splitWords splits a line at blanks outside of quotes.
func splitWords(line string) ([]string, error) {
	var words []string
	for {
		line = strings.TrimLeft(line, " \t\r")
		switch {
		case line == "":
			return words, nil
		case line[0] == '"':
			quoted, err := strconv.QuotedPrefix(line)
			if err != nil {
				return nil, fmt.Errorf("bad quoted word at %s", line)
			}
			word, err := strconv.Unquote(quoted)
			if err != nil {
				return nil, err
			}
			words, line = append(words, word), line[len(quoted):]
		case line[0] == '\'':
			word, rest, closed := strings.Cut(line[1:], "'")
			if !closed {
				return nil, fmt.Errorf("no closing quote at %s", line)
			}
			words, line = append(words, word), rest
		default:
			end := strings.IndexAny(line, " \t\r")
			if end < 0 {
				end = len(line)
			}
			words, line = append(words, line[:end]), line[end:]
		}
	}
}
