package deploy

import (
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

const unit = "../../deploy/athens-proxy.service"

// TestUnit looks for the flags of the unit in the proxy's own help, and compares its
// exposure with the one that deploy/README.md states.
func TestUnit(t *testing.T) {
	b, err := os.ReadFile(unit)
	if err != nil {
		t.Fatal(err)
	}
	text := strings.ReplaceAll(string(b), "\\\n", " ")
	start := regexp.MustCompile(`(?m)^ExecStart=(.*)$`).FindStringSubmatch(text)
	if start == nil {
		t.Fatal("no ExecStart")
	}
	var args []string
	for _, word := range strings.Fields(start[1])[1:] {
		if strings.HasPrefix(word, "-") {
			args = append(args, word)
		}
	}
	checkFlagsOf(t, "./examples/proxy", args)

	readme, err := os.ReadFile("../../deploy/README.md")
	if err != nil {
		t.Fatal(err)
	}
	stated := regexp.MustCompile(`exposure of (\d+\.\d)`).FindSubmatch(readme)
	if stated == nil {
		t.Fatal("deploy/README.md states no exposure")
	}
	if _, err := exec.LookPath("systemd-analyze"); err != nil {
		t.Skip("no systemd-analyze here: the unit's exposure is not checked")
	}
	out, err := exec.Command("systemd-analyze", "security", "--offline=true", "--no-pager", unit).CombinedOutput()
	level := regexp.MustCompile(`exposure level for \S+: (\d+\.\d)`).FindSubmatch(out)
	if err != nil || level == nil {
		t.Skipf("this systemd-analyze can't judge a file: %v\n%s", err, out)
	}
	got, _ := strconv.ParseFloat(string(level[1]), 64)
	want, _ := strconv.ParseFloat(string(stated[1]), 64)
	if got > want {
		t.Errorf("the exposure is %.1f, and deploy/README.md says %.1f:\n%s", got, want, out)
	}
}
