package server

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/athens-go/athens"
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

// SharedLedgerFlags defines those of a server that keeps a ledger with others.
func (f *Flags) SharedLedgerFlags() *LedgerFlags {
	return &LedgerFlags{
		name:   f.String("ledger", "", "record each version in a signed log in the bucket, a checksum database of this `name`, such as sum.corp.example; empty means none"),
		key:    f.String("ledger-key", "", "read the ledger's private key, the same in all replicas, from this `file` or from the environment variable of this name"),
		oldKey: f.String("ledger-old-key", "", "sign with the key from this `file` or variable, too, while clients change to the new one; empty means one key signs"),
		seen:   new(string),
	}
}

// UseSharedLedger gives the server the ledger that f names, if any, as open makes it from
// its private keys and a folder for its index.
func (p *Parts) UseSharedLedger(f *LedgerFlags, open func(key, oldKey, dir string) (athens.Ledger, error)) error {
	if *f.name == "" {
		return p.noLedger("ledger-key", "ledger-old-key")
	}
	if *f.key == "" {
		return errors.New("-ledger needs -ledger-key: a file or an environment variable with the private key, the same for all replicas; docs/cluster.md says how to make one")
	}
	key, err := readKey(*f.key)
	if err != nil {
		return fmt.Errorf("-ledger-key: %w", err)
	}
	public, old, err := f.check(key)
	if err != nil {
		return err
	}
	dir, err := p.Flags.StoreDir()
	if err != nil {
		return err
	}
	l, err := open(key, old, filepath.Join(dir, ".ledger"))
	if err != nil {
		return err
	}
	p.closes(l)
	p.Options.Ledger, p.sumdb = l, public
	return nil
}

// noLedger refuses flags that mean nothing without a ledger.
func (p *Parts) noLedger(names ...string) error {
	for _, name := range names {
		if p.Flags.Given(name) {
			return fmt.Errorf("-%s needs -ledger NAME", name)
		}
	}
	return nil
}

// check compares a private key with the flags, and returns its public key and the private
// one before it, if there is one.
func (f *LedgerFlags) check(key string) (public, old string, err error) {
	if public, err = ledger.PublicKey(key); err != nil {
		return "", "", fmt.Errorf("-ledger-key: %w", err)
	}
	if name, _, _ := strings.Cut(public, "+"); name != *f.name {
		return "", "", fmt.Errorf("-ledger is %s, and the key of -ledger-key is of %s", *f.name, name)
	}
	if *f.oldKey != "" {
		if old, err = readKey(*f.oldKey); err != nil {
			return "", "", fmt.Errorf("-ledger-old-key: %w", err)
		}
	}
	return public, old, nil
}

// UseLedger gives the server the ledger that f names, or the copy of the one that it
// follows, if any.
func (p *Parts) UseLedger(f *LedgerFlags) error {
	if p.Flags.follow.url != "" {
		return p.useFollow(f)
	}
	if *f.name == "" {
		return p.noLedger("ledger-key", "ledger-old-key", "ledger-seen")
	}
	store, err := p.Flags.StoreDir()
	if err != nil {
		return err
	}
	dir, file, seen := f.files(store)
	key, err := readKey(file)
	if errors.Is(err, fs.ErrNotExist) {
		key, err = p.makeKey(*f.name, file, dir)
	}
	if err != nil {
		return fmt.Errorf("-ledger-key: %w", err)
	}
	public, old, err := f.check(key)
	if err != nil {
		return fmt.Errorf("%w (%s)", err, file)
	}
	l, err := ledger.New(dir, key, &ledger.Options{Seen: seen, OldKey: old, Logger: p.Log})
	if err != nil {
		return err
	}
	p.closes(l)
	p.Options.Ledger, p.sumdb = l, public
	return nil
}

// files returns the folder of the ledger of a store, and the files of its key and of the
// copy of its head.
func (f *LedgerFlags) files(store string) (dir, key, seen string) {
	dir = filepath.Join(store, ".ledger") // no module path can have that name
	return dir, cmp.Or(*f.key, store+".ledger.key"), cmp.Or(*f.seen, store+".ledger.head")
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
