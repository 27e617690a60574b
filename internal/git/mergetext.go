package git

import (
	"bytes"
	"slices"
)

const (
	maxMerged   = 1 << 20 // bytes of a file that is merged by lines
	binaryProbe = 8000    // bytes that are searched for a zero, as in git
)

// hunk is a stretch of lines that one side replaced.
type hunk struct {
	base, baseLen int // in the common version
	at, n         int // in the side's
}

// part is a stretch of the merged text that is not the same on both sides.
type part struct {
	from              origin
	ours, oursLen     int
	theirs, theirsLen int
}

// origin says where a part of the merged text comes from.
type origin int

const (
	unclear origin = iota
	fromOurs
	fromTheirs
)

// mergeText merges two versions of a text by its lines, as git does (the level
// "zealous", with histogram diffs and no merge drivers): changes that touch or
// overlap are a conflict unless they are the same. It reports false for a conflict,
// for binary content, and for more than is compared.
func mergeText(base, ours, theirs []byte) ([]byte, bool) {
	for _, b := range [][]byte{base, ours, theirs} {
		if len(b) > maxMerged || bytes.IndexByte(b[:min(len(b), binaryProbe)], 0) >= 0 {
			return nil, false
		}
	}
	numbers := lineNumbers{}
	m := &textMerge{base: numbers.of(base), ours: numbers.of(ours), theirs: numbers.of(theirs)}
	left, leftOK := hunks(m.base.ids, m.ours.ids, len(numbers))
	right, rightOK := hunks(m.base.ids, m.theirs.ids, len(numbers))
	switch {
	case !leftOK || !rightOK:
		return nil, false
	case len(left) == 0:
		return theirs, true
	case len(right) == 0:
		return ours, true
	}
	m.walk(left, right)
	return m.text()
}

// numbered is a text by lines, each with its end, which the last may lack.
type numbered struct {
	lines [][]byte
	ids   []int32
}

type lineNumbers map[string]int32

func (n lineNumbers) of(text []byte) numbered {
	var out numbered
	for line := range bytes.Lines(text) {
		id, ok := n[string(line)]
		if !ok {
			id = int32(len(n))
			n[string(line)] = id
		}
		out.lines = append(out.lines, line)
		out.ids = append(out.ids, id)
	}
	return out
}

// hunks returns what differs, in order; false if that is too much work.
func hunks(base, side []int32, lines int) ([]hunk, bool) {
	d := newLineDiff(base, side, lines)
	if d.work < 0 {
		return nil, false
	}
	var all []hunk
	for i, j := 0, 0; i < len(base) || j < len(side); {
		h := hunk{base: i, at: j}
		for i < len(base) && d.da[i] {
			i++
		}
		for j < len(side) && d.db[j] {
			j++
		}
		if h.baseLen, h.n = i-h.base, j-h.at; h.baseLen > 0 || h.n > 0 {
			all = append(all, h)
			continue
		}
		i, j = i+1, j+1
	}
	return all, true
}

type textMerge struct {
	base, ours, theirs numbered
	parts              []part
}

// walk goes through the changes of both sides in the order of the common version.
func (m *textMerge) walk(left, right []hunk) {
	for len(left) > 0 || len(right) > 0 {
		l, r := hunk{base: len(m.base.lines) + 1}, hunk{base: len(m.base.lines) + 1}
		// From the common version's lines to those before each side's next change.
		oursShift, theirShift := len(m.ours.lines)-len(m.base.lines), len(m.theirs.lines)-len(m.base.lines)
		if len(left) > 0 {
			l = left[0]
			oursShift = l.at - l.base
		}
		if len(right) > 0 {
			r = right[0]
			theirShift = r.at - r.base
		}
		lEnd, rEnd := l.base+l.baseLen, r.base+r.baseLen
		switch {
		case lEnd < r.base:
			m.add(part{fromOurs, l.at, l.n, l.base + theirShift, l.baseLen})
			left = left[1:]
			continue
		case rEnd < l.base:
			m.add(part{fromTheirs, r.base + oursShift, r.baseLen, r.at, r.n})
			right = right[1:]
			continue
		case l.base != r.base || l.baseLen != r.baseLen || !m.same(l.at, l.n, r.at, r.n):
			from, to := min(l.base, r.base), max(lEnd, rEnd)
			m.add(part{
				unclear,
				l.at - (l.base - from), l.n + (l.base - from) + (to - lEnd),
				r.at - (r.base - from), r.n + (r.base - from) + (to - rEnd),
			})
		}
		if lEnd >= rEnd {
			right = right[1:]
		}
		if rEnd >= lEnd {
			left = left[1:]
		}
	}
}

// add appends a part, or joins it with the one before if they touch.
func (m *textMerge) add(p part) {
	if n := len(m.parts); n > 0 {
		last := &m.parts[n-1]
		if p.ours <= last.ours+last.oursLen || p.theirs <= last.theirs+last.theirsLen {
			if p.from != last.from {
				last.from = unclear
			}
			last.oursLen, last.theirsLen = p.ours+p.oursLen-last.ours, p.theirs+p.theirsLen-last.theirs
			return
		}
	}
	m.parts = append(m.parts, p)
}

func (m *textMerge) same(ours, oursLen, theirs, theirsLen int) bool {
	return slices.Equal(m.ours.ids[ours:ours+oursLen], m.theirs.ids[theirs:theirs+theirsLen])
}

// text is our version with the changes that are only theirs.
func (m *textMerge) text() ([]byte, bool) {
	var b bytes.Buffer
	at := 0
	write := func(lines [][]byte) {
		for _, line := range lines {
			b.Write(line)
		}
	}
	for _, p := range m.parts {
		switch p.from {
		case unclear:
			if p.oursLen == 0 || !m.same(p.ours, p.oursLen, p.theirs, p.theirsLen) {
				return nil, false
			}
		case fromTheirs:
			write(m.ours.lines[at:p.ours])
			write(m.theirs.lines[p.theirs : p.theirs+p.theirsLen])
			at = p.ours + p.oursLen
		case fromOurs:
		}
	}
	write(m.ours.lines[at:])
	return b.Bytes(), true
}
