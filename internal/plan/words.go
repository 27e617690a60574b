package plan

import (
	"fmt"
	"strconv"
)

// maxValue bounds a rendered value, in characters.
const maxValue = 60

// short cuts a value to maxValue characters.
func short(s string) string { return cutTo(s, maxValue) }

func cutTo(s string, most int) string {
	if r := []rune(s); len(r) > most {
		return string(r[:most-1]) + "…"
	}
	return s
}

func verb(n int, one, many string) string {
	if n == 1 {
		return one
	}
	return many
}

func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// span writes a range, or the one value that it is.
func span(low, high int) string {
	if low == high {
		return strconv.Itoa(low)
	}
	return fmt.Sprintf("%d–%d", low, high)
}
