package ingest_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/seed-f47efad2/cordon/internal/connector"
	"github.com/seed-f47efad2/cordon/internal/identity"
	"github.com/seed-f47efad2/cordon/internal/record"
	"github.com/seed-f47efad2/cordon/internal/signal"
)

func signIn(n int) record.Record {
	return record.Record{Tenant: tenant, Source: record.SignIn, ExternalID: fmt.Sprint(n), At: epoch.Add(time.Duration(n) * time.Second)}
}

// A record has no opinion: nothing follows from it, and one that cannot be kept is
// rejected with its reason beside the others.
func TestRecordsAreKeptAndNothingFollows(t *testing.T) {
	t.Parallel()
	h := newIntake(t)
	h.contain()
	var list []record.Record
	for n := range 250 {
		r := signIn(n)
		r.Subject = identity.Ref{ObjectID: "a0000000-0000-4000-8000-000000000001"}
		r.Risk = &record.Risk{State: signal.StateAtRisk, Aggregated: signal.LevelHigh}
		list = append(list, r)
	}
	abroad, timeless := signIn(900), signIn(901)
	abroad.Tenant, timeless.At = "elsewhere", time.Time{}
	res := h.take(connector.Page{Records: append(list, abroad, timeless, list[0]), Signals: []signal.Signal{leak("d1", "1", epoch)}})
	if res.Read != 254 || res.New != 251 || res.Duplicate != 1 || res.Rejected != 2 {
		t.Errorf("%+v", res)
	}
	if n := len(h.db.Records()); n != 250 {
		t.Errorf("%d records are kept", n)
	}
	if len(h.identities()) != 1 || len(h.cases()) != 1 {
		t.Errorf("%d identities and %d cases, want those of the signal alone", len(h.identities()), len(h.cases()))
	}
}

// However a page is cut off and taken again, every record is there once, and the
// cursor never stands behind what is not.
func TestRecordsSurviveCrashes(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		h := newIntake(t)
		s := source{name: "test.signIns"}
		total := 0
		for n := range rapid.IntRange(1, 4).Draw(rt, "pages") {
			page := connector.Page{Next: connector.Cursor(fmt.Sprint("c", n))}
			for range rapid.IntRange(0, 350).Draw(rt, "records") {
				page.Records = append(page.Records, signIn(total))
				total++
			}
			s.pages = append(s.pages, page)
		}
		s.pages = append([]connector.Page{{}}, s.pages...) // where the empty cursor stands
		boom := errors.New("killed")
		commits := rapid.IntRange(0, 12).Draw(rt, "commits before the end")
		h.db.Fail = func() error {
			if commits--; commits < 0 {
				return boom
			}
			return nil
		}
		_, _ = h.pipe.Poll(rt.Context(), tenant, s)
		h.db.Fail = nil
		cursor, err := h.db.Ingest().Cursor(rt.Context(), tenant, "test.signIns")
		if err != nil {
			rt.Fatal(err)
		}
		want := 0
		for _, p := range s.pages[1:] {
			if cursor == "" {
				break
			}
			want += len(p.Records)
			if p.Next == cursor {
				break
			}
		}
		if have := len(h.db.Records()); have < want {
			rt.Fatalf("the cursor %s stands behind %d records, and %d are there", cursor, want, have)
		}
		h.restart()
		if _, err := h.pipe.Poll(rt.Context(), tenant, s); err != nil {
			rt.Fatal(err)
		}
		if have := len(h.db.Records()); have != total {
			rt.Fatalf("%d records, want %d", have, total)
		}
	})
}
