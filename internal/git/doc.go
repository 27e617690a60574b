// Package git keeps a bare mirror of one branch, tag or commit of one
// repository, and answers from it: the files at a commit, what changed between two commits, which
// commit descends from which.
//
// The source is a path on this machine or a URL. A path is read directly,
// without a git process: its loose objects and packs are hard-linked into the
// mirror (copied across file systems), so a fetch costs what changed and no
// disk. Alternates would be cheaper still, but an object that was accepted must
// stay readable after the source was rewritten and garbage-collected, and a
// link keeps the content alive where a reference to the source does not.
// Reading directly also works for repositories of another user, which git
// itself refuses. What cannot be read so (a reftable, unusual alternates) is
// fetched through git-upload-pack, as a URL is through its transport.
//
// Invariants:
//
//   - What HEAD of the mirror reaches is complete, and nothing else is trusted to
//     be: an object that is present may lack what it refers to, since a killed
//     fetch, or a source that is written to while its objects are taken over,
//     leaves such. A fetch walks all that the new commit reaches and HEAD does
//     not, places what is missing, each by one link or rename, and moves HEAD
//     last, by rename. So it may be killed at any instant.
//   - Fetching removes nothing that was accepted.
//   - Content is checked against its hash whenever it is read. What does not
//     match, or is missing below something present, is ErrDamaged, never "not
//     found": a damaged mirror must not look like deleted files. The next fetch
//     builds a new mirror beside the old one and swaps them by rename; it has
//     what the source still has. Objects are not synced to disk one by one: what
//     a power failure takes is damage like any other.
//   - Many loose objects are packed in the background; a loose object goes away
//     only when a pack that is in place has it, and readers look again.
//   - Fetches are serialised between processes by a lock file; readers need none.
//   - Credentials appear in no error and no log line.
package git
