package console

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// A chromium is a real browser without a window, driven over a pipe by the
// DevTools protocol (https://chromedevtools.github.io/devtools-protocol/), which
// needs neither a port nor a driver.
type chromium struct {
	t   testing.TB
	cmd *exec.Cmd
	to  *os.File

	mu      sync.Mutex
	next    int
	waiting map[int]chan message
	dialogs []string // what alert and its like said
	gone    error
}

type message struct {
	ID      int             `json:"id"`
	Method  string          `json:"method"`
	Session string          `json:"sessionId"`
	Params  json.RawMessage `json:"params"`
	Result  json.RawMessage `json:"result"`
	Error   *struct {
		Message string `json:"message"`
	} `json:"error"`
}

// patience is how long a page may take for anything.
const patience = 20 * time.Second

// needBrowser skips a test where there is no browser. Where CI is set that is a
// failure.
func needBrowser(t testing.TB) {
	t.Helper()
	ci := os.Getenv("CI") != ""
	if os.Getenv("CORDON_TEST_BROWSER") == "skip" && !ci {
		t.Skip("CORDON_TEST_BROWSER=skip")
	}
	if _, err := exec.LookPath("chromium"); err != nil {
		if ci {
			t.Fatal("CI is set and chromium is not installed")
		}
		t.Skip("chromium is not installed")
	}
}

// startChromium starts a browser with an empty profile. One that crashes before
// it has shown a page says nothing about ours: it is started thrice.
func startChromium(t testing.TB) *chromium {
	t.Helper()
	needBrowser(t)
	var err error
	for range 3 {
		var c *chromium
		if c, err = tryChromium(t); err == nil {
			return c
		}
	}
	t.Fatalf("chromium does not start: %v", err)
	return nil
}

func tryChromium(t testing.TB) (*chromium, error) {
	commands, to, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	from, answers, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	// Not t.TempDir: a helper process may write its last file after the browser
	// said goodbye, and that is no failure of a test.
	profile, err := os.MkdirTemp("", "cordon-browser-")
	if err != nil {
		return nil, err
	}
	c := &chromium{t: t, to: to, waiting: map[int]chan message{}}
	c.cmd = exec.Command("chromium",
		"--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
		"--disable-component-update", "--disable-sync", "--disable-dev-shm-usage", "--hide-scrollbars",
		"--user-data-dir="+profile, "--remote-debugging-pipe")
	c.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // its helpers end with it
	c.cmd.ExtraFiles = []*os.File{commands, answers}        // 3 and 4, as the protocol has it
	if err := c.cmd.Start(); err != nil {
		return nil, err
	}
	commands.Close()
	answers.Close()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		c.listen(from)
	}()
	stop := func() {
		_, _ = c.send("", "Browser.close", nil) // it may be gone already
		to.Close()
		_ = syscall.Kill(-c.cmd.Process.Pid, syscall.SIGKILL)
		_ = c.cmd.Wait()
		<-ended
		from.Close()
		_ = os.RemoveAll(profile)
	}
	if _, err := c.send("", "Browser.getVersion", nil); err != nil {
		stop()
		return nil, err
	}
	t.Cleanup(stop)
	return c, nil
}

// listen hands answers to whoever waits for them until the browser is gone.
func (c *chromium) listen(from *os.File) {
	r := bufio.NewReader(from)
	for {
		b, err := r.ReadBytes(0)
		if err != nil {
			c.mu.Lock()
			c.gone = fmt.Errorf("the browser is gone: %w", err)
			for id, w := range c.waiting {
				close(w)
				delete(c.waiting, id)
			}
			c.mu.Unlock()
			return
		}
		var m message
		if json.Unmarshal(b[:len(b)-1], &m) != nil {
			continue
		}
		c.mu.Lock()
		if w := c.waiting[m.ID]; m.ID != 0 && w != nil {
			w <- m
			delete(c.waiting, m.ID)
		}
		if m.Method == "Page.javascriptDialogOpening" {
			c.dialogs = append(c.dialogs, string(m.Params))
		}
		c.mu.Unlock()
	}
}

func (c *chromium) send(session, method string, params map[string]any) (json.RawMessage, error) {
	answer := make(chan message, 1)
	c.mu.Lock()
	if c.gone != nil {
		c.mu.Unlock()
		return nil, c.gone
	}
	c.next++
	id := c.next
	c.waiting[id] = answer
	c.mu.Unlock()
	if params == nil {
		params = map[string]any{}
	}
	out := map[string]any{"id": id, "method": method, "params": params}
	if session != "" {
		out["sessionId"] = session
	}
	b, err := json.Marshal(out)
	if err != nil {
		return nil, err
	}
	if _, err := c.to.Write(append(b, 0)); err != nil {
		return nil, err
	}
	select {
	case m, ok := <-answer:
		switch {
		case !ok:
			return nil, errors.New("the browser is gone")
		case m.Error != nil:
			return nil, fmt.Errorf("%s: %s", method, m.Error.Message)
		}
		return m.Result, nil
	case <-time.After(patience):
		return nil, fmt.Errorf("%s: no answer", method)
	}
}

// A tab is one page in the browser, with cookies of its own.
type tab struct {
	*chromium
	session string
	base    string
}

func (c *chromium) tab(base string, width, height int) *tab {
	c.t.Helper()
	var made struct {
		Context string `json:"browserContextId"`
		Target  string `json:"targetId"`
		Session string `json:"sessionId"`
	}
	for _, step := range []struct {
		method string
		params func() map[string]any
	}{
		{"Target.createBrowserContext", func() map[string]any { return nil }},
		{"Target.createTarget", func() map[string]any {
			return map[string]any{"url": "about:blank", "browserContextId": made.Context, "width": width, "height": height}
		}},
		{"Target.attachToTarget", func() map[string]any { return map[string]any{"targetId": made.Target, "flatten": true} }},
	} {
		b, err := c.send("", step.method, step.params())
		if err == nil {
			err = json.Unmarshal(b, &made)
		}
		if err != nil {
			c.t.Fatalf("%s: %v", step.method, err)
		}
	}
	p := &tab{chromium: c, session: made.Session, base: base}
	p.do("Page.enable", nil)
	p.do("Runtime.enable", nil)
	return p
}

func (p *tab) do(method string, params map[string]any) json.RawMessage {
	p.t.Helper()
	b, err := p.send(p.session, method, params)
	if err != nil {
		p.t.Fatal(err)
	}
	return b
}

// script switches the page's own scripts on or off from the next page on.
func (p *tab) script(on bool) {
	p.t.Helper()
	p.do("Emulation.setScriptExecutionDisabled", map[string]any{"value": !on})
}

func (p *tab) open(path string) {
	p.t.Helper()
	p.do("Page.navigate", map[string]any{"url": p.base + path})
	p.wait("document.readyState === 'complete' && location.href !== 'about:blank'")
}

// eval returns what an expression is in the page, as text.
func (p *tab) eval(expr string) (string, error) {
	b, err := p.send(p.session, "Runtime.evaluate", map[string]any{"expression": "String(" + expr + ")", "awaitPromise": true})
	if err != nil {
		return "", err
	}
	var r struct {
		Result    struct{ Value string }
		Exception *struct {
			Text      string
			Exception struct{ Description string }
		} `json:"exceptionDetails"`
	}
	if err := json.Unmarshal(b, &r); err != nil {
		return "", err
	}
	if r.Exception != nil {
		return "", fmt.Errorf("%s: %s %s", expr, r.Exception.Text, r.Exception.Exception.Description)
	}
	return r.Result.Value, nil
}

func (p *tab) text(expr string) string {
	p.t.Helper()
	v, err := p.eval(expr)
	if err != nil {
		p.t.Fatal(err)
	}
	return v
}

// wait waits until an expression is true in the page; a page that is just being
// replaced is asked again.
func (p *tab) wait(expr string) {
	p.t.Helper()
	tick := time.NewTicker(40 * time.Millisecond)
	defer tick.Stop()
	deadline := time.Now().Add(patience)
	var last string
	var err error
	for time.Now().Before(deadline) {
		if last, err = p.eval(expr); err == nil && last == "true" {
			return
		}
		<-tick.C
	}
	body, _ := p.eval("location.href + '\\n' + document.body.innerText") // for the message only
	p.t.Fatalf("waited in vain for %s (last %q, %v) on\n%s", expr, last, err, body)
}

// click presses the first element that matches, as a person would: it must be
// there and visible.
func (p *tab) click(selector string) {
	p.t.Helper()
	quoted, _ := json.Marshal(selector) // a string: cannot fail
	p.text(fmt.Sprintf(`(() => { const e = document.querySelector(%s); if (!e || !e.checkVisibility()) throw new Error("nothing to click"); e.click(); return "" })()`, quoted))
}

// fill types into the first element that matches.
func (p *tab) fill(selector, value string) {
	p.t.Helper()
	s, _ := json.Marshal(selector) // strings: cannot fail
	v, _ := json.Marshal(value)
	p.text(fmt.Sprintf(`(() => { const e = document.querySelector(%s); if (!e) throw new Error("nothing to fill"); e.focus(); e.value = %s; return "" })()`, s, v))
}

func (p *tab) key(k string) {
	p.t.Helper()
	for _, kind := range []string{"keyDown", "keyUp"} {
		params := map[string]any{"type": kind, "key": k}
		if kind == "keyDown" {
			params["text"] = k
		}
		p.do("Input.dispatchKeyEvent", params)
	}
}

// alerts is what pages said in windows of their own.
func (c *chromium) alerts() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return strings.Join(c.dialogs, "\n")
}
