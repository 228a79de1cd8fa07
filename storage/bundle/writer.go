package bundle

import (
	"archive/tar"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/klauspost/compress/zstd"
	"golang.org/x/mod/sumdb/note"
)

// Names of the entries after the content.
const (
	noteName     = ".athens/note"
	manifestName = ".athens/manifest"
)

// The end of a bundle is a frame that Zstandard skips: its magic number and length, then what
// says that this is a bundle, and where the frame with the manifest begins.
const (
	skippable  = 0x184D2A57
	endMagic   = "athensbu"
	endPayload = 16
	endLength  = 8 + endPayload
)

// writer writes the entries of a bundle.
type writer struct {
	w   *counter
	z   *zstd.Encoder
	tar *tar.Writer
}

// counter counts what is written.
type counter struct {
	w io.Writer
	n int64
}

func (c *counter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n += int64(n)
	return n, err
}

func newWriter(w io.Writer) (*writer, error) {
	c := &counter{w: w}
	// One goroutine and a fixed window: the bytes depend on nothing but the input.
	z, err := zstd.NewWriter(c, zstd.WithEncoderConcurrency(1), zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithWindowSize(1<<20), zstd.WithLowerEncoderMem(true))
	if err != nil {
		return nil, err
	}
	return &writer{w: c, z: z, tar: tar.NewWriter(z)}, nil
}

// file writes one entry of that size.
func (w *writer) file(name string, size int64, r io.Reader) error {
	h := &tar.Header{Typeflag: tar.TypeReg, Name: name, Size: size, Mode: 0o644, ModTime: time.Unix(0, 0), Format: tar.FormatUSTAR}
	if err := w.tar.WriteHeader(h); err != nil {
		h.Format = tar.FormatPAX // its name is long
		if err := w.tar.WriteHeader(h); err != nil {
			return err
		}
	}
	n, err := io.Copy(w.tar, r)
	if err == nil && n != size {
		err = fmt.Errorf("%s has %d bytes, not %d", name, n, size)
	}
	return err
}

// end writes the manifest and what comes after it.
func (w *writer) end(m *Manifest, signers []note.Signer) error {
	text := noteText(m.text)
	if len(signers) > 0 {
		signed, err := note.Sign(&note.Note{Text: string(text)}, signers...)
		if err != nil {
			return err
		}
		text = signed
	}
	// The manifest's frame begins with a header of its own.
	if err := errors.Join(w.tar.Flush(), w.z.Close()); err != nil {
		return err
	}
	start := w.w.n
	w.z.Reset(w.w)
	w.tar = tar.NewWriter(w.z)
	for _, f := range []struct {
		name string
		data []byte
	}{{noteName, text}, {manifestName, m.text}} {
		if err := w.file(f.name, int64(len(f.data)), bytesReader(f.data)); err != nil {
			return err
		}
	}
	if err := errors.Join(w.tar.Close(), w.z.Close()); err != nil {
		return err
	}
	b := binary.LittleEndian.AppendUint32(nil, skippable)
	b = binary.LittleEndian.AppendUint32(b, endPayload)
	b = binary.LittleEndian.AppendUint64(append(b, endMagic...), uint64(start))
	_, err := w.w.Write(b)
	return err
}

// noteText is what is signed.
func noteText(manifest []byte) []byte {
	sum := sha256.Sum256(manifest)
	return fmt.Appendf(nil, "%s\n%d %s\n", firstLine, len(manifest), base64.RawStdEncoding.EncodeToString(sum[:]))
}
