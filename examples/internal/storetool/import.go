package storetool

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"golang.org/x/mod/sumdb/note"

	"github.com/athens-go/athens/storage/bundle"
)

// importAny stores what a bundle carries, after all of it was verified, or the versions in the
// folder of another program, or those of a list from another server.
func (t *Tool) importAny(ctx context.Context, flags *flag.FlagSet, args []string, stdout io.Writer) error {
	dir := flags.String("dir", "", "import into the store in this "+t.Place+", which is made if there is none; servers may use it meanwhile; empty is an error")
	var keys []string
	flags.Func("key", "the public `key` that must have signed the bundle, NAME+HASH+KEY, or a file that has it; may be given again for another;\nnot given means that signatures are not checked", func(text string) error {
		keys = append(keys, text)
		return nil
	})
	verifyOnly := flags.Bool("verify-only", false, "verify the bundle or folder and compare it with the store; not set means that it is imported then")
	if err := flags.Parse(args); err != nil {
		return err
	}
	switch from := flags.Arg(0); {
	case *dir == "":
		return errors.New("-dir is missing")
	case strings.HasPrefix(from, "https://") || strings.HasPrefix(from, "http://"):
		return t.importFrom(ctx, from, *dir, flags, stdout)
	case flags.NArg() != 1:
		return errors.New("want one bundle (- for standard input), one folder, or the URL of a server and lists of modules")
	case strings.Contains(from, "://") && t.Folder == nil:
		return fmt.Errorf("%s is neither a file nor a folder; for a bucket, run in examples/cluster: go run ./replica store import", from)
	case (isFolder(from) || strings.Contains(from, "://")) && keys != nil:
		return errors.New("-key is for a bundle; a folder has no signature")
	case isFolder(from):
		return t.importFolder(ctx, os.DirFS(from), *dir, *verifyOnly, flags.Output(), stdout)
	case strings.Contains(from, "://"):
		folder, end, err := t.Folder(ctx, from)
		if err != nil {
			return err
		}
		return errors.Join(t.importFolder(ctx, folder, *dir, *verifyOnly, flags.Output(), stdout), end())
	}
	o := &bundle.ImportOptions{VerifyOnly: *verifyOnly}
	var err error
	if o.Verifiers, err = verifiersOf(keys); err != nil {
		return fmt.Errorf("-key: %w", err)
	}
	return t.into(ctx, *dir, func(store Store) error {
		f, length, err := openBundle(flags.Arg(0), *dir)
		if err != nil {
			return err
		}
		defer f.Close()
		return importBundle(ctx, store, f, length, o, flags.Output(), stdout)
	})
}

// importBundle stores what a bundle carries, and writes a report.
func importBundle(ctx context.Context, store Store, f io.ReaderAt, length int64, o *bundle.ImportOptions, stderr, stdout io.Writer) error {
	m := newMeter("import", stderr)
	o.Progress = func(p bundle.Progress) {
		what := "versions verified"
		if p.Verified {
			what = "versions stored"
		}
		m.show(what, p.Versions, p.Of, p.Bytes, p.TotalBytes)
	}
	sum, err := bundle.Import(ctx, store, f, length, o)
	m.end()
	if sum != nil {
		fmt.Fprintf(stdout, "in the bundle: %s\n", inBundle(sum))
		if !o.VerifyOnly {
			fmt.Fprintf(stdout, "stored: %d versions, %d answers of checksum databases, %d marks\n", sum.Stored, sum.StoredSumDB, sum.Marked)
		}
		warnings(stderr, sum)
	}
	return err
}

func isFolder(name string) bool {
	info, err := os.Stat(name)
	return err == nil && info.IsDir()
}

// importFrom fills the store with what lists name, from a server.
func (t *Tool) importFrom(ctx context.Context, url, dir string, flags *flag.FlagSet, stdout io.Writer) error {
	if flags.NArg() < 2 {
		return errors.New("want the lists of modules behind the URL, as of go list -m all")
	}
	fills := flag.NewFlagSet(flags.Name(), flag.ContinueOnError)
	fills.SetOutput(flags.Output())
	return t.fill(ctx, fills, append([]string{"-dir", dir, "-upstream", url, "--"}, flags.Args()[1:]...), stdout)
}

// importFolder stores the versions in the folder of another program.
func (t *Tool) importFolder(ctx context.Context, from fs.FS, dir string, verifyOnly bool, stderr, stdout io.Writer) error {
	return t.into(ctx, dir, func(store Store) error { return importFiles(ctx, store, from, verifyOnly, stderr, stdout) })
}

// importFiles stores the versions among the files of another program, and writes a report.
func importFiles(ctx context.Context, store Store, from fs.FS, verifyOnly bool, stderr, stdout io.Writer) error {
	m := newMeter("import", stderr)
	sum, err := bundle.ImportFolder(ctx, store, from, &bundle.FolderOptions{VerifyOnly: verifyOnly, Progress: func(p bundle.Progress) {
		m.show("versions", p.Versions, 0, p.Bytes, 0)
	}})
	m.end()
	if sum == nil {
		return err
	}
	for _, bad := range sum.LeftOut {
		fmt.Fprintln(stdout, "bad:", bad)
	}
	onlyMod := ""
	if sum.OnlyMod > 0 {
		onlyMod = fmt.Sprintf("; %d with only a go.mod, which are not imported", sum.OnlyMod)
	}
	fmt.Fprintf(stdout, "in the folder: %d good versions, %d of them with a zip, %d answers of checksum databases, %s%s; %d bad\n", sum.Versions, sum.Zips, sum.SumDB, size(sum.Bytes), onlyMod, len(sum.LeftOut))
	if !verifyOnly {
		fmt.Fprintf(stdout, "stored: %d versions, %d answers of checksum databases\n", sum.Stored, sum.StoredSumDB)
	}
	warnings(stderr, sum)
	if err == nil && len(sum.LeftOut) > 0 {
		err = ErrDamaged // the report has said what
	}
	return err
}

// warnings says what an operator may have to look at.
func warnings(w io.Writer, sum *bundle.Summary) {
	if sum.RemovedHere > 0 {
		fmt.Fprintf(w, "import: %d versions were removed in this store and stay so\n", sum.RemovedHere)
	}
	if sum.Lacking > 0 {
		fmt.Fprintf(w, "import: %d versions that earlier bundles have are not held: import those bundles too\n", sum.Lacking)
	}
	for _, name := range sum.KeptHeads {
		fmt.Fprintf(w, "import: the tree of %s in the bundle can't be joined with the stored one, which stays; export with all of the answers of that database\n", name)
	}
}

// openBundle opens a file that can be read twice. What comes by standard input is written to a
// file in the store's folder, or in that of temporary files, which nobody else sees and which ends with this process.
func openBundle(name, dir string) (f *os.File, length int64, err error) {
	if name != "-" {
		if f, err = os.Open(name); err != nil {
			return nil, 0, err
		}
		info, err := f.Stat()
		if err == nil && !info.Mode().IsRegular() {
			err = fmt.Errorf("%s is not a file; give - and the bundle on standard input", name)
		}
		if err != nil {
			return nil, 0, errors.Join(err, f.Close())
		}
		return f, info.Size(), nil
	}
	if !isFolder(dir) { // a bucket
		dir = ""
	}
	if f, err = os.CreateTemp(dir, ".import-"); err != nil {
		return nil, 0, err
	}
	if err := os.Remove(f.Name()); err != nil {
		return nil, 0, errors.Join(err, f.Close())
	}
	if length, err = io.Copy(f, os.Stdin); err != nil {
		return nil, 0, errors.Join(err, f.Close())
	}
	return f, length, nil
}

// verifiersOf reads public keys, or the files that have them. None means nil.
func verifiersOf(keys []string) (note.Verifiers, error) {
	var list []note.Verifier
	for _, text := range keys {
		if data, err := os.ReadFile(text); err == nil {
			text = strings.TrimSpace(string(data))
		}
		v, err := note.NewVerifier(text)
		if err != nil {
			return nil, fmt.Errorf("%.100q is neither a public key, NAME+HASH+KEY, nor a file that has one: %w", text, err)
		}
		list = append(list, v)
	}
	if list == nil {
		return nil, nil
	}
	return note.VerifierList(list...), nil
}
