package dispatch_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/seed-f47efad2/cordon/internal/action"
	"github.com/seed-f47efad2/cordon/internal/fault"
	"github.com/seed-f47efad2/cordon/internal/identity"
)

const (
	tenant  identity.Tenant = "11111111-1111-1111-1111-111111111111"
	disable action.Name     = "fake.disable"
	enable  action.Name     = "fake.enable"
	reset   action.Name     = "fake.reset"
	confirm action.Name     = "fake.confirm"
)

// mishap is what goes wrong with one request.
type mishap string

const (
	fine        mishap = ""
	resetBefore mishap = "reset before the effect"
	resetAfter  mishap = "reset after the effect"
	throttle    mishap = "throttled"
	busy        mishap = "503"
	noEffect    mishap = "accepted without effect"
	refusal     mishap = "refused"
	slow        mishap = "slow"
	hang        mishap = "hangs, with the effect"
)

// A write is one change that reached the directory.
type write struct {
	name    action.Name
	action  action.ID
	account string
	request string    // client-request-id
	sent    time.Time // when the request came in
	at      time.Time // when it took effect
}

// directory is a small world of accounts: what a request changes shows after lag.
// It is written here, without dispatch's help, as the witness of its laws.
type directory struct {
	now     func() time.Time
	lag     time.Duration
	latency time.Duration
	mishap  func(write) mishap // nil: nothing goes wrong
	unread  func() bool        // whether a read fails; nil: none does
	passed  func() bool        // whether a read asks about nobody; nil: none does
	sealed  []byte             // what it tells once, sealed, with each request it takes

	mu       sync.Mutex
	writes   []write // effects, in order
	sent     []write // requests that came in, whatever became of them
	mishaps  map[action.ID]map[mishap]bool
	versions map[string][]version
	looks    int
	reads    int
}

// version is the state of an account from a time on.
type version struct {
	from      time.Time
	Disabled  bool
	Confirmed bool
	Resets    int
}

func newDirectory(now func() time.Time) *directory {
	return &directory{now: now, mishaps: map[action.ID]map[mishap]bool{}, versions: map[string][]version{}}
}

func (d *directory) state(account string, at time.Time) version {
	var v version
	for _, x := range d.versions[account] {
		if !x.from.After(at) {
			v = x
		}
	}
	return v
}

func (d *directory) change(w write, f func(*version)) {
	v := version{}
	if all := d.versions[w.account]; len(all) > 0 {
		v = all[len(all)-1]
	}
	f(&v)
	v.from = w.at.Add(d.lag)
	d.versions[w.account] = append(d.versions[w.account], v)
	d.writes = append(d.writes, w)
}

// fake is an action on the directory.
type fake struct {
	*directory
	spec   action.Spec
	reach  func(*version)
	before func(v, was version) bool // whether v is the wanted state
}

func (f fake) Spec() action.Spec { return f.spec }

func (f fake) Look(ctx context.Context, reqs []action.Request) []action.Look {
	out := make([]action.Look, len(reqs))
	f.mu.Lock()
	defer f.mu.Unlock()
	f.looks++
	for n, r := range reqs {
		if f.unread != nil && f.unread() {
			out[n].Err = fault.Errorf(fault.Unavailable, "503")
			continue
		}
		v := f.state(r.Account.ObjectID, f.now())
		b, _ := json.Marshal(v)
		out[n] = action.Look{State: b, Text: fmt.Sprintf("%+v", v), Already: f.spec.Name != reset && f.before(v, version{})}
	}
	return out
}

func (f fake) ReadBack(ctx context.Context, reqs []action.Request) []action.Reading {
	out := make([]action.Reading, len(reqs))
	f.mu.Lock()
	defer f.mu.Unlock()
	f.reads++
	for n, r := range reqs {
		if f.unread != nil && f.unread() {
			out[n].Err = fault.Errorf(fault.Unavailable, "503")
			continue
		}
		if f.passed != nil && f.passed() {
			out[n] = action.Reading{Pending: true, Unread: true}
			continue
		}
		v := f.state(r.Account.ObjectID, f.now())
		var was version
		_ = json.Unmarshal(r.Before, &was)
		out[n] = action.Reading{Seen: f.before(v, was), Text: fmt.Sprintf("%+v", v)}
	}
	return out
}

func (f fake) Do(ctx context.Context, reqs []action.Request) []action.Outcome {
	out := make([]action.Outcome, len(reqs))
	in := f.now()
	var m mishap
	if f.mishap != nil {
		f.mu.Lock()
		m = f.mishap(write{name: f.spec.Name, action: reqs[0].ID})
		f.mu.Unlock()
	}
	wait := f.latency
	switch m {
	case slow:
		wait += 3 * time.Second
	case hang:
		wait += time.Minute
	}
	if wait > 0 {
		t := time.NewTimer(wait)
		defer t.Stop()
		select {
		case <-t.C:
		case <-ctx.Done():
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for n, r := range reqs {
		w := write{f.spec.Name, r.ID, r.Account.ObjectID, r.ClientRequestID, in, f.now()}
		f.sent = append(f.sent, w)
		if f.mishaps[r.ID] == nil {
			f.mishaps[r.ID] = map[mishap]bool{}
		}
		f.mishaps[r.ID][m] = true
		o := action.Outcome{Verdict: action.Accepted, RequestID: fmt.Sprintf("rq-%d", len(f.sent))}
		switch m {
		case resetBefore:
			o = action.Outcome{Verdict: action.Unknown, Reason: "connection reset"}
		case throttle:
			o = action.Outcome{Verdict: action.Later, Throttled: true, Reason: "429"}
		case busy:
			o = action.Outcome{Verdict: action.Later, Reason: "503", After: 2 * time.Second}
		case refusal:
			o = action.Outcome{Verdict: action.Refused, Reason: "403"}
		case noEffect:
		case resetAfter, hang:
			f.change(w, f.reach)
			o = action.Outcome{Verdict: action.Unknown, Reason: "connection reset"}
		default:
			f.change(w, f.reach)
			o.Sealed = f.sealed
		}
		out[n] = o
	}
	return out
}

// generator is a fake that needs a secret, and one that checks it got a fresh one.
type generator struct{ fake }

func (generator) Generate(rand io.Reader, _ action.Request) (secret, sealed []byte, err error) {
	secret = make([]byte, 24)
	_, err = io.ReadFull(rand, secret)
	return secret, nil, err
}

// undoable is a fake whose undo takes no parameters.
type undoable struct{ fake }

func (u undoable) Undo(b json.RawMessage) (map[string]any, bool) {
	var was version
	return nil, json.Unmarshal(b, &was) == nil && !u.before(was, version{})
}

func (d *directory) types() []action.Type {
	spec := func(n action.Name, e action.Effect) action.Spec {
		return action.Spec{
			Name: n, Version: 1, Title: "Change it", Provider: identity.EntraID, Effect: e, Batch: 1,
			Bucket: action.BucketDirectoryWrite, ReadBatch: 15, Propagation: 10 * time.Second, Within: 2 * time.Minute,
		}
	}
	off, on := spec(disable, action.EffectRestrict), spec(enable, action.EffectRelease)
	off.Undo, on.Undo = enable, disable
	pw := spec(reset, action.EffectCredential)
	pw.NeverRepeat, pw.Irreversible = true, "the old one is gone"
	cc := spec(confirm, action.EffectVerdict)
	cc.Batch, cc.ReadBatch, cc.Irreversible = 60, 60, "it is what we think"
	cc.Bucket, cc.ReadBucket = action.BucketIdentityProtection, action.BucketIdentityProtection
	cc.Within = 15 * time.Minute
	return []action.Type{
		undoable{fake{d, off, func(v *version) { v.Disabled = true }, func(v, _ version) bool { return v.Disabled }}},
		undoable{fake{d, on, func(v *version) { v.Disabled = false }, func(v, _ version) bool { return !v.Disabled }}},
		generator{fake{d, pw, func(v *version) { v.Resets++ }, func(v, was version) bool { return v.Resets > was.Resets }}},
		fake{d, cc, func(v *version) { v.Confirmed = true }, func(v, _ version) bool { return v.Confirmed }},
	}
}
