// Package connectortest is the conformance suite of connector.Source, and a
// simulated Graph tenant to run it against.
package connectortest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-f47efad2/cordon/internal/connector"
	"github.com/seed-f47efad2/cordon/internal/fault"
	"github.com/seed-f47efad2/cordon/internal/identity"
)

// A Rig is a source with the world that it reads, which the test controls. All
// of it runs inside a testing/synctest bubble.
type Rig struct {
	Source connector.Source
	Tenant identity.Tenant
	Wire   *Wire // between the source and its service; the suite disturbs it

	// Happen makes n new things happen that the source must tell, and returns
	// their ids as the suite names them; see Told.
	Happen func(n int) []string
	// Change changes one of them in a way that the source must tell again.
	Change func(id string)
	// Events says that what is told merely happened, so that nothing changes later;
	// Change is not called.
	Events bool
	// Snapshot says that each reading tells everything there is, whatever the
	// cursor.
	Snapshot bool
	// NoLater says that records come at most a quarter of an hour late.
	NoLater bool
	// Whole says that a reading is all or nothing: one record that cannot be read
	// fails it. Otherwise such a record becomes a Reject.
	Whole bool
}

// A Told is one thing that a page tells.
type Told struct {
	ID        string
	UpdatedAt time.Time
	Raw       []byte
	Content   string // all of it, to compare
}

// things lists what a page tells. Ids are: the ExternalID of a signal, the first
// key value of an account risk or of facts, the object id of a role holder.
func things(p connector.Page) []Told {
	var out []Told
	for _, s := range p.Signals {
		out = append(out, Told{s.ExternalID, s.UpdatedAt, s.Raw, text(s)})
	}
	for _, a := range p.Accounts {
		out = append(out, Told{keyOf(a.Subject), a.UpdatedAt, a.Raw, text(a)})
	}
	for _, f := range p.Facts {
		// Facts carry the time of their reading, which is no content.
		at := f.Facts.AsOf
		if f.Facts.RegistrationAsOf.After(at) {
			at = f.Facts.RegistrationAsOf
		}
		f.Facts.AsOf, f.Facts.RegistrationAsOf = time.Time{}, time.Time{}
		out = append(out, Told{keyOf(f.Ref), at, nil, text(f)})
	}
	for _, r := range p.Records {
		at := r.UpdatedAt
		if at.IsZero() {
			at = r.At
		}
		out = append(out, Told{r.ExternalID, at, r.Raw, text(r)})
	}
	if d := p.Directory; d != nil {
		for _, id := range slices.Sorted(maps.Keys(d.Holders)) {
			out = append(out, Told{id, d.AsOf, nil, text(d.Holders[id])})
		}
	}
	return out
}

func keyOf(r identity.Ref) string {
	if keys := r.Keys(); len(keys) > 0 {
		return keys[0].Value
	}
	return ""
}

func text(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Sprintf("%#v", v)
	}
	return string(b)
}

// A reading is what one call of Pages brought.
type reading struct {
	told    map[string][]Told
	order   []string
	rejects []connector.Reject
	next    []connector.Cursor // of each page
	err     error
}

func (r reading) cursor(old connector.Cursor) connector.Cursor {
	if len(r.next) == 0 {
		return old
	}
	return r.next[len(r.next)-1]
}

// read takes at most limit pages; a negative limit is none.
func (b *bench) read(ctx context.Context, c connector.Cursor, limit int) reading {
	b.t.Helper()
	r := reading{told: map[string][]Told{}}
	for p, err := range b.Source.Pages(ctx, c) {
		if r.err != nil {
			b.t.Fatalf("after the error %q it yields more", r.err)
		}
		if err != nil {
			if len(things(p)) > 0 || len(p.Rejects) > 0 || p.Next != "" {
				b.t.Errorf("the error %q comes with a page", err)
			}
			r.err = err
			continue
		}
		r.next = append(r.next, p.Next)
		r.rejects = append(r.rejects, p.Rejects...)
		for _, x := range things(p) {
			r.told[x.ID] = append(r.told[x.ID], x)
			r.order = append(r.order, x.ID)
		}
		b.check(p)
		if limit > 0 && len(r.next) == limit {
			break
		}
	}
	return r
}

// all reads to the end and fails the test on an error.
func (b *bench) all(c connector.Cursor) reading {
	b.t.Helper()
	r := b.read(b.t.Context(), c, -1)
	if r.err != nil {
		b.t.Fatalf("read: %v", r.err)
	}
	if r.cursor("") == "" {
		b.t.Fatal("a finished reading leaves no cursor")
	}
	return r
}

// check looks at what holds for every page.
func (b *bench) check(p connector.Page) {
	b.t.Helper()
	for _, s := range p.Signals {
		if s.Tenant != b.Tenant || s.Source == "" || s.ExternalID == "" {
			b.t.Errorf("signal without tenant, source or id: %+v", s.Key())
		}
		if s.UpdatedAt.IsZero() || s.UpdatedAt.Location() != time.UTC {
			b.t.Errorf("signal %s was updated at %v; want UTC", s.ExternalID, s.UpdatedAt)
		}
		if !json.Valid(s.Raw) || !bytes.Contains(s.Raw, []byte(s.ExternalID)) {
			b.t.Errorf("signal %s does not keep its raw record: %.80q", s.ExternalID, s.Raw)
		}
		if len(s.Subject.Keys()) == 0 {
			b.t.Errorf("signal %s has a subject without a key", s.ExternalID)
		}
	}
	for _, a := range p.Accounts {
		if a.Tenant != b.Tenant || len(a.Subject.Keys()) == 0 || !json.Valid(a.Raw) {
			b.t.Errorf("account risk without tenant, key or raw record: %+v", a)
		}
	}
	for _, r := range p.Rejects {
		if r.Reason == "" || r.Place == "" || len(r.Raw) == 0 {
			b.t.Errorf("reject without reason, place or raw record: %+v", r)
		}
	}
}

// has fails unless every id was told.
func (r reading) has(t testing.TB, when string, ids []string) {
	t.Helper()
	missing := 0
	for _, id := range ids {
		if len(r.told[id]) == 0 {
			if missing++; missing <= 3 {
				t.Errorf("%s: %s was never told", when, id)
			}
		}
	}
	if missing > 3 {
		t.Errorf("%s: %d of %d were never told", when, missing, len(ids))
	}
}

type bench struct {
	*Rig
	t testing.TB
}

// Run runs the suite. open makes a Rig; it is called inside a bubble of its own
// for each part.
func Run(t *testing.T, open func(t testing.TB) *Rig) {
	parts := []struct {
		name string
		do   func(*bench)
	}{
		{"tells everything", tellsEverything},
		{"a restart loses nothing", restartLosesNothing},
		{"late records are found", lateRecordsAreFound},
		{"very late records are found", veryLateRecordsAreFound},
		{"records two days late are found", twoDaysLate},
		{"changes are told again", changesAreToldAgain},
		{"clocks differ", clocksDiffer},
		{"nothing after an error", nothingAfterAnError},
		{"throttled without Retry-After", throttled},
		{"the context ends", contextEnds},
		{"a broken record hides no other", brokenRecord},
		{"unheard-of words", unheardOfWords},
		{"empty pages", emptyPages},
		{"a foreign cursor", foreignCursor},
		{"any order of events", anyOrder},
	}
	for _, p := range parts {
		t.Run(p.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) { p.do(&bench{open(t), t}) })
		})
	}
}

func tellsEverything(b *bench) {
	if b.Source.Name() == "" {
		b.t.Error("it has no name")
	}
	if p, ok := b.Source.(connector.Permitted); ok && len(p.Permissions()) == 0 {
		b.t.Error("it names no permission")
	}
	b.Wire.PageSize(7)
	ids := b.Happen(30)
	first := b.all("")
	first.has(b.t, "first reading", ids)
	for id, list := range first.told {
		for _, x := range list[1:] {
			if x.Content != list[0].Content {
				b.t.Errorf("two things share the key %s in one reading", id)
			}
		}
	}
	again := b.all("")
	if len(again.told) != len(first.told) {
		b.t.Errorf("reading the same again told %d things, then %d", len(first.told), len(again.told))
	}
	for id, list := range first.told {
		if got := again.told[id]; len(got) == 0 || got[0].Content != list[0].Content {
			b.t.Errorf("%s read again is not the same", id)
		}
	}
	if rest := b.all(first.cursor("")); len(rest.rejects)+len(first.rejects) > 0 {
		b.t.Errorf("it rejects sound records: %+v", append(rest.rejects, first.rejects...))
	}
}

func restartLosesNothing(b *bench) {
	b.Wire.PageSize(7)
	ids := b.Happen(12)
	base := b.all("").cursor("")
	time.Sleep(time.Minute)
	ids2 := b.Happen(25)
	for _, from := range []struct {
		c   connector.Cursor
		ids []string
	}{{"", append(ids, ids2...)}, {base, ids2}} {
		pages := len(b.all(from.c).next)
		for stop := 1; stop <= pages; stop++ {
			part := b.read(b.t.Context(), from.c, stop)
			rest := b.all(part.cursor(from.c))
			for id, x := range part.told {
				rest.told[id] = append(rest.told[id], x...)
			}
			rest.has(b.t, fmt.Sprintf("stopped after page %d of %d and begun again", stop, pages), from.ids)
		}
	}
}

// A source shows a record some seconds after the time it carries.
func lateRecordsAreFound(b *bench) {
	c := b.all("").cursor("")
	var want, found []string
	for range 20 {
		time.Sleep(2 * time.Second)
		late := b.Happen(1)
		b.Wire.Hide(late, 6*time.Second)
		time.Sleep(time.Second)
		want = append(want, late...)
		want = append(want, b.Happen(1)...) // shown at once: it moves the cursor past the one that is not
		r := b.all(c)
		c, found = r.cursor(c), append(found, r.order...)
	}
	time.Sleep(8 * time.Second)
	found = append(found, b.all(c).order...)
	for _, id := range want {
		if !slices.Contains(found, id) {
			b.t.Errorf("%s, which was shown late, was never told", id)
		}
	}
}

// Now and then a source is minutes behind; what it shows then is told within a
// quarter of an hour.
func veryLateRecordsAreFound(b *bench) {
	c := b.all("").cursor("")
	late := b.Happen(3)
	b.Wire.Hide(late, 9*time.Minute)
	told := reading{told: map[string][]Told{}}
	for range 30 {
		time.Sleep(30 * time.Second)
		b.Happen(1)
		r := b.all(c)
		c = r.cursor(c)
		maps.Copy(told.told, r.told)
	}
	told.has(b.t, "shown nine minutes late", late)
}

// Offline detections are made up to 48 hours after what they are about; should one
// be shown that much late with the time it carries, it is told within six hours.
func twoDaysLate(b *bench) {
	if b.NoLater || b.Snapshot {
		return
	}
	c := b.all("").cursor("")
	late := b.Happen(3)
	b.Wire.Hide(late, 47*time.Hour+30*time.Minute)
	told := reading{told: map[string][]Told{}}
	for range 54 {
		time.Sleep(time.Hour)
		b.Happen(1)
		r := b.all(c)
		c = r.cursor(c)
		maps.Copy(told.told, r.told)
	}
	told.has(b.t, "shown two days late", late)
}

func changesAreToldAgain(b *bench) {
	if b.Events {
		return
	}
	ids := b.Happen(5)
	first := b.all("")
	c := first.cursor("")
	for n, id := range ids {
		time.Sleep(20 * time.Second)
		b.Change(id)
		time.Sleep(5 * time.Second)
		r := b.all(c)
		c = r.cursor(c)
		got := r.told[id]
		if len(got) == 0 {
			b.t.Errorf("change %d: it was not told again", n)
			continue
		}
		old, last := first.told[id][0], got[len(got)-1]
		if last.Content == old.Content || !last.UpdatedAt.After(old.UpdatedAt) {
			b.t.Errorf("change %d: told %s at %v, before it %s at %v", n, last.Content, last.UpdatedAt, old.Content, old.UpdatedAt)
		}
	}
}

// The source's clock is not ours.
func clocksDiffer(b *bench) {
	for _, skew := range []time.Duration{-3 * time.Hour, -20 * time.Second, 20 * time.Second, 3 * time.Hour} {
		b.Wire.Skew(skew)
		c := b.all("").cursor("")
		for n := range 6 {
			time.Sleep(15 * time.Second)
			ids := b.Happen(2)
			time.Sleep(time.Second)
			r := b.all(c)
			c = r.cursor(c)
			r.has(b.t, fmt.Sprintf("our clock is %v ahead, poll %d", skew, n), ids)
		}
	}
	b.Wire.Skew(0)
}

func nothingAfterAnError(b *bench) {
	b.Wire.PageSize(5)
	ids := b.Happen(20)
	for answered := range 3 {
		b.Wire.Cut(answered)
		r := b.read(b.t.Context(), "", -1)
		b.Wire.Cut(-1)
		if r.err == nil {
			if answered == 0 {
				b.t.Fatal("a connection that breaks is no error")
			}
			continue // it needed no more requests than were answered
		}
		if !errors.Is(r.err, fault.Unavailable) {
			b.t.Errorf("a broken connection is %v, want unavailable", r.err)
		}
		rest := b.all(r.cursor(""))
		for id, x := range r.told {
			rest.told[id] = append(rest.told[id], x...)
		}
		rest.has(b.t, fmt.Sprintf("broken after %d answers and begun again", answered), ids)
	}
}

func throttled(b *bench) {
	ids := b.Happen(3)
	b.Wire.Throttle(1)
	if r := b.read(b.t.Context(), "", -1); !errors.Is(r.err, fault.Unavailable) || len(r.next) > 0 {
		b.t.Errorf("throttled: %d pages and %v, want none and unavailable", len(r.next), r.err)
	}
	b.all("").has(b.t, "after being throttled", ids)
}

func contextEnds(b *bench) {
	b.Wire.PageSize(5)
	b.Happen(20)
	ctx, cancel := context.WithCancel(b.t.Context())
	if r := b.read(ctx, "", 1); r.err != nil {
		b.t.Fatal(r.err)
	}
	cancel()
	if r := b.read(ctx, "", -1); !errors.Is(r.err, context.Canceled) || len(r.next) > 0 {
		b.t.Errorf("with a context that has ended: %d pages and %v", len(r.next), r.err)
	}
	ctx, cancel = context.WithCancel(b.t.Context())
	defer cancel()
	pages, failed := 0, error(nil)
	for _, err := range b.Source.Pages(ctx, "") {
		if err != nil {
			failed = err
			continue
		}
		pages++
		cancel()
	}
	if !b.Whole && !errors.Is(failed, context.Canceled) {
		b.t.Errorf("cancelled after the first page: %d pages and %v", pages, failed)
	}
}

func brokenRecord(b *bench) {
	b.Wire.PageSize(5)
	ids := b.Happen(12)
	for _, junk := range []string{`7`, `"text"`, `[]`, `null`, `{}`, `{"id":{"nested":true}}`} {
		b.Wire.Junk(junk)
		r := b.read(b.t.Context(), "", -1)
		b.Wire.Junk("")
		if b.Whole {
			if r.err == nil {
				b.t.Errorf("%s: a reading that must be whole succeeded", junk)
			}
			continue
		}
		if r.err != nil {
			b.t.Errorf("%s fails the whole reading: %v", junk, r.err)
			continue
		}
		r.has(b.t, "beside the record "+junk, ids)
		if len(r.rejects) == 0 {
			b.t.Errorf("the record %s is silently dropped", junk)
		}
		for _, k := range r.rejects {
			if string(k.Raw) != junk {
				b.t.Errorf("rejected %q, want the record %q whole", k.Raw, junk)
			}
		}
	}
}

func unheardOfWords(b *bench) {
	ids := b.Happen(12)
	b.Wire.Words("somethingNew")
	b.all("").has(b.t, "with words nobody has heard of", ids)
}

func emptyPages(b *bench) {
	b.Wire.PageSize(5)
	ids := b.Happen(20)
	b.Wire.Empty(2)
	b.all("").has(b.t, "with empty pages", ids)
}

// A cursor of another make is refused, or everything is read: never skipped.
func foreignCursor(b *bench) {
	ids := b.Happen(3)
	for _, c := range []connector.Cursor{"2026-11-03T02:00:00Z", "{", `{"since":7}`, "\x00"} {
		r := b.read(b.t.Context(), c, -1)
		if r.err != nil {
			if !errors.Is(r.err, fault.Invalid) {
				b.t.Errorf("cursor %q: %v, want invalid", c, r.err)
			}
			continue
		}
		r.has(b.t, fmt.Sprintf("cursor %q", c), ids)
	}
}

// anyOrder mixes everything: things happen, are shown late, change, the reader
// stops or is cut off anywhere, and in the end everything has been told in its
// last form.
func anyOrder(b *bench) {
	for seed := range uint64(6) {
		rng := rand.New(rand.NewPCG(seed, 7))
		b.Wire.PageSize(1 + rng.IntN(6))
		var c connector.Cursor
		var ids []string
		seen := map[string]string{} // id → newest content
		when := map[string]time.Time{}
		take := func(r reading) {
			c = r.cursor(c)
			for id, list := range r.told {
				for _, x := range list {
					if !x.UpdatedAt.Before(when[id]) {
						seen[id], when[id] = x.Content, x.UpdatedAt
					}
				}
			}
		}
		for range 40 {
			time.Sleep(time.Duration(rng.IntN(20_000)) * time.Millisecond)
			switch rng.IntN(6) {
			case 0, 1:
				ids = append(ids, b.Happen(1+rng.IntN(4))...)
			case 2:
				late := b.Happen(1)
				b.Wire.Hide(late, time.Duration(rng.IntN(8_000))*time.Millisecond)
				ids = append(ids, late...)
			case 3:
				if len(ids) > 0 && !b.Events {
					b.Change(ids[rng.IntN(len(ids))])
				}
			case 4:
				take(b.read(b.t.Context(), c, 1+rng.IntN(3)))
			case 5:
				b.Wire.Cut(rng.IntN(4))
				take(b.read(b.t.Context(), c, -1))
				b.Wire.Cut(-1)
			}
		}
		time.Sleep(10 * time.Second)
		take(b.all(c))
		truth := b.all("")
		for _, id := range ids {
			list := truth.told[id]
			switch {
			case len(list) == 0:
				b.t.Errorf("seed %d: %s is not even in a whole reading", seed, id)
			case seen[id] != list[len(list)-1].Content:
				b.t.Errorf("seed %d: %s was last told as %q, and is %q", seed, id, seen[id], list[len(list)-1].Content)
			}
		}
	}
}
