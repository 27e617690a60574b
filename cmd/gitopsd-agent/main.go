// Command gitopsd-agent is the reloader: the foreground process of a tenant's
// instance. See internal/agent.
package main

import (
	"fmt"
	"os"

	"github.com/gitopsd/gitopsd/internal/agent"
)

func main() {
	if err := agent.Main(os.Args[1:], os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "gitopsd-agent:", err)
		os.Exit(1)
	}
}
