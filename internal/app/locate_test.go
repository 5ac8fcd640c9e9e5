package app

import (
	"testing"
	"time"

	"github.com/seed-f47efad2/cordon/internal/directory"
	"github.com/seed-f47efad2/cordon/internal/identity"
)

// Whoever has the name now is taken for whoever had it then only if he was there then;
// and a domain that does not answer is not asked for every line.
func TestLocatorTakesNobodyWhoCameLater(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	client, err := directory.New(directory.Config{Domain: "corp.example", DCs: []string{"dc1.corp.example"}, Bind: directory.Bind{UPN: "svc@corp.example", Password: "env:AD"}},
		directory.Options{Now: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	failed := 0
	l := &locator{ctx: t.Context(), domains: domains{clients: []*directory.Client{client}, now: func() time.Time { return now }}, failed: func(error) { failed++ },
		known: map[string]located{
			"CN=Ana,DC=corp,DC=example": {identity.Ref{Provider: identity.ActiveDirectory, GUID: "g", SID: "S-1-5-21-1-2-3-1104"}, now.Add(-time.Hour)},
			"CN=Ben,DC=corp,DC=example": {}, "CN=Odd,DC=corp,DC=example": {ref: identity.Ref{GUID: "g"}},
		}}
	for name, c := range map[string]struct {
		dn   string
		at   time.Duration
		want bool
	}{
		"there then":              {"CN=Ana,DC=corp,DC=example", -30 * time.Minute, true},
		"within the clocks' odds": {"CN=Ana,DC=corp,DC=example", -time.Hour - 30*time.Second, true},
		"made later":              {"CN=Ana,DC=corp,DC=example", -2 * time.Hour, false},
		"nobody":                  {"CN=Ben,DC=corp,DC=example", 0, false},
		"since nobody knows when": {"CN=Odd,DC=corp,DC=example", 0, false},
		"of another domain":       {"CN=Ana,DC=other,DC=example", 0, false},
	} {
		if _, ok := l.locate(c.dn, now.Add(c.at)); ok != c.want {
			t.Errorf("%s: %v", name, ok)
		}
	}
	if failed != 0 {
		t.Errorf("a name of another domain was asked for %d times", failed)
	}
	for range 3 { // the variable AD is not set: nobody can sign in
		if _, ok := l.locate("CN=New,DC=corp,DC=example", now); ok {
			t.Error("somebody is found where nobody answers")
		}
	}
	if failed != 1 {
		t.Errorf("told %d times", failed)
	}
	before := len(l.known)
	l.domains.clients = nil // whoever asks now learns that nobody has the name
	if l.locate("CN=New,DC=corp,DC=example", now); len(l.known) != before {
		t.Error("a domain that did not answer is asked again at once")
	}
	now = now.Add(time.Minute)
	if l.locate("CN=New,DC=corp,DC=example", now); len(l.known) != before+1 {
		t.Error("a domain that did not answer is never asked again")
	}
}
