package server

import (
	"fmt"
	"io/fs"
	"net"
	"strconv"
	"strings"
)

// setSocketMode reads the value of -socket-mode.
func (f *Flags) setSocketMode(text string) error {
	if text == "" {
		f.socketMode = 0
		return nil
	}
	mode, err := strconv.ParseUint(text, 8, 32)
	if err != nil || mode == 0 || fs.FileMode(mode)&^fs.ModePerm != 0 {
		return fmt.Errorf("%q is no mode such as 0660", text)
	}
	f.socketMode = fs.FileMode(mode)
	return nil
}

// Prefix is the path of -prefix, without a slash at its end.
func (f *Flags) Prefix() string { return strings.TrimSuffix(f.prefix, "/") }

// SocketLine stands for the line to paste where the go command can't connect by itself: a
// comment, if it is pasted all the same.
func SocketLine(addr net.Addr) string {
	return fmt.Sprintf("# listening on unix:%s: have a reverse proxy pass requests on to it, and point GOPROXY at that", addr)
}
