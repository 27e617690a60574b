package git

import (
	"bytes"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"

	"github.com/gitopsd/gitopsd/internal/fault"
)

// signatureHeader names the header with the signature over the commit as SHA-1
// names it. Other headers that begin so have those over other forms of it.
const signatureHeader = "gpgsig"

// Signed returns what the signature of a commit signs, to the byte, and the
// signature as its maker wrote it (PGP's or SSH's armour); "" if it is not signed.
// As for git, no signature header is part of what is signed. A commit with two
// signatures is fault.Invalid: a reader could take the one for the other.
func (m *Mirror) Signed(sha string) (payload []byte, signature string, err error) {
	if _, err := m.commit(sha); err != nil {
		return nil, "", err
	}
	b, err := m.current()
	if err != nil {
		return nil, "", err
	}
	typ, content, err := b.db.read(plumbing.NewHash(sha))
	if err != nil {
		return nil, "", m.noted(absentIsDamage(err))
	}
	if typ != plumbing.CommitObject {
		return nil, "", malformed("object %s is a %s, not a commit", sha, typ)
	}
	payload, signature, ok := splitSignature(content)
	if !ok {
		return nil, "", fault.Errorf(fault.Invalid, "commit %s has more than one signature", sha).
			WithHint("sign it anew")
	}
	return payload, signature, nil
}

// splitSignature takes the signature headers, each with the lines that continue
// it, out of a commit. It reports false for two of the kind that is meant.
func splitSignature(content []byte) (payload []byte, signature string, ok bool) {
	var signed strings.Builder
	payload = make([]byte, 0, len(content))
	ours, other := false, false // what the last header was
	seen := false
	for len(content) > 0 {
		end := bytes.IndexByte(content, '\n') + 1
		if end == 0 {
			end = len(content)
		}
		line := content[:end]
		if line[0] == '\n' { // the message follows
			return append(payload, content...), signed.String(), true
		}
		content = content[end:]
		value, isOurs := bytes.CutPrefix(line, []byte(signatureHeader+" "))
		switch {
		case line[0] == ' ' && ours:
			signed.Write(line[1:])
		case line[0] == ' ' && other:
		case isOurs && seen:
			return nil, "", false
		case isOurs:
			ours, other, seen = true, false, true
			signed.Write(value)
		default:
			ours, other = false, bytes.HasPrefix(line, []byte(signatureHeader))
			if !other {
				payload = append(payload, line...)
			}
		}
	}
	return payload, signed.String(), true
}
