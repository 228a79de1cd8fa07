package fetcher_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/athens-go/athens/internal/modtest"
)

// soakSeeds are repositories that once showed a difference, and a few more.
var soakSeeds = []uint64{1, 2, 3, 4}

// TestRandomRepositories makes repositories at random and compares what the go
// command and a Fetcher make of them. ATHENS_SOAK=N tries N more, from seed
// ATHENS_SEED on; a seed that fails belongs into soakSeeds.
func TestRandomRepositories(t *testing.T) {
	seeds := soakSeeds
	if more, _ := strconv.ParseUint(os.Getenv("ATHENS_SOAK"), 10, 32); more > 0 {
		first, _ := strconv.ParseUint(os.Getenv("ATHENS_SEED"), 10, 64)
		for i := range more {
			seeds = append(seeds, first+1000+i)
		}
	}
	for _, seed := range seeds {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			script := randomScript(seed)
			t.Cleanup(func() {
				if t.Failed() {
					t.Logf("the repository:\n%s", script)
				}
			})
			repo := modtest.NewRepo(t, script)
			require.NotEmpty(t, repo.Offers)
			interop(t, fmt.Sprint("random-", seed), repo)
		})
	}
}

// A scripter writes the script of a random repository.
type scripter struct {
	*rand.Rand
	strings.Builder
	root   string
	tags   []string
	day    int
	sides  bool
	hidden bool
}

func (s *scripter) line(format string, args ...any) { fmt.Fprintf(s, format+"\n", args...) }

func (s *scripter) of(list ...string) string { return list[s.IntN(len(list))] }

// chance is true once in n times.
func (s *scripter) chance(n int) bool { return s.IntN(n) == 0 }

func randomScript(seed uint64) string {
	s := &scripter{Rand: rand.New(rand.NewPCG(seed, 0))}
	s.root = fmt.Sprintf("random.test/r%d", seed)
	if s.chance(10) {
		s.root = fmt.Sprintf("gopkg.in/corp/r%d.v%d", seed, 1+s.IntN(2))
	}
	s.line("# Seed %d.", seed)
	s.line("repo %s", s.root)
	switch {
	case s.chance(8):
		s.line("import %s %s", s.root, s.of("sub", "v2", "deep/er"))
	case s.chance(8) && !strings.HasPrefix(s.root, "gopkg.in"):
		s.line("import %s/v2", s.root)
		s.line("import %s", s.root)
	case s.chance(12):
		s.line("config uploadpack.allowAnySHA1InWant false")
	}
	for i := range 3 + s.IntN(4) {
		if i > 1 {
			s.turn()
		}
		s.commit()
	}
	if s.chance(5) {
		s.hide()
	}
	s.line("checkout main")
	if s.chance(8) {
		s.line("head %s", s.of("side", "nowhere"))
	}
	offered := map[string]bool{}
	for range 8 {
		if offer := s.offer(); !offered[offer] {
			offered[offer] = true
			s.line("offer %s", offer)
		}
	}
	return s.String()
}

// hide makes a commit that no branch or tag leads to.
func (s *scripter) hide() {
	s.line("branch hidden")
	s.line("checkout hidden")
	s.commit()
	s.line("git update-ref refs/pull/1/head hidden")
	s.line("checkout main")
	s.line("git branch -q -D hidden")
	s.hidden = true
}

// turn goes to another branch, or joins one to this.
func (s *scripter) turn() {
	switch s.IntN(6) {
	case 0:
		if !s.sides {
			s.line("branch side")
		}
		s.line("checkout side")
		s.sides = true
	case 1:
		s.line("checkout main")
	case 2:
		if s.sides {
			s.line("checkout main")
			s.day++
			s.line("git merge -q --no-ff -s ours -m Join side")
		}
	}
}

var folders = []string{"", "sub/", "v2/", "sub/v2/", "deep/er/"}

// commit changes some files, and tags the result at times.
func (s *scripter) commit() {
	for range 1 + s.IntN(4) {
		s.file()
	}
	s.day++
	s.line("write count.txt %d", s.day)
	s.line("commit 2022-03-%02dT10:00:00Z Day %d", s.day, s.day)
	for range s.IntN(3) {
		tag := s.of("", "", "sub/", "deep/er/", "v2/") + s.of("v0.1.0", "v1.0.0", "v1.0.1-rc.1", "v1.2.0", "v2.0.0", "v2.1.0", "v1.3", "v1.4.0+meta", "v3.0.0-pre", "nightly", "v0.0.0-20220301100000-abcdefabcdef")
		if s.chance(4) {
			s.line("tag -a %s 2022-04-%02dT10:00:00Z A tag", tag, s.day)
		} else {
			s.line("tag %s", tag)
		}
		s.tags = append(s.tags, tag)
		if s.chance(6) {
			nested := s.of("v1.1.0", "sub/v1.1.0", "nested")
			s.line("git tag -a -f -m Nested %s %s", nested, "refs/tags/"+tag)
			s.tags = append(s.tags, nested)
		}
	}
	if s.chance(5) {
		s.line("branch %s", s.of("dev", "v1.0.0", "release/v1", "Dev", "latest", "1234567", "v1"))
	}
}

func (s *scripter) file() {
	dir := s.of(folders...)
	switch s.IntN(10) {
	case 0, 1, 2:
		declared := strings.TrimSuffix(s.root+"/"+dir, "/")
		if s.chance(5) {
			declared = s.of(s.root+"/v2", s.root+"/v3", "other.test/x", s.root)
		}
		ending := s.of("\\n", "\\r\\n", "\\n\\nretract v1.0.0\\n", "\\n// No more.", "\\n\\ngo 1.20\\n\\nretract [v1.0.0, v1.2.0]\\n", " // Deprecated: no\\n", "\\n\\nretract (\\n\\tv1.2.0 // bad\\n\\tv1.0.1-rc.1\\n)\\n", "\\n\\nnonsense\\n")
		module := s.of("module %s", "module %s", "module %s", "module \\\"%s\\\"", "module (\\n\\t%s\\n)", "// A comment.\\n\\nmodule %s", "\\ufeffmodule %s")
		s.line("rm %sgo.mod", dir) // which may be a folder
		s.line(`write %sgo.mod "%s%s"`, dir, fmt.Sprintf(module, declared), ending)
	case 3:
		s.line(`write %s.gitattributes "%s\n"`, dir, s.of("*.txt text eol=crlf", "* text=auto eol=crlf", "*.go ident", "a* -text",
			"*.txt export-ignore", "a.txt export-subst", "*.go text", "u.txt working-tree-encoding=ISO-8859-1", "link* text eol=crlf", "[attr]mine text eol=crlf\\n*.txt mine", "** !text", "/a.txt -text", "*.bin text=auto eol=crlf", "sub/** text eol=crlf",
			"\\\"a b.txt\\\" text eol=crlf", "s**/a.txt text eol=crlf", "[attr]text eol=crlf\\n*.go text", "* eol=crlf\\n*.go !eol", "*.txt crlf eol=crlf", "a.txt ident\\n!b.go ident"))
	case 9:
		s.line("rm %s", dir+s.of("go.mod", "LICENSE", "a.txt", ".gitattributes"))
	case 7:
		s.line("rm %sgo.mod", dir)
		s.line("rm %sLICENSE", dir)
		s.line("%s", strings.ReplaceAll(s.of("symlink other.mod DIRgo.mod", "write DIRgo.mod/x.go x", "write DIRGo.mod x", "write DIRLICENSE/x.txt x", "symlink ../LICENSE DIRLICENSE"), "DIR", dir))
	case 4:
		s.line("rm %sLICENSE", dir)
		s.line(`write %sLICENSE "Licence %d\n"`, dir, s.IntN(9))
	case 5:
		s.line("symlink %s %slink%d", s.of("a.txt", "/etc/passwd", "nowhere"), dir, s.IntN(1000))
	case 6:
		s.line(`write '%s%s' "A name.\n"`, dir, s.of("A.txt", "a b.txt", "vendor/x/x.go", "vendor/modules.txt", "ä.go", ".hidden", "x.go/y", "aux.go", "q?.txt", "~tilde", "trailing."))
	default:
		s.line(`write %s%s "%s"`, dir, s.of("a.txt", "b.go", "u.txt", "c.bin"), s.of("one\\ntwo\\n", "one\\r\\ntwo\\n", "$Id$ $Format:%H$\\n", "\\x00\\n\\r\\n", "", "// $Id: old $\\n"))
	}
}

// offer is something to ask: often of a path that is a module, often not.
func (s *scripter) offer() string {
	path := s.root + s.of("", "", "", "", "/v2", "/sub", "/sub/v2", "/deep/er", "/v3", "/deep")
	queries := []string{"latest", "latest", "side", "v2", "v0", "v1.2", "main", "v1", "v1.0", "HEAD", "v1.0.0", "v2.0.0+incompatible", "{main}", "{main~1:12}", "{main:7}", "dev",
		"{pseudo:v0.none:main}", "{pseudo:v1.0.0:main}", "{pseudo:v1.0.1-rc.1:main~1}", "{pseudo:v2.none:main}", "{pseudo:v2.0.0:main~1}",
		"<v1.2.0", ">=v1.0.0", "<=v2.0.0", ">v1.0.0", ">=v2", "Dev", "release/v1", "1234567", "v1.1.0", "nested", "refs/heads/main", "{pseudo:v1.0.1-rc.1:main}", "{pseudo:v2.0.0:main}+incompatible"}
	if s.hidden {
		queries = append(queries, "{refs/pull/1/head}", "{refs/pull/1/head:12}", "{pseudo:v0.none:refs/pull/1/head}", "{pseudo:v1.0.0:refs/pull/1/head}")
	}
	for _, tag := range s.tags {
		version := tag[strings.LastIndex(tag, "/")+1:]
		queries = append(queries, version, version, s.of(tag, version+"+incompatible", "{refs/tags/"+tag+"}", "{refs/tags/"+tag+":9}", "{refs/tags/"+tag+":6}"),
			s.of("{pseudo:"+version+":main}", "{pseudo:"+version+":refs/tags/"+tag+"}", version+"+other"))
	}
	return path + "@" + s.of(queries...)
}
