package main

import (
	"fmt"
	"runtime/debug"
	"strings"
)

type versionCmd struct{ outputFlag }

// Run prints what this program was built from.
func (v *versionCmd) Run(t *terminal) error {
	built := struct {
		Version string `json:"version"`
		Commit  string `json:"commit,omitempty"`
		Go      string `json:"go"`
	}{Version: "(devel)"}
	if info, ok := debug.ReadBuildInfo(); ok {
		built.Go = info.GoVersion
		if info.Main.Version != "" {
			built.Version = info.Main.Version
		}
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" {
				built.Commit = s.Value
			}
		}
	}
	if v.json() {
		return t.printJSON(built)
	}
	fmt.Fprintln(t.out, strings.Join(strings.Fields(fmt.Sprintf("gitopsd %s %s %s", built.Version, short(built.Commit), built.Go)), " "))
	return nil
}
