package server

import (
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
)

// withKey completes a value of -sumdb that has a name where a key should be, as the go
// command completes GOSUMDB: with the key that the go command knows.
func withKey(value string) (string, error) {
	words := strings.Fields(value)
	if len(words) == 0 || len(words) > 2 || strings.Contains(words[0], "+") {
		return value, nil
	}
	known, err := knownSumDBs()
	if err != nil {
		return "", fmt.Errorf("-sumdb %s: the go command's key for it can't be read, give 'NAME+HASH+KEY [URL]': %w", words[0], err)
	}
	full, ok := known[words[0]]
	if !ok {
		return "", fmt.Errorf("-sumdb %s: the key is not NAME+HASH+KEY, and the go command knows one only for %s",
			words[0], strings.Join(slices.Sorted(maps.Keys(known)), " and "))
	}
	if len(words) == 2 { // the URL that was given takes the place of the known one
		full = strings.Fields(full)[0] + " " + words[1]
	}
	return full, nil
}

// knownSumDBs returns the checksum databases that GOSUMDB may name without a key, with
// what stands for the name. They are read from the go command's own source: the keys in
// it, and the second names, which it spells "NAME https://SECONDNAME".
func knownSumDBs() (map[string]string, error) {
	env, err := goEnv()
	if err != nil {
		return nil, err
	}
	files, err := filepath.Glob(filepath.Join(env.GOROOT, "src", "cmd", "go", "internal", "modfetch", "*.go"))
	if err != nil {
		return nil, err
	}
	known := map[string]string{}
	var pairs [][]string
	for _, file := range files {
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.SkipObjectResolution)
		if err != nil {
			continue // a test's, perhaps
		}
		ast.Inspect(parsed, func(n ast.Node) bool {
			lit, ok := n.(*ast.BasicLit)
			if !ok || lit.Kind != token.STRING {
				return true
			}
			text, err := strconv.Unquote(lit.Value)
			if err != nil {
				return true
			}
			if key, err := note.NewVerifier(text); err == nil {
				known[key.Name()] = text
			} else if words := strings.Fields(text); len(words) == 2 {
				pairs = append(pairs, words)
			}
			return true
		})
	}
	if len(known) == 0 {
		return nil, errors.New("no key in the source of the go command under GOROOT " + env.GOROOT)
	}
	for _, words := range pairs {
		second, ok := strings.CutPrefix(words[1], "https://")
		if key := known[words[0]]; ok && key != "" {
			known[second] = key + " " + words[1]
		}
	}
	return known, nil
}
