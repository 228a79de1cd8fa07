// Package modtest is what end-to-end tests of this project stand on: a whole
// internet on loopback, real git repositories in it, and the real go command.
//
//	net := modtest.NewInternet(t, modtest.Ready(t, "simple", "vanity")...)
//	goCmd := modtest.NewGo(t, net)
//	d := goCmd.MustDownload("git.test/simple@v1.0.0")
//	// d.Sum, d.Stored.Time, net.Count("git.test/simple"), …
//
// [NewInternet] starts one server that is an HTTP proxy for every host:
// go-import pages, repositories over git's smart HTTP, and handlers of the
// test's own. [Repo] is a repository made from a text script with fixed dates,
// so that its hashes are always the same; testdata/repos has one for each shape
// that matters, and each says in its first line what it is for. [NewGo] is the
// go command with a home and module cache of its own.
//
// [Tap] is what counts requests and breaks things, in the Internet, in GoProxy,
// and before any handler that a test puts behind one.
//
// Everything ends with the test that began it. Nothing here leaves loopback.
// Needed are a go and a git command, the latter with git http-backend.
package modtest
