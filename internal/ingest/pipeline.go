package ingest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/seed-f47efad2/cordon/internal/casefile"
	"github.com/seed-f47efad2/cordon/internal/connector"
	"github.com/seed-f47efad2/cordon/internal/identity"
	"github.com/seed-f47efad2/cordon/internal/record"
	"github.com/seed-f47efad2/cordon/internal/run"
	"github.com/seed-f47efad2/cordon/internal/signal"
)

// The defaults of a Pipeline, and its bounds.
const (
	factsMaxAge   = 15 * time.Minute
	lookupTimeout = 5 * time.Second
	silence       = 3
	atFirst       = 10   // records in the first transaction of a page
	atOnce        = 20   // records in one transaction at most; see Take
	inBulk        = 2000 // records in one transaction of Fill
	recordsAtOnce = 100  // records (of package record) in one transaction: each is little work
	openCases     = 1000 // accounts of open cases looked at after a reading of the directory
	historyAtOnce = 5    // of one Refresh: each costs a request of a very small limit
)

// A Pipeline takes pages in. Make it once and share its pointer: it remembers
// when each stream last succeeded. All fields down to Now are needed, but Lookup.
type Pipeline struct {
	Store Store
	Runs  *run.Driver
	// Lookup returns what reads single accounts' facts in the tenant; it and what
	// it returns may be nil: facts then stay unknown, and plans that need them hold.
	Lookup func(identity.Tenant) connector.Lookup
	Now    func() time.Time

	// FactsMaxAge is how old facts of an account may be before they are read
	// again; 0 means 15 minutes.
	FactsMaxAge time.Duration
	// LookupTimeout bounds the reading of facts before a page is taken; 0 means 5
	// seconds.
	LookupTimeout time.Duration
	// Silence is how many intervals a stream may go without success before it is
	// called silent; 0 means 3.
	Silence int
	Log     *slog.Logger

	recent recent

	mu          sync.Mutex
	heard       map[feedKey]*heard                 // what Watch is to write; nil: nothing
	watchedFrom time.Time                          // when Watch first looked
	history     map[identity.Tenant][]identity.Ref // whose risk history is to be read, in turn; nil: since the start nobody looked
}

// A Result counts what one or more pages brought.
type Result struct {
	Read      int `json:"read"` // signals, account risks, records and rejects
	New       int `json:"new"`
	Updated   int `json:"updated"`
	Duplicate int `json:"duplicate"`
	Older     int `json:"older"`
	Rejected  int `json:"rejected"`

	Facts int           `json:"facts"`           // accounts whose facts changed
	Cases []casefile.ID `json:"cases,omitempty"` // opened or reopened
	Runs  []run.ID      `json:"runs,omitempty"`  // started

	Outcomes []Outcome `json:"-"` // of one transaction; not in sums
}

// An Outcome is what became of one thing in a page. Key is what PlaceOf says for a
// signal, a risk or a record, and the Place of a reject, which has a Reason and no Put.
type Outcome struct {
	Key    string
	Put    Put
	Reason string
}

// PlaceOf names a signal, an account risk or a record where it has no place of its own.
func PlaceOf(v any) string {
	switch v := v.(type) {
	case signal.Signal:
		return "signal " + v.ExternalID
	case signal.AccountRisk:
		return "risk of " + v.Subject.Name()
	case record.Record:
		return "record " + v.ExternalID
	}
	return ""
}

func (r Result) Plus(o Result) Result {
	r.Read += o.Read
	r.New += o.New
	r.Updated += o.Updated
	r.Duplicate += o.Duplicate
	r.Older += o.Older
	r.Rejected += o.Rejected
	r.Facts += o.Facts
	r.Cases = append(r.Cases, o.Cases...)
	r.Runs = append(r.Runs, o.Runs...)
	return r
}

func (r *Result) count(p Put, of string) {
	r.Outcomes = append(r.Outcomes, Outcome{Key: of, Put: p})
	switch p {
	case PutNew:
		r.New++
	case PutUpdated:
		r.Updated++
	case PutDuplicate:
		r.Duplicate++
	case PutOlder:
		r.Older++
	}
}

// Take stores a page of the stream and everything that follows from it, atFirst
// records in the first transaction and at most atOnce in each that follows, so
// that containment begins early and never waits long for the rows. (On PostgreSQL
// a large transaction also loses to every small one that comes between, and begins
// again.) Each transaction is all or nothing, and the last one stores the cursor: a
// page that was begun is read again, and what was taken changes nothing the
// second time. An empty stream name stores no cursor. What was taken before an
// error is counted.
//
// Facts of the subjects that are unknown or old are read first, for at most
// LookupTimeout for each transaction; that they could not be read never loses a
// signal.
func (p *Pipeline) Take(ctx context.Context, t identity.Tenant, stream connector.Name, page connector.Page) (Result, error) {
	return p.takeAll(ctx, t, stream, page, live, func([]Outcome) {})
}

// Fill is Take for what is read from a file: it stores no cursor, remembers nothing
// of what it has seen, and takes large transactions, because nobody waits for it.
func (p *Pipeline) Fill(ctx context.Context, t identity.Tenant, page connector.Page) (Result, error) {
	return p.takeAll(ctx, t, "", page, bulk, func([]Outcome) {})
}

// TakeEach is Take that also says what became of each thing in the page. What is not
// in the answer changed nothing: it was known.
func (p *Pipeline) TakeEach(ctx context.Context, t identity.Tenant, stream connector.Name, page connector.Page) (Result, []Outcome, error) {
	var out []Outcome
	res, err := p.takeAll(ctx, t, stream, page, live, func(some []Outcome) { out = append(out, some...) })
	return res, out, err
}

// A pace says how much one transaction holds.
type pace struct {
	first, most int  // records in the first and in any transaction of a page
	once        bool // what is read is not read again
}

var (
	live = pace{first: atFirst, most: atOnce}
	bulk = pace{first: inBulk, most: inBulk, once: true}
)

func (p *Pipeline) takeAll(ctx context.Context, t identity.Tenant, stream connector.Name, page connector.Page, how pace, each func([]Outcome)) (Result, error) {
	var total Result
	if !how.once {
		total = p.recent.known(&page)
	}
	var parts []connector.Page
	for more, room := true, how.first; more; room = min(2*room, how.most) {
		var part connector.Page
		part, page, more = split(page, room)
		parts = append(parts, part)
	}
	ctx, cancel := context.WithCancel(ctx)
	facts := p.lookAhead(ctx, t, parts[0])
	for n, part := range parts {
		known := facts()
		last := n == len(parts)-1
		if facts = nothing; !last {
			facts = p.lookAhead(ctx, t, parts[n+1]) // while this part is stored
		}
		res, err := p.takePart(ctx, t, stream, part, known, last)
		if err != nil {
			cancel()
			facts()
			return total, err
		}
		if !how.once {
			p.recent.add(t, part.Signals)
		}
		each(res.Outcomes)
		total = total.Plus(res)
	}
	cancel()
	return total, nil
}

func nothing() []connector.AccountFacts { return nil }

// lookAhead begins to look facts up and returns what waits for them. It must be
// called: it ends the goroutine.
func (p *Pipeline) lookAhead(ctx context.Context, t identity.Tenant, page connector.Page) func() []connector.AccountFacts {
	if p.lookupOf(t) == nil {
		return nothing
	}
	found := make(chan []connector.AccountFacts)
	go func() { found <- p.lookup(ctx, t, page) }()
	return func() []connector.AccountFacts { return <-found }
}

// takePart stores a part of a page; a reading of the directory also tells of the
// accounts with an open case.
func (p *Pipeline) takePart(ctx context.Context, t identity.Tenant, stream connector.Name, part connector.Page, facts []connector.AccountFacts, last bool) (Result, error) {
	var open []identity.Ref
	if part.Directory != nil {
		var err error
		if open, err = p.Store.StaleFacts(ctx, t, p.Now(), openCases, p.reach(t)...); err != nil {
			return Result{}, fmt.Errorf("find the accounts of open cases: %w", err)
		}
	}
	return p.take(ctx, t, stream, part, facts, open, last)
}

// split cuts off the first records of a page: rejects and facts first, as they
// are taken. more reports whether rest holds any.
func split(page connector.Page, room int) (part, rest connector.Page, more bool) {
	part, rest = page, connector.Page{Next: page.Next} // what is not cut goes first
	part.Rejects, rest.Rejects = cut(page.Rejects, &room)
	part.Facts, rest.Facts = cut(page.Facts, &room)
	part.Signals, rest.Signals = cut(page.Signals, &room)
	part.Accounts, rest.Accounts = cut(page.Accounts, &room)
	rest.Records = page.Records
	if part.Records = nil; room > 0 { // nothing of more weight is left
		bulk := recordsAtOnce
		part.Records, rest.Records = cut(page.Records, &bulk)
	}
	return part, rest, len(rest.Rejects)+len(rest.Facts)+len(rest.Signals)+len(rest.Accounts)+len(rest.Records) > 0
}

func cut[T any](list []T, room *int) (first, rest []T) {
	n := min(len(list), *room)
	*room -= n
	return list[:n], list[n:]
}

// take stores part of a page in one transaction, with the cursor if last says so.
func (p *Pipeline) take(ctx context.Context, t identity.Tenant, stream connector.Name, page connector.Page, facts []connector.AccountFacts, open []identity.Ref, last bool) (Result, error) {
	var res Result
	var risky []identity.Ref
	update := p.Store.Update
	if len(page.Signals)+len(page.Accounts)+len(facts) == 0 && page.Directory == nil {
		update = p.Store.Later // containment does not wait for what is only kept
	}
	err := update(ctx, func(tx Tx) error {
		b := &batch{p: p, tx: tx, tenant: t, now: p.Now(), touched: map[identity.ID]*touch{}}
		if err := b.take(stream, page, facts, open); err != nil {
			return err
		}
		res, risky = b.res, b.risky
		if stream == "" || !last {
			return nil
		}
		return tx.PutCursor(t, stream, page.Next, b.now)
	})
	if err != nil {
		return Result{}, fmt.Errorf("take a page of %s: %w", cmp.Or(string(stream), "facts"), err)
	}
	if stream != "" {
		p.wantHistory(t, risky)
	}
	if page.Feeds != nil {
		p.note(t, stream, func(h *heard) { h.reports = page.Feeds })
	}
	if len(res.Runs) > 0 && p.Runs.Nudge != nil {
		p.Runs.Nudge(t)
	}
	return res, nil
}

// Poll reads the source from its cursor until it has caught up. What was taken
// before an error stays taken and is counted; the next Poll goes on from there.
func (p *Pipeline) Poll(ctx context.Context, t identity.Tenant, s connector.Source) (Result, error) {
	var total Result
	err := func() error {
		c, err := p.Store.Cursor(ctx, t, s.Name())
		if err != nil {
			return fmt.Errorf("read the cursor of %s: %w", s.Name(), err)
		}
		for page, err := range s.Pages(ctx, c) {
			if err != nil {
				return fmt.Errorf("read %s: %w", s.Name(), err)
			}
			res, err := p.Take(ctx, t, s.Name(), page)
			total = total.Plus(res)
			if err != nil {
				return err
			}
			p.Heard(t, s.Name()) // to catch up may take hours, and is no silence
		}
		return nil
	}()
	p.polled(t, s.Name(), err)
	return total, err
}

// Refresh reads the facts of accounts with an open case that were never read or
// are older than FactsMaxAge, at most limit of them, and plans anew what was held
// for want of them. It also reads the risk history of a few accounts with an open
// case whose risk changed.
func (p *Pipeline) Refresh(ctx context.Context, t identity.Tenant, limit int) (Result, error) {
	l := p.lookupOf(t)
	if l == nil {
		return Result{}, nil
	}
	res, err := p.refresh(ctx, t, l, limit)
	h, ok := l.(connector.Historian)
	if !ok || ctx.Err() != nil {
		return res, err
	}
	more, told := p.readHistory(ctx, t, h)
	return res.Plus(more), errors.Join(err, told)
}

func (p *Pipeline) refresh(ctx context.Context, t identity.Tenant, l connector.Lookup, limit int) (Result, error) {
	refs, err := p.Store.StaleFacts(ctx, t, p.Now().Add(-cmp.Or(p.FactsMaxAge, factsMaxAge)), limit, p.reach(t)...)
	if err != nil {
		return Result{}, fmt.Errorf("find stale facts: %w", err)
	}
	if len(refs) == 0 {
		return Result{}, nil
	}
	facts, err := l.Facts(ctx, refs)
	if err != nil {
		err = fmt.Errorf("read the facts of %d accounts: %w", len(refs), err)
	}
	var total Result
	for part := range slices.Chunk(facts, atOnce) { // part of them is better than none
		res, taken := p.take(ctx, t, "", connector.Page{}, part, nil, false)
		if taken != nil {
			return total, errors.Join(err, taken)
		}
		total = total.Plus(res)
	}
	return total, err
}

func (p *Pipeline) lookupOf(t identity.Tenant) connector.Lookup {
	if p.Lookup == nil {
		return nil
	}
	return p.Lookup(t)
}

// reach says which directories the tenant's lookup reads.
func (p *Pipeline) reach(t identity.Tenant) []identity.Provider {
	if r, ok := p.lookupOf(t).(connector.Reach); ok {
		return r.Reaches()
	}
	return nil
}

// lookup reads the facts of the page's subjects that are not known or old, as
// far as it can.
func (p *Pipeline) lookup(ctx context.Context, t identity.Tenant, page connector.Page) []connector.AccountFacts {
	l := p.lookupOf(t)
	if l == nil {
		return nil
	}
	var refs []identity.Ref
	seen := map[identity.Key]bool{}
	reaches := reachesOnPremises(l)
	add := func(r identity.Ref) {
		// Entra knows an account by its id, Active Directory by any of its keys.
		if keys := r.Keys(); len(keys) > 0 && (reaches || keys[0].Kind == identity.KeyEntraObject) && !seen[keys[0]] {
			seen[keys[0]] = true
			refs = append(refs, r)
		}
	}
	for _, s := range page.Signals {
		if s.State.Open() {
			add(s.Subject)
		}
	}
	for _, a := range page.Accounts {
		if a.State.Open() && !a.Deleted {
			add(a.Subject)
		}
	}
	if len(refs) == 0 {
		return nil
	}
	want := p.stale(ctx, t, refs, reaches)
	if len(want) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, cmp.Or(p.LookupTimeout, lookupTimeout))
	defer cancel()
	facts, err := l.Facts(ctx, want)
	if err != nil {
		p.log().WarnContext(ctx, "facts could not be read; plans that need them hold until they are", "tenant", t, "accounts", len(want), "read", len(facts), "err", err)
	}
	return facts
}

// reachesOnPremises reports whether the lookup reads Active Directory too.
func reachesOnPremises(l connector.Lookup) bool {
	r, ok := l.(connector.Reach)
	return ok && slices.Contains(r.Reaches(), identity.ActiveDirectory)
}

// stale returns the refs of which something is not known or old: the account
// itself, or, where Active Directory is read, the one it is synchronised from.
func (p *Pipeline) stale(ctx context.Context, t identity.Tenant, refs []identity.Ref, reaches bool) (want []identity.Ref) {
	known, err := p.Store.FactsOf(ctx, t, refs)
	if err != nil {
		p.log().WarnContext(ctx, "what is known of the page's accounts could not be read; all are looked up", "tenant", t, "err", err)
	}
	fresh := map[identity.Key]bool{}
	source := map[identity.Key]identity.Key{} // the SID that an account is synchronised from
	oldest := p.Now().Add(-cmp.Or(p.FactsMaxAge, factsMaxAge))
	note := func(list []connector.AccountFacts) (sids []identity.Ref) {
		for _, k := range list {
			keys := k.Ref.Keys()
			if len(keys) == 0 {
				continue
			}
			onPremises := k.Ref.Provider == identity.ActiveDirectory
			for _, key := range keys {
				// Each account is fresh under the keys of its own directory.
				if onPremises != (key.Kind == identity.KeyEntraObject) && current(k, oldest) {
					fresh[key] = true
				}
			}
			if reaches && !onPremises && k.Ref.SID != "" && k.Facts.Synced != nil && *k.Facts.Synced {
				source[keys[0]] = identity.Ref{SID: k.Ref.SID}.Keys()[0]
				sids = append(sids, identity.Ref{SID: k.Ref.SID})
			}
		}
		return sids
	}
	if sids := note(known); len(sids) > 0 {
		// Accounts named by their cloud id alone do not bring the other side with them.
		if more, err := p.Store.FactsOf(ctx, t, sids); err == nil {
			note(more)
		}
	}
	for _, r := range refs {
		key := r.Keys()[0]
		if sid, synced := source[key]; !fresh[key] || synced && !fresh[sid] {
			want = append(want, r)
		}
	}
	return want
}

// current reports whether all that a lookup reads of an account was read since.
func current(k connector.AccountFacts, since time.Time) bool {
	f := k.Facts
	gone := f.Found != nil && !*f.Found
	switch {
	case k.Ref.Provider != identity.ActiveDirectory || gone:
		return f.AsOf.After(since)
	case f.OnPremises != nil && f.OnPremises.Class == identity.ClassForeign:
		return f.RolesAsOf.After(since)
	}
	return f.AsOf.After(since) && f.RolesAsOf.After(since)
}

func (p *Pipeline) log() *slog.Logger {
	if p.Log == nil {
		return slog.New(slog.DiscardHandler)
	}
	return p.Log
}
