// Package release has no code: its tests rehearse what docs/release.md describes, in a
// copy of this repository.
//
// They run .ci/release there, serve the result with git on loopback, fetch the modules
// with this project's own registry, and build a program that requires them as any user
// would: without a workspace and without a replace directive.
package release
