package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/mod/module"
)

const (
	attempts   = 5
	firstPause = time.Second
	longest    = time.Minute // that a registry is waited for because of its Retry-After
	mostAnswer = 64 << 10    // bytes
)

// uploader sends zips to a registry.
type uploader struct {
	base   *url.URL
	secret string
	report *report
	pause  time.Duration // before the second attempt, and twice as long each time
}

// client sends no secret elsewhere: it follows no redirect.
func client() *http.Client {
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.ExpectContinueTimeout = 5 * time.Second
	t.ResponseHeaderTimeout = 15 * time.Minute // it checks the zip first
	return &http.Client{
		Transport:     t,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// again is an error after which another attempt may succeed, after a while.
type again struct {
	error
	after time.Duration
}

func (e *again) Unwrap() error { return e.error }

// send uploads the zip, several times if need be, and compares the answer with its hashes.
func (u *uploader) send(ctx context.Context, m module.Version, zip *packed) error {
	escaped, err := module.EscapePath(m.Path)
	if err != nil {
		return err
	}
	version, err := module.EscapeVersion(m.Version)
	if err != nil {
		return err
	}
	to := u.base.JoinPath(escaped, "@v", version+".zip").String()
	c := client()
	defer c.CloseIdleConnections()
	for i, pause := 1, u.pause; ; i, pause = i+1, 2*pause {
		err := u.try(ctx, c, to, zip)
		retry, ok := errors.AsType[*again](err)
		if !ok || i == attempts || ctx.Err() != nil {
			return err
		}
		pause := max(pause, retry.after)
		u.report.line("%v; attempt %d of %d in %v", err, i+1, attempts, pause)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(pause):
		}
	}
}

// try uploads the zip once.
func (u *uploader) try(ctx context.Context, c *http.Client, to string, zip *packed) error {
	file, err := os.Open(zip.file)
	if err != nil {
		return err
	}
	defer file.Close()
	req, err := http.NewRequestWithContext(ctx, http.MethodPut, to, u.report.progress(file, zip.size))
	if err != nil {
		return err
	}
	req.ContentLength = zip.size
	req.Header.Set("Authorization", "Bearer "+u.secret)
	req.Header.Set("Content-Type", "application/zip")
	req.Header.Set("Expect", "100-continue") // a refusal comes before the zip is sent
	resp, err := c.Do(req)
	if err != nil {
		return &again{err, 0}
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, mostAnswer))
	text := strings.TrimSpace(string(body))
	switch {
	case resp.StatusCode == http.StatusRequestTimeout, resp.StatusCode == http.StatusTooManyRequests, resp.StatusCode >= http.StatusInternalServerError:
		seconds, _ := strconv.Atoi(resp.Header.Get("Retry-After"))
		return &again{fmt.Errorf("the registry answers %s: %q", resp.Status, text), min(time.Duration(seconds)*time.Second, longest)}
	case resp.StatusCode != http.StatusCreated && resp.StatusCode != http.StatusOK:
		return fmt.Errorf("the registry answers %s: %s", resp.Status, printable(text))
	case err != nil:
		return &again{err, 0}
	}
	if got := strings.Split(text, "\n"); !slices.Equal(got, zip.sums) {
		return fmt.Errorf("the registry has other hashes than the zip that was sent, do not use this version: it says %q, not %q", got, zip.sums)
	}
	said := "published"
	if resp.StatusCode == http.StatusOK {
		said = "was published before, with the same content"
	}
	u.report.line("%s: %s", resp.Status, said)
	return nil
}

// printable replaces what could move a terminal's cursor.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		if strconv.IsPrint(r) {
			return r
		}
		return ' '
	}, text)
}
