// Package browser tests the pages of serve/web in a real browser: that they can be used,
// that they look right at any width and in the dark, and that nothing that a module contains
// runs or asks anything of another host. It is a module of its own so that nobody who uses
// Athens gets what drives a browser.
//
// The tests need Chromium, and are skipped without it. With ATHENS_SCREENSHOTS=1 they
// write the pictures in docs/static.
package browser
