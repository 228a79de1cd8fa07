package athens

import (
	"encoding/json"
	"fmt"
)

// Encode returns the .info file that i stands for: Raw where there is one, which has
// to be JSON that names i.Version, and otherwise what the go command would write.
func (i *Info) Encode() ([]byte, error) {
	if i.Raw != nil {
		var said struct{ Version string }
		if err := json.Unmarshal(i.Raw, &said); err != nil {
			return nil, fmt.Errorf("the .info is no JSON of a version: %w", err)
		}
		if said.Version != i.Version {
			return nil, fmt.Errorf("the .info names version %.80q, not %.80q", said.Version, i.Version)
		}
		return i.Raw, nil
	}
	written := *i
	written.Time = i.Time.UTC()
	return json.Marshal(&written)
}

// maxInfo is the longest .info in bytes.
const maxInfo = 1 << 20

// checkInfo checks that an .info can be written down. That of an upstream has Raw from
// then on, so that the store takes it for a hint; that of version control has none.
func checkInfo(info *Info, vcs bool) error {
	if vcs {
		info.Raw = nil
	}
	b, err := info.Encode()
	if err == nil && len(b) > maxInfo {
		err = fmt.Errorf("the source's .info has %d bytes, more than %d", len(b), maxInfo)
	}
	if err == nil && !vcs {
		info.Raw = b
	}
	return err
}

// compareInfos returns the values in which two .info files of a version contradict
// each other, or two empty strings. What a server sent is a hint: only another commit
// contradicts what is held. What was made from a commit (vcs) also has its time.
func compareInfos(held, got *Info, vcs bool) (ofHeld, ofGot string) {
	was, is := held.commit(), got.commit()
	switch both := was != "" && is != ""; {
	case both && was != is:
		return "commit " + was, "commit " + is
	case !both && vcs && !held.Time.Equal(got.Time):
		return "time " + held.Time.String(), "time " + got.Time.String()
	}
	return "", ""
}

// commit returns the commit that i names, "" if it names none.
func (i *Info) commit() string {
	if i.Origin == nil {
		return ""
	}
	return i.Origin.Hash
}
