package hostkeys_test

import (
	"crypto/ed25519"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/crypto/ssh"

	"github.com/athens-go/athens/fetcher/internal/hostkeys"
)

func Example() {
	dir, err := os.MkdirTemp("", "hostkeys-*")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	key, err := ssh.NewPublicKey(ed25519.PublicKey(make([]byte, ed25519.PublicKeySize)))
	if err != nil {
		panic(err)
	}
	file := filepath.Join(dir, "known_hosts")
	host := hostkeys.Host{Name: "git.corp.test", Port: "2222"}
	fmt.Println(hostkeys.Load(nil, file).Check(host, key))
	if err := hostkeys.Append(file, host, key, false); err != nil {
		panic(err)
	}
	fmt.Println(hostkeys.Load(nil, file).Check(host, key))
	// Output:
	// the host's key is not in known_hosts
	// <nil>
}
