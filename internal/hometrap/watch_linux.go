package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"unsafe"
)

// watch notices which files below home are opened from now on.
func watch(home string) (func() ([]string, error), error) {
	fd, err := syscall.InotifyInit1(syscall.IN_CLOEXEC | syscall.IN_NONBLOCK)
	if err != nil {
		return nil, fmt.Errorf("inotify: %w", err)
	}
	events := os.NewFile(uintptr(fd), "inotify")
	dirs, err := dirsBelow(home) // all of them before the first watch, which would notice the walk
	folders := make(map[int32]string)
	for _, name := range dirs {
		w, failed := syscall.InotifyAddWatch(fd, filepath.Join(home, name), syscall.IN_OPEN|syscall.IN_CREATE|syscall.IN_DELETE|syscall.IN_MOVE)
		err = errors.Join(err, failed)
		folders[int32(w)] = name
	}
	if err != nil {
		_ = events.Close()
		return nil, err
	}
	found := make(chan []string)
	go func() { found <- read(events, folders) }()
	return func() ([]string, error) {
		// What happened earlier is read before this.
		err := os.WriteFile(filepath.Join(home, end), nil, 0o600)
		if err != nil {
			return nil, err
		}
		names := <-found
		return names, errors.Join(os.Remove(filepath.Join(home, end)), events.Close())
	}, nil
}

func dirsBelow(home string) ([]string, error) {
	var dirs []string
	err := filepath.WalkDir(home, func(dir string, d fs.DirEntry, err error) error {
		name, _ := filepath.Rel(home, dir)
		if err == nil && d.IsDir() && !counted(name) {
			dirs = append(dirs, name)
		}
		return err
	})
	return dirs, err
}

// end is the file whose creation ends the watch.
const end = ".hometrap-end"

// read returns the files that are opened until the end, each once.
func read(events *os.File, folders map[int32]string) []string {
	var names []string
	buf := make([]byte, 64<<10)
	for {
		n, err := events.Read(buf)
		if err != nil {
			return append(names, err.Error())
		}
		for b := buf[:n]; len(b) >= syscall.SizeofInotifyEvent; {
			event := (*syscall.InotifyEvent)(unsafe.Pointer(&b[0]))
			size := syscall.SizeofInotifyEvent + int(event.Len)
			file := string(bytes.TrimRight(b[syscall.SizeofInotifyEvent:size], "\x00"))
			b = b[size:]
			name := filepath.Join(folders[event.Wd], file)
			switch {
			case file == end:
				return names
			case event.Mask&syscall.IN_Q_OVERFLOW != 0:
				names = append(names, "more files than could be counted")
			case !counted(name) && !slices.Contains(names, name):
				names = append(names, name)
			}
		}
	}
}
