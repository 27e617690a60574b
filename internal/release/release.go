// Package release is the form in which a build reaches a tenant's volume.
//
// A release is immutable and named by the SHA-256 of its manifest. The volume
// of a tenant looks like this:
//
//	<volume>/releases/<digest>/manifest.json
//	<volume>/releases/<digest>/app              the executable
//	<volume>/releases/<digest>/static/...       assets, as they are served
//	<volume>/releases/<digest>/migrations/...   as the build wrote them
//	<volume>/current                            a Pointer, as JSON
//
// Invariants:
//
//   - A release directory appears whole, by one rename, or not at all; nothing
//     in it changes afterwards. Its name is the digest of its manifest, and its
//     manifest has the digest of every file, so a reader can verify all of it.
//   - The pointer is a file replaced by rename (never a symlink, whose target
//     network file systems cache), in a directory that is never made anew.
//   - The pointer's sequence number only grows.
//
// The package uses the standard library alone: the agent imports it.
package release

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
)

// Manifest describes one build of one tenant's app. The same inputs give the
// same manifest, hence the same digest: a revert finds its old release again.
// The commit is therefore not part of it; the Pointer has it.
type Manifest struct {
	Tenant string `json:"tenant"`
	// Build is the build's key: a digest over the app's source, the toolchain
	// and the generator. It finds a release without building it again.
	Build      string            `json:"build"`
	Binary     File              `json:"binary"`
	Static     []File            `json:"static,omitempty"`     // sorted by path
	Migrations []File            `json:"migrations,omitempty"` // sorted by path
	Schema     json.RawMessage   `json:"schema,omitempty"`     // a design app's models, to migrate to
	Env        map[string]string `json:"env,omitempty"`
	Secrets    []string          `json:"secrets,omitempty"` // names the environment must have
	Health     string            `json:"health"`
}

// File is one file of a release.
type File struct {
	Path   string `json:"path"` // slash-separated, relative to its directory; "app" for the binary
	SHA256 string `json:"sha256"`
	Size   int64  `json:"size"` // bytes
}

// Encode returns the manifest's canonical bytes: what is stored, and what the
// digest is taken of.
func (m Manifest) Encode() []byte {
	b, err := json.Marshal(m) // struct order, sorted map keys: deterministic
	if err != nil {
		panic(err) // only strings, numbers and already valid JSON
	}
	return append(b, '\n')
}

// Digest returns the release's name: 64 lower-case hex digits.
func (m Manifest) Digest() string {
	sum := sha256.Sum256(m.Encode())
	return hex.EncodeToString(sum[:])
}

// Pointer says which release is to run. The zero Pointer means none.
type Pointer struct {
	Seq    uint64 `json:"seq"`    // grows by one with every publish
	SHA256 string `json:"sha256"` // the release's digest
	Size   int64  `json:"size"`   // of its manifest, bytes
	Commit string `json:"commit"` // what asked for it
}
