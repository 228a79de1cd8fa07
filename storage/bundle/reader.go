package bundle

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/klauspost/compress/zstd"
	"golang.org/x/mod/sumdb/note"

	"github.com/athens-go/athens/internal/limit"
)

func bytesReader(b []byte) io.Reader { return bytes.NewReader(b) }

// file is an opened bundle, whose manifest has been read and checked.
type file struct {
	r        io.ReaderAt
	content  int64 // where the content ends
	manifest *Manifest
	signedBy []string
}

// open reads the manifest of a bundle. With verifiers, one of them must have signed it.
func open(r io.ReaderAt, size int64, known note.Verifiers, mostBytes int64) (*file, error) {
	end := make([]byte, endLength)
	if size < endLength {
		return nil, bad("the file is no bundle, or its end is missing")
	}
	if _, err := r.ReadAt(end, size-endLength); err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("bundle: %w", err)
	}
	start := binary.LittleEndian.Uint64(end[16:])
	if binary.LittleEndian.Uint32(end) != skippable || binary.LittleEndian.Uint32(end[4:]) != endPayload || string(end[8:16]) != endMagic {
		return nil, bad("the file is no bundle, or its end is missing")
	}
	if start > uint64(size-endLength) {
		return nil, bad("the manifest begins behind the file's end")
	}
	f := &file{r: r, content: int64(start)}
	frame := io.NewSectionReader(r, f.content, size-endLength-f.content)
	return f, f.readManifest(frame, known, mostBytes)
}

// readManifest reads the frame with the note and the manifest.
func (f *file) readManifest(frame io.Reader, known note.Verifiers, mostBytes int64) error {
	entries, err := newEntries(frame, mostBytes+1<<20)
	if err != nil {
		return err
	}
	defer entries.close()
	signed, err := entries.next(noteName, maxNote)
	var text string
	if err == nil {
		text, f.signedBy, err = readNote(signed, known)
	}
	if err != nil {
		return err
	}
	data, err := entries.next(manifestName, mostBytes)
	if err != nil {
		return err
	}
	if !bytes.Equal(noteText(data), []byte(text)) {
		return bad("the manifest is not the one of which the note has the hash")
	}
	if err := entries.end(); err != nil {
		return err
	}
	f.manifest, err = ParseManifest(data)
	return err
}

// readNote returns the text of a note, and who has signed it.
func readNote(signed []byte, known note.Verifiers) (text string, by []string, err error) {
	first, _, _ := strings.Cut(string(signed), "\n")
	if first != firstLine {
		if strings.HasPrefix(first, "athens bundle ") {
			return "", nil, &FormatError{errNewer}
		}
		return "", nil, bad("its note does not begin with %q", firstLine)
	}
	if bytes.Count(signed, []byte("\n")) == 2 {
		if known != nil {
			return "", nil, bad("the bundle is not signed, and a key is given")
		}
		return string(signed), nil, nil
	}
	n, err := note.Open(signed, orNone(known))
	if e, ok := errors.AsType[*note.UnverifiedNoteError](err); ok {
		for _, sig := range e.Note.UnverifiedSigs {
			by = append(by, fmt.Sprintf("%s+%08x", sig.Name, sig.Hash))
		}
		if known == nil {
			return e.Note.Text, by, nil
		}
		return "", nil, bad("the bundle is signed by %s, whose key is not given", strings.Join(by, ", "))
	}
	if err != nil {
		return "", nil, bad("its signature: %w", err)
	}
	for _, sig := range n.Sigs {
		by = append(by, fmt.Sprintf("%s+%08x", sig.Name, sig.Hash))
	}
	return n.Text, by, nil
}

func orNone(known note.Verifiers) note.Verifiers {
	if known == nil {
		return note.VerifierList()
	}
	return known
}

// entries reads tar entries in the order in which they are expected.
type entries struct {
	z   *zstd.Decoder
	all io.Reader // everything unpacked
	tar *tar.Reader
}

// newEntries reads at most so many bytes of a frame, unpacked.
func newEntries(packed io.Reader, most int64) (*entries, error) {
	z, err := zstd.NewReader(packed, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(maxFrame), zstd.WithDecoderLowmem(true))
	if err != nil {
		return nil, bad("%w", err)
	}
	all := limit.NewReader(z, most)
	return &entries{z: z, all: all, tar: tar.NewReader(all)}, nil
}

func (e *entries) close() { e.z.Close() }

// open goes to the next entry, which must be a file of that name.
func (e *entries) open(name string) (size int64, err error) {
	h, err := e.tar.Next()
	switch {
	case errors.Is(err, io.EOF):
		return 0, bad("it ends where %s should be", name)
	case err != nil:
		return 0, unreadable(name, err)
	case h.Typeflag != tar.TypeReg || h.Name != name || len(h.PAXRecords) > 2:
		return 0, bad("it has %.300q where the file %s should be", h.Name, name)
	}
	return h.Size, nil
}

// next returns the next entry, which has that name and at most so many bytes.
func (e *entries) next(name string, most int64) ([]byte, error) {
	size, err := e.open(name)
	if err != nil {
		return nil, err
	}
	if size > most {
		return nil, bad("%s has %d bytes, more than %d", name, size, most)
	}
	// The size is a claim: memory is taken as bytes come.
	var b bytes.Buffer
	b.Grow(int(min(size, small)))
	if _, err := io.Copy(&b, io.LimitReader(e.tar, size)); err != nil {
		return nil, unreadable(name, err)
	}
	return b.Bytes(), nil
}

// part returns the next entry, which has that name, size and hash.
func (e *entries) part(name string, p part) ([]byte, error) {
	data, err := e.next(name, p.size)
	if err == nil {
		err = p.is(name, partOf(data))
	}
	return data, err
}

// is returns an error unless got is p.
func (p part) is(name string, got part) error {
	switch {
	case got.size != p.size:
		return bad("%s has %d bytes; the manifest says %d", name, got.size, p.size)
	case got.sum != p.sum:
		return bad("%s has the SHA-256 %x; the manifest says %x", name, got.sum, p.sum)
	}
	return nil
}

// end checks that nothing comes behind the last entry.
func (e *entries) end() error {
	if h, err := e.tar.Next(); err == nil {
		return bad("it has %.300q where nothing should be", h.Name)
	} else if !errors.Is(err, io.EOF) {
		return unreadable("its end", err)
	}
	switch n, err := io.Copy(io.Discard, e.all); {
	case err != nil:
		return unreadable("its end", err)
	case n > 0:
		return bad("it has %d bytes where nothing should be", n)
	}
	return nil
}

// unreadable is the error of reading an entry.
func unreadable(name string, err error) error {
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	if limit.Exceeded(err) {
		return bad("it unpacks to more than the manifest says")
	}
	return bad("%s can't be read, the file is damaged or cut off: %w", name, err)
}

// ReadManifest reads the manifest of the bundle r, of size bytes. With known keys, one of them
// must have signed it; nil means that signatures are not checked.
func ReadManifest(r io.ReaderAt, size int64, known note.Verifiers) (*Manifest, error) {
	f, err := open(r, size, known, defaultManifestBytes)
	if err != nil {
		return nil, err
	}
	return f.manifest, nil
}
