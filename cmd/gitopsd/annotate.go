package main

import (
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/gitopsd/gitopsd/internal/fault"
	"github.com/gitopsd/gitopsd/internal/policy"
)

// annotate writes what was found as workflow commands, which GitHub shows at
// the lines of a pull request.
func (t *terminal) annotate(found *findings) {
	for _, p := range found.Problems {
		title := "Invalid tenant file"
		if path.Base(p.File) == policy.File {
			title = "Invalid policy"
		}
		fmt.Fprintln(t.out, workflowCommand("error", title, p.File, p.Line, p.Column, reason(p.Message, p.Hint)))
	}
	for _, name := range found.Ignored {
		fmt.Fprintln(t.out, workflowCommand("notice", "Not a tenant file", name, 0, 0, "this is not read"))
	}
	if len(found.Problems) == 0 && found.Files == 0 {
		fmt.Fprintln(t.out, workflowCommand("notice", "No tenant file", "", 0, 0, "there is nothing to check"))
	}
}

// annotateError writes an error that is about no line, and returns what ends
// the program with its exit code.
func (t *terminal) annotateError(err error) error {
	r := fault.RecordOf(err)
	fmt.Fprintln(t.out, workflowCommand("error", "gitopsd", "", 0, 0, reason(r.Message, r.Hint)))
	return exitError(codeOf(err))
}

func reason(message, hint string) string {
	if hint == "" {
		return message
	}
	return message + " (" + hint + ")"
}

// workflowCommand returns a line that the runner of GitHub's workflows takes for a
// remark on a file; line 0 means the file as a whole, and no file the job.
// Form and escapes are those of @actions/core's command.ts.
func workflowCommand(level, title, file string, line, column int, message string) string {
	var properties []string
	if file != "" {
		properties = append(properties, "file="+escapeProperty(file))
		if line > 0 {
			properties = append(properties, "line="+strconv.Itoa(line), "col="+strconv.Itoa(column))
		}
	}
	properties = append(properties, "title="+escapeProperty(title))
	return "::" + level + " " + strings.Join(properties, ",") + "::" + escapeData(message)
}

// escapeData escapes a command's message. What else could act on a terminal is
// replaced: people read the log, too.
func escapeData(text string) string {
	text = strings.Map(func(r rune) rune {
		if r == '\r' || r == '\n' {
			return r
		}
		return cleanRune(r)
	}, text)
	return strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A").Replace(text)
}

// escapeProperty escapes one of the words before a command's message.
func escapeProperty(text string) string {
	return strings.NewReplacer(":", "%3A", ",", "%2C").Replace(escapeData(text))
}

// repositoryRoot returns the directory of the repository around dir, "" if
// there is none. dir need not exist.
func repositoryRoot(dir string) string {
	at, err := filepath.Abs(dir)
	if err != nil {
		return ""
	}
	for {
		if _, err := os.Lstat(filepath.Join(at, ".git")); err == nil {
			return at
		}
		above := filepath.Dir(at)
		if above == at {
			return ""
		}
		at = above
	}
}

// inRepository names a file as its repository does, which is how GitHub finds
// it wherever the repository lies; outside of one, as it is.
func inRepository(file string) string {
	root := repositoryRoot(filepath.Dir(file))
	if root == "" {
		return file
	}
	abs, err := filepath.Abs(file)
	if err != nil {
		return file
	}
	below, err := filepath.Rel(root, abs)
	if err != nil {
		return file
	}
	return filepath.ToSlash(below)
}
