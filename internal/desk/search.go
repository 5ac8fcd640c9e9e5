package desk

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/seed-f47efad2/cordon/internal/access"
	"github.com/seed-f47efad2/cordon/internal/casefile"
	"github.com/seed-f47efad2/cordon/internal/detection"
	"github.com/seed-f47efad2/cordon/internal/identity"
	"github.com/seed-f47efad2/cordon/internal/record"
	"github.com/seed-f47efad2/cordon/internal/signal"
)

// The bounds of what is looked through for one question of an analyst.
const (
	searchBack    = 30 * 24 * time.Hour // before the first signal of the case
	searchSignals = 5000
	searchRecords = 500 // for each trait
	searchCases   = 200
)

// A Trait is something an attack leaves on whatever it touches.
type Trait struct {
	Kind  string `json:"kind"` // "address", "network", "user agent", "application", "session", "token" or "rule"
	Value string `json:"value"`
}

// A Match is another identity on which a trait of the case was seen.
type Match struct {
	Name     string        `json:"name"`
	Identity identity.ID   `json:"identity,omitempty"` // empty: no source has spoken of it as a risk
	Case     casefile.ID   `json:"case,omitempty"`     // its open one
	Verdict  casefile.Word `json:"verdict,omitempty"`  // its last one
	Traits   []Trait       `json:"traits"`
	Signals  int           `json:"signals"`
	SignIns  int           `json:"signIns"`
	Failed   int           `json:"failed"` // of the sign-ins
	First    time.Time     `json:"first"`
	Last     time.Time     `json:"last"`
}

// Elsewhere is where else the traits of a case were seen.
type Elsewhere struct {
	Case    casefile.ID `json:"case"`
	Traits  []Trait     `json:"traits"`
	Matches []Match     `json:"matches"` // most traits first, then latest
	Since   time.Time   `json:"since"`
	// Signals and Records are how many were looked through; Partial says that there
	// were more.
	Signals int  `json:"signals"`
	Records int  `json:"records"`
	Partial bool `json:"partial,omitempty"`
}

// traitsOf returns the traits of a signal. A user agent, an application and a session
// are where additionalInfo and the raw record have them; TI_RI_ rules are named in
// the reasons of a threat-intelligence detection.
func traitsOf(s signal.Signal) []Trait {
	var out []Trait
	add := func(kind, v string) {
		if v = strings.TrimSpace(v); v != "" && len(v) <= 500 && !slices.Contains(out, Trait{kind, v}) {
			out = append(out, Trait{kind, v})
		}
	}
	add("address", s.IP)
	for _, kv := range s.Info {
		var one string
		var many []string
		if json.Unmarshal(kv.Value, &one) == nil {
			many = []string{one}
		} else if json.Unmarshal(kv.Value, &many) != nil {
			continue
		}
		for _, v := range many {
			switch strings.ToLower(kv.Key) {
			case "useragent", "clientuseragent":
				add("user agent", v)
			case "asn", "autonomoussystemnumber":
				add("network", v)
			case "appdisplayname", "application", "appid":
				add("application", v)
			case "sessionid":
				add("session", v)
			case "tokenid", "uniquetokenidentifier":
				add("token", v)
			}
			for _, word := range strings.FieldsFunc(v, func(r rune) bool {
				return !(r == '_' || r >= '0' && r <= '9' || r >= 'A' && r <= 'Z' || r >= 'a' && r <= 'z')
			}) {
				if strings.HasPrefix(word, "TI_RI_") {
					add("rule", word)
				}
			}
		}
	}
	return out
}

func traitsOfRecord(r record.Record) []Trait {
	var out []Trait
	for _, t := range []Trait{{"address", r.IP}, {"user agent", r.UserAgent}, {"application", r.App}, {"session", r.Session}, {"token", r.Token}} {
		if t.Value != "" {
			out = append(out, t)
		}
	}
	return out
}

// common are traits that say nothing alone: half the tenant has them.
func common(k string) bool { return k == "application" || k == "user agent" || k == "network" }

// Elsewhere looks for the traits of a case on other identities. It needs access.Read.
func (s *Service) Elsewhere(ctx context.Context, op access.Operator, id casefile.ID) (Elsewhere, error) {
	c, i, err := s.caseOf(ctx, op, id)
	if err != nil {
		return Elsewhere{}, err
	}
	in, err := s.input(ctx, c.Tenant, c.Identity)
	if err != nil {
		return Elsewhere{}, err
	}
	out := Elsewhere{Case: id, Traits: []Trait{}, Matches: []Match{}, Since: c.FirstSignal.Add(-searchBack)}
	if c.FirstSignal.IsZero() {
		out.Since = c.OpenedAt.Add(-searchBack)
	}
	for _, g := range in.Signals {
		for _, t := range traitsOf(g) {
			if !slices.Contains(out.Traits, t) {
				out.Traits = append(out.Traits, t)
			}
		}
		if g.RequestID == "" {
			continue
		}
		// What the detection leaves out, its sign-in tells.
		page, err := s.store.Records(ctx, record.Query{Tenant: c.Tenant, Sources: []record.Source{record.SignIn}, ExternalID: g.RequestID, Limit: 5})
		if err != nil {
			return out, fmt.Errorf("read the sign-in of %s: %w", g.ExternalID, err)
		}
		for _, r := range page.Records {
			for _, t := range traitsOfRecord(r) {
				if !slices.Contains(out.Traits, t) {
					out.Traits = append(out.Traits, t)
				}
			}
		}
	}
	f := &finder{s: s, own: i, out: &out, by: map[string]*Match{}}
	if err := f.signals(ctx); err != nil {
		return out, err
	}
	if err := f.records(ctx); err != nil {
		return out, err
	}
	return out, f.name(ctx)
}

// caseOf returns a case that op may read, with its identity.
func (s *Service) caseOf(ctx context.Context, op access.Operator, id casefile.ID) (casefile.Case, identity.Identity, error) {
	t, err := may(op, access.Read, op.Tenant)
	if err != nil {
		return casefile.Case{}, identity.Identity{}, err
	}
	c, err := s.store.Case(ctx, t, id)
	if err != nil {
		return c, identity.Identity{}, err
	}
	i, err := s.look().identity(ctx, c.Tenant, c.Identity)
	return c, i, err
}

// A finder gathers matches by account.
type finder struct {
	s   *Service
	own identity.Identity
	out *Elsewhere
	by  map[string]*Match
	ref map[string]identity.Ref
}

func (f *finder) note(ref identity.Ref, at time.Time, traits []Trait) *Match {
	var shared []Trait
	telling := false
	for _, t := range traits {
		if slices.Contains(f.out.Traits, t) {
			shared = append(shared, t)
			telling = telling || !common(t.Kind)
		}
	}
	keys := ref.Keys()
	if !telling || len(keys) == 0 || slices.ContainsFunc(f.own.Keys(), func(k identity.Key) bool { return slices.Contains(keys, k) }) {
		return nil
	}
	name := string(keys[0].Kind) + ":" + keys[0].Value
	m := f.by[name]
	if m == nil {
		m = &Match{Name: ref.Name(), First: at, Last: at}
		f.by[name] = m
		if f.ref == nil {
			f.ref = map[string]identity.Ref{}
		}
		f.ref[name] = ref
	}
	for _, t := range shared {
		if !slices.Contains(m.Traits, t) {
			m.Traits = append(m.Traits, t)
		}
	}
	if at.Before(m.First) {
		m.First = at
	}
	if at.After(m.Last) {
		m.Last = at
	}
	return m
}

func (f *finder) signals(ctx context.Context) error {
	for p := (Page{Limit: 500}); ; {
		list, err := f.s.store.Signals(ctx, SignalFilter{Tenant: f.own.Tenant, Since: f.out.Since}, p)
		if err != nil {
			return fmt.Errorf("look through the signals: %w", err)
		}
		for _, g := range list.Items {
			f.out.Signals++
			if m := f.note(g.Subject, g.At(), traitsOf(g)); m != nil {
				m.Signals++
			}
		}
		if p.After = list.Next; list.Next == "" {
			return nil
		}
		if f.out.Signals >= searchSignals {
			f.out.Partial = true
			return nil
		}
	}
}

// records looks sign-ins up by address and session, which the store has indexes for.
func (f *finder) records(ctx context.Context) error {
	seen := map[string]bool{}
	for _, t := range f.out.Traits {
		q := record.Query{Tenant: f.own.Tenant, Sources: []record.Source{record.SignIn, record.Logon}, Since: f.out.Since, Limit: searchRecords}
		switch t.Kind {
		case "address":
			q.IP = t.Value
		case "session":
			q.Session = t.Value
		default:
			continue
		}
		page, err := f.s.store.Records(ctx, q)
		if err != nil {
			return fmt.Errorf("look through the sign-ins: %w", err)
		}
		f.out.Partial = f.out.Partial || page.Next != ""
		for _, r := range page.Records {
			if key := string(r.Source) + "|" + r.ExternalID; seen[key] {
				continue
			} else {
				seen[key] = true
			}
			f.out.Records++
			m := f.note(r.Subject, r.At, traitsOfRecord(r))
			if m == nil {
				continue
			}
			if m.SignIns++; r.Result == record.Failure {
				m.Failed++
			}
		}
	}
	return nil
}

// name finds who the accounts are and where they stand.
func (f *finder) name(ctx context.Context) error {
	for key, m := range f.by {
		ref := f.ref[key]
		found, err := f.s.store.FindAccount(ctx, f.own.Tenant, cmp.Or(ref.ObjectID, ref.SID))
		if err != nil {
			return err
		}
		if len(found) > 0 {
			m.Name, m.Identity = found[0].Name, found[0].ID
			cases, err := f.s.store.Cases(ctx, CaseFilter{Tenant: f.own.Tenant, Identity: m.Identity}, Page{Limit: 50})
			if err != nil {
				return err
			}
			var last time.Time
			for _, c := range cases.Items {
				switch {
				case c.Verdict == nil:
					m.Case = c.ID
				case c.Verdict.At.After(last):
					m.Verdict, last = c.Verdict.Word, c.Verdict.At
				}
			}
		}
		f.out.Matches = append(f.out.Matches, *m)
	}
	slices.SortFunc(f.out.Matches, func(a, b Match) int {
		return cmp.Or(cmp.Compare(len(b.Traits), len(a.Traits)), b.Last.Compare(a.Last), strings.Compare(a.Name, b.Name))
	})
	return nil
}

// A Swept is what was left behind since a time.
type Swept struct {
	Case    casefile.ID     `json:"case,omitempty"`
	Tenant  identity.Tenant `json:"tenant"`
	Since   time.Time       `json:"since"` // the first bad sign-in or signal, or as asked
	Left    []casefile.Left `json:"left"`  // latest first
	Looked  int             `json:"looked"`
	Partial bool            `json:"partial,omitempty"` // there was more than is looked through at once
	// Blind says what cannot be seen from here.
	Blind []string `json:"blind"`
}

// sweepRecords bounds one sweep.
const sweepRecords = 5000

// Sweep looks for what the identity's accounts left behind, or what was done to them,
// since the first signal of the case. It needs access.Read.
func (s *Service) Sweep(ctx context.Context, op access.Operator, id casefile.ID) (Swept, error) {
	c, i, err := s.caseOf(ctx, op, id)
	if err != nil {
		return Swept{}, err
	}
	in, err := s.input(ctx, c.Tenant, c.Identity)
	if err != nil {
		return Swept{}, err
	}
	since, ok := casefile.FirstBad(in.Signals)
	if !ok {
		since = c.OpenedAt
	}
	return s.sweep(ctx, Swept{Case: id, Tenant: c.Tenant, Since: since}, refsOf(i), in.Signals)
}

// Hunting is what can be asked of Defender about a case.
type Hunting struct {
	Case    casefile.ID      `json:"case"`
	Since   time.Time        `json:"since"`
	Queries []casefile.Query `json:"queries"`
	Limits  string           `json:"limits,omitempty"`
}

// huntBack is how long before the first bad signal the queries begin: what led to it
// came earlier.
const huntBack = 7 * 24 * time.Hour

// Hunt returns queries for advanced hunting about the identity of the case. Nothing
// is sent anywhere. It needs access.Read.
func (s *Service) Hunt(ctx context.Context, op access.Operator, id casefile.ID) (Hunting, error) {
	c, i, err := s.caseOf(ctx, op, id)
	if err != nil {
		return Hunting{}, err
	}
	in, err := s.input(ctx, c.Tenant, c.Identity)
	if err != nil {
		return Hunting{}, err
	}
	since, ok := casefile.FirstBad(in.Signals)
	if !ok {
		since = c.OpenedAt
	}
	since = since.Add(-huntBack).UTC()
	v := Hunting{Case: id, Since: since, Queries: casefile.HuntingPack(i, in.Signals, since), Limits: casefile.Reach(since, s.now())}
	if v.Queries == nil {
		v.Queries, v.Limits = []casefile.Query{}, "No account of the identity has an identifier that Defender's tables know."
	}
	return v, nil
}

// SweepTenant looks for everything of the kind in a tenant since the time, whoever
// did it. It needs access.Read.
func (s *Service) SweepTenant(ctx context.Context, op access.Operator, t identity.Tenant, since time.Time) (Swept, error) {
	t, err := may(op, access.Read, t)
	if err != nil {
		return Swept{}, err
	}
	if all := s.Tenants(op); t == "" && len(all) == 1 {
		t = all[0]
	}
	if since.IsZero() {
		since = s.now().Add(-7 * 24 * time.Hour)
	}
	list, err := s.store.Signals(ctx, SignalFilter{Tenant: t, Since: since}, Page{Limit: 500})
	if err != nil {
		return Swept{}, err
	}
	out, err := s.sweep(ctx, Swept{Tenant: t, Since: since}, nil, list.Items)
	out.Partial = out.Partial || list.Next != ""
	return out, err
}

func (s *Service) sweep(ctx context.Context, out Swept, accounts []identity.Ref, signals []signal.Signal) (Swept, error) {
	q := record.Query{
		Tenant: out.Tenant, Accounts: accounts, Weak: len(accounts) > 0, Since: out.Since.UTC(), Limit: record.MaxLimit,
		Sources: []record.Source{record.DirectoryAudit, record.DirectoryChange},
	}
	var all []record.Record
	for {
		page, err := s.store.Records(ctx, q)
		if err != nil {
			return out, fmt.Errorf("look through the directory audits: %w", err)
		}
		all = append(all, page.Records...)
		if q.After = page.Next; page.Next == "" {
			break
		}
		if len(all) >= sweepRecords {
			out.Partial = true
			break
		}
	}
	out.Looked = len(all)
	out.Left = casefile.Sweep(all, signals, out.Since)
	if out.Left == nil {
		out.Left = []casefile.Left{}
	}
	out.Blind = []string{"Inbox rules and forwarding are in no directory audit: they show when a detection speaks of them, and in Exchange's own log."}
	if len(all) == 0 {
		out.Blind = append(out.Blind, "No directory audit is stored for this time: that is no proof that nothing was changed.")
	}
	return out, nil
}

// A Precedent is a closed case that shares something with this one.
type Precedent struct {
	Case    casefile.ID      `json:"case"`
	Name    string           `json:"name"`
	Verdict casefile.Verdict `json:"verdict"`
	Shares  []string         `json:"shares"` // in words
}

// Precedents are the closed cases that share something with this one.
type Precedents struct {
	Case  casefile.ID `json:"case"`
	Cases []Precedent `json:"cases"` // most shared first, then latest verdict
	// Verdicts counts them by word.
	Verdicts map[casefile.Word]int `json:"verdicts"`
	Looked   int                   `json:"looked"` // closed cases
}

// Similar finds closed cases with a kind of signal or a telling trait in common. It
// needs access.Read.
func (s *Service) Similar(ctx context.Context, op access.Operator, id casefile.ID) (Precedents, error) {
	c, _, err := s.caseOf(ctx, op, id)
	if err != nil {
		return Precedents{}, err
	}
	mine, err := s.input(ctx, c.Tenant, c.Identity)
	if err != nil {
		return Precedents{}, err
	}
	out := Precedents{Case: id, Cases: []Precedent{}, Verdicts: map[casefile.Word]int{}}
	want := marks(mine.Signals)
	closed, err := s.store.Cases(ctx, CaseFilter{Tenant: c.Tenant, Status: []casefile.Status{casefile.Closed}}, Page{Limit: searchCases})
	if err != nil {
		return out, fmt.Errorf("read closed cases: %w", err)
	}
	for _, o := range closed.Items {
		if o.ID == id || o.Verdict == nil {
			continue
		}
		out.Looked++
		theirs, err := s.store.Signals(ctx, SignalFilter{Tenant: o.Tenant, Identity: o.Identity}, Page{Limit: 100})
		if err != nil {
			return out, err
		}
		var before []signal.Signal // what the verdict knew
		for _, g := range theirs.Items {
			if !g.At().After(o.Verdict.At) {
				before = append(before, g)
			}
		}
		var shares []string
		for m := range marks(before) {
			if want[m] {
				shares = append(shares, m)
			}
		}
		if len(shares) == 0 {
			continue
		}
		slices.Sort(shares)
		out.Cases = append(out.Cases, Precedent{o.ID, o.Name, *o.Verdict, shares})
		out.Verdicts[o.Verdict.Word]++
	}
	slices.SortFunc(out.Cases, func(a, b Precedent) int {
		return cmp.Or(cmp.Compare(len(b.Shares), len(a.Shares)), b.Verdict.At.Compare(a.Verdict.At), strings.Compare(string(a.Case), string(b.Case)))
	})
	return out, nil
}

// marks are the kinds and telling traits of signals, in words.
func marks(list []signal.Signal) map[string]bool {
	out := map[string]bool{}
	for _, g := range list {
		if g.Feedback() {
			continue
		}
		out[detection.Title(g)] = true
		for _, t := range traitsOf(g) {
			if !common(t.Kind) {
				out[t.Kind+" "+t.Value] = true
			}
		}
	}
	return out
}
