package web

import (
	"bytes"
	"strings"

	"golang.org/x/mod/modfile"
	"golang.org/x/mod/module"
	"golang.org/x/mod/semver"
)

// A go.mod takes a hundred times its size in memory while it is parsed, if it was made for
// that.
const (
	maxParsedBytes = 256 << 10
	maxParsedLines = 10_000
)

// modInfo is what pages show of a go.mod.
type modInfo struct {
	goVersion  string
	deprecated string
	requires   []module.Version // that the module itself needs
	indirect   []module.Version
	retracts   []retraction
}

// retraction is what a go.mod retracts, and why.
type retraction struct {
	low, high, why string
}

// parseMod reads a go.mod. One that can't be read says nothing.
func parseMod(data []byte) (info modInfo) {
	if len(data) > maxParsedBytes || bytes.Count(data, []byte("\n")) > maxParsedLines {
		return info
	}
	file, err := modfile.ParseLax("go.mod", data, nil)
	if err != nil {
		return info
	}
	if file.Go != nil {
		info.goVersion = file.Go.Version
	}
	if file.Module != nil {
		info.deprecated = cut(file.Module.Deprecated, 500)
	}
	for _, r := range file.Require {
		if module.CheckPath(r.Mod.Path) != nil || !semver.IsValid(r.Mod.Version) {
			continue
		}
		if r.Indirect {
			info.indirect = append(info.indirect, r.Mod)
		} else {
			info.requires = append(info.requires, r.Mod)
		}
	}
	for _, r := range file.Retract {
		info.retracts = append(info.retracts, retraction{r.Low, r.High, cut(r.Rationale, 300)})
	}
	return info
}

// retracted returns why a version was retracted.
func (m *modInfo) retracted(version string) (why string, yes bool) {
	for _, r := range m.retracts {
		if semver.Compare(r.low, version) <= 0 && semver.Compare(version, r.high) <= 0 {
			return r.why, true
		}
	}
	return "", false
}

// cut shortens a text to a number of bytes, and makes it one line.
func cut(s string, most int) string {
	if len(s) > 4*most {
		s = s[:4*most]
	}
	s = strings.ToValidUTF8(strings.Join(strings.Fields(s), " "), "")
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "…"
}

// licenses are told by a phrase of their text.
var licenses = []struct{ name, phrase string }{
	{"GNU AGPL 3.0", "GNU AFFERO GENERAL PUBLIC LICENSE"},
	{"GNU LGPL", "GNU LESSER GENERAL PUBLIC LICENSE"},
	{"GNU GPL 3.0", "GNU GENERAL PUBLIC LICENSE Version 3"},
	{"GNU GPL 2.0", "GNU GENERAL PUBLIC LICENSE Version 2"},
	{"Apache 2.0", "Apache License Version 2.0"},
	{"MPL 2.0", "Mozilla Public License Version 2.0"},
	{"MPL 2.0", "Mozilla Public License, version 2.0"},
	{"ISC", "Permission to use, copy, modify, and/or distribute this software for any purpose with or without fee"},
	{"ISC", "Permission to use, copy, modify, and distribute this software for any purpose with or without fee"},
	{"MIT", "Permission is hereby granted, free of charge, to any person obtaining a copy"},
	{"BSD 3-Clause", "may be used to endorse or promote products derived from this software"},
	{"BSD 2-Clause", "Redistributions in binary form must reproduce the above copyright notice"},
	{"Unlicense", "This is free and unencumbered software released into the public domain"},
	{"CC0 1.0", "CC0 1.0 Universal"},
}

// licenseOf names the license that a text is, or returns "".
func licenseOf(text string) string {
	text = strings.ToLower(strings.Join(strings.Fields(text), " "))
	for _, l := range licenses {
		if strings.Contains(text, strings.ToLower(l.phrase)) {
			return l.name
		}
	}
	return ""
}

// isLicense reports whether a file at the top of a module is its license.
func isLicense(name string) bool {
	name = strings.ToUpper(name)
	for _, ext := range []string{"", ".MD", ".TXT"} {
		switch strings.TrimSuffix(name, ext) {
		case "LICENSE", "LICENCE", "COPYING", "UNLICENSE":
			return true
		}
	}
	return false
}
