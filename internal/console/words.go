package console

import (
	"fmt"
	"html/template"
	"regexp"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/gitopsd/gitopsd/internal/fault"
	"github.com/gitopsd/gitopsd/internal/tenant"
)

// What Git, compilers, apps and tenants' files say is shown, up to a size.
const (
	maxLine    = 400       // characters of what is one line
	maxText    = 4000      // characters of a message
	maxOutput  = 16 << 10  // bytes of one output
	maxOutputs = 512 << 10 // bytes of all outputs of a page
	shownList  = 50        // entries of a list within a page
	cutMark    = "\n\n… %s left out …\n\n"
)

func pageFuncs() template.FuncMap {
	return template.FuncMap{
		"line": line, "text": text, "short": short, "when": when, "stamp": stamp, "clock": clock, "host": host, "took": took, "tone": tone, "more": more, "plural": plural, "memory": memory,
	}
}

// line shows hostile text in one line.
func line(v any) string { return cut(clean(strings.Join(strings.Fields(fmt.Sprint(v)), " ")), maxLine) }

// text shows hostile text of a few lines.
func text(v any) string { return cut(cleanLines(strings.TrimSpace(fmt.Sprint(v))), maxText) }

// clean makes visible what would change how the text around it is read.
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) {
			return unicode.ReplacementChar
		}
		return r
	}, s)
}

// cleanLines is clean for text of several lines, which may be coloured for a
// terminal.
func cleanLines(s string) string {
	s = regexp.MustCompile(`\x1b\[[0-9;?]*[ -/]*[@-~]`).ReplaceAllString(s, "")
	lines := strings.Split(strings.ReplaceAll(strings.ReplaceAll(s, "\r\n", "\n"), "\t", "    "), "\n")
	for i := range lines {
		lines[i] = clean(lines[i])
	}
	return strings.Join(lines, "\n")
}

func cut(s string, most int) string {
	if utf8.RuneCountInString(s) <= most {
		return s
	}
	return string([]rune(s)[:most-1]) + "…"
}

// short cuts a commit's or a release's name to what tells it apart.
func short(name string) string {
	name = strings.TrimPrefix(name, "sha256:")
	return clean(name[:min(len(name), 12)])
}

// when shows a time. A script words it as how long ago that is.
func when(t time.Time) template.HTML { return timeElement(t, "", "2006-01-02 15:04:05 UTC") }

// stamp shows a time that is to be read as it is, such as one to come.
func stamp(t time.Time) template.HTML {
	return timeElement(t, " data-stamp", "2006-01-02 15:04:05 UTC")
}

// clock shows the time of the day, in UTC.
func clock(t time.Time) template.HTML { return timeElement(t, " data-stamp", "15:04:05.000") }

func timeElement(t time.Time, attribute, layout string) template.HTML {
	if t.IsZero() {
		return ""
	}
	t = t.UTC()
	return template.HTML(fmt.Sprintf(`<time datetime="%s"%s>%s</time>`, t.Format(time.RFC3339), attribute, t.Format(layout)))
}

// took shows how long something lasted.
func took(d time.Duration) string {
	switch {
	case d <= 0:
		return ""
	case d < time.Second:
		return fmt.Sprintf("%d ms", max(d.Milliseconds(), 1))
	case d < time.Minute:
		return fmt.Sprintf("%.1f s", d.Seconds())
	}
	return period(d)
}

// period shows a span of time by its two largest units, such as 7 days, or
// 1 hour 30 minutes.
func period(d time.Duration) string {
	const day = 24 * time.Hour
	units := []struct {
		length time.Duration
		name   string
	}{{day, "day"}, {time.Hour, "hour"}, {time.Minute, "minute"}, {time.Second, "second"}}
	var parts []string
	for i, u := range units {
		if n := d / u.length; n > 0 {
			parts = append(parts, plural(int(n), u.name))
			if i+1 < len(units) {
				if n := d % u.length / units[i+1].length; n > 0 {
					parts = append(parts, plural(int(n), units[i+1].name))
				}
			}
			break
		}
	}
	return strings.Join(parts, " ")
}

// host shows a URL of ours as people say it.
func host(url string) string {
	_, rest, _ := strings.Cut(url, "://")
	return line(strings.TrimSuffix(rest, "/"))
}

// tone sorts states and phases by what they mean to a reader: the class of a
// badge, whose word says the same.
func tone(word any) string {
	switch strings.ToLower(fmt.Sprint(word)) {
	case "success", "succeeded", "ready", "serving", "asleep", "safe", "completed", "absent", "merged", "served":
		return "good"
	case "failure", "failed", "failing", "refused", "destructive", "data-loss", "not running", "present", "conflict":
		return "bad"
	case "held", "caution", "downtime", "breaking", "action", "retrying", "deprovision":
		return "warn"
	case "pending", "queued", "running", "provisioning", "deploying", "draining", "deprovisioning", "starting", "waiting":
		return "busy"
	}
	return "calm"
}

// more says how many of a list are not shown.
func more(all, shown int) string {
	if all <= shown {
		return ""
	}
	return fmt.Sprintf("and %d more", all-shown)
}

// memory writes what a process has resident; "" for no process.
func memory(bytes int64) string {
	if bytes == 0 {
		return ""
	}
	return fmt.Sprintf("%d MiB", (bytes+1<<20-1)>>20)
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// budget bounds what one page shows of outputs.
type budget struct {
	spent  int
	hidden bool // from who reads the page
}

// output shows what a compiler or an app wrote: its beginning and its end.
func (b *budget) output(s string) string {
	s = strings.Trim(strings.ToValidUTF8(s, "\uFFFD"), "\r\n")
	if s == "" || b.hidden {
		return ""
	}
	most := min(maxOutput, maxOutputs-b.spent)
	if len(s) > most {
		half := max(most, 0) / 2
		left := fmt.Sprintf(cutMark, plural(len(s)-2*half, "byte"))
		s = strings.ToValidUTF8(s[:half], "") + left + strings.ToValidUTF8(s[len(s)-half:], "")
	}
	b.spent += len(s)
	return strings.Trim(cleanLines(s), "\n")
}

// failureShown is why something failed, with all that helps.
type failureShown struct {
	Message  string
	Hint     string
	Output   string
	Withheld bool // there is output, but not for this reader
	Problems []tenant.Problem
	More     int // problems that are not shown
}

func failureOf(r *fault.Record, problems tenant.Problems, b *budget) *failureShown {
	if r == nil && len(problems) == 0 {
		return nil
	}
	f := &failureShown{Problems: problems[:min(len(problems), shownList)]}
	f.More = len(problems) - len(f.Problems)
	if r == nil {
		f.Message = plural(len(problems), "problem")
		return f
	}
	f.Message, f.Hint = r.Message, r.Hint
	if len(problems) > 0 {
		f.Message = "The file is not valid." // the record repeats the problems
		return f
	}
	if strings.TrimSpace(r.Detail) != strings.TrimSpace(r.Message) {
		f.Output, f.Withheld = b.output(r.Detail), b.hidden && r.Detail != ""
	}
	return f
}
