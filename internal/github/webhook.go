package github

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"log/slog"
	"mime"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gitopsd/gitopsd/internal/fault"
	"github.com/gitopsd/gitopsd/internal/review"
)

const (
	minSecret       = 16               // bytes
	maxPayload      = 25 << 20         // bytes; GitHub sends none longer
	maxUnchecked    = 64 << 20         // bytes of all payloads that are being read at once
	maxDeliveryID   = 128              // bytes; GitHub's are 36
	payloadWithin   = 10 * time.Second // GitHub itself gives up then
	deliveryWithin  = 3 * time.Second  // for remembering one
	hintsWaiting    = 256              // more are told without what they are about
	refusalsTold    = time.Minute      // between two lines of the log about them
	signatureHeader = "X-Hub-Signature-256"
)

// Deliveries remembers webhook deliveries, for as long as one could be replayed.
type Deliveries interface {
	// PutDelivery notes a delivery; fresh is false if one with the same id or with
	// the same signature was noted before. The signature is 64 hexadecimal digits.
	// Of two calls at once with the same, one is fresh.
	PutDelivery(ctx context.Context, id, signature string, at time.Time) (fresh bool, err error)
}

// Webhook returns what takes GitHub's deliveries for the repository. Each is
// answered as soon as it is checked and remembered; hint is called afterwards,
// from one goroutine at a time, and in the order of the deliveries.
//
// What it answers: 202 for a delivery that is taken or that we have no use for,
// 200 for a ping and for one that we had already, 401 without our signature, 503
// when it could not be read or remembered (GitHub shows that, and delivers it again
// when somebody asks for it).
func (c *Client) Webhook(secret []byte, seen Deliveries, hint func(review.Hint)) (http.Handler, error) {
	h, err := c.receiver(secret, seen)
	if err != nil {
		return nil, err
	}
	hints := &hintQueue{hint: hint, missed: map[review.HintKind]bool{}}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { h.serve(w, r, hints.put) }), nil
}

// Receiver answers as Webhook does, for who does nothing beside it: it returns
// what the delivery hints at, nothing if it is to be ignored.
func (c *Client) Receiver(secret []byte, seen Deliveries) (func(http.ResponseWriter, *http.Request) []review.Hint, error) {
	h, err := c.receiver(secret, seen)
	if err != nil {
		return nil, err
	}
	return func(w http.ResponseWriter, r *http.Request) (hints []review.Hint) {
		h.serve(w, r, func(hint review.Hint) { hints = append(hints, hint) })
		return hints
	}, nil
}

func (c *Client) receiver(secret []byte, seen Deliveries) (*webhook, error) {
	if len(secret) < minSecret {
		return nil, fault.Errorf(fault.Invalid, "the webhook's secret has %d bytes: that is guessed too easily", len(secret)).
			WithHint("use at least %d random bytes, e.g. from: openssl rand -hex 32", minSecret)
	}
	return &webhook{secret: append([]byte(nil), secret...), repository: c.owner + "/" + c.repo, seen: seen, log: c.log}, nil
}

type webhook struct {
	secret     []byte
	repository string
	seen       Deliveries
	log        *slog.Logger
	told       atomic.Int64 // when a refusal was last logged, Unix nanoseconds
	unchecked  atomic.Int64 // bytes of payloads that are being read
}

func (h *webhook) serve(w http.ResponseWriter, r *http.Request, put func(review.Hint)) {
	status, text := h.take(w, r, put)
	if status >= http.StatusBadRequest {
		h.refused(status, text)
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, text+"\n") // who does not wait for the answer does not miss it
}

// take works off a delivery and returns what to answer.
func (h *webhook) take(w http.ResponseWriter, r *http.Request, put func(review.Hint)) (int, string) {
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		return http.StatusMethodNotAllowed, "deliveries are posted"
	}
	body, status, text := h.read(w, r)
	if status != 0 {
		return status, text
	}
	signature, ok := h.signed(r.Header.Get(signatureHeader), body)
	if !ok {
		return http.StatusUnauthorized, "the delivery is not signed with our secret"
	}
	// From here on, GitHub wrote it, or somebody replays what GitHub wrote.
	payload, ok := payloadOf(r.Header.Get("Content-Type"), body)
	if !ok {
		return http.StatusUnsupportedMediaType, "deliveries are JSON, or a form with a payload"
	}
	event := r.Header.Get("X-GitHub-Event")
	delivery, err := readEvent(event, payload)
	switch {
	case err != nil:
		return http.StatusBadRequest, "the payload is not that of an event"
	case event == "ping":
		return http.StatusOK, "pong"
	case !strings.EqualFold(delivery.repository, h.repository):
		return http.StatusAccepted, "ignored: the repository is another"
	case delivery.hint == nil:
		return http.StatusAccepted, "ignored: the event changes nothing here"
	}
	return h.once(r, signature, *delivery.hint, put)
}

// once acts on a delivery that was not there before.
func (h *webhook) once(r *http.Request, signature string, hint review.Hint, put func(review.Hint)) (int, string) {
	id := r.Header.Get("X-GitHub-Delivery")
	if id == "" || len(id) > maxDeliveryID {
		return http.StatusBadRequest, "the delivery has no ID"
	}
	ctx, cancel := context.WithTimeout(r.Context(), deliveryWithin)
	defer cancel()
	fresh, err := h.seen.PutDelivery(ctx, id, signature, time.Now())
	switch {
	case err != nil:
		// To look once more does no harm, but what was said of a label is not
		// believed: it may be a replay.
		put(review.Hint{Kind: hint.Kind, Pull: hint.Pull})
		h.log.Error("a webhook's delivery is not remembered", "delivery", id, "error", err)
		return http.StatusServiceUnavailable, "the delivery could not be remembered"
	case !fresh:
		return http.StatusOK, "already had"
	}
	put(hint)
	return http.StatusAccepted, "accepted"
}

// read reads the body, within its bounds of length and time.
func (h *webhook) read(w http.ResponseWriter, r *http.Request) (body []byte, status int, text string) {
	if r.ContentLength > maxPayload {
		return nil, http.StatusRequestEntityTooLarge, "the payload is too long"
	}
	if h.unsigned(r) { // not worth reading
		return nil, http.StatusUnauthorized, "the delivery is not signed with our secret"
	}
	err := http.NewResponseController(w).SetReadDeadline(time.Now().Add(payloadWithin))
	if err != nil && !errors.Is(err, http.ErrNotSupported) {
		return nil, http.StatusInternalServerError, "the payload cannot be read"
	}
	counted := &countedReader{next: http.MaxBytesReader(w, r.Body, maxPayload), all: &h.unchecked}
	defer counted.done()
	body, err = io.ReadAll(counted)
	if errors.Is(err, errBusy) {
		return nil, http.StatusServiceUnavailable, "too much is being read at once"
	}
	if tooLong := (*http.MaxBytesError)(nil); errors.As(err, &tooLong) {
		return nil, http.StatusRequestEntityTooLarge, "the payload is too long"
	}
	if err != nil {
		return nil, http.StatusRequestTimeout, "the payload did not come in time"
	}
	return body, 0, ""
}

// countedReader bounds what all readers hold together: anybody can send what looks
// like a delivery, and it is checked only when it is here as a whole.
type countedReader struct {
	next io.Reader
	all  *atomic.Int64
	mine int64
}

var errBusy = errors.New("too much is being read at once")

func (c *countedReader) Read(p []byte) (int, error) {
	n, err := c.next.Read(p)
	c.mine += int64(n)
	if c.all.Add(int64(n)) > maxUnchecked {
		return n, errBusy
	}
	return n, err
}

func (c *countedReader) done() { c.all.Add(-c.mine) }

// unsigned reports whether there is nothing that could be a signature.
func (h *webhook) unsigned(r *http.Request) bool {
	digits, ok := strings.CutPrefix(r.Header.Get(signatureHeader), "sha256=")
	return !ok || len(digits) != hex.EncodedLen(sha256.Size)
}

// signed checks the signature in a time that does not depend on what is wrong
// with it, and returns it in one form.
func (h *webhook) signed(header string, body []byte) (string, bool) {
	digits, _ := strings.CutPrefix(header, "sha256=")
	got, err := hex.DecodeString(digits)
	if err != nil {
		return "", false
	}
	mac := hmac.New(sha256.New, h.secret)
	mac.Write(body)
	return hex.EncodeToString(got), hmac.Equal(got, mac.Sum(nil))
}

// payloadOf returns the JSON of a body in either of the forms that GitHub sends.
func payloadOf(contentType string, body []byte) ([]byte, bool) {
	kind, _, err := mime.ParseMediaType(contentType)
	switch {
	case err != nil:
		return nil, false
	case kind == "application/json":
		return body, true
	case kind != "application/x-www-form-urlencoded":
		return nil, false
	}
	form, err := url.ParseQuery(string(body))
	if err != nil || len(form["payload"]) != 1 {
		return nil, false
	}
	return []byte(form.Get("payload")), true
}

// refused logs, now and then, that deliveries are refused.
func (h *webhook) refused(status int, text string) {
	last, now := h.told.Load(), time.Now()
	if now.UnixNano()-last >= int64(refusalsTold) && h.told.CompareAndSwap(last, now.UnixNano()) {
		h.log.Warn("a webhook's delivery is refused", "status", status, "why", text)
	}
}

// hintQueue calls hint for each that was put, one after another. One that does
// not fit is told without what it is about: looking everywhere finds it, too.
type hintQueue struct {
	hint func(review.Hint)

	mu      sync.Mutex
	waiting []review.Hint
	missed  map[review.HintKind]bool
	busy    bool
}

func (q *hintQueue) put(h review.Hint) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.waiting) < hintsWaiting {
		q.waiting = append(q.waiting, h)
	} else {
		q.missed[h.Kind] = true
	}
	if !q.busy {
		q.busy = true
		go q.work()
	}
}

func (q *hintQueue) work() {
	for {
		h, ok := q.next()
		if !ok {
			return
		}
		q.hint(h)
	}
}

func (q *hintQueue) next() (review.Hint, bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.waiting) > 0 {
		h := q.waiting[0]
		q.waiting = q.waiting[1:]
		return h, true
	}
	for kind := range q.missed {
		delete(q.missed, kind)
		return review.Hint{Kind: kind}, true
	}
	q.busy, q.waiting = false, nil
	return review.Hint{}, false
}
