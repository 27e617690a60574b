package review

// Comment is what a loop shows of a report.
func (l *Loop) Comment(r Report) string { return l.comment(r) }
