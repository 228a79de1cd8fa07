package e2e_test

import (
	"slices"
	"strings"

	"github.com/stretchr/testify/require"
)

// startFollower starts a registry that follows the one of the flow, which it reaches
// through a recording proxy, and waits until it has what nobody asked it for.
func (f *flow) startFollower(word []string) []string {
	f.t.Helper()
	registry := f.servers["registry"]
	args := []string{"-follow", f.open("registry", "follower").URL, "-follow-key", registry.sumDBKey(), "-private", "corp.test"}
	f.servers["follower"] = startServer(f.t, f.net, "registry", "follower", args...)
	f.open("follower", "")
	f.servers["follower"].gets(word[2])
	f.drain()
	return nil
}

// sumDBKey is the key that the server's line has.
func (n *server) sumDBKey() string {
	n.t.Helper()
	i := slices.IndexFunc(n.Env, func(v string) bool { return strings.HasPrefix(v, "GOSUMDB=") })
	require.GreaterOrEqual(n.t, i, 0, "the server has a ledger")
	return strings.TrimPrefix(n.Env[i], "GOSUMDB=")
}

// kill kills a server for good.
func (f *flow) kill(word []string) []string {
	f.t.Helper()
	f.servers[word[1]].Kill()
	delete(f.servers, word[1])
	return nil
}

// takeOver starts a follower again as the primary, with the key that the registry had.
func (f *flow) takeOver(word []string) []string {
	f.t.Helper()
	n := f.servers[word[1]]
	key := n.sumDBKey()
	name, _, _ := strings.Cut(key, "+")
	n.Stop()
	n.args = []string{"-ledger", name, "-ledger-key", f.key, "-private", "corp.test"}
	n.restart()
	require.Equal(f.t, key, n.sumDBKey())
	return []string{"the line of follower still has GOSUMDB of " + name}
}
