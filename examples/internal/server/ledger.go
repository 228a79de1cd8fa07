package server

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/athens-go/athens/internal/durable"
	"github.com/athens-go/athens/ledger"
)

// LedgerFlags are those of a server that keeps a ledger.
type LedgerFlags struct{ name, key, oldKey, seen *string }

// LedgerFlags defines them.
func (f *Flags) LedgerFlags() *LedgerFlags {
	return &LedgerFlags{
		name:   f.String("ledger", "", "record each version in a signed log, a checksum database of this `name`, such as sum.corp.example; empty means none"),
		key:    f.String("ledger-key", "", "read the ledger's private key from this `file`, made at the first start, or from the environment variable of this name;\nempty means the file beside the store whose name ends in .ledger.key"),
		oldKey: f.String("ledger-old-key", "", "sign with the key from this `file` or variable, too, while clients change to the new one; empty means one key signs"),
		seen:   f.String("ledger-seen", "", "keep a copy of the newest signed head in this `file`, by which an older copy of the store is noticed;\nempty means the file beside the store whose name ends in .ledger.head"),
	}
}

// UseLedger gives the server the ledger that f names, if any.
func (p *Parts) UseLedger(f *LedgerFlags) error {
	if *f.name == "" {
		for _, name := range []string{"ledger-key", "ledger-old-key", "ledger-seen"} {
			if p.Flags.Given(name) {
				return fmt.Errorf("-%s needs -ledger NAME", name)
			}
		}
		return nil
	}
	store, err := p.Flags.StoreDir()
	if err != nil {
		return err
	}
	dir, file, seen := filepath.Join(store, ".ledger"), *f.key, *f.seen // no module path can have that name
	if file == "" {
		file = store + ".ledger.key"
	}
	if seen == "" {
		seen = store + ".ledger.head"
	}
	key, err := readKey(file)
	if errors.Is(err, fs.ErrNotExist) {
		key, err = p.makeKey(*f.name, file, dir)
	}
	if err != nil {
		return fmt.Errorf("-ledger-key: %w", err)
	}
	public, err := ledger.PublicKey(key)
	if err != nil {
		return fmt.Errorf("-ledger-key %s: %w", file, err)
	}
	if name, _, _ := strings.Cut(public, "+"); name != *f.name {
		return fmt.Errorf("-ledger is %s, and the key in %s is of %s", *f.name, file, name)
	}
	opts := &ledger.Options{Seen: seen, Logger: p.Log}
	if *f.oldKey != "" {
		if opts.OldKey, err = readKey(*f.oldKey); err != nil {
			return fmt.Errorf("-ledger-old-key: %w", err)
		}
	}
	l, err := ledger.New(dir, key, opts)
	if err != nil {
		return err
	}
	p.closes(l)
	p.Options.Ledger, p.sumdb = l, public
	return nil
}

// readKey reads a private key from the environment variable of a name, if there is
// one, otherwise from a file.
func readKey(name string) (string, error) {
	if value := os.Getenv(name); value != "" {
		return strings.TrimSpace(value), nil
	}
	data, err := os.ReadFile(name)
	return strings.TrimSpace(string(data)), err
}

// makeKey makes the key of a ledger that is yet to be made, and keeps it in a file that
// nobody else may read.
func (p *Parts) makeKey(name, file, dir string) (string, error) {
	if _, err := os.Stat(filepath.Join(dir, "head")); err == nil {
		return "", fmt.Errorf("%s does not exist, and the ledger in %s was signed with the key in it; restore the file (docs/ledger.md says what to do if it is lost)", file, dir)
	}
	key, err := ledger.NewKey(name)
	if err != nil {
		return "", err
	}
	f, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err == nil {
		err = durable.Fill(durable.OS{}, f, file, []byte(key+"\n"))
	}
	if err == nil {
		err = durable.SyncDir(durable.OS{}, filepath.Dir(file))
	}
	if err != nil {
		return "", err
	}
	p.Log.Info("made the private key of the ledger; keep a copy of the file in a safe place", "ledger", name, "file", file)
	return key, nil
}
