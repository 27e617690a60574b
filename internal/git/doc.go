// Package git keeps a bare mirror of one branch, tag or commit of one
// repository, and answers from it: the files at a commit, what changed between two commits, which
// commit descends from which. Beside what it follows it obtains single commits,
// such as the heads of pull requests, and says what merging them would give.
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
//   - What HEAD of the mirror and its own refs, refs/obtained/…, reach is complete,
//     and nothing else is trusted to be: an object that is present may lack what
//     it refers to, since a killed fetch, or a source that is written to while its
//     objects are taken over, leaves such. A fetch walks all that the new commit
//     reaches and HEAD does not, places what is missing, each by one link or
//     rename, and moves HEAD last, by rename. So it may be killed at any instant. Obtaining does the
//     same and adds its refs last, all of which are in one file.
//   - A merge writes only what it made, what is referred to first, and looks for
//     each object whether it is there. Its commit is on no ref, and so whoever
//     wants it after a rebuild merges again.
//   - Nothing is removed but by a rebuild, whether something reaches it or not.
//   - Content is checked against its hash whenever it is read. What does not
//     match, or is missing below something present, is ErrDamaged, never "not
//     found": a damaged mirror must not look like deleted files. The next fetch
//     builds a new mirror beside the old one and swaps them by rename; it has
//     what the source still has. Objects are not synced to disk one by one: what
//     a power failure takes is damage like any other.
//   - An object that is what its name says and that git would not have made is
//     fault.Invalid and no damage: no rebuild repairs it, and whoever may open a
//     pull request can make one.
//   - All loose objects are packed in the background when they are many; a loose
//     object goes away only when a pack that is in place has it, and readers look
//     again. So a new object that no ref reaches is as safe as any other.
//   - Fetching and obtaining are serialised between processes by a lock file;
//     readers need none. A merge shares a lock that a rebuild takes to swap the
//     mirrors, so that it does not write into both.
//   - Credentials appear in no error and no log line. No host is trusted because
//     it is met for the first time.
package git
