package athens

import (
	"encoding/json"
	"fmt"
)

// maxInfo is the longest .info in bytes.
const maxInfo = 1 << 20

// checkInfo checks that an .info can be written down.
func checkInfo(info *Info) error {
	b, err := json.Marshal(info)
	if err == nil && len(b) > maxInfo {
		err = fmt.Errorf("the source's .info has %d bytes, more than %d", len(b), maxInfo)
	}
	return err
}

// compareInfos returns the values in which two .info files of a version contradict
// each other, or two empty strings.
func compareInfos(a, b *Info) (ofA, ofB string) {
	switch {
	case a.Origin != nil && b.Origin != nil && a.Origin.Hash != "" && b.Origin.Hash != "" && a.Origin.Hash != b.Origin.Hash:
		return "commit " + a.Origin.Hash, "commit " + b.Origin.Hash
	case !a.Time.Equal(b.Time):
		return "time " + a.Time.String(), "time " + b.Time.String()
	}
	return "", ""
}
