package embedded_test

import (
	"fmt"
	"os"

	"github.com/athens-go/athens/backends/nats/embedded"
)

func Example() {
	dir, err := os.MkdirTemp("", "nats")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	server, err := embedded.New(dir, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer server.Close()
	fmt.Println("connected:", server.Conn().IsConnected())
	fmt.Printf("port: %q\n", server.Addr())
	// Output:
	// connected: true
	// port: ""
}
