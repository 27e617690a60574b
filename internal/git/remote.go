package git

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/go-git/go-billy/v5/osfs"
	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/cache"
	"github.com/go-git/go-git/v5/plumbing/format/packfile"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp/capability"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp/sideband"
	"github.com/go-git/go-git/v5/plumbing/transport"
	"github.com/go-git/go-git/v5/plumbing/transport/client"
	"github.com/go-git/go-git/v5/storage/filesystem"

	"github.com/gitopsd/gitopsd/internal/fault"
)

const (
	// fetchTimeout bounds one exchange with a server that stopped answering.
	fetchTimeout = 10 * time.Minute
	// maxHaves is how many of our commits are named to the server, so that it
	// finds one that it has after its history was rewritten.
	maxHaves = 64
	// quarantinePrefix names directories in the mirror that hold what a server
	// sent until it is placed.
	quarantinePrefix = "incoming-"
)

// remote is a source behind one of git's transports.
type remote struct {
	endpoint *transport.Endpoint
	auth     authenticator
	want     wanted
	name     string   // without credentials
	secrets  []string // never to be shown
	issued   string   // what the source of tokens gave last; never to be shown either
	trees    *treeCache
	limit    int64 // of a fetch, in bytes; zero for none
	obtained int64 // of what is obtained at once
}

func newRemote(cfg Config, want wanted, trees *treeCache) (*remote, error) {
	r := &remote{want: want, trees: trees, limit: cfg.MaxDownload, obtained: cmp.Or(cfg.MaxObtained, cfg.MaxDownload), name: redactURL(cfg.URL)}
	ep, err := transport.NewEndpoint(cfg.URL)
	if err != nil {
		return nil, fault.Errorf(fault.Invalid, "repository %s: not a usable URL", r.name)
	}
	r.endpoint = ep
	if r.auth, err = authFor(cfg, ep, func(token string) { r.issued = token }); err != nil {
		return nil, err
	}
	lone := "" // a user without password is a token
	if ep.Password == "" && ep.Protocol != "ssh" {
		lone = ep.User
	}
	for _, s := range []string{cfg.Token, ep.Password, lone} {
		if s != "" {
			r.secrets = append(r.secrets, s)
		}
	}
	ep.User, ep.Password = userOf(ep), ""
	return r, nil
}

// userOf keeps the user of an SSH URL, which is no credential; that of another
// one went into the auth method.
func userOf(ep *transport.Endpoint) string {
	if ep.Protocol == "ssh" {
		return ep.User
	}
	return ""
}

func (r *remote) close() {}

// fetch brings the commit that is wanted into dst and returns it.
func (r *remote) fetch(ctx context.Context, dst *bare, last plumbing.Hash) (plumbing.Hash, error) {
	if !last.IsZero() && r.want.commit == last && dst.db.has(last) {
		return last, nil
	}
	ctx, cancel := context.WithTimeout(ctx, fetchTimeout)
	defer cancel()
	head, err := r.exchange(ctx, dst, last)
	if err != nil {
		return plumbing.ZeroHash, r.classify(ctx, err)
	}
	return head, nil
}

func (r *remote) exchange(ctx context.Context, dst *bare, last plumbing.Hash) (plumbing.Hash, error) {
	session, adv, err := r.connect(ctx)
	if err != nil {
		return plumbing.ZeroHash, err
	}
	defer func() { _ = session.Close() }()
	ask, head, err := r.choose(adv)
	if err != nil {
		return plumbing.ZeroHash, err
	}
	if done, err := r.complete(ctx, dst, head, last); done || err != nil {
		return head, err
	}
	cuts, err := cutsOf(dst, adv)
	if err != nil {
		return plumbing.ZeroHash, err
	}
	quarantine, err := os.MkdirTemp(dst.dir, quarantinePrefix)
	if err != nil {
		return plumbing.ZeroHash, err
	}
	defer func() { _ = os.RemoveAll(quarantine) }()
	if err := r.download(ctx, session, adv, []plumbing.Hash{ask}, dst.haves(last), quarantine, r.limit); err != nil {
		return plumbing.ZeroHash, err
	}
	return head, r.place(ctx, dst, head, last, cuts, quarantine)
}

// connect begins an exchange, with credentials of its own. The transports dial
// without a context: a server that does not answer is left alone when ctx ends.
func (r *remote) connect(ctx context.Context) (transport.UploadPackSession, *packp.AdvRefs, error) {
	auth, err := r.auth(ctx)
	if err != nil {
		return nil, nil, err
	}
	ep := *r.endpoint // a redirect changes it: for this exchange, with what it was given, and no other
	c, err := client.NewClient(&ep)
	if err != nil {
		return nil, nil, err
	}
	type dialled struct {
		session transport.UploadPackSession
		err     error
	}
	done := make(chan dialled, 1)
	go func() {
		s, err := c.NewUploadPackSession(&ep, auth)
		done <- dialled{s, err}
	}()
	var d dialled
	select {
	case d = <-done:
	case <-ctx.Done():
		go func() {
			if d := <-done; d.err == nil {
				_ = d.session.Close()
			}
		}()
		return nil, nil, ctx.Err()
	}
	if d.err != nil {
		return nil, nil, d.err
	}
	adv, err := d.session.AdvertisedReferencesContext(ctx)
	if err != nil {
		_ = d.session.Close()
		return nil, nil, err
	}
	return d.session, adv, nil
}

// cutsOf notes where the server's history ends. A server that got deeper is not
// asked for what it lacked before.
func cutsOf(dst *bare, adv *packp.AdvRefs) (map[plumbing.Hash]bool, error) {
	shallow := map[plumbing.Hash]bool{}
	for _, h := range adv.Shallows {
		shallow[h] = true
	}
	cuts, _, err := dst.mergeShallow(dst.db, shallow)
	return cuts, err
}

// choose finds the commit that is wanted in what the server advertises, and
// what to ask for to get it: of an annotated tag the tag, since a server need
// not give by its name what no ref names.
func (r *remote) choose(adv *packp.AdvRefs) (ask, head plumbing.Hash, err error) {
	if want := r.want.commit; !want.IsZero() {
		for name, peeled := range adv.Peeled {
			if tag := adv.References[name]; want == peeled || want == tag {
				return tag, peeled, nil
			}
		}
		return want, want, nil // whether it is served is seen when it is asked for
	}
	ref, ask, err := r.want.pick(func(ref string) (plumbing.Hash, error) { return adv.References[ref], nil })
	if err != nil {
		return ask, head, err
	}
	if ref == "" {
		var branches []string
		for name := range adv.References {
			if b, ok := strings.CutPrefix(name, branchPrefix); ok {
				branches = append(branches, b)
			}
		}
		return ask, head, r.want.missing(r.name, sorted(branches))
	}
	if peeled, ok := adv.Peeled[ref]; ok {
		return ask, peeled, nil
	}
	return ask, ask, nil
}

// complete reports whether the mirror has all of head: it is last, or what last
// descends from, as after the branch was set back.
func (r *remote) complete(ctx context.Context, dst *bare, head, last plumbing.Hash) (bool, error) {
	if last.IsZero() || !dst.db.has(head) {
		return false, nil
	}
	if head == last {
		return true, nil
	}
	cuts, err := dst.shallow()
	if err != nil {
		return false, err
	}
	c := &copier{src: dst.db, dst: dst.db, trees: r.trees, shallow: cuts, limit: maxCopied}
	missing, err := c.newCommits(ctx, head, last)
	if err != nil || len(missing) > 0 {
		return false, nil //nolint:nilerr // present and not complete: the server is asked
	}
	return true, nil
}

// download stores what dst lacks for what is asked as one pack of at most limit
// bytes in the quarantine.
func (r *remote) download(ctx context.Context, session transport.UploadPackSession, adv *packp.AdvRefs,
	ask, haves []plumbing.Hash, quarantine string, limit int64,
) (err error) {
	req := packp.NewUploadPackRequestFromCapabilities(adv.Capabilities)
	if adv.Capabilities.Supports(capability.NoProgress) {
		if err := req.Capabilities.Set(capability.NoProgress); err != nil {
			return err
		}
	}
	req.Wants = ask
	req.Haves = haves
	resp, err := session.UploadPack(ctx, req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Close() }()
	storage := filesystem.NewStorage(osfs.New(quarantine), cache.NewObjectLRU(cacheSize))
	defer func() { _ = storage.Close() }()
	pack := packOf(req.Capabilities, resp)
	if limit > 0 {
		pack = &bounded{from: pack, left: limit, limit: limit}
	}
	return packfile.UpdateObjectStorage(storage, pack)
}

// errTooLarge begins the message of a download that was broken off.
var errTooLarge = errors.New("the repository is larger")

// bounded fails where a reader goes on after a number of bytes.
type bounded struct {
	from        io.Reader
	left, limit int64
}

func (b *bounded) Read(p []byte) (int, error) {
	n, err := b.from.Read(p)
	if b.left -= int64(n); b.left < 0 {
		return 0, fault.Errorf(fault.Invalid, "%w than the %d bytes that are fetched at most", errTooLarge, b.limit)
	}
	return n, err
}

func packOf(c *capability.List, r io.Reader) io.Reader {
	switch {
	case c.Supports(capability.Sideband64k):
		return sideband.NewDemuxer(sideband.Sideband64k, r)
	case c.Supports(capability.Sideband):
		return sideband.NewDemuxer(sideband.Sideband, r)
	default:
		return r
	}
}

// place moves the quarantine's objects into dst: a few one by one, checked, so that many fetches do not make many packs; many as their pack.
func (r *remote) place(ctx context.Context, dst *bare, head, last plumbing.Hash,
	shallow map[plumbing.Hash]bool, quarantine string,
) error {
	n, err := packSize(quarantine)
	if err != nil {
		return err
	}
	src := newStore(filepath.Join(quarantine, "objects"))
	defer src.Close()
	c := &copier{src: src, dst: dst.db, trees: r.trees, shallow: shallow, limit: maxCopied}
	if _, err := c.commit(head); fault.Is(err, fault.Invalid) {
		return err // a tag of a tree or a file, which is no damage of the mirror
	}
	if !dst.empty && n <= maxCopied {
		return c.copy(ctx, head, last)
	}
	if err := dst.movePack(quarantine); err != nil {
		return err
	}
	return dst.check(head)
}

// haves returns commits of the mirror for the server to build upon.
func (m *bare) haves(last plumbing.Hash) []plumbing.Hash {
	var haves []plumbing.Hash
	for h := last; !h.IsZero() && len(haves) < maxHaves; {
		_, content, err := m.db.read(h)
		if err != nil {
			break // the oldest of a shallow mirror
		}
		info, err := parseCommit(h, content)
		if err != nil {
			break
		}
		haves = append(haves, h)
		if h = plumbing.ZeroHash; len(info.parents) > 0 {
			h = info.parents[0]
		}
	}
	return haves
}

// classify gives an error of a transport its kind and takes credentials out.
// The original is not wrapped, since its text may have them.
func (r *remote) classify(ctx context.Context, err error) error {
	var known *fault.Error
	text := r.redact(err.Error())
	switch {
	case errors.As(err, &known):
		return err
	case errors.Is(err, transport.ErrRepositoryNotFound):
		return fault.Errorf(fault.NotFound, "repository %s was not found", r.name).
			WithHint("check the URL; a private repository also looks like this without a token that may read it")
	case errors.Is(err, transport.ErrEmptyRemoteRepository):
		return r.want.missing(r.name, nil)
	case !r.want.commit.IsZero() && (errors.Is(err, transport.ErrEmptyUploadPackRequest) || r.refused(text)):
		return r.want.notServed(r.name)
	case errors.Is(err, transport.ErrAuthenticationRequired) && r.secrets == nil && r.issued == "":
		return fault.Errorf(fault.Invalid, "repository %s does not exist, or not without credentials", r.name).
			WithHint("check the URL; a private repository needs a token (HTTPS) or key (SSH) that may read it")
	case errors.Is(err, transport.ErrAuthenticationRequired), errors.Is(err, transport.ErrAuthorizationFailed),
		errors.Is(err, transport.ErrInvalidAuthMethod), strings.Contains(text, "ssh: unable to authenticate"):
		return fault.Errorf(fault.Invalid, "repository %s refused the credentials: %s", r.name, text).
			WithHint("give a token (HTTPS) or key (SSH) that may read the repository")
	case ctx.Err() != nil:
		return fault.Errorf(fault.Transient, "fetch from %s: %w", r.name, ctx.Err())
	default:
		return fault.Errorf(fault.Transient, "fetch from %s: %s", r.name, text).
			WithHint("check that the repository can be reached from here")
	}
}

// refused reports whether an error says that the server does not give what was
// asked for. A git process on this machine may have ended itself while it was
// still being written to: then all that is left of its refusal is the pipe.
func (r *remote) refused(text string) bool {
	return strings.Contains(text, "not our ref") ||
		r.endpoint.Protocol == "file" && strings.Contains(text, "broken pipe")
}

func (r *remote) redact(s string) string {
	for _, secret := range append(r.secrets[:len(r.secrets):len(r.secrets)], r.issued) {
		if secret != "" {
			s = strings.NewReplacer(secret, "***", url.QueryEscape(secret), "***", url.PathEscape(secret), "***").Replace(s)
		}
	}
	return s
}

// redactURL takes user and password out of a URL; a path stays as it is.
func redactURL(raw string) string {
	scheme, rest, ok := strings.Cut(raw, "://")
	if !ok {
		return raw
	}
	host, path, slash := strings.Cut(rest, "/")
	if at := strings.LastIndexByte(host, '@'); at >= 0 {
		host = host[at+1:]
	}
	if slash {
		path = "/" + path
	}
	return fmt.Sprintf("%s://%s%s", scheme, host, path)
}
