package operate

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"

	"golang.org/x/mod/module"
	"golang.org/x/mod/semver"

	"github.com/athens-go/athens"
)

// maxHook bounds the body of a push event in bytes.
const maxHook = 4 << 20

// MinHookSecret is the least length in bytes of a secret for push events.
const MinHookSecret = 16

// The headers by which a push event is known and proves that it is genuine. GitHub and Gitea
// sign the body (HMAC-SHA256, in hexadecimal); GitLab presents the secret itself.
const (
	gitHubSignature = "X-Hub-Signature-256" // sha256=…
	giteaSignature  = "X-Gitea-Signature"
	gitLabToken     = "X-Gitlab-Token"
)

// isHook reports whether a request is a push event, or pretends to be one.
func isHook(r *http.Request) bool {
	for _, name := range []string{gitHubSignature, giteaSignature, gitLabToken, "X-GitHub-Event", "X-Gitea-Event", "X-Gitlab-Event"} {
		if r.Header.Get(name) != "" {
			return true
		}
	}
	return false
}

// event is what is read of a push event. All three services name these fields so, GitLab
// with project in place of repository.
type event struct {
	Ref        string     `json:"ref"`
	Deleted    bool       `json:"deleted"`
	After      string     `json:"after"`
	Repository repository `json:"repository"`
	Project    repository `json:"project"`
}

type repository struct {
	CloneURL string `json:"clone_url"`    // GitHub, Gitea
	HTTPURL  string `json:"git_http_url"` // GitLab
}

// hook answers a push event. For the tag of a version it does what an order for that version
// does; for a branch it forgets what sources said about the module at the repository's root.
// A URL with ?module=PATH names the module where its path is not that of the repository. An
// event of another kind, such as a ping, changes nothing.
func (a *API) hook(w http.ResponseWriter, r *http.Request) error {
	data, err := a.readEvent(w, r)
	if err != nil {
		return err
	}
	key := sha256.Sum256(data)
	if !a.first(key) {
		return &athens.RefusedError{Status: http.StatusUnauthorized, Reason: "this event was received before"}
	}
	if err = a.follow(w, r, data); err != nil {
		a.received.Delete(key) // the service may send it again
	}
	return err
}

// readEvent returns the body of an event that is genuine.
func (a *API) readEvent(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	var secrets []string
	if a.opts.Hooks != nil {
		secrets = a.opts.Hooks()
	}
	if len(secrets) == 0 {
		return nil, &athens.RefusedError{Status: http.StatusUnauthorized, Reason: "this server accepts no push events"}
	}
	leave, err := enter(a.events, "push events")
	if err != nil {
		return nil, err
	}
	defer leave()
	data, err := body(w, r, maxHook)
	if err == nil && !genuine(secrets, r.Header, data) {
		err = &athens.RefusedError{Status: http.StatusUnauthorized, Reason: "the signature or token of this event is missing or wrong"}
	}
	return data, err
}

// follow does what a genuine event asks for.
func (a *API) follow(w http.ResponseWriter, r *http.Request, data []byte) error {
	var e event
	if err := json.Unmarshal(data, &e); err != nil {
		return malformed("the event is not JSON: %w", err)
	}
	path, version, err := e.names(r.URL.Query().Get("module"))
	if err != nil {
		return err
	}
	if path == "" {
		return answer(w, struct{ Ignored string }{"no tag or branch was pushed"})
	}
	if version == "" || e.gone() { // the next question asks the source
		a.handler.Refresh(path)
		a.changed(r.Context(), "refreshed", module.Version{Path: path}, "")
		return answer(w, struct{ Module string }{path})
	}
	done, err := a.renew(r, path, version, "")
	if err != nil {
		return err
	}
	a.opts.Logger.Info("module refreshed", "module", done.Module, "version", done.Version, "user", "push event")
	return answer(w, done)
}

// genuine reports whether an event has a signature or a token by one of the secrets.
func genuine(secrets []string, header http.Header, data []byte) (ok bool) {
	for _, secret := range secrets {
		if len(secret) < MinHookSecret {
			continue
		}
		mac := hmac.New(sha256.New, []byte(secret))
		mac.Write(data)
		want := hex.EncodeToString(mac.Sum(nil))
		for name, said := range map[string]string{gitHubSignature: "sha256=" + want, giteaSignature: want, gitLabToken: secret} {
			if subtle.ConstantTimeCompare([]byte(header.Get(name)), []byte(said)) == 1 {
				ok = true
			}
		}
	}
	return ok
}

// gone reports whether the tag or branch was deleted.
func (e *event) gone() bool { return e.Deleted || e.After != "" && strings.Trim(e.After, "0") == "" }

// names returns the module that an event is about, and the version if it is of a tag. Said
// is the module that the URL of the hook names; it may be empty. An empty path is that of an
// event that is about none.
func (e *event) names(said string) (path, version string, err error) {
	tag, isTag := strings.CutPrefix(e.Ref, "refs/tags/")
	if !isTag && !strings.HasPrefix(e.Ref, "refs/heads/") {
		return "", "", nil
	}
	if path = said; path == "" {
		if path, err = e.root(); err != nil {
			return "", "", err
		}
	}
	if isTag {
		folder, name := "", tag
		if i := strings.LastIndexByte(tag, '/'); i >= 0 {
			folder, name = "/"+tag[:i], tag[i+1:]
		}
		if module.CanonicalVersion(name) == name && semver.IsValid(name) {
			version = name
			if said == "" {
				path += folder
				if major := semver.Major(name); major != "v0" && major != "v1" {
					path += "/" + major
				}
			}
		}
	}
	if err := module.CheckPath(path); err != nil {
		return "", "", malformed("the event's repository: %w", err)
	}
	if version != "" && module.Check(path, version) != nil {
		return "", "", malformed("the tag %.80q is not a version of %s", tag, path)
	}
	return path, version, nil
}

// root returns the module path of the repository's root.
func (e *event) root() (string, error) {
	for _, text := range []string{e.Repository.CloneURL, e.Project.HTTPURL} {
		if to, err := url.Parse(text); err == nil && to.Hostname() != "" {
			return to.Hostname() + strings.TrimSuffix(to.Path, ".git"), nil
		}
	}
	return "", malformed("the event names no repository")
}

// replayBytes bounds the memory for the latest events of this process: at least 10,000.
const replayBytes = 4 << 20

// first reports whether an event was not received before, and remembers it.
func (a *API) first(key [sha256.Size]byte) (first bool) {
	a.received.Update(key, func(known bool) bool {
		first = !known
		return true
	})
	return first
}
