// Package deploy checks the files of the folder deploy by the schemas of those who
// read them. It is a module of its own, outside of the workspace, because these
// schemas are large.
package deploy
