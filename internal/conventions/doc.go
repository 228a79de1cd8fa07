// Package conventions holds the tests of the project's own habits: which way imports
// run, how long files are, what is documented. It has no code of its own; what a
// rule is for, stands beside the rule.
package conventions
