package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// run runs a command in a trap and returns what it has done there.
func run(command []string) (touched []string, err error) {
	env, err := goEnv()
	if err != nil {
		return nil, err
	}
	home, err := os.MkdirTemp("", "hometrap-")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(home)) }()
	trap, err := set(home)
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(command[0], command[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.Env = append(append(os.Environ(), env...),
		"GOENV=off", "HOME="+home, "USERPROFILE="+home, "AppData="+filepath.Join(home, ".config"), "LocalAppData="+filepath.Join(home, ".cache"),
		"XDG_CONFIG_HOME="+filepath.Join(home, ".config"), "XDG_CACHE_HOME="+filepath.Join(home, ".cache"),
		"NETRC="+filepath.Join(home, ".netrc"), "GIT_CONFIG_GLOBAL="+filepath.Join(home, ".gitconfig"), "SSH_AUTH_SOCK="+filepath.Join(home, ".ssh", "agent"))
	err = cmd.Run()
	touched, failed := trap.close()
	return touched, errors.Join(err, failed)
}

// goEnv returns Go's own settings, wherever they are made, as variables.
func goEnv() ([]string, error) {
	out, err := exec.Command("go", "env", "-json", "GOCACHE", "GOMODCACHE", "GOPATH", "GOPROXY", "GOSUMDB", "GOPRIVATE", "GONOPROXY", "GONOSUMDB", "GOFLAGS", "GOTOOLCHAIN").Output()
	settings := make(map[string]string)
	if err == nil {
		err = json.Unmarshal(out, &settings)
	}
	if err != nil {
		return nil, fmt.Errorf("go env: %w", err)
	}
	var env []string
	for name, value := range settings {
		if value != "" {
			env = append(env, name+"="+value)
		}
	}
	return env, nil
}

// bait returns the files of the trap. What is in them is an error for most programs.
func bait() map[string]string {
	files := map[string]string{".config/go/telemetry/mode": "off 2024-01-01"}
	for _, name := range []string{
		".gitconfig", ".config/git/config", ".config/git/attributes", ".config/git/ignore", ".git-credentials", ".hgrc", ".bazaar/bazaar.conf", ".subversion/config",
		".netrc", "_netrc", ".ssh/config", ".ssh/known_hosts", ".ssh/id_ed25519", ".ssh/id_rsa", ".ssh/agent",
		".config/go/env", ".aws/config", ".aws/credentials", ".cache/athens/proxy/bait", ".cache/athens/registry/bait",
	} {
		files[name] = "[this is the trap of a test: nobody should read it\n"
	}
	return files
}

// trap is a home that notices what is done to it.
type trap struct {
	home   string
	opened func() ([]string, error) // since it was set; only once
}

func set(home string) (*trap, error) {
	for name, content := range bait() {
		file := filepath.Join(home, filepath.FromSlash(name))
		err := os.MkdirAll(filepath.Dir(file), 0o700)
		if err == nil {
			err = os.WriteFile(file, []byte(content), 0o600)
		}
		if err != nil {
			return nil, err
		}
	}
	opened, err := watch(home)
	return &trap{home: home, opened: opened}, err
}

// close returns what was done, in words.
func (t *trap) close() ([]string, error) {
	var touched []string
	opened, err := t.opened()
	for _, name := range opened {
		touched = append(touched, "opened "+name)
	}
	left := bait()
	walked := filepath.WalkDir(t.home, func(file string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		name, err := filepath.Rel(t.home, file)
		if err != nil || counted(name) {
			return err
		}
		was, baited := left[filepath.ToSlash(name)]
		delete(left, filepath.ToSlash(name))
		now, err := os.ReadFile(file)
		switch {
		case !baited:
			touched = append(touched, "created "+name)
		case !bytes.Equal(now, []byte(was)):
			touched = append(touched, "changed "+name)
		}
		return err
	})
	for name := range left {
		if !counted(name) {
			touched = append(touched, "removed "+name)
		}
	}
	return touched, errors.Join(err, walked)
}

// counted reports whether name is where the go command itself keeps whether it may
// count its uses. It reads that before anything else.
func counted(name string) bool {
	return strings.HasPrefix(filepath.ToSlash(name), ".config/go/telemetry")
}
