package policy

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	stdsync "sync"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp/armor"
	pgperrors "github.com/ProtonMail/go-crypto/openpgp/errors"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
	openpgp "github.com/ProtonMail/go-crypto/openpgp/v2"
	"github.com/hiddeco/sshsig"
	"golang.org/x/crypto/ssh"

	"github.com/gitopsd/gitopsd/internal/fault"
	"github.com/gitopsd/gitopsd/internal/sync"
)

// namespace is what git signs in with SSH keys.
const namespace = "git"

// maxSignature is the size of a signature, in bytes, above which it is none.
const maxSignature = 64 << 10

// Trust returns fault.Invalid unless the commit is signed by one of the keys that
// the policy lists. An OpenPGP key must have been valid when it signed; one that
// was revoked for any other reason than its retirement never was.
func (p *Policy) Trust(c sync.SignedCommit) error {
	signature := strings.TrimSpace(c.Signature)
	var err error
	switch {
	case signature == "":
		return untrusted(c, "is not signed").
			WithHint("sign it with git commit -S and a key that spec.signatures.keys of %s lists: %s", File, p.keys.who())
	case len(signature) > maxSignature:
		return untrusted(c, "has a signature of %d bytes, which is none", len(signature))
	case strings.HasPrefix(signature, "-----BEGIN SSH SIGNATURE-----"):
		err = p.keys.verifySSH(c, signature)
	case strings.HasPrefix(signature, "-----BEGIN PGP SIGNATURE-----"):
		err = p.keys.verifyPGP(c, signature)
	default:
		return untrusted(c, "is signed with neither an SSH nor an OpenPGP key").WithHint("set git's gpg.format to ssh or openpgp")
	}
	return err
}

// untrusted says what is wrong with a commit's signature.
func untrusted(c sync.SignedCommit, format string, args ...any) *fault.Error {
	return fault.Errorf(fault.Invalid, "commit %.7s %s", c.SHA, fmt.Sprintf(format, args...))
}

// unlisted says that the signer's key is not on the ring.
func unlisted(c sync.SignedCommit, kind, fingerprint string) error {
	return untrusted(c, "is signed by the %s key %s, which %s does not list", kind, fingerprint, File).
		WithHint("to trust it, list its public key in spec.signatures.keys, in a commit signed by a key that is listed already")
}

func (r *keyring) verifySSH(c sync.SignedCommit, armored string) error {
	signature, err := sshsig.Unarmor([]byte(armored))
	if err != nil {
		return untrusted(c, "has an SSH signature that cannot be read: %s", oneLine(err.Error()))
	}
	fingerprint := ssh.FingerprintSHA256(signature.PublicKey)
	i := slices.IndexFunc(r.ssh, func(k sshKey) bool { return bytes.Equal(k.key.Marshal(), signature.PublicKey.Marshal()) })
	if i < 0 {
		return unlisted(c, "SSH", fingerprint)
	}
	listed := r.ssh[i]
	if format := signature.Signature.Format; !slices.Contains(sshTypes()[listed.key.Type()], format) {
		return untrusted(c, "is signed by %s with the weak algorithm %s", listed.name, oneLine(format)).
			WithHint("sign it again, with a current ssh-keygen")
	}
	if signature.Namespace != namespace {
		return untrusted(c, "carries a signature by %s that was made for %q, not for git", listed.name, oneLine(signature.Namespace))
	}
	err = sshsig.Verify(bytes.NewReader(c.Payload), signature, listed.key, signature.HashAlgorithm, namespace)
	if err != nil {
		return untrusted(c, "is not what %s signed with %s: %s", listed.name, fingerprint, oneLine(err.Error()))
	}
	return nil
}

// pgpRing verifies with OpenPGP keys. Verifying writes to them what was found out.
type pgpRing struct {
	mu       stdsync.Mutex
	entities openpgp.EntityList
	names    map[uint64]string // by the primary key's id
}

func (r *keyring) verifyPGP(c sync.SignedCommit, armored string) error {
	made, err := readPGP(armored)
	if err != nil {
		return untrusted(c, "has an OpenPGP signature that cannot be read: %s", oneLine(err.Error()))
	}
	if r.pgp == nil {
		return unlisted(c, "OpenPGP", issuer(made))
	}
	config := &packet.Config{Time: func() time.Time { return time.Now().Add(skew) }, MinRSABits: minRSA}
	var signature bytes.Buffer
	if err := made.Serialize(&signature); err != nil {
		return untrusted(c, "has an OpenPGP signature that cannot be read: %s", oneLine(err.Error()))
	}
	r.pgp.mu.Lock()
	defer r.pgp.mu.Unlock()
	known := r.pgp.entities.EntitiesById(*made.IssuerKeyId)
	if len(known) == 0 {
		return unlisted(c, "OpenPGP", issuer(made))
	}
	_, signer, err := openpgp.VerifyDetachedSignature(r.pgp.entities, bytes.NewReader(c.Payload), &signature, config)
	name := r.pgp.names[known[0].PrimaryKey.KeyId]
	switch {
	case errors.Is(err, pgperrors.ErrKeyExpired):
		return untrusted(c, "is signed by %s with the key %s, which had expired by then", name, issuer(made)).
			WithHint("list the key with its new date in spec.signatures.keys, or sign with a key that is valid")
	case errors.Is(err, pgperrors.ErrKeyRevoked):
		return untrusted(c, "is signed by %s with the key %s, which is revoked", name, issuer(made)).
			WithHint("sign with a key that is valid")
	case err != nil:
		return untrusted(c, "is not what %s signed with %s: %s", name, issuer(made), oneLine(err.Error()))
	case signer == nil || r.pgp.names[signer.PrimaryKey.KeyId] == "":
		return unlisted(c, "OpenPGP", issuer(made))
	}
	return nil
}

// readPGP returns the one signature in an armored text: over bytes as they are,
// by somebody it names.
func readPGP(armored string) (*packet.Signature, error) {
	block, err := armor.Decode(strings.NewReader(armored))
	if err != nil {
		return nil, err
	}
	if block.Type != openpgp.SignatureType {
		return nil, fmt.Errorf("it is a %s", block.Type)
	}
	p, err := packet.NewReader(block.Body).Next()
	if err != nil {
		return nil, err
	}
	signature, ok := p.(*packet.Signature)
	switch {
	case !ok:
		return nil, errors.New("it holds something else")
	case signature.SigType != packet.SigTypeBinary:
		return nil, errors.New("it is no signature of a file")
	case signature.IssuerKeyId == nil:
		return nil, errors.New("it does not name its key")
	}
	return signature, nil
}

// issuer names the key that a signature says it is by.
func issuer(s *packet.Signature) string {
	if len(s.IssuerFingerprint) > 0 {
		return fmt.Sprintf("%X", s.IssuerFingerprint)
	}
	return fmt.Sprintf("%016X", *s.IssuerKeyId)
}
