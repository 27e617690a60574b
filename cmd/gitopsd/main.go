// Command gitopsd makes what a Git repository says of its tenants real.
package main

import "os"

func main() {
	os.Exit(execute(os.Args[1:], newTerminal(os.Stdin, os.Stdout, os.Stderr)))
}
