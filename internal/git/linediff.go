package git

const (
	// maxRepeats is how often a line may occur to be looked for as an anchor, as in
	// git's histogram diff.
	maxRepeats = 64
	// maxDiffWork bounds the comparison of two files, in steps of some nanoseconds.
	maxDiffWork = 100_000_000
)

// lineDiff finds which lines differ between two texts, whose lines are given as
// numbers, as git's histogram diff does: it splits the texts at their rarest
// common stretch of lines, and again what is before and behind that. A merge
// depends on where a diff puts its changes, so ties are broken as git breaks them.
type lineDiff struct {
	a, b   []int32
	da, db []bool // lines that differ
	work   int    // left; below zero the result is worthless

	first, count []int32 // by line, in the stretch of a in question
	next         []int32 // by place in a: where its line occurs again; -1 nowhere
}

// newLineDiff compares two texts in which lines numbers occur.
func newLineDiff(a, b []int32, lines int) *lineDiff {
	d := &lineDiff{
		a: a, b: b, da: make([]bool, len(a)), db: make([]bool, len(b)), work: maxDiffWork,
		first: make([]int32, lines), count: make([]int32, lines), next: make([]int32, len(a)),
	}
	d.split(0, len(a), 0, len(b))
	settle(&diffSide{d.a, d.da}, &diffSide{d.b, d.db})
	settle(&diffSide{d.b, d.db}, &diffSide{d.a, d.da})
	return d
}

// split compares a[a0:a1] with b[b0:b1].
func (d *lineDiff) split(a0, a1, b0, b1 int) {
	for d.work >= 0 {
		if a0 == a1 || b0 == b1 {
			d.differ(a0, a1, b0, b1)
			return
		}
		s, crowded := d.anchor(a0, a1, b0, b1)
		switch {
		case crowded:
			d.shortest(a0, a1, b0, b1)
			return
		case s.length == 0:
			d.differ(a0, a1, b0, b1)
			return
		}
		d.split(a0, s.a, b0, s.b)
		a0, b0 = s.a+s.length, s.b+s.length
	}
}

func (d *lineDiff) differ(a0, a1, b0, b1 int) {
	for i := a0; i < a1; i++ {
		d.da[i] = true
	}
	for i := b0; i < b1; i++ {
		d.db[i] = true
	}
}

// stretch is a run of lines that both texts have.
type stretch struct {
	a, b, length int
	repeats      int32 // of its rarest line
}

// anchor returns the stretch to split at; its length is zero if the texts have
// nothing in common. crowded says that they have, but only lines that repeat too often.
func (d *lineDiff) anchor(a0, a1, b0, b1 int) (best stretch, crowded bool) {
	for i := a1 - 1; i >= a0; i-- {
		line := d.a[i]
		d.next[i] = -1
		if d.count[line] > 0 {
			d.next[i] = d.first[line]
		}
		d.first[line] = int32(i)
		d.count[line]++
	}
	d.work -= a1 - a0
	defer func() {
		for _, line := range d.a[a0:a1] {
			d.count[line] = 0
		}
	}()
	best.repeats = maxRepeats + 1
	common := false
	for b := b0; b < b1 && d.work >= 0; {
		n := d.count[d.b[b]]
		common = common || n > 0
		if n == 0 || n > best.repeats {
			d.work--
			b++
			continue
		}
		b = d.grow(&best, b, a0, a1, b0, b1)
	}
	if best.repeats > maxRepeats {
		return stretch{}, common
	}
	return best, false
}

// grow extends each occurrence of the line b in both directions, keeps the best
// stretch, and returns the first line of b that is in none of these.
func (d *lineDiff) grow(best *stretch, b, a0, a1, b0, b1 int) int {
	line, after := d.b[b], b+1
	for at := int(d.first[line]); at >= 0; {
		s := stretch{a: at, b: b, repeats: d.count[line]}
		for s.a > a0 && s.b > b0 && d.a[s.a-1] == d.b[s.b-1] {
			s.a, s.b = s.a-1, s.b-1
			s.repeats = min(s.repeats, d.count[d.a[s.a]])
		}
		s.length = at - s.a + 1
		for s.a+s.length < a1 && s.b+s.length < b1 && d.a[s.a+s.length] == d.b[s.b+s.length] {
			s.repeats = min(s.repeats, d.count[d.a[s.a+s.length]])
			s.length++
		}
		d.work -= s.length + 1
		after = max(after, s.b+s.length)
		if s.repeats < best.repeats || s.length > max(best.length, 1) {
			*best = s
		}
		end := s.a + s.length
		for at = int(d.next[at]); at >= 0 && at < end; at = int(d.next[at]) {
			d.work--
		}
	}
	return after
}

// shortest compares by the fewest lines that differ (Myers, in linear space).
func (d *lineDiff) shortest(a0, a1, b0, b1 int) {
	for a0 < a1 && b0 < b1 && d.a[a0] == d.b[b0] {
		a0, b0 = a0+1, b0+1
	}
	for a0 < a1 && b0 < b1 && d.a[a1-1] == d.b[b1-1] {
		a1, b1 = a1-1, b1-1
	}
	if a0 == a1 || b0 == b1 {
		d.differ(a0, a1, b0, b1)
		return
	}
	x, y := d.middle(d.a[a0:a1], d.b[b0:b1])
	if d.work < 0 {
		return
	}
	d.shortest(a0, a0+x, b0, b0+y)
	d.shortest(a0+x, a1, b0+y, b1)
}

// nowhere is the x of a diagonal that no path within the texts ends on.
const nowhere = -1 << 40

// middle returns a point on a shortest path from the beginning of both texts to
// the end, where the search from the one meets that from the other.
func (d *lineDiff) middle(a, b []int32) (x, y int) {
	n, m := len(a), len(b)
	zero, delta := n+m+1, n-m
	forward, backward := make([]int, 2*zero+1), make([]int, 2*zero+1) // furthest x, by diagonal
	for i := range forward {
		forward[i], backward[i] = nowhere, nowhere
	}
	d.work -= 2 * zero
	for steps := 0; d.work >= 0; steps++ {
		for k := -steps; k <= steps; k += 2 {
			x := furthest(forward, zero, k, steps, n, m)
			for x >= 0 && x < n && x-k < m && a[x] == b[x-k] {
				x, d.work = x+1, d.work-1
			}
			forward[zero+k], d.work = x, d.work-1
			if back := delta - k; delta%2 != 0 && -steps < back && back < steps && x+backward[zero+back] >= n {
				return x, x - k
			}
		}
		for k := -steps; k <= steps; k += 2 {
			x := furthest(backward, zero, k, steps, n, m)
			for x >= 0 && x < n && x-k < m && a[n-1-x] == b[m-1-x+k] {
				x, d.work = x+1, d.work-1
			}
			backward[zero+k], d.work = x, d.work-1
			if fore := delta - k; delta%2 == 0 && -steps <= fore && fore <= steps && x+forward[zero+fore] >= n {
				return n - x, m - x + k
			}
		}
	}
	return 0, 0
}

// furthest takes one step in a search, onto diagonal k.
func furthest(at []int, zero, k, steps, n, m int) int {
	x := 0
	if steps > 0 {
		x = max(at[zero+k-1]+1, at[zero+k+1])
	}
	if x < 0 || x > n || x < k || x-k > m {
		return nowhere
	}
	return x
}

// diffSide is one text of a diff.
type diffSide struct {
	lines   []int32
	differs []bool
}

// run is a run of lines that differ, or none, between two that do not.
type run struct {
	*diffSide
	start, end int
}

func (r *run) extend() {
	for r.end < len(r.lines) && r.differs[r.end] {
		r.end++
	}
	for r.start > 0 && r.differs[r.start-1] {
		r.start--
	}
}

func (r *run) next() bool {
	if r.end == len(r.lines) {
		return false
	}
	r.start, r.end = r.end+1, r.end+1
	r.extend()
	return true
}

func (r *run) previous() {
	r.start, r.end = r.start-1, r.start-1
	r.extend()
}

// up moves the run by a line to the front, where the text reads the same, and
// joins it with a run that it meets there; down moves it to the end.
func (r *run) up() bool {
	if r.start == 0 || r.lines[r.start-1] != r.lines[r.end-1] {
		return false
	}
	r.differs[r.start-1], r.differs[r.end-1] = true, false
	r.start, r.end = r.start-1, r.end-1
	r.extend()
	return true
}

func (r *run) down() bool {
	if r.end == len(r.lines) || r.lines[r.start] != r.lines[r.end] {
		return false
	}
	r.differs[r.start], r.differs[r.end] = false, true
	r.start, r.end = r.start+1, r.end+1
	r.extend()
	return true
}

// settle moves each run of one text to where git shows it: beside the last run
// of the other text that it can be moved to, else as far down as it goes.
func settle(one, other *diffSide) {
	r, o := &run{diffSide: one}, &run{diffSide: other} // o goes along with r
	r.extend()
	o.extend()
	for {
		if r.start < r.end {
			settleRun(r, o)
		}
		if !r.next() {
			return
		}
		o.next()
	}
}

func settleRun(r, o *run) {
	moved, beside := false, false
	for size := -1; size != r.end-r.start; { // it grows where it meets another
		size = r.end - r.start
		for r.up() {
			o.previous()
		}
		top := r.end
		beside = o.start < o.end
		for r.down() {
			o.next()
			beside = beside || o.start < o.end
		}
		moved = r.end != top
	}
	if !moved || !beside {
		return
	}
	for o.start == o.end {
		r.up()
		o.previous()
	}
}
