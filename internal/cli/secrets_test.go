package cli

import (
	"bytes"
	"encoding/json"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/seed-f47efad2/cordon/internal/secret/secrettest"
)

// A secretShelf keeps the secrets of each script: the passwords that its tenant was
// told, the keys of one-time links.
type secretShelf struct {
	mu sync.Mutex
	of map[string][]string
}

func (s *secretShelf) add(folder, secret string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.of == nil {
		s.of = map[string][]string{}
	}
	s.of[folder] = append(s.of[folder], secret)
}

func (s *secretShelf) list(folder string) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.of[folder])
}

// ask is one request to the script's server with the token of one of its operators.
func ask(ts *testscript.TestScript, who, method, path string, in, out any) int {
	var body io.Reader
	if in != nil {
		b, err := json.Marshal(in)
		ts.Check(err)
		body = bytes.NewReader(b)
	}
	req, err := http.NewRequest(method, ts.Getenv("SERVER")+path, body)
	ts.Check(err)
	req.Header.Set("Authorization", "Bearer "+strings.TrimSpace(ts.ReadFile(who+".token")))
	req.Header.Set("Content-Type", "application/json")
	res, err := (&http.Client{Timeout: patience}).Do(req)
	ts.Check(err)
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	ts.Check(err)
	if raw, ok := out.(*[]byte); ok {
		*raw = b
	} else if out != nil && res.StatusCode < 300 {
		ts.Check(json.Unmarshal(b, out))
	}
	return res.StatusCode
}

// handOver asks for a hand-over, has it approved by the second operator and reveals
// the password: what came must be what the tenant was told, and comes once.
func (k *scriptCommands) handOver(ts *testscript.TestScript, _ bool, args []string) {
	var given struct{ Key, Path string }
	if code := ask(ts, "owner", "POST", "/api/identities/"+url.PathEscape(args[0])+"/hand-over", map[string]string{"reason": "back at work"}, &given); code >= 300 || len(given.Key) < 16 {
		ts.Fatalf("hand-over: %d, a key of %d characters", code, len(given.Key))
	}
	k.secrets.add(ts.Getenv("WORK"), given.Key)
	started := strings.TrimPrefix(given.Path, "/handover/")
	var asked struct {
		Items []struct{ ID, Run, PlanHash string }
	}
	ask(ts, "second", "GET", "/api/approvals?state=pending", nil, &asked)
	found := false
	for _, q := range asked.Items {
		if q.Run != started {
			continue
		}
		found = true
		if code := ask(ts, "second", "POST", "/api/approvals/"+q.ID+"/approve", map[string]string{"planHash": q.PlanHash, "reason": "seen"}, nil); code >= 300 {
			ts.Fatalf("approve: %d", code)
		}
	}
	if !found {
		ts.Fatalf("nobody was asked to approve run %s", started)
	}
	var shown struct{ Password string }
	reveal := func() int {
		return ask(ts, "owner", "POST", "/api/runs/"+started+"/reveal", map[string]string{"key": given.Key}, &shown)
	}
	deadline := time.Now().Add(patience / 2)
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for code := reveal(); code >= 300; code = reveal() {
		if time.Now().After(deadline) {
			ts.Fatalf("reveal: %d", code)
		}
		<-tick.C
	}
	if !slices.Contains(k.secrets.list(ts.Getenv("WORK")), shown.Password) {
		ts.Fatalf("the password revealed is none that was set")
	}
	if code := reveal(); code < 400 {
		ts.Fatalf("it is revealed twice: %d", code)
	}
}

// secretless looks for every secret of the script, byte by byte and in every form that
// it could be written in: in all files of its folder, the store with its log and the
// logs among them, in what the API answers while the server runs, and in what the
// commands printed.
func (k *scriptCommands) secretless(ts *testscript.TestScript, _ bool, _ []string) {
	work := ts.Getenv("WORK")
	secrets := k.secrets.list(work)
	if len(secrets) < 3 { // two resets at least, and the key of a link
		ts.Fatalf("the tenant was told %d secrets: this script shows nothing", len(secrets))
	}
	search := secrettest.NewSearch(secrets)
	places, found := 0, []string{}
	look := func(where string, b []byte) {
		places++
		for _, what := range search.In(b) {
			found = append(found, where+" ("+what+")")
		}
	}
	ts.Check(filepath.WalkDir(work, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return nil // what goes away meanwhile
		}
		if b, err := os.ReadFile(path); err == nil {
			look(path, b)
		}
		return nil
	}))
	look("standard output", []byte(ts.ReadFile("stdout")))
	look("standard error", []byte(ts.ReadFile("stderr")))
	if len(ts.BackgroundCmds()) > 0 {
		k.lookAtAnswers(ts, look)
	}
	if len(found) > 0 || places < 5 {
		ts.Fatalf("secrets in %d of %d places: %v", len(found), places, found)
	}
}

// lookAtAnswers asks for everything that can be listed and for all that the API says
// of each thing in the lists.
func (k *scriptCommands) lookAtAnswers(ts *testscript.TestScript, look func(string, []byte)) {
	var doc struct {
		Paths map[string]map[string]any
	}
	ask(ts, "owner", "GET", "/api/openapi.json", nil, &doc)
	var paths []string
	for p, methods := range doc.Paths {
		if _, ok := methods["get"]; !ok {
			continue
		}
		base, one, _ := strings.Cut(p, "/{id}")
		switch {
		case !strings.Contains(p, "{"):
			paths = append(paths, p)
		case !strings.Contains(base+one, "{"):
			var all struct{ Items []struct{ ID string } }
			ask(ts, "owner", "GET", base, nil, &all)
			for _, i := range all.Items {
				paths = append(paths, base+"/"+url.PathEscape(i.ID)+one)
			}
		}
	}
	if len(paths) < 10 {
		ts.Fatalf("the API has %d things to look at", len(paths))
	}
	for _, p := range paths {
		var b []byte
		ask(ts, "owner", "GET", p, nil, &b)
		look(p, b)
	}
}
