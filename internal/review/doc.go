// Package review makes plans of pull requests and shows them where people look:
// as the status gitopsd/plan of the head, as one comment that is edited in
// place, and as a report for the console. It also carries out what people ask
// for there: a new plan, an approval, a preview.
//
//	forge ──hint or poll──► pulls ──obtain, merge──► plan ──► report ──► notices
//	                          │                                            │ outbox
//	                          └─ comments, labels ──► commands, previews   ▼
//	                                                                     forge
//
// Invariants:
//
//   - A pull request is data: nothing of it runs, unless someone who may asks for
//     a preview of that very head.
//   - A hint only makes the next look sooner. Whatever is acted on was read from
//     the forge, so a forged, repeated or lost delivery changes nothing.
//   - A plan is of a pair, the branch's commit and the pull request's head, and
//     of what is applied. When one of them moves, it is made anew.
//   - What goes wrong with one pull request, comment or preview keeps no other from
//     its turn. A lost lease ends all, whatever else goes wrong.
//   - An approval is of what was shown when it was written. A label counts for the
//     head that was there when it was set, in the name of who set it.
//   - What the forge shows is a level: of each thing the last word counts, is
//     delivered until the forge has it, and is not repeated.
//   - Who may approve and ask for previews is what the branch says, never what
//     the pull request says.
package review
