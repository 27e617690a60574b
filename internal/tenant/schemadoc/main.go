// Command schemadoc writes docs/tenant.md, the reference of the tenant file,
// from schema/tenant.schema.json. Its example and its error messages are made
// by the parser itself, so the page cannot say what is not so.
package main

import (
	"fmt"
	"os"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: schemadoc <file>")
		os.Exit(2)
	}
	page, err := render()
	if err == nil {
		err = os.WriteFile(os.Args[1], page, 0o644)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "schemadoc:", err)
		os.Exit(1)
	}
}
