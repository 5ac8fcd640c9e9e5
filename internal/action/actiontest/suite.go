// Package actiontest is the conformance suite of action.Type: what dispatch
// relies on, tried on a directory. Every implementation passes Run.
package actiontest

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/seed-f47efad2/cordon/internal/action"
	"github.com/seed-f47efad2/cordon/internal/fault"
	"github.com/seed-f47efad2/cordon/internal/identity"
)

// Broken says where the connection of the next write breaks.
type Broken string

// The ways of breaking.
const (
	BeforeEffect Broken = "before the effect"
	AfterEffect  Broken = "after the effect"
)

// A Bench is a directory to try a type on. Its functions may fail the test.
type Bench struct {
	Type   action.Type
	Undo   action.Type    // the type that Spec.Undo names; nil when there is none
	Params map[string]any // of each request

	// Fresh returns an account, another one each time, on which the wanted state
	// does not hold and on which the action can work.
	Fresh func() identity.Ref
	// Missing returns an account that the directory does not have.
	Missing func() identity.Ref
	// Refused lists accounts on which the action cannot work, by a part of the words
	// in which Look must say so.
	Refused map[string]identity.Ref
	// State returns what the directory itself holds of the account, as far as the
	// action is about it: the witness that does not go through the type.
	State func(identity.Ref) any
	// Changes counts the changes of the directory so far, by anybody.
	Changes func() int
	// Break makes the next write break; only that one.
	Break func(Broken)
	// Wait lets the directory's time pass.
	Wait func(time.Duration)
}

// trial is one request of a bench on its way.
type trial struct {
	t *testing.T
	b Bench
	n int
	// whole says that no connection was broken.
	whole bool
	// seen gathers everything the type said, to look for secrets in it.
	seen    []any
	secrets [][]byte
}

// Run runs the suite. open makes a bench with a directory of its own for each
// part, inside the part's own test (or synctest bubble): part runs the function
// it is given.
func Run(t *testing.T, part func(t *testing.T, name string, run func(t *testing.T, b Bench))) {
	for name, f := range map[string]func(*trial){
		"describes itself":                     (*trial).describes,
		"look changes nothing":                 (*trial).looks,
		"do is proven by the read-back":        (*trial).proves,
		"do twice is harmless":                 (*trial).twice,
		"undo restores the before-state":       (*trial).undoes,
		"a break before the effect":            func(t *trial) { t.breaks(BeforeEffect) },
		"a break after the effect":             func(t *trial) { t.breaks(AfterEffect) },
		"a missing account is refused":         (*trial).missing,
		"what cannot work is refused in words": (*trial).refuses,
		"many at once, one to one":             (*trial).many,
		"an ended context":                     (*trial).cancelled,
		"secrets stay inside":                  (*trial).secret,
	} {
		part(t, name, func(t *testing.T, b Bench) {
			x := &trial{t: t, b: b}
			f(x)
			x.leaks()
		})
	}
}

func (x *trial) request(ref identity.Ref) action.Request {
	x.n++
	return action.Request{
		ID: action.ID(fmt.Sprintf("act_%03d", x.n)), Tenant: "11111111-1111-1111-1111-111111111111", Account: ref, Params: x.b.Params,
		ClientRequestID: fmt.Sprintf("00000000-0000-4000-8000-%012d", x.n),
	}
}

// look looks at one target, which must be seen.
func (x *trial) look(r action.Request) action.Look {
	x.t.Helper()
	ls := x.b.Type.Look(context.Background(), []action.Request{r})
	if len(ls) != 1 {
		x.t.Fatalf("Look of one request returned %d", len(ls))
	}
	x.seen = append(x.seen, ls[0])
	return ls[0]
}

// intend looks at a fresh account and returns the request as dispatch makes it.
func (x *trial) intend(t action.Type, r action.Request) action.Request {
	x.t.Helper()
	l := x.look(r)
	if l.Err != nil || l.Refuse != "" {
		x.t.Fatalf("Look at a good account: error %v, refusal %q", l.Err, l.Refuse)
	}
	r.Before, r.Since = l.State, time.Now()
	if g, ok := t.(action.Generator); ok {
		secret, sealed, err := g.Generate(rand.Reader, r)
		if err != nil {
			x.t.Fatalf("Generate: %v", err)
		}
		r.Secret = secret
		x.secrets = append(x.secrets, bytes.Clone(secret))
		x.seen = append(x.seen, sealed)
	}
	return r
}

func (x *trial) do(t action.Type, r action.Request) action.Outcome {
	x.t.Helper()
	out := t.Do(context.Background(), []action.Request{r})
	if len(out) != 1 {
		x.t.Fatalf("Do of one request returned %d", len(out))
	}
	x.seen = append(x.seen, out[0])
	if out[0].Verdict != action.Accepted && out[0].Reason == "" {
		x.t.Errorf("%s without a reason (law 8)", out[0].Verdict)
	}
	return out[0]
}

func (x *trial) read(t action.Type, r action.Request) action.Reading {
	x.t.Helper()
	out := t.ReadBack(context.Background(), []action.Request{r})
	if len(out) != 1 {
		x.t.Fatalf("ReadBack of one request returned %d", len(out))
	}
	x.seen = append(x.seen, out[0])
	return out[0]
}

// proof waits for the read-back as long as the type itself asks for.
func (x *trial) proof(t action.Type, r action.Request) {
	x.t.Helper()
	var last action.Reading
	for waited := time.Duration(0); waited <= t.Spec().Within; waited += 2 * time.Second {
		if last = x.read(t, r); last.Seen {
			if last.Text == "" || len(last.State) == 0 {
				x.t.Error("a proof without words or without what was seen")
			}
			return
		}
		x.b.Wait(2 * time.Second)
	}
	x.t.Fatalf("not proven within %v; the last reading: %+v", t.Spec().Within, last)
}

func (x *trial) describes() {
	s := x.b.Type.Spec()
	for what, missing := range map[string]bool{
		"name": s.Name == "", "version": s.Version < 1, "title": s.Title == "", "summary": !strings.HasSuffix(s.Summary, "."),
		"provider": s.Provider == "", "permissions": len(s.Permissions) == 0, "limits": s.Limits == "",
		"batch": s.Batch < 1, "bucket": s.Bucket == "", "propagation": s.Propagation <= 0, "deadline": s.Within <= s.Propagation,
		"effect": !slices.Contains([]action.Effect{action.EffectVerdict, action.EffectRestrict, action.EffectCredential, action.EffectRelease}, s.Effect),
	} {
		if missing {
			x.t.Errorf("%s lacks its %s", s.Name, what)
		}
	}
	if (s.Undo == "") != (s.Irreversible != "") {
		x.t.Error("either an undo or why there is none (law 5)")
	}
	if _, ok := x.b.Type.(action.Undoer); ok != (s.Undo != "") {
		x.t.Errorf("undo %q, and computes one: %v", s.Undo, ok)
	}
	if _, ok := x.b.Type.(action.Generator); ok && !s.NeverRepeat {
		x.t.Error("it makes a secret and may be repeated: two secrets for one account")
	}
	for _, p := range s.Params {
		if p.Text == "" || !slices.Contains([]string{"string", "integer", "boolean"}, p.Type) {
			x.t.Errorf("parameter %s lacks its words or has the type %q", p.Name, p.Type)
		}
		if _, given := x.b.Params[p.Name]; p.Required && !given {
			x.t.Errorf("the bench does not give the parameter %s", p.Name)
		}
	}
	if diff := cmp.Diff(s, x.b.Type.Spec()); diff != "" {
		x.t.Errorf("it describes itself otherwise the second time: %s", diff)
	}
}

func (x *trial) looks() {
	ref := x.b.Fresh()
	was, changes := x.b.State(ref), x.b.Changes()
	l := x.look(x.request(ref))
	if l.Err != nil || l.Refuse != "" || l.Already {
		x.t.Errorf("a fresh account: error %v, refusal %q, already %v", l.Err, l.Refuse, l.Already)
	}
	if !json.Valid(l.State) || l.Text == "" {
		x.t.Errorf("state %q, text %q: nothing to undo from or to show", l.State, l.Text)
	}
	if l.Facts != nil && (l.Facts.Found == nil || !*l.Facts.Found) {
		x.t.Error("facts of an account that was seen say that it was not found")
	}
	if r := x.read(x.b.Type, action.Request{ID: "act_x", Tenant: "t", Account: ref, Params: x.b.Params, Before: l.State, Since: time.Now()}); r.Seen || r.Err != nil {
		x.t.Errorf("read back before anything was done: seen %v, error %v", r.Seen, r.Err)
	}
	x.b.Wait(time.Minute)
	if diff := cmp.Diff(was, x.b.State(ref)); diff != "" || x.b.Changes() != changes {
		x.t.Errorf("looking made %d changes: %s", x.b.Changes()-changes, diff)
	}
}

func (x *trial) proves() {
	ref := x.b.Fresh()
	was := x.b.State(ref)
	r := x.intend(x.b.Type, x.request(ref))
	o := x.do(x.b.Type, r)
	if o.Verdict != action.Accepted || o.RequestID == "" {
		x.t.Fatalf("outcome %+v; want accepted, with the directory's request id", o)
	}
	x.proof(x.b.Type, r)
	if diff := cmp.Diff(was, x.b.State(ref)); diff == "" {
		x.t.Error("it is proven, and the directory holds what it held before")
	}
	r2 := x.request(ref)
	if l := x.look(r2); l.Already {
		r2.Before, r2.Since = l.State, time.Now()
		if !x.read(x.b.Type, r2).Seen {
			x.t.Error("Look says already so and ReadBack does not see it")
		}
	}
}

func (x *trial) twice() {
	if x.b.Type.Spec().NeverRepeat {
		x.t.Log("it says that it must not be repeated, and dispatch does not")
		return
	}
	ref := x.b.Fresh()
	r := x.intend(x.b.Type, x.request(ref))
	for range 2 {
		if o := x.do(x.b.Type, r); o.Verdict != action.Accepted {
			x.t.Fatalf("outcome %+v", o)
		}
	}
	x.proof(x.b.Type, r)
	if o := x.do(x.b.Type, r); o.Verdict != action.Accepted {
		x.t.Fatalf("a third time: %+v", o)
	}
	x.b.Wait(x.b.Type.Spec().Propagation)
	// A directory of several controllers may need a moment to agree again; what was
	// undone stays undone.
	x.proof(x.b.Type, r)
}

func (x *trial) undoes() {
	ref := x.b.Fresh()
	was := x.b.State(ref)
	r := x.intend(x.b.Type, x.request(ref))
	if _, ok := x.b.Type.(action.Undoer); !ok {
		return // describes has checked that it says so
	}
	x.do(x.b.Type, r)
	x.proof(x.b.Type, r)
	x.whole = true
	x.undo(r, was)
}

// undo takes back what r did, from what the store kept of it, and compares the
// directory with what it held before.
func (x *trial) undo(r action.Request, was any) {
	x.t.Helper()
	u, ok := x.b.Type.(action.Undoer)
	if !ok {
		return
	}
	if x.b.Undo == nil || x.b.Undo.Spec().Name != x.b.Type.Spec().Undo {
		x.t.Fatalf("the bench has no %s", x.b.Type.Spec().Undo)
	}
	before := x.stored(r.Before)
	params, ok := u.Undo(before)
	if !ok {
		x.t.Fatalf("it cannot be undone from %s", before)
	}
	back := x.request(r.Account)
	back.Params = params
	l := x.b.Undo.Look(context.Background(), []action.Request{back})[0]
	if l.Err != nil || l.Refuse != "" {
		x.t.Fatalf("look before the undo: %v %q", l.Err, l.Refuse)
	}
	back.Before, back.Since = l.State, time.Now()
	// A bench may break one write of each kind; what became of the undo is then read.
	if o := x.do(x.b.Undo, back); o.Verdict != action.Accepted && (x.whole || o.Verdict != action.Unknown) {
		x.t.Fatalf("undo: %+v", o)
	}
	x.proof(x.b.Undo, back)
	if diff := cmp.Diff(was, x.b.State(r.Account)); diff != "" {
		x.t.Errorf("undone, and not as before (-before +now):\n%s", diff)
	}
	for name, b := range map[string]json.RawMessage{"nothing": nil, "nonsense": json.RawMessage(`"?"`), "the state it brings": l.State} {
		if _, ok := u.Undo(b); ok {
			x.t.Errorf("it offers to undo %s", name)
		}
	}
}

// stored is a before-state as a process reads it that was started since.
func (x *trial) stored(before json.RawMessage) json.RawMessage {
	x.t.Helper()
	doc, err := json.Marshal(action.Action{Before: before})
	if err != nil {
		x.t.Fatal(err)
	}
	var a action.Action
	if err := json.Unmarshal(doc, &a); err != nil {
		x.t.Fatal(err)
	}
	return a.Before
}

func (x *trial) breaks(how Broken) {
	ref := x.b.Fresh()
	was := x.b.State(ref)
	r := x.intend(x.b.Type, x.request(ref))
	x.b.Break(how)
	o := x.do(x.b.Type, r)
	switch {
	case o.Verdict == action.Unknown:
	case o.Verdict == action.Later && how == BeforeEffect: // it knows that nothing left
	default:
		x.t.Fatalf("outcome %+v; an unknown outcome is never %s", o, o.Verdict)
	}
	if how == AfterEffect {
		x.proof(x.b.Type, r)
		x.undo(r, was) // what nobody heard succeed is undone like anything else
		return
	}
	x.b.Wait(x.b.Type.Spec().Propagation)
	if got := x.read(x.b.Type, r); got.Seen || got.Err != nil {
		x.t.Errorf("seen %v, error %v; nothing happened", got.Seen, got.Err)
	}
	if diff := cmp.Diff(was, x.b.State(ref)); diff != "" {
		x.t.Errorf("the bench broke too late: %s", diff)
	}
}

func (x *trial) missing() {
	changes := x.b.Changes()
	r := x.request(x.b.Missing())
	l := x.look(r)
	if l.Refuse == "" && !errors.Is(l.Err, fault.NotFound) {
		x.t.Errorf("refusal %q, error %v; want it to be said that there is no such account", l.Refuse, l.Err)
	}
	r.Secret = bytes.Repeat([]byte("Aa1!"), 16)
	x.secrets = append(x.secrets, bytes.Clone(r.Secret))
	if o := x.do(x.b.Type, r); o.Verdict != action.Refused {
		x.t.Errorf("outcome %+v, want refused", o)
	}
	nobody := x.request(identity.Ref{Provider: x.b.Type.Spec().Provider, DisplayName: "nobody"})
	if l := x.look(nobody); l.Err == nil && l.Refuse == "" {
		x.t.Error("an account without an id is looked at")
	}
	nobody.Secret = r.Secret
	if o := x.do(x.b.Type, nobody); o.Verdict != action.Refused {
		x.t.Errorf("an account without an id: %+v, want refused", o)
	}
	if x.b.Changes() != changes {
		x.t.Error("something changed")
	}
}

func (x *trial) refuses() {
	for words, ref := range x.b.Refused {
		if l := x.look(x.request(ref)); l.Err != nil || !strings.Contains(l.Refuse, words) {
			x.t.Errorf("refusal %q, error %v; want the words %q", l.Refuse, l.Err, words)
		}
	}
}

func (x *trial) many() {
	const n = 35
	var reqs []action.Request
	for i := range n {
		ref := x.b.Fresh()
		if i == n/2 {
			ref = x.b.Missing()
		}
		reqs = append(reqs, x.request(ref))
	}
	looks := x.b.Type.Look(context.Background(), reqs)
	if len(looks) != n {
		x.t.Fatalf("%d looks for %d requests", len(looks), n)
	}
	for i := range reqs {
		if bad := looks[i].Refuse != "" || looks[i].Err != nil; bad != (i == n/2) {
			x.t.Errorf("look %d: refusal %q, error %v", i, looks[i].Refuse, looks[i].Err)
		}
		reqs[i].Before, reqs[i].Since = looks[i].State, time.Now()
	}
	// The third is done: its reading, and no other, says so.
	reqs[3] = x.intend(x.b.Type, reqs[3])
	if o := x.do(x.b.Type, reqs[3]); o.Verdict != action.Accepted {
		x.t.Fatalf("outcome %+v", o)
	}
	x.proof(x.b.Type, reqs[3])
	readings := x.b.Type.ReadBack(context.Background(), reqs)
	if len(readings) != n {
		x.t.Fatalf("%d readings for %d requests", len(readings), n)
	}
	for i, r := range readings {
		if r.Seen != (i == 3) {
			x.t.Errorf("reading %d: seen %v, %s", i, r.Seen, r.Text)
		}
	}
	if size := x.b.Type.Spec().Batch; size > 1 {
		batch := slices.Delete(slices.Clone(reqs), n/2, n/2+1)
		batch = batch[:min(size, len(batch))]
		if g, ok := x.b.Type.(action.Generator); ok {
			for i := range batch {
				var err error
				if batch[i].Secret, _, err = g.Generate(rand.Reader, batch[i]); err != nil {
					x.t.Fatal(err)
				}
				x.secrets = append(x.secrets, bytes.Clone(batch[i].Secret))
			}
		}
		for _, o := range x.b.Type.Do(context.Background(), batch) {
			if o.Verdict != action.Accepted {
				x.t.Errorf("a list of %d: %+v", len(batch), o)
			}
		}
		for _, r := range batch {
			x.proof(x.b.Type, r)
		}
	}
}

func (x *trial) cancelled() {
	ref := x.b.Fresh()
	r := x.intend(x.b.Type, x.request(ref))
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if l := x.b.Type.Look(ctx, []action.Request{r})[0]; l.Err == nil {
		x.t.Error("Look saw something with an ended context")
	}
	if got := x.b.Type.ReadBack(ctx, []action.Request{r})[0]; got.Err == nil || got.Seen {
		x.t.Error("ReadBack saw something with an ended context")
	}
	o := x.b.Type.Do(ctx, []action.Request{r})[0]
	x.seen = append(x.seen, o)
	if o.Verdict != action.Later && o.Verdict != action.Unknown {
		x.t.Errorf("Do with an ended context: %+v", o)
	}
}

func (x *trial) secret() {
	g, ok := x.b.Type.(action.Generator)
	if !ok {
		return
	}
	r := x.request(x.b.Fresh())
	seen := map[string]bool{}
	for range 100 {
		s, sealed, err := g.Generate(rand.Reader, r)
		if err != nil {
			x.t.Fatal(err)
		}
		if len(s) < 20 || seen[string(s)] {
			x.t.Fatalf("a secret of %d bytes, new: %v", len(s), !seen[string(s)])
		}
		if bytes.Contains(sealed, s) {
			x.t.Fatal("the sealed form shows the secret")
		}
		seen[string(s)] = true
	}
	if _, _, err := g.Generate(bytes.NewReader(nil), r); err == nil {
		x.t.Error("a secret without randomness")
	}
	if _, _, err := g.Generate(zeros{}, r); err == nil {
		x.t.Error("a secret from a source that is not random")
	}
}

type zeros struct{}

func (zeros) Read(b []byte) (int, error) {
	clear(b)
	return len(b), nil
}

// leaks looks for every secret in everything that was said.
func (x *trial) leaks() {
	x.t.Helper()
	for _, v := range x.seen {
		text := fmt.Sprintf("%+v %s", v, v)
		if b, err := json.Marshal(v); err == nil {
			text += string(b)
		}
		if l, ok := v.(action.Look); ok && l.Err != nil {
			text += l.Err.Error()
		}
		for _, s := range x.secrets {
			if strings.Contains(text, string(s)) {
				x.t.Errorf("a %T shows the secret", v)
			}
		}
	}
}
