package gitconfig_test

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/athens-go/athens/internal/gitconfig"
)

// texts are configurations, good and bad.
var texts = []string{
	"",
	"[url \"https://x/\"]\n\tinsteadOf = git@x:\n",
	"[url \"https://x/\"] insteadOf = a\n",
	"[url.https://x/]\n insteadOf = a\n",
	"[http]\n extraHeader = \"X: a;b\" # c\n extraHeader\n",
	"[alias]\n lg = log --pretty=\\\"%h\\\"\n x = \"!f() { echo \\\"$1\\\"; }; f\"\n",
	"[a]\n b = c \\\n  d\n",
	"[core]\n editor = C:\\\\x\\n\n",
	"[core]\n editor = C:\\x\n",
	"[a \"b\\\"c\\d\"]\n d = e  f   \n",
	"[a-b]\n c1-d = x\n",
	"\ufeff[a]\nb=c\n",
	"[a]\r\nb = c\r\nd = \"e\r\n\"\r\n",
	"[a]\rb = c\r",
	"[a]b=c",
	"[a]b",
	"[a]\nb = \n c\n",
	"[A.B]\n C = d\n",
	"[a.b \"c\"]\n d = e\n",
	"[a]\n b = \"x # y\" z\n",
	"[a]\n b = x;y\n b = x#y # z\n",
	"[user]\n name = Ünï\n",
	"[a]\n b = 'x'\n [c]\n d\n",
	"; c\n# d\n[a]\n b=1 ; x\n",
	"[a]\n b = x\\ty\\b\n",
	"[a]\n b = x\\q\n",
	"b = c\n",
	"[a\nb = c\n",
	"[a \"b]\n",
	"[a \"b\" ]\n",
	"[a \nb]\n",
	"[a]\n 1b = c\n",
	"[a]\n b_c = d\n",
	"[a]\n b c\n",
	"[a]\n b = \"c\n",
	"[a]\n b = c\\",
	"[]\n b = c\n",
	"[ \"a\"]\n b = c\n",
	"[a]\n b = \"\"  \n c =  \"  x  \"  \n",
}

// What Parse makes of a text is what git makes of it.
func TestParseAsGit(t *testing.T) {
	name := filepath.Join(t.TempDir(), "config")
	for _, text := range texts {
		require.NoError(t, os.WriteFile(name, []byte(text), 0o600))
		out, gitErr := exec.Command("git", "config", "-z", "--list", "--file", name).Output()
		var want []string
		for line := range strings.SplitSeq(strings.TrimSuffix(string(out), "\x00"), "\x00") {
			if line != "" {
				want = append(want, line)
			}
		}
		vars, err := gitconfig.Parse(text)
		assert.Equal(t, gitErr != nil, err != nil, "%q: git %v, Parse %v", text, gitErr, err)
		var got []string
		for _, v := range vars {
			got = append(got, full(v))
		}
		if gitErr == nil {
			// Git shows a variable without "=" without a line feed.
			for i := range want {
				if !strings.Contains(want[i], "\n") {
					want[i] += "\n"
				}
			}
			assert.Equal(t, want, got, "%q", text)
		}
	}
}

func full(v gitconfig.Variable) string {
	if v.Section+v.Subsection == "" {
		return v.Name + "\n" + v.Value
	}
	s := v.Section + "."
	if v.Subsection != "" {
		s += v.Subsection + "."
	}
	return s + v.Name + "\n" + v.Value
}

func FuzzParse(f *testing.F) {
	for _, text := range texts {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		vars, err := gitconfig.Parse(text)
		if err == nil && len(vars) > strings.Count(text, "\n")+strings.Count(text, "]")+1 {
			t.Errorf("%d variables in %q", len(vars), text)
		}
	})
}

// world is a home folder with files of a configuration, and an environment.
func world(t *testing.T, files map[string]string, env map[string]string) func(string) string {
	t.Helper()
	home := t.TempDir()
	for name, text := range files {
		name = filepath.Join(home, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(name), 0o777))
		require.NoError(t, os.WriteFile(name, []byte(strings.ReplaceAll(text, "HOME", home)), 0o600))
	}
	return func(name string) string {
		switch value, ok := env[name]; {
		case ok:
			return strings.ReplaceAll(value, "HOME/", home+"/")
		case name == "HOME":
			return home
		case name == "GIT_CONFIG_SYSTEM":
			return filepath.Join(home, "system")
		}
		return ""
	}
}

// Which files count, and in which order: the later of two equal lines is the
// one that a list ends with.
func TestLoad(t *testing.T) {
	header := func(v string) string { return "[http]\n extraHeader = X: " + v + "\n" }
	all := map[string]string{
		"system": header("system"), ".config/git/config": header("xdg"), ".gitconfig": header("home"),
		"xdg/git/config": header("other xdg"), "global": header("global"),
	}
	env := map[string]string{
		"GIT_CONFIG_COUNT": "2", "GIT_CONFIG_KEY_0": "HTTP.extraHeader", "GIT_CONFIG_VALUE_0": "X: env",
		"GIT_CONFIG_KEY_1": "http.https://other.test/.extraHeader", "GIT_CONFIG_VALUE_1": "X: no",
	}
	for name, test := range map[string]struct {
		files, env map[string]string
		want       []string
		err        string
	}{
		"nothing":  {},
		"all":      {files: all, want: []string{"system", "xdg", "home"}},
		"xdg":      {files: all, env: map[string]string{"XDG_CONFIG_HOME": "HOME/xdg"}, want: []string{"system", "other xdg", "home"}},
		"global":   {files: all, env: map[string]string{"GIT_CONFIG_GLOBAL": "HOME/global"}, want: []string{"system", "global"}},
		"nosystem": {files: all, env: map[string]string{"GIT_CONFIG_NOSYSTEM": "true"}, want: []string{"xdg", "home"}},
		"system":   {files: all, env: map[string]string{"GIT_CONFIG_NOSYSTEM": "0", "GIT_CONFIG_GLOBAL": os.DevNull}, want: []string{"system"}},
		"no home":  {env: map[string]string{"HOME": os.DevNull}},
		"env":      {files: map[string]string{".gitconfig": header("home")}, env: env, want: []string{"home", "env"}},
		"include": {files: map[string]string{
			".gitconfig": header("a") + "[include]\n path = more/b\n" + header("e"),
			"more/b":     header("b") + "[include]\n path = ~/more/c\n path = HOME/d\n path = missing\n",
			"more/c":     header("c"), "d": header("d"),
		}, want: []string{"a", "b", "c", "d", "e"}},
		"condition": {files: map[string]string{
			".gitconfig": "[includeIf \"gitdir:/\"]\n path = more\n" + header("a"), "more": header("b"),
		}, want: []string{"a"}},
		"forgets":   {files: map[string]string{"system": header("a"), ".gitconfig": "[http]\nextraHeader =\n" + header("b")}, want: []string{"b"}},
		"circle":    {files: map[string]string{".gitconfig": "[include]\n path = .gitconfig\n"}, err: "include each other"},
		"bad":       {files: map[string]string{".gitconfig": "[a]\n\nb = \\q\n"}, err: ".gitconfig: line 3"},
		"long":      {files: map[string]string{".gitconfig": strings.Repeat("#", gitconfig.MaxSize+1), "system": header("a")}, want: []string{"a"}},
		"folder":    {files: map[string]string{".gitconfig/x": "", "system": "[include]\n path = HOME/.gitconfig\n" + header("a")}, want: []string{"a"}},
		"UTF-16":    {files: map[string]string{".gitconfig": "\xff\xfe[\x00a\x00]\x00", "system": header("a")}, want: []string{"a"}},
		"Latin-1":   {files: map[string]string{".gitconfig": "# J\xfcrgen\n[user]\nname = J\xfcrgen\n" + header("a")}, want: []string{"a"}},
		"count":     {env: map[string]string{"GIT_CONFIG_COUNT": "-1"}, err: "GIT_CONFIG_COUNT"},
		"key":       {env: map[string]string{"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "http"}, err: "GIT_CONFIG_KEY_0"},
		"relative":  {env: map[string]string{"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "include.path", "GIT_CONFIG_VALUE_0": "x"}, err: "not absolute"},
		"stranger":  {files: map[string]string{".gitconfig": "[include]\n path = ~root/x\n"}, err: "home folder"},
		"many envs": {env: map[string]string{"GIT_CONFIG_COUNT": "999999999"}, err: "GIT_CONFIG_COUNT"},
	} {
		t.Run(name, func(t *testing.T) {
			c, err := gitconfig.Load(world(t, test.files, test.env), nil)
			if test.err != "" {
				require.ErrorContains(t, err, test.err)
				return
			}
			require.NoError(t, err)
			var got []string
			for _, h := range c.HTTP(&url.URL{Scheme: "https", Host: "git.test"}, "extraHeader") {
				got = append(got, strings.TrimPrefix(h, "X: "))
			}
			assert.Equal(t, test.want, got)
		})
	}
}

// What Rewrite does to a URL is what git does to it.
func TestRewriteAsGit(t *testing.T) {
	config := `
[url "https://one.test/"]
	insteadOf = https://git.test/
	insteadOf = git:
[url "ssh://git@two.test/"]
	insteadOf = https://git.test/team/
	insteadOf = https://same.test/
	pushInsteadOf = https://push.test/
[url "https://user:secret@three.test/"]
	insteadOf = https://same.test/
	insteadOf = https://git.test/team/private
[url "https://two.test/"]
	insteadOf = HTTPS://git.test/upper
`
	name := filepath.Join(t.TempDir(), "config")
	require.NoError(t, os.WriteFile(name, []byte(config), 0o600))
	c, err := gitconfig.LoadFile(name, nil)
	require.NoError(t, err)
	for _, u := range []string{
		"https://git.test/", "https://git.test/x", "https://git.test/team", "https://git.test/team/x",
		"https://git.test/team/private", "https://git.test/team/private/x", "https://same.test/x",
		"https://git.test/upper/x", "https://push.test/x", "https://else.test/x", "git:x", "git://git.test/x",
	} {
		cmd := exec.Command("git", "ls-remote", "--get-url", u)
		cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=" + name}
		out, err := cmd.Output()
		require.NoError(t, err)
		assert.Equal(t, strings.TrimSpace(string(out)), c.Rewrite(u), u)
	}
}

// The headers that a URL gets are those that git sends.
func TestExtraHeaderAsGit(t *testing.T) {
	var mu sync.Mutex
	var last []string
	swap := func(values []string) []string {
		mu.Lock()
		defer mu.Unlock()
		old := last
		last = values
		return old
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		swap(append([]string(nil), r.Header.Values("X")...))
		http.NotFound(w, r)
	}))
	defer server.Close()
	port := server.URL[strings.LastIndex(server.URL, ":"):]
	header := func(pattern, value string) string {
		if pattern == "" {
			return "[http]\nextraHeader = X: " + value + "\n"
		}
		return "[http \"" + strings.ReplaceAll(pattern, "PORT", port) + "\"]\nextraHeader = X: " + value + "\n"
	}
	for i, config := range []string{
		header("", "a"),
		header("", "a") + header("http://127.0.0.1PORT/", "b") + header("", "c"),
		header("http://127.0.0.1PORT/", "b") + header("", "c"),
		header("http://127.0.0.1PORT", "a") + header("http://127.0.0.1PORT/team", "b") + header("http://127.0.0.1PORT/team/", "c"),
		header("http://127.0.0.1PORT/team/x", "a") + header("http://127.0.0.1PORT/team", "b"),
		header("http://127.0.0.1PORT/tea", "a") + header("http://127.0.0.1PORT/team/x/y", "b"),
		header("https://127.0.0.1PORT/", "a") + header("http://127.0.0.1/", "b") + header("http://other.testPORT/", "c"),
		header("http://*.0.0.1PORT/", "a") + header("http://127.*PORT/", "b") + header("http://*.*.*.*PORT/team", "c"),
		header("http://127.0.0.1PORT/", "a") + header("http://*.0.0.1PORT/team/x", "b"),
		header("http://me@127.0.0.1PORT/", "a") + header("http://you@127.0.0.1PORT/", "b") + header("http://127.0.0.1PORT/", "c"),
		header("", "a") + "[http]\nextraHeader =\n" + header("", "b"),
		header("", "a") + "[http \"http://127.0.0.1" + port + "\"]\nextraHeader =\n" + header("", "b"),
		header("HTTP://127.0.0.1PORT/", "a") + header("http://127.0.0.1PORT/./team/../team/x", "b"),
		header("not a url", "a") + header("/team", "b") + header("127.0.0.1", "c"),
	} {
		name := filepath.Join(t.TempDir(), "config")
		require.NoError(t, os.WriteFile(name, []byte(config), 0o600))
		c, err := gitconfig.LoadFile(name, nil)
		require.NoError(t, err)
		for _, raw := range []string{server.URL + "/team/x", server.URL + "/else", strings.Replace(server.URL, "//", "//me@", 1) + "/team/x"} {
			swap(nil)
			cmd := exec.Command("git", "ls-remote", raw)
			cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=" + name, "GIT_TERMINAL_PROMPT=0"}
			require.Error(t, cmd.Run())
			u, err := url.Parse(raw)
			require.NoError(t, err)
			var got []string
			for _, h := range c.HTTP(u, "extraHeader") {
				got = append(got, strings.TrimPrefix(h, "X: "))
			}
			assert.Equal(t, swap(nil), got, "%d: %s of\n%s", i, raw, config)
		}
	}
}
