package fetcher

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp/capability"
	"github.com/go-git/go-git/v5/plumbing/transport"
	githttp "github.com/go-git/go-git/v5/plumbing/transport/http"
)

// A refSet is what a repository said of its references: HEAD, branches and
// tags. It does not change, so that one question is answered from one state.
type refSet struct {
	asked   time.Time
	names   []string          // sorted, in full: "refs/tags/v1.0.0"
	commits map[string]string // by name: the object meant, annotated tags followed
	tips    map[string]string // by name: the object named, such as an annotated tag
	head    string            // what HEAD means; as "HEAD" the go command knows the object named

	session transport.UploadPackSession // for fetching; it knows where redirects led
	caps    *capability.List
	shallow bool // the server can leave history out
	cut     bool // the server has no more than a part of the history itself
}

// refs returns the references, asking for them if what is known is older than
// maxAge; zero means Options.RefsTTL.
func (r *repo) refs(ctx context.Context, maxAge time.Duration) (*refSet, error) {
	if maxAge == 0 {
		maxAge = r.f.opts.RefsTTL
	}
	r.mu.Lock()
	known := r.known
	r.mu.Unlock()
	if known != nil && time.Since(known.asked) <= maxAge {
		return known, nil
	}
	if _, err, ok := r.f.refusals.get(r.key); ok {
		return nil, err
	}
	return r.f.listings.Do(ctx, r.key, func(ctx context.Context) (*refSet, error) {
		rs, err := r.askRefs(ctx)
		if err != nil {
			if errors.As(err, new(absent)) || errors.As(err, new(broken)) {
				r.f.refusals.put(r.key, struct{}{}, err, r.f.opts.MissTTL)
			}
			return nil, err
		}
		r.mu.Lock()
		r.known = rs
		r.mu.Unlock()
		return rs, nil
	})
}

// askRefs asks the server for its references.
func (r *repo) askRefs(ctx context.Context) (*refSet, error) {
	ctx, cancel := context.WithTimeout(ctx, r.f.opts.PageTimeout)
	defer cancel()
	release, err := r.f.places.acquire(ctx, r.host())
	if err != nil {
		return nil, down(r.name, err)
	}
	defer release()
	session, err := r.session(ctx)
	if err != nil {
		return nil, err
	}
	var seen sniff
	asked := time.Now()
	adv, err := session.AdvertisedReferencesContext(context.WithValue(ctx, sniffKey{}, &seen))
	if errors.Is(err, transport.ErrEmptyRemoteRepository) {
		return &refSet{asked: asked}, nil
	}
	if err != nil {
		if seen.contains("object-format=sha256") {
			return nil, brokenf("%s is a SHA-256 repository: %w", r.name, errors.ErrUnsupported)
		}
		if seen.matches(dumbList) {
			return nil, brokenf("%s is served as files, not by a git server: %w", r.name, errors.ErrUnsupported)
		}
		return nil, r.listError(err)
	}
	rs := newRefSet(adv)
	rs.asked, rs.session = asked, session
	return rs, nil
}

// dumbList is how a list of references begins that "git update-server-info" made.
var dumbList = regexp.MustCompile(`^[0-9a-f]{40}([0-9a-f]{24})?\trefs/`)

// newRefSet takes over the references that the go command looks at.
func newRefSet(adv *packp.AdvRefs) *refSet {
	rs := &refSet{
		commits: make(map[string]string),
		tips:    make(map[string]string),
		caps:    adv.Capabilities,
		shallow: adv.Capabilities.Supports(capability.Shallow),
		cut:     len(adv.Shallows) > 0,
	}
	if adv.Head != nil {
		rs.commits["HEAD"], rs.tips["HEAD"] = adv.Head.String(), adv.Head.String()
		rs.head = adv.Head.String()
		if peeled, ok := adv.Peeled["HEAD"]; ok {
			rs.head = peeled.String()
		}
	}
	for name, hash := range adv.References {
		name, ok := refName(name)
		if ok && (strings.HasPrefix(name, headsPrefix) || strings.HasPrefix(name, tagsPrefix)) {
			rs.commits[name], rs.tips[name] = hash.String(), hash.String()
		}
	}
	for name, hash := range adv.Peeled {
		if _, ok := rs.commits[name]; ok && name != "HEAD" {
			rs.commits[name] = hash.String()
		}
	}
	for name := range rs.commits {
		rs.names = append(rs.names, name)
	}
	slices.Sort(rs.names)
	return rs
}

// refName is how the go command reads a name in a list of references: as a word
// between white space, of which git allows all that is not ASCII.
func refName(name string) (string, bool) {
	words := strings.Fields(name)
	if len(words) != 1 || strings.ContainsFunc(name, isControl) {
		return "", false
	}
	return words[0], true
}

const (
	headsPrefix = "refs/heads/"
	tagsPrefix  = "refs/tags/"
)

// tags returns the names of the tags that begin with prefix, sorted.
func (rs *refSet) tags(prefix string) []string {
	var list []string
	for _, name := range rs.names {
		if tag, ok := strings.CutPrefix(name, tagsPrefix); ok && strings.HasPrefix(tag, prefix) {
			list = append(list, tag)
		}
	}
	return list
}

// tagsOf returns the names of the tags of a commit, sorted.
func (rs *refSet) tagsOf(commit string) []string {
	var list []string
	for _, name := range rs.names {
		if tag, ok := strings.CutPrefix(name, tagsPrefix); ok && rs.commits[name] == commit {
			list = append(list, tag)
		}
	}
	return list
}

// listError says what it means that a repository's references can't be had.
func (r *repo) listError(err error) error {
	var (
		status     *githttp.Err
		unexpected *plumbing.UnexpectedError
		permanent  *plumbing.PermanentError
	)
	if errors.As(err, &unexpected) {
		err = unexpected.Err
	} else if errors.As(err, &permanent) {
		err = permanent.Err
	}
	switch {
	case errors.Is(err, transport.ErrRepositoryNotFound):
		return absentf("there is no repository at %s", r.name)
	case errors.Is(err, transport.ErrAuthenticationRequired), errors.Is(err, transport.ErrAuthorizationFailed):
		return down(r.name, fmt.Errorf("the repository asks for credentials: none are known, or they do not suffice"))
	case errors.As(err, &status):
		return statusError(answer{url: r.name, status: status.StatusCode()})
	}
	if err = cause(err); len(err.Error()) > maxWords && !errors.As(err, new(broken)) {
		err = errors.New(printable(err.Error())) // it repeats what the server sent
	}
	return down(r.name, err)
}
