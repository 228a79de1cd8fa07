package server

import (
	"cmp"
	"fmt"
	"runtime"
	"runtime/debug"
)

// version is one line about the program: its module's version, the commit where it was
// built from a checkout, and the Go release.
func version(name string) string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return fmt.Sprintf("athens %s (unknown) %s", name, runtime.Version())
	}
	settings := map[string]string{}
	for _, s := range info.Settings {
		settings[s.Key] = s.Value
	}
	line := fmt.Sprintf("athens %s %s", name, cmp.Or(info.Main.Version, "(devel)"))
	if commit := settings["vcs.revision"]; commit != "" {
		line += " commit " + commit
		if settings["vcs.modified"] == "true" {
			line += " (modified)"
		}
	}
	return fmt.Sprintf("%s %s %s/%s", line, info.GoVersion, runtime.GOOS, runtime.GOARCH)
}
