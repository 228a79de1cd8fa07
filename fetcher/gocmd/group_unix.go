//go:build unix

package gocmd

import (
	"os/exec"
	"syscall"
)

// ownGroup makes a command the leader of a session of its own: no tool that it
// starts has a terminal to ask for a password on, and all are killed with it.
func ownGroup(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
}
