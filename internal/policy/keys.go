package policy

import (
	"bytes"
	"crypto/rsa"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp/packet"
	openpgp "github.com/ProtonMail/go-crypto/openpgp/v2"
	"golang.org/x/crypto/ssh"
)

// keySpec is a key as the file has it: in place, or in a file of its own.
type keySpec struct{ Name, Key, File string }

// maxKey is the size of a key file, in bytes.
const maxKey = 64 << 10

// minRSA is the size of an RSA key, in bits, below which it is none.
const minRSA = 2048

// keyring is the keys that are trusted.
type keyring struct {
	names []string
	ssh   []sshKey
	pgp   *pgpRing
}

type sshKey struct {
	name string
	key  ssh.PublicKey
}

// sshTypes are the types of SSH keys that are trusted, and the formats of the
// signatures that they may make: no DSA, no SHA-1, no certificates.
func sshTypes() map[string][]string {
	return map[string][]string{
		ssh.KeyAlgoED25519:    {ssh.KeyAlgoED25519},
		ssh.KeyAlgoSKED25519:  {ssh.KeyAlgoSKED25519},
		ssh.KeyAlgoECDSA256:   {ssh.KeyAlgoECDSA256},
		ssh.KeyAlgoECDSA384:   {ssh.KeyAlgoECDSA384},
		ssh.KeyAlgoECDSA521:   {ssh.KeyAlgoECDSA521},
		ssh.KeyAlgoSKECDSA256: {ssh.KeyAlgoSKECDSA256},
		ssh.KeyAlgoRSA:        {ssh.KeyAlgoRSASHA256, ssh.KeyAlgoRSASHA512},
	}
}

// key adds a key to the ring, or notes what is wrong with it. It fails only if a
// key file cannot be read.
func (l *loader) key(ring *keyring, spec keySpec, path ...string) error {
	text, at := []byte(spec.Key), slices.Concat(path, []string{"key"})
	if spec.File != "" {
		at = slices.Concat(path, []string{"file"})
		l.ids[spec.File] = ""
		data, problem, err := readFile(l.root, spec.File)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			problem = spec.File + " does not exist"
		case err != nil:
			return fmt.Errorf("read the key of %s: %w", spec.Name, err)
		case problem == "" && len(data) > maxKey:
			problem = fmt.Sprintf("%s is larger than %d KiB", spec.File, maxKey>>10)
		}
		if problem != "" {
			l.yaml.Refuse(at, problem, "name the file of a public key in this repository")
			return nil
		}
		text = data
		fmt.Fprintf(l.digest, "\x00%s\x00", spec.File)
		l.digest.Write(data)
	}
	if problem, hint := ring.add(spec.Name, text); problem != "" {
		l.yaml.Refuse(at, fmt.Sprintf("the key of %s %s", spec.Name, problem), hint)
	}
	return nil
}

// add puts a public key on the ring, or says what is wrong with it and what would
// be right. A private key is not repeated.
func (r *keyring) add(name string, text []byte) (problem, hint string) {
	text = bytes.TrimSpace(text)
	r.names = append(r.names, name)
	switch {
	case bytes.Contains(text, []byte("PRIVATE KEY")):
		return "is a private one", "make a new key and list its public half; whoever reads the repository has this one"
	case bytes.HasPrefix(text, []byte("-----BEGIN PGP ")):
		return r.addPGP(name, text)
	}
	return r.addSSH(name, text)
}

func (r *keyring) addSSH(name string, text []byte) (problem, hint string) {
	key, _, options, rest, err := ssh.ParseAuthorizedKey(text)
	switch {
	case err != nil:
		return "cannot be read", "write an SSH public key as in ~/.ssh/id_ed25519.pub, or an armored OpenPGP key"
	case len(options) > 0:
		return fmt.Sprintf("has the option %q", options[0]), "write the key alone"
	case len(bytes.TrimSpace(rest)) > 0:
		return "is followed by another one", "list each key on its own"
	case sshTypes()[key.Type()] == nil:
		return "is of the type " + key.Type(), "use ed25519, ECDSA, or RSA of at least 2048 bits"
	}
	if bits := rsaBits(key); bits > 0 && bits < minRSA {
		return fmt.Sprintf("is RSA of %d bits", bits), "use ed25519, or RSA of at least 2048 bits"
	}
	r.ssh = append(r.ssh, sshKey{name, key})
	return "", ""
}

// rsaBits returns the size of an RSA key, or 0 for another.
func rsaBits(key ssh.PublicKey) int {
	wrapped, ok := key.(ssh.CryptoPublicKey)
	if !ok {
		return 0
	}
	public, ok := wrapped.CryptoPublicKey().(*rsa.PublicKey)
	if !ok {
		return 0
	}
	return public.N.BitLen()
}

func (r *keyring) addPGP(name string, text []byte) (problem, hint string) {
	entities, err := openpgp.ReadArmoredKeyRing(bytes.NewReader(text))
	switch {
	case err != nil:
		return "cannot be read: " + oneLine(err.Error()), "write what gpg --armor --export prints"
	case len(entities) != 1:
		return fmt.Sprintf("is %d keys", len(entities)), "list each key on its own"
	case entities[0].PrivateKey != nil:
		return "is a private one", "make a new key and list its public half"
	}
	if weak := weakPGP(entities[0].PrimaryKey); weak != "" {
		return "is " + weak, "use ed25519, or RSA of at least 2048 bits"
	}
	if r.pgp == nil {
		r.pgp = &pgpRing{names: map[uint64]string{}}
	}
	r.pgp.entities = append(r.pgp.entities, entities[0])
	r.pgp.names[entities[0].PrimaryKey.KeyId] = name
	return "", ""
}

// weakPGP says what is weak about a primary key, which certifies the others.
func weakPGP(key *packet.PublicKey) string {
	switch key.PubKeyAlgo {
	case packet.PubKeyAlgoDSA, packet.PubKeyAlgoElGamal:
		return "DSA"
	case packet.PubKeyAlgoRSA, packet.PubKeyAlgoRSASignOnly:
		if bits, err := key.BitLength(); err != nil || bits < minRSA {
			return fmt.Sprintf("RSA of %d bits", bits)
		}
	}
	return ""
}

// who lists the names of the keys, for a message.
func (r *keyring) who() string {
	return strings.Join(slices.Compact(slices.Sorted(slices.Values(r.names))), ", ")
}

// skew is how far a signer's clock may be ahead.
const skew = 5 * time.Minute
