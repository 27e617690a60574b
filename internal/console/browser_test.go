package console_test

import (
	"bufio"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// browser is a page of a headless Chromium, spoken to in the DevTools protocol
// over a pipe.
type browser struct {
	t       *testing.T
	to      io.Writer
	session string

	mu       sync.Mutex
	last     int
	answers  map[int]chan message
	loaded   chan struct{} // has one element once the page has loaded
	troubles []string      // errors, exceptions and violations of the policy
}

type message struct {
	ID     int             `json:"id,omitempty"`
	Method string          `json:"method,omitempty"`
	Params json.RawMessage `json:"params,omitempty"`
	Result json.RawMessage `json:"result,omitempty"`
	Error  *struct {
		Message string `json:"message"`
	} `json:"error,omitempty"`
	Session string `json:"sessionId,omitempty"`
}

func chromium(t *testing.T) string {
	t.Helper()
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	t.Skip("no chromium or chrome is on the PATH: scripts/deps test installs one")
	return ""
}

// open starts a browser with an empty page.
func open(t *testing.T) *browser {
	t.Helper()
	c := exec.Command(chromium(t), "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-background-networking",
		"--no-first-run", "--no-proxy-server", "--remote-debugging-pipe", "--user-data-dir="+t.TempDir(), "about:blank")
	ours, theirs, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	c.ExtraFiles = []*os.File{ours, write} // it reads from 3 and writes to 4
	c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	ours.Close()
	write.Close()
	b := &browser{t: t, to: theirs, answers: map[int]chan message{}, loaded: make(chan struct{}, 1)}
	listening := make(chan struct{})
	go func() {
		defer close(listening)
		b.listen(read)
	}()
	t.Cleanup(func() {
		_ = syscall.Kill(-c.Process.Pid, syscall.SIGKILL) // all of its processes are in the group
		_ = c.Wait()
		<-listening
		theirs.Close()
		read.Close()
	})
	target := call[struct {
		ID string `json:"targetId"`
	}](b, "Target.createTarget", map[string]any{"url": "about:blank"})
	b.session = call[struct {
		ID string `json:"sessionId"`
	}](b, "Target.attachToTarget", map[string]any{"targetId": target.ID, "flatten": true}).ID
	for _, domain := range []string{"Page", "Runtime", "Log", "Network"} {
		call[any](b, domain+".enable", nil)
	}
	return b
}

func (b *browser) listen(from io.Reader) {
	for in := bufio.NewReader(from); ; {
		line, err := in.ReadBytes(0)
		if err != nil {
			b.mu.Lock()
			defer b.mu.Unlock()
			for _, answer := range b.answers {
				close(answer)
			}
			b.answers = nil
			return
		}
		var m message
		if err := json.Unmarshal(line[:len(line)-1], &m); err == nil {
			b.take(m)
		}
	}
}

func (b *browser) take(m message) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch m.Method {
	case "":
		if answer := b.answers[m.ID]; answer != nil {
			answer <- m
			delete(b.answers, m.ID)
		}
	case "Page.loadEventFired":
		select {
		case b.loaded <- struct{}{}:
		default:
		}
	case "Runtime.exceptionThrown":
		b.troubles = append(b.troubles, string(m.Params))
	case "Runtime.consoleAPICalled", "Log.entryAdded":
		for _, severe := range []string{`"type":"error"`, `"type":"warning"`, `"level":"error"`, `"level":"warning"`} {
			if strings.Contains(string(m.Params), severe) {
				b.troubles = append(b.troubles, string(m.Params))
			}
		}
	}
}

// call sends a command and waits for its answer.
func call[T any](b *browser, method string, params any) T {
	b.t.Helper()
	v, err := try[T](b, method, params)
	if err != nil {
		b.t.Fatalf("%s: %v", method, err)
	}
	return v
}

// try is call that leaves an error to the caller.
func try[T any](b *browser, method string, params any) (v T, err error) {
	answer := make(chan message, 1)
	b.mu.Lock()
	b.last++
	id := b.last
	if b.answers != nil {
		b.answers[id] = answer
	}
	b.mu.Unlock()
	sent, err := json.Marshal(struct {
		ID      int    `json:"id"`
		Method  string `json:"method"`
		Params  any    `json:"params,omitempty"`
		Session string `json:"sessionId,omitempty"`
	}{id, method, params, b.session})
	if err == nil {
		_, err = b.to.Write(append(sent, 0))
	}
	if err != nil {
		return v, err
	}
	select {
	case m, ok := <-answer:
		err = nil
		switch {
		case !ok:
			err = errors.New("the browser is gone")
		case m.Error != nil:
			err = errors.New(m.Error.Message)
		case len(m.Result) > 0:
			err = json.Unmarshal(m.Result, &v)
		}
	case <-time.After(30 * time.Second):
		err = errors.New("no answer")
	}
	return v, err
}

// visit opens a page and waits until it has loaded.
func (b *browser) visit(url string) {
	b.t.Helper()
	b.loading(func() { call[any](b, "Page.navigate", map[string]any{"url": url}) })
}

// loading waits for the page that something leads to.
func (b *browser) loading(act func()) {
	b.t.Helper()
	select {
	case <-b.loaded: // the page before
	default:
	}
	act()
	select {
	case <-b.loaded:
	case <-time.After(30 * time.Second):
		b.t.Fatal("no page has loaded")
	}
}

// evaluated is what an expression came to in the page.
type evaluated struct {
	Result struct {
		Value any `json:"value"`
	} `json:"result"`
	Exception *struct {
		Text string `json:"text"`
	} `json:"exceptionDetails"`
}

// evaluation is what asks for it.
func evaluation(expression string) map[string]any {
	return map[string]any{"expression": expression, "returnByValue": true, "awaitPromise": true}
}

// eval returns what an expression comes to in the page.
func (b *browser) eval(expression string) any {
	b.t.Helper()
	out := call[evaluated](b, "Runtime.evaluate", evaluation(expression))
	if out.Exception != nil {
		b.t.Fatalf("%s: %s", expression, out.Exception.Text)
	}
	return out.Result.Value
}

// click clicks what a selector finds, once the call has its answer: the page
// that it leads to may take the place of the one that would give it.
func (b *browser) click(selector string) {
	b.t.Helper()
	b.eval(fmt.Sprintf("void setTimeout(() => document.querySelector(%q).click())", selector))
}

// until waits for an expression to be true in the page, or in one that takes its
// place meanwhile.
func (b *browser) until(expression string) {
	b.t.Helper()
	for deadline := time.Now().Add(15 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		out, err := try[evaluated](b, "Runtime.evaluate", evaluation(expression))
		if err == nil && out.Exception == nil && out.Result.Value == true {
			return
		}
		if time.Now().After(deadline) {
			b.t.Fatalf("never: %s (%v); the page is\n%s", expression, err, b.eval("document.body.innerText"))
		}
	}
}

// complaints returns what the browser had to complain about so far.
func (b *browser) complaints() []string {
	b.eval("1") // whatever was said before has arrived
	b.mu.Lock()
	defer b.mu.Unlock()
	all := b.troubles
	b.troubles = nil
	return all
}

// size sets the window's width and the colours.
func (b *browser) size(width int, scheme string) {
	b.t.Helper()
	call[any](b, "Emulation.setDeviceMetricsOverride", map[string]any{"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600})
	call[any](b, "Emulation.setEmulatedMedia", map[string]any{"features": []map[string]string{{"name": "prefers-color-scheme", "value": scheme}}})
}

// picture writes the whole page as a PNG.
func (b *browser) picture(dir, name string) {
	b.t.Helper()
	shot := call[struct {
		Data string `json:"data"`
	}](b, "Page.captureScreenshot", map[string]any{"captureBeyondViewport": true})
	png, err := base64.StdEncoding.DecodeString(shot.Data)
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, fmt.Sprintf("%s.png", name)), png, 0o644)
	}
	if err != nil {
		b.t.Fatal(err)
	}
}
