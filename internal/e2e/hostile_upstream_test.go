package e2e_test

import (
	"archive/zip"
	"bytes"
	"compress/flate"
	"compress/gzip"
	"fmt"
	"hash/crc32"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/dirhash"
	modzip "golang.org/x/mod/zip"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/internal/athenstest"
	"github.com/athens-go/athens/redirect"
)

// zipOf makes a zip of names and contents.
func zipOf(t *testing.T, pairs ...string) string {
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for i := 0; i+1 < len(pairs); i += 2 {
		f, err := z.Create(pairs[i])
		require.NoError(t, err)
		_, err = io.WriteString(f, pairs[i+1])
		require.NoError(t, err)
	}
	require.NoError(t, z.Close())
	return b.String()
}

// lyingZip makes a zip that says of its second file what change makes of the truth.
func lyingZip(t *testing.T, content string, change func(*zip.FileHeader)) string {
	var b, packed bytes.Buffer
	z := zip.NewWriter(&b)
	f, err := z.Create("example.com/m@v1.0.0/go.mod")
	require.NoError(t, err)
	_, err = io.WriteString(f, "module example.com/m\n")
	require.NoError(t, err)
	deflate, err := flate.NewWriter(&packed, flate.BestSpeed)
	require.NoError(t, err)
	_, err = io.WriteString(deflate, content)
	require.NoError(t, err)
	require.NoError(t, deflate.Close())
	head := &zip.FileHeader{
		Name: "example.com/m@v1.0.0/a.go", Method: zip.Deflate, CRC32: crc32.ChecksumIEEE([]byte(content)),
		CompressedSize64: uint64(packed.Len()), UncompressedSize64: uint64(len(content)),
	}
	change(head)
	f, err = z.CreateRaw(head)
	require.NoError(t, err)
	_, err = f.Write(packed.Bytes())
	require.NoError(t, err)
	require.NoError(t, z.Close())
	return b.String()
}

// gzipped is n zero bytes, packed.
func gzipped(t *testing.T, n int) string {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	_, err := z.Write(make([]byte, n))
	require.NoError(t, err)
	require.NoError(t, z.Close())
	return b.String()
}

// answerBody is an answer with that body and its length.
func answerBody(body string) func(io.Writer) {
	return answerText(fmt.Sprintf("%sContent-Length: %d\r\n\r\n%s", statusOKLine, len(body), body))
}

const maxHostileZip = 2 << 20

// hostileZips are zips that are none of example.com/m@v1.0.0.
func hostileZips(t *testing.T) map[string]string {
	const dir, gomod = "example.com/m@v1.0.0/", "module example.com/m\n"
	zeros := strings.Repeat("\x00", 8<<20)
	zips := map[string]string{
		"bomb":            zipOf(t, dir+"go.mod", gomod, dir+"a.go", zeros),
		"bomb of many":    zipOf(t, dir+"go.mod", gomod, dir+"a", zeros[:1<<20], dir+"b", zeros[:1<<20], dir+"c", zeros[:1<<20]),
		"size too small":  lyingZip(t, zeros, func(h *zip.FileHeader) { h.UncompressedSize64 = 10 }),
		"size too large":  lyingZip(t, "package a\n", func(h *zip.FileHeader) { h.UncompressedSize64 = 1 << 20 }),
		"size of all":     lyingZip(t, "package a\n", func(h *zip.FileHeader) { h.UncompressedSize64 = 1<<64 - 1 }),
		"packed too few":  lyingZip(t, "package a // and more\n", func(h *zip.FileHeader) { h.CompressedSize64 -= 4 }),
		"wrong checksum":  lyingZip(t, "package a\n", func(h *zip.FileHeader) { h.CRC32++ }),
		"method unknown":  lyingZip(t, "package a\n", func(h *zip.FileHeader) { h.Method = 99 }),
		"twice":           zipOf(t, dir+"go.mod", gomod, dir+"a.go", "package a\n", dir+"a.go", "package b\n"),
		"go.mod twice":    zipOf(t, dir+"go.mod", gomod, dir+"go.mod", gomod),
		"case":            zipOf(t, dir+"go.mod", gomod, dir+"a.go", "", dir+"A.go", ""),
		"file and folder": zipOf(t, dir+"go.mod", gomod, dir+"a", "x", dir+"a/b", "y"),
		"other module":    zipOf(t, "example.com/n@v1.0.0/go.mod", gomod),
		"other version":   zipOf(t, "example.com/m@v1.0.1/go.mod", gomod),
		"one file beside": zipOf(t, dir+"go.mod", gomod, "example.com/m@v1.0.0evil/a.go", ""),
		"second module":   zipOf(t, dir+"go.mod", gomod, dir+"sub/go.mod", "module evil.test/m\n"),
		"no zip":          "<html>log in</html>",
		"nothing":         "",
		"half":            zipOf(t, dir+"go.mod", gomod, dir+"a.go", "package a\n")[:150],
	}
	for i, name := range []string{
		"../../../../etc/passwd", "/etc/passwd", dir + "../../../x", dir + "a/../../x", dir + "./x", dir + "a//x", dir + `..\..\x`, dir + "C:/x", dir + "a\x00b",
		dir + "nul", dir + "a:b", dir + ".", dir + "..", dir + "\xff", dir + "a\nb", strings.TrimSuffix(dir, "/"), "", dir + "sub/../go.mod",
	} {
		zips[fmt.Sprintf("name %d %q", i, name)] = zipOf(t, dir+"go.mod", gomod, name, "x")
	}
	return zips
}

// hostileAnswer is how an upstream answers the files that end so, and what the error says.
type hostileAnswer struct {
	end  string
	how  func(io.Writer)
	want string
}

// hostileAnswers are answers in which the protocol or HTTP itself is abused.
func hostileAnswers(t *testing.T) map[string]hostileAnswer {
	chunked := statusOKLine + "Transfer-Encoding: chunked\r\n\r\n"
	answers := map[string]hostileAnswer{
		"info without end":     {".info", answerEndlessly(statusOKLine+"\r\n", " "), "more than 65536 bytes"},
		"info that says so":    {".info", answerText(statusOKLine + "Content-Length: 9000000000000000000\r\n\r\n{"), "more than 65536 bytes"},
		"info very deep":       {".info", answerBody(strings.Repeat(`{"Version":`, 5000)), "not the JSON of a version"},
		"info of another":      {".info", answerBody(`{"Version":"v6.6.6"}`), "not a version of that module"},
		"info of no version":   {".info", answerBody(`{"Version":"../../etc/passwd"}`), "not a version"},
		"info far in time":     {".info", answerBody(`{"Version":"v1.0.0","Time":"99999-01-01T00:00:00Z"}`), "not the JSON of a version"},
		"mod without end":      {".mod", answerEndlessly(statusOKLine+"\r\nmodule example.com/m\n", "// more\n"), "more than"},
		"mod without a module": {".mod", answerBody("// nothing\n"), "no module line"},
		"mod that is a page":   {".mod", answerBody("<html>"), "an HTML page"},
		"list without end":     {"/list", answerEndlessly(statusOKLine+"\r\n", "v1.0.0\n"), "more than"},
		"list of too many":     {"/list", answerBody(manyVersions(100_001)), "more than 100000 versions"},
		"latest without end":   {"/@latest", answerEndlessly(statusOKLine+"\r\n", " "), "more than 65536 bytes"},
		"zip without end":      {".zip", answerEndlessly(statusOKLine+"\r\nPK", "\x00"), "more than"},
		"chunks without end":   {".zip", answerEndlessly(chunked, "1\r\nx\r\n"), "more than"},
		"chunk extensions":     {".zip", answerEndlessly(chunked+"1;", "x=y;"), ""},
		"extensions each":      {".zip", answerEndlessly(chunked, "1;"+strings.Repeat("x", 4000)+"\r\nx\r\n"), ""},
		"chunk of all":         {".zip", answerText(chunked + "fffffffffffffffff\r\nPK"), ""},
		"trailers without end": {".zip", answerEndlessly(chunked+"1\r\nx\r\n0\r\n", "X-More: x\r\n"), ""},
		"length too long":      {".zip", answerText(statusOKLine + "Content-Length: 100\r\n\r\nPK"), ""},
		"length too short":     {".zip", answerText(statusOKLine + "Content-Length: 2\r\n\r\nPK and much more"), "not a zip"},
		"two lengths":          {".mod", answerText(statusOKLine + "Content-Length: 21\r\nContent-Length: 20\r\n\r\nmodule example.com/m\n"), ""},
		"length and chunks":    {".zip", answerText(statusOKLine + "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabcde\r\n0\r\n\r\n"), ""},
		"gzip not asked for":   {".mod", answerText(statusOKLine + "Content-Encoding: gzip\r\n\r\n" + gzipped(t, 1000)), "a Content-Encoding that was not requested"},
		"gzip bomb":            {".zip", answerText(statusOKLine + "Content-Encoding: gzip\r\n\r\n" + gzipped(t, 64<<20)), "a Content-Encoding that was not requested"},
		"gzip twice":           {".info", answerText(statusOKLine + "Transfer-Encoding: gzip, chunked\r\n\r\n"), ""},
		"header without end":   {".mod", answerEndlessly(statusOKLine, "X-Header: "+strings.Repeat("x", 1000)+"\r\n"), ""},
		"line without end":     {".mod", answerEndlessly(statusOKLine+"X-Header: ", "x"), ""},
		"status without end":   {".mod", answerEndlessly("HTTP/1.1 200 ", "x"), ""},
		"early hints":          {".mod", answerEndlessly("", "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"), ""},
		"continue":             {".info", answerEndlessly("", "HTTP/1.1 100 Continue\r\n\r\n"), ""},
		"protocols switched":   {".mod", answerText("HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\nmodule example.com/m\n"), ""},
		"a part":               {".mod", answerText("HTTP/1.1 206 Partial Content\r\nContent-Length: 21\r\n\r\nmodule example.com/m\n"), "206"},
		"not modified":         {".mod", answerText("HTTP/1.1 304 Not Modified\r\n\r\n"), "304"},
		"error without end":    {".mod", answerEndlessly("HTTP/1.1 500 Oops\r\nContent-Type: text/plain\r\n\r\n", "no \x1b[31m no"), "no [31m no"},
		"silence":              {".mod", answerAndHang(""), "no answer"},
		"silence in a header":  {".info", answerAndHang(statusOKLine + "X-Slow: "), "no answer"},
		"silence in a body":    {".mod", answerAndHang(statusOKLine + "Content-Length: 100\r\n\r\nmodule "), "no data"},
		"silence in a zip":     {".zip", answerAndHang(statusOKLine + "Content-Length: 100\r\n\r\nPK"), ""},
		"drops":                {".mod", answerSlowly(statusOKLine + "Content-Length: 1000000\r\n\r\n"), "within"},
		"loop":                 {".mod", answerText("HTTP/1.1 302 Found\r\nLocation: x.mod\r\nContent-Length: 0\r\n\r\n"), "too many times"},
		"redirect to a file":   {".mod", answerText("HTTP/1.1 302 Found\r\nLocation: file:///etc/passwd\r\nContent-Length: 0\r\n\r\n"), "neither http nor https"},
	}
	return answers
}

// answerSlowly sends a byte now and then, so that it is never silent.
func answerSlowly(begin string) func(io.Writer) {
	return func(conn io.Writer) {
		_, err := io.WriteString(conn, begin)
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for err == nil {
			<-tick.C
			_, err = io.WriteString(conn, "m")
		}
	}
}

func manyVersions(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "v1.0.%d\n", i)
	}
	return b.String()
}

// What the go command reads all the same is served, with the hash that the go command
// computes: a zip whose directory promises more packed bytes than there are, which costs
// nothing, and one that has another go.mod than the .mod or none, as a registry has it
// that makes up or rewrites the .mod. The .mod stays what the upstream says it is.
func TestUnusualZips(t *testing.T) {
	v := athenstest.NewVersion(t, athenstest.Example)
	const dir = "example.com/m@v1.0.0/"
	for name, body := range map[string]string{
		"promises more": lyingZip(t, "package a\n", func(h *zip.FileHeader) { h.CompressedSize64 = 1 << 40 }),
		"other go.mod":  zipOf(t, dir+"go.mod", "module example.com/m\nrequire evil.test/m v1.0.0\n"),
		"no go.mod":     zipOf(t, dir+"a.go", "package a\n"),
	} {
		t.Run(name, func(t *testing.T) {
			upstream := newHostileServer(t, map[string][]byte{".info": v.Info, ".mod": v.Mod, ".zip": []byte(body)})
			up, err := redirect.New(upstream.URL, &redirect.Options{Tries: 1})
			require.NoError(t, err)
			x := newTargetServer(t, &athens.Options{Upstream: up, MissFetch: true, MaxZipBytes: maxHostileZip, Prefetch: -1})
			checkAllocated(t, 16<<20, func() {
				for _, path := range []string{athenstest.ZipPath, athenstest.ZipPath} { // fetched, and held
					whole, status, got := x.get(t, path)
					assert.True(t, whole && status == http.StatusOK && got == body, "%d %.200q", status, got)
				}
				whole, status, got := x.get(t, strings.TrimSuffix(athenstest.ZipPath, ".zip")+".mod")
				assert.True(t, whole && status == http.StatusOK, "%d %.200q", status, got)
				assert.Equal(t, string(v.Mod), got)
				x.end()
			})
			file := filepath.Join(t.TempDir(), "m.zip")
			require.NoError(t, os.WriteFile(file, []byte(body), 0o666))
			require.NoError(t, modzip.Unzip(filepath.Join(t.TempDir(), "m"), v.Version, file), "the go command uses it")
			want, err := dirhash.HashZip(file, dirhash.Hash1)
			require.NoError(t, err)
			for ext, want := range map[string]string{".zip": body, ".mod": string(v.Mod), ".ziphash": want} {
				stored, err := os.ReadFile(filepath.Join(x.dir, "example.com", "m", "@v", "v1.0.0"+ext))
				require.NoError(t, err)
				assert.Equal(t, want, string(stored), ext)
			}
			checkSound(t, x.dir, 1)
		})
	}
}

// Whatever an upstream answers ends in an error that says so, within the limits of
// size, time and memory, and leaves nothing in the store.
func TestHostileUpstream(t *testing.T) {
	v := athenstest.NewVersion(t, athenstest.Example)
	good := map[string][]byte{".info": v.Info, ".mod": v.Mod, ".zip": v.Zip, "/list": []byte("v1.0.0\n"), "/@latest": v.Info}
	answers := hostileAnswers(t)
	for name, z := range hostileZips(t) {
		answers["zip: "+name] = hostileAnswer{".zip", answerBody(z), ""}
	}
	for name, a := range answers {
		t.Run(name, func(t *testing.T) {
			evil := newHostileServer(t, good)
			evil.evil[a.end] = a.how
			// Only what is to time out has little time: the machine may be busy.
			opts := &redirect.Options{Tries: 1}
			switch name {
			case "silence", "silence in a header":
				opts.AnswerTimeout = 500 * time.Millisecond
			case "silence in a body", "silence in a zip":
				opts.IdleTimeout = 500 * time.Millisecond
			case "drops":
				opts.Timeout = time.Second
			}
			up, err := redirect.New(evil.URL, opts)
			require.NoError(t, err)
			x := newTargetServer(t, &athens.Options{Upstream: up, MissFetch: true, MaxZipBytes: maxHostileZip, Prefetch: -1})
			path := "/example.com/m/@v/v1.0.0" + a.end
			if !strings.HasPrefix(a.end, ".") {
				path = "/example.com/m" + strings.Replace(a.end, "/list", "/@v/list", 1)
			}
			checkAllocated(t, 256<<20, func() {
				whole, status, body := x.get(t, path)
				assert.False(t, whole, "%d %.200q", status, body)
				switch name {
				case "mod without a module", "mod that is a page": // an outage: somebody else has answered
					assert.Equal(t, http.StatusServiceUnavailable, status)
				}
				if status >= 400 {
					assert.Contains(t, body, a.want)
					assert.NoError(t, athenstest.CheckErrorText(body))
				}
				x.end()
			})
			assert.LessOrEqual(t, evil.sent.Load(), int64(80<<20), "what was taken of it")
			for _, name := range x.files(t) {
				metaOfZip := a.end == ".zip" && !strings.Contains(name, "zip") && strings.Contains(name, "example.com/m/@v/")
				assert.True(t, metaOfZip, "stored: %s", name)
			}
		})
	}
}
