package tenant

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// The longest times a tenant can ask for.
const (
	maxIdleAfter = 30 * 24 * time.Hour
	maxGrace     = 365 * 24 * time.Hour
)

// rules checks what the schema cannot state. It sees values that may violate
// the schema and passes over what has the wrong type: that is reported already.
type rules struct {
	report *report
	value  any
}

func checkRules(r *report, value any, stem string) {
	c := rules{report: r, value: value}
	c.name(stem)
	c.secrets()
	c.scale()
	c.duration(maxIdleAfter, "spec", "compute", "idleAfter")
	c.duration(maxGrace, "spec", "deletion", "grace")
	c.design()
}

// bad notes a problem at the value at a path.
func (c rules) bad(path []string, hint, format string, args ...any) {
	c.report.at(c.report.locate(path...), spell(path)+" "+fmt.Sprintf(format, args...), hint)
}

// name checks that the file is called what the tenant is called.
func (c rules) name(stem string) {
	path := []string{"metadata", "name"}
	name, ok := dig(c.value, path...).(string)
	if ok && name != stem {
		c.bad(path, fmt.Sprintf("write name: %s, or rename the file to %s.yaml", stem, name),
			"is %s, but the file's stem is %s", quote(name), quote(stem))
	}
	if previewName.MatchString(name) {
		c.bad(path, "choose a name that does not end in -pr and a number",
			"is %s: such names are kept for the previews of pull requests", quote(name))
	}
}

// previewName are the names of preview tenants.
var previewName = regexp.MustCompile(`-pr-[0-9]+$`)

// IsPreview reports whether a name is kept for the previews of pull requests: no
// tenant file can have it.
func IsPreview(name string) bool { return previewName.MatchString(name) }

// secrets checks that no variable has two sources.
func (c rules) secrets() {
	env, _ := dig(c.value, "spec", "app", "env").(map[string]any)
	secrets, _ := dig(c.value, "spec", "app", "secrets").([]any)
	for i, s := range secrets {
		name, _ := s.(string)
		if _, both := env[name]; both {
			at := c.report.locateKey("spec", "app", "env", name)
			c.bad([]string{"spec", "app", "secrets", index(i)}, "a variable has one source: remove one of the two",
				"%s stands in spec.app.env, too, in line %d", quote(name), at.line)
		}
	}
}

func (c rules) scale() {
	most, ok := number(dig(c.value, "spec", "compute", "scale", "max"))
	if !ok {
		return
	}
	least, ok := number(dig(c.value, "spec", "compute", "scale", "min"))
	if !ok {
		least = 1
	}
	if least > most {
		c.bad([]string{"spec", "compute", "scale", "max"}, "", "is %v, below the %v of min", most, least)
	}
}

func (c rules) duration(most time.Duration, path ...string) {
	text, ok := dig(c.value, path...).(string)
	if !ok {
		return
	}
	switch d, ok := ParseDuration(text); {
	case !ok: // not a duration, as the schema said already
	case d > most:
		c.bad(path, fmt.Sprintf("at most %dd", most/(24*time.Hour)), "is %s", quote(text))
	case d > 0 && d < time.Second:
		c.bad(path, "write 0, or at least 1s", "is %s", quote(text))
	}
}

// ParseDuration reads a duration as the schema describes it: what
// time.ParseDuration takes, of the units h, m and s, and days of 24 hours.
// One that is too long for a time.Duration becomes the longest one.
func ParseDuration(text string) (d time.Duration, ok bool) {
	if text == "0" {
		return 0, true
	}
	units := map[byte]time.Duration{'d': 24 * time.Hour, 'h': time.Hour, 'm': time.Minute, 's': time.Second}
	sum := 0.0
	for text != "" {
		i := strings.IndexAny(text, "dhms")
		if i < 1 {
			return 0, false
		}
		n, err := strconv.ParseFloat(text[:i], 64)
		if err != nil || strings.Trim(text[:i], "0123456789.") != "" {
			return 0, false
		}
		sum += n * float64(units[text[i]])
		text = text[i+1:]
	}
	const longest = 1<<63 - 1
	if sum >= longest {
		return longest, true
	}
	return time.Duration(sum), true
}

// number returns a JSON number.
func number(v any) (float64, bool) {
	switch n := v.(type) {
	case int64:
		return float64(n), true
	case float64:
		return n, true
	}
	return 0, false
}

// checkUnclear reports the plain scalars that YAML readers disagree about and
// that nothing else is wrong with.
func checkUnclear(r *report, unclear []unclear) {
	for _, u := range unclear {
		subject := spell(u.path)
		if old, value := oldBool(u.node.Value); old {
			r.at(u.at, fmt.Sprintf("%s is %s, which some YAML readers take for %t", subject, u.node.Value, value),
				"put it in quotes: "+strconv.Quote(u.node.Value))
			continue
		}
		var n float64
		if err := u.node.Decode(&n); err == nil {
			r.at(u.at, fmt.Sprintf("%s is %s, which is not a plain decimal number", subject, u.node.Value),
				fmt.Sprintf("write %s", strconv.FormatFloat(n, 'f', -1, 64)))
		}
	}
}
