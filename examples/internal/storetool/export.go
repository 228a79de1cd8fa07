package storetool

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/athens-go/athens/internal/durable"
	"github.com/athens-go/athens/storage/bundle"
)

// export writes what a store holds to one file, for a store where no network leads.
func (t *Tool) export(ctx context.Context, flags *flag.FlagSet, args []string, stdout io.Writer) error {
	dir := flags.String("dir", "", "export the store in this "+t.Place+"; servers may use it meanwhile; empty is an error")
	since := flags.String("since", "", "leave out what an earlier bundle has: that `file`, or its manifest, or a time such as 2026-11-29T12:00:00Z;\nempty means that the bundle has everything")
	key := flags.String("key", "", "sign with the private key in this `file`, which is made if there is none and -key-name is given;\nempty means that the bundle is not signed")
	name := flags.String("key-name", "", "the `name` of a key that is to be made, such as bundles.corp.example; empty means that none is made")
	manifest := flags.String("manifest", "", "write the manifest, which is enough for the next -since, to this `file` too; empty means that it is in the bundle only")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() != 1 {
		return errors.New("want the name of one file to write, or - for standard output")
	}
	o := &bundle.ExportOptions{}
	if err := parseSince(*since, o); err != nil {
		return fmt.Errorf("-since: %w", err)
	}
	if *key != "" {
		signer, err := signerIn(*key, *name, flags.Output())
		if err != nil {
			return fmt.Errorf("-key: %w", err)
		}
		o.Signers = []note.Signer{signer}
	}
	return t.with(ctx, *dir, func(store Store) error {
		return exportTo(ctx, store, flags.Arg(0), *manifest, o, flags.Output(), stdout)
	})
}

// exportTo writes the bundle of a store to a file, its manifest to another one if that has a name,
// and a report.
func exportTo(ctx context.Context, store Store, out, manifest string, o *bundle.ExportOptions, stderr, stdout io.Writer) (err error) {
	m := newMeter("export", stderr)
	o.Progress = func(p bundle.Progress) { m.show("versions", p.Versions, p.Of, p.Bytes, p.TotalBytes) }
	var sum *bundle.Summary
	write := func(w io.Writer) (err error) {
		sum, err = bundle.Export(ctx, store, w, o)
		return err
	}
	report := stdout
	if out == "-" {
		err, report = write(stdout), stderr
	} else if err = writeFile(out, write); err == nil && manifest != "" {
		err = copyManifest(out, manifest)
	}
	m.end()
	if err != nil {
		return err
	}
	for _, problem := range sum.LeftOut {
		fmt.Fprintln(stderr, "export:", problem)
	}
	fmt.Fprintf(report, "exported: %s\n", inBundle(sum))
	if len(sum.LeftOut) > 0 {
		return ErrDamaged
	}
	return nil
}

// inBundle says what is in a bundle.
func inBundle(s *bundle.Summary) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d versions, %d of them with a zip, %d answers of checksum databases, %d removed, %d hidden, %s", s.Versions, s.Zips, s.SumDB, s.Removed, s.Hidden, size(s.Bytes))
	if s.Before > 0 {
		fmt.Fprintf(&b, "; %d more in earlier bundles", s.Before)
	}
	if len(s.SignedBy) > 0 {
		fmt.Fprintf(&b, "; signed by %s", strings.Join(s.SignedBy, ", "))
	}
	return b.String()
}

// parseSince reads -since.
func parseSince(text string, o *bundle.ExportOptions) (err error) {
	if text == "" {
		return nil
	}
	if at, err := time.Parse(time.RFC3339, text); err == nil {
		o.SinceTime = at
		return nil
	}
	o.Since, err = readManifest(text)
	return err
}

// readManifest reads the manifest in a bundle, or in a file of its own.
func readManifest(name string) (*bundle.Manifest, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	const text = "athens bundle "
	begin := make([]byte, len(text))
	if _, err := f.ReadAt(begin, 0); err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	if string(begin) != text {
		return bundle.ReadManifest(f, info.Size(), nil)
	}
	data, err := io.ReadAll(f)
	if err != nil {
		return nil, err
	}
	return bundle.ParseManifest(data)
}

// copyManifest writes the manifest of a bundle to a file of its own.
func copyManifest(from, to string) error {
	m, err := readManifest(from)
	if err != nil {
		return err
	}
	return writeFile(to, func(w io.Writer) error {
		_, err := io.Copy(w, bytes.NewReader(m.Text()))
		return err
	})
}

// writeFile makes a file that is there as a whole or not at all.
func writeFile(name string, write func(io.Writer) error) error {
	dir := filepath.Dir(name)
	f, tmp, err := durable.Create(durable.OS{}, dir, "."+filepath.Base(name)+"-")
	if err != nil {
		return err
	}
	err = write(f)
	if err == nil {
		err = f.Sync()
	}
	err = errors.Join(err, f.Close())
	if err == nil {
		err = durable.Publish(durable.OS{}, tmp, name)
	}
	if err != nil {
		_ = os.Remove(tmp)
	}
	return err
}

// signerIn returns the private key in a file. If there is none, it makes one with that name, and
// says what the public key is.
func signerIn(file, name string, stderr io.Writer) (note.Signer, error) {
	data, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) && name != "" {
		private, public, err := note.GenerateKey(rand.Reader, name)
		if err != nil {
			return nil, err
		}
		if err := os.WriteFile(file, []byte(private+"\n"), 0o600); err != nil {
			return nil, err
		}
		fmt.Fprintf(stderr, "export: made the private key in %s; import with -key %s\n", file, public)
		data = []byte(private)
	} else if err != nil {
		return nil, err
	}
	return note.NewSigner(strings.TrimSpace(string(data)))
}
