package main

import (
	"context"
	"flag"
	"io"
)

// command is one thing that the tool does. Its error is shown after its name.
type command struct {
	run   func(ctx context.Context, flags *flag.FlagSet, args []string, stdout io.Writer) error
	usage string // of its arguments
}

// commands are what the tool can do.
func commands() map[string]command {
	return map[string]command{
		"ls":      {list, "[MODULE …]"},
		"du":      {diskUsage, ""},
		"rm":      {takeBack("rm"), "MODULE@VERSION …"},
		"hide":    {takeBack("hide"), "MODULE@VERSION …"},
		"restore": {takeBack("restore"), "MODULE@VERSION …"},
		"verify":  {verify, ""},
		"rules":   {explainRules, "FILE MODULE[@VERSION]"},
		"token":   {makeToken, ""},
	}
}
