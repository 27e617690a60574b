package aws

import (
	"crypto/sha256"
	"encoding/base32"
	"strings"
)

// Limits of names, in bytes.
// Source: each service's API reference, the maximum of the name's parameter.
const (
	MaxBucket           = 63
	MaxRole             = 64
	MaxTargetGroup      = 32
	MaxLoadBalancer     = 32
	MaxUserGroup        = 40
	MaxReplicationGroup = 40
	MaxDatabase         = 63
	MaxDiscovery        = 63 // a DNS label
	MaxEntity           = 64 // of CloudFront and most others
	MaxService          = 255
)

// hashLength is how much of a hash stands for a name, in characters of 5 bits.
const hashLength = 10

// Name joins parts by dashes. What would fill the limit is cut, and ends in a
// hash of all: a cut name has exactly the limit's length and a whole one is
// shorter by more than the hash, so nobody can choose a name to meet another's.
func Name(limit int, parts ...string) string {
	name := strings.Join(parts, "-")
	keep := limit - hashLength - 1
	if len(name) <= keep {
		return name
	}
	head := []byte(name[:keep])
	if head[keep-1] == '-' {
		head[keep-1] = 'x' // some services refuse two dashes in a row
	}
	return string(head) + "-" + Hash(parts...)
}

// Hash returns a short name made of letters and digits for what may hold, or be
// as long as, no name can.
func Hash(parts ...string) string {
	sum := sha256.Sum256([]byte(strings.Join(parts, "\x00")))
	return "h" + strings.ToLower(base32.StdEncoding.EncodeToString(sum[:])[:hashLength-1])
}
