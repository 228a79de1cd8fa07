package modtest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
)

// Main runs a package's tests in a home of their own, which is empty at first, and
// with a folder for the programs that [Build] makes:
//
//	func TestMain(m *testing.M) { os.Exit(modtest.Main(m)) }
//
// Tests and the processes that they start then neither read nor write the user's
// files: no configuration of git and ssh, no credentials, no caches. Only Go's own
// settings stay as they are (its caches and GOPROXY, for instance), so that building
// does not start from nothing. The variables of env, as NAME=VALUE, are set for all tests:
// those that run side by side can't set them.
func Main(m interface{ Run() int }, env ...string) int {
	dir, err := os.MkdirTemp("", "modtest-")
	if err == nil {
		defer func() { _ = os.RemoveAll(dir) }()
		err = isolate(filepath.Join(dir, "home"))
	}
	for _, e := range env {
		name, value, _ := strings.Cut(e, "=")
		err = errors.Join(err, os.Setenv(name, value))
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "modtest:", err)
		return 1
	}
	binaries.Lock()
	binaries.dir, binaries.built = dir, map[string]func() (string, error){}
	binaries.Unlock()
	return m.Run()
}

// MainInMemory is [Main] with temporary folders in memory, where the machine has a file system
// for that with enough room and TMPDIR names no other folder. It is for packages whose tests make thousands of small
// repositories and module caches: to make and remove the files takes a disk's file system a
// third of their time.
func MainInMemory(m interface{ Run() int }, env ...string) int {
	if os.Getenv("TMPDIR") != "" {
		return Main(m, env...)
	}
	if dir := memoryDir(); dir != "" {
		defer func() { _ = os.RemoveAll(dir) }()
		if err := os.Setenv("TMPDIR", dir); err != nil {
			fmt.Fprintln(os.Stderr, "modtest:", err)
			return 1
		}
	}
	return Main(m, env...)
}

// goSettings are what tests keep of the user's settings, wherever they are made: in
// the environment or in the file that GOENV names.
var goSettings = []string{
	"GOCACHE", "GOMODCACHE", "GOPATH", "GOPROXY", "GOSUMDB", "GOPRIVATE", "GONOPROXY", "GONOSUMDB", "GOFLAGS", "GOTOOLCHAIN",
}

// isolate makes this process and those that it starts use home in place of the user's.
func isolate(home string) error {
	kept, err := goEnv(goSettings...)
	if err != nil {
		return err
	}
	for _, name := range personal(os.Environ()) {
		if err := os.Unsetenv(name); err != nil {
			return err
		}
	}
	env := homeEnv(home)
	for name, value := range kept {
		if value != "" {
			env[name] = value
		}
	}
	env["GOENV"], env["GIT_CONFIG_NOSYSTEM"], env["GIT_TERMINAL_PROMPT"], env["HGRCPATH"] = "off", "1", "0", ""
	for name, value := range env {
		if err := os.Setenv(name, value); err != nil {
			return err
		}
	}
	return noTelemetry(home)
}

// homeEnv returns the variables by which programs find a user's files.
func homeEnv(home string) map[string]string {
	env := map[string]string{"HOME": home}
	// The AWS library has found its home before a test's main function begins.
	env["AWS_CONFIG_FILE"], env["AWS_SHARED_CREDENTIALS_FILE"] = os.DevNull, os.DevNull
	if runtime.GOOS == "windows" {
		env["USERPROFILE"], env["AppData"], env["LocalAppData"] = home, filepath.Join(home, "roaming"), filepath.Join(home, "local")
		return env
	}
	env["XDG_CONFIG_HOME"], env["XDG_CACHE_HOME"] = filepath.Join(home, ".config"), filepath.Join(home, ".cache")
	env["XDG_DATA_HOME"], env["XDG_STATE_HOME"] = filepath.Join(home, ".local", "share"), filepath.Join(home, ".local", "state")
	return env
}

// personal lists the variables that lead to a user's settings and credentials
// without their home.
func personal(environ []string) []string {
	var names []string
	for _, e := range environ {
		name, _, _ := strings.Cut(e, "=")
		switch {
		case strings.HasPrefix(name, "GIT_") && name != "GIT_EXEC_PATH", strings.HasPrefix(name, "AWS_"),
			strings.HasPrefix(name, "SSH_"), name == "NETRC", name == "XDG_CONFIG_DIRS", name == "XDG_RUNTIME_DIR",
			name == "GOAUTH", name == "GOVCS", name == "GOINSECURE":
			names = append(names, name)
		}
	}
	return names
}

// goEnv returns what "go env" says of those settings.
func goEnv(names ...string) (map[string]string, error) {
	cmd := exec.Command("go", append([]string{"env", "-json"}, names...)...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	settings := make(map[string]string)
	if err == nil {
		err = json.Unmarshal(out, &settings)
	}
	if err != nil {
		return nil, fmt.Errorf("go env: %w: %s", err, &stderr)
	}
	return settings, nil
}

// noTelemetry keeps go commands from starting a process that counts their uses,
// which would write into home while the test's end removes it.
func noTelemetry(home string) error {
	config := filepath.Join(home, ".config")
	switch runtime.GOOS {
	case "darwin":
		config = filepath.Join(home, "Library", "Application Support")
	case "windows":
		config = filepath.Join(home, "roaming")
	}
	dir := filepath.Join(config, "go", "telemetry")
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "mode"), []byte("off 2024-01-01"), 0o666)
}
