package question

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"slices"
	"time"

	"github.com/seed-f47efad2/cordon/internal/access"
	"github.com/seed-f47efad2/cordon/internal/audit"
	"github.com/seed-f47efad2/cordon/internal/detection"
	"github.com/seed-f47efad2/cordon/internal/fault"
	"github.com/seed-f47efad2/cordon/internal/identity"
	"github.com/seed-f47efad2/cordon/internal/record"
	"github.com/seed-f47efad2/cordon/internal/risk"
	"github.com/seed-f47efad2/cordon/internal/signal"
)

// Store keeps questions. Implementations pass storetest.
type Store interface {
	// Update calls change in one transaction, as run.Store's does.
	Update(ctx context.Context, change func(Tx) error) error
	// DueQuestions returns questions of the tenant whose DueAt is set and not after
	// now, earliest first, at most limit.
	DueQuestions(ctx context.Context, t identity.Tenant, now time.Time, limit int) ([]Question, error)
}

// Tx is one transaction as questions see it. Puts are as run.Tx's; a question that is
// over keeps its state and its answer.
type Tx interface {
	Question(t identity.Tenant, id ID) (Question, error)
	PutQuestion(q Question) (Question, error)
	// QuestionsSent counts the questions about the identity, or about everybody of the
	// tenant when it is empty, that were given a link and asked not before since.
	QuestionsSent(t identity.Tenant, id identity.ID, since time.Time) (int, error)

	Identity(t identity.Tenant, id identity.ID) (identity.Identity, error)
	SignalsOf(t identity.Tenant, id identity.ID) ([]signal.Signal, error)
	Assessment(t identity.Tenant, id identity.ID) (risk.Assessment, error)
	FindAccount(t identity.Tenant, name string) ([]identity.Identity, error)
	Audit(e audit.Entry) error
}

// Settings are what the configuration says of questions.
type Settings struct {
	Channels []Channel
	Believe  signal.Level // see Standing; empty: low
	PerHour  int          // questions that are sent in an hour in one tenant; 0: DefaultPerHour
	PerDay   int          // about one identity in a day; 0: DefaultPerDay
}

// How much is asked when the configuration does not say.
const (
	DefaultPerHour = 100
	DefaultPerDay  = 3
)

// A Recipient is where a message goes, as the directory says now.
type Recipient struct {
	Name     string `json:"name"`
	ObjectID string `json:"objectId,omitempty"`
	UPN      string `json:"userPrincipalName,omitempty"`
	Mail     string `json:"mail,omitempty"`
}

// A Message is a question on its way.
type Message struct {
	Question Question
	To       Recipient
	About    Recipient // whose account it is
	Link     string    // whoever has it may answer: it goes to the channel and nowhere else
}

// String hides the link.
func (m Message) String() string {
	return fmt.Sprintf("question %s to %s (link not shown)", m.Question.ID, m.To.Name)
}

// An Asker sends questions and looks for what bears a "yes" out. Its fields are set
// before it is used; all but Log are needed.
type Asker struct {
	Store    Store
	Settings func() Settings
	// Key returns the key that links are made with; its error says why there is none.
	Key func() ([]byte, error)
	// Base is the address of the page, without a slash at its end; "" when nobody said
	// how people reach it.
	Base func() string
	// Directory returns the person and their manager as the directory has them;
	// fault.NotFound when it has no such person. A manager that is nobody is the zero
	// value.
	Directory func(ctx context.Context, i identity.Identity) (person, manager Recipient, err error)
	// Send gives a message to the channel. fault.Invalid: it will never take it.
	Send    func(ctx context.Context, channel string, m Message) error
	Stopped func(ctx context.Context, t identity.Tenant) (bool, error) // the stop is on: nothing leaves
	Records record.Reader
	Now     func() time.Time
	Rand    io.Reader // cryptographically strong
	Log     *slog.Logger
}

const (
	atOnce     = 20
	sendFor    = time.Minute      // after which a message that is on its way may be sent again
	slowest    = 5 * time.Minute  // between two tries
	proofEvery = 10 * time.Second // between two looks for a proof
	proofFor   = time.Hour        // how long after the answer it is looked for
)

// Pass sends the tenant's questions that are due and looks for proofs. Whoever
// dispatches for the tenant calls it again and again. A message may be sent twice
// across a crash, with the same link. The error is about the store.
func (a *Asker) Pass(ctx context.Context, t identity.Tenant) error {
	due, err := a.Store.DueQuestions(ctx, t, a.Now(), atOnce)
	if err != nil {
		return fmt.Errorf("find questions that are due: %w", err)
	}
	var errs []error
	for _, q := range due {
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case q.State == Pending:
			err = a.send(ctx, q)
		default:
			err = a.prove(ctx, q)
		}
		if err != nil && !errors.Is(err, fault.Conflict) { // somebody else has gone on with it
			errs = append(errs, fmt.Errorf("question %s: %w", q.ID, err))
		}
	}
	return errors.Join(errs...)
}

// send sends one question.
func (a *Asker) send(ctx context.Context, q Question) error {
	if stopped, err := a.Stopped(ctx, q.Tenant); stopped || err != nil {
		if err != nil {
			return err
		}
		return a.again(ctx, q, "the stop is on: nothing leaves", false)
	}
	key, err := a.Key()
	if err != nil {
		return a.nobody(ctx, q, err.Error())
	}
	base := a.Base()
	if base == "" {
		return a.nobody(ctx, q, "nobody said how people reach the page where it is answered: give questions.url or public_url")
	}
	var i identity.Identity
	if err := a.Store.Update(ctx, func(tx Tx) (err error) { i, err = tx.Identity(q.Tenant, q.Identity); return err }); err != nil {
		return err
	}
	person, manager, err := a.Directory(ctx, i)
	switch {
	case errors.Is(err, fault.NotFound):
		person = Recipient{Name: i.Name}
	case err != nil:
		return a.again(ctx, q, "the directory could not be asked: "+err.Error(), true)
	}
	m := Message{To: person, About: person}
	if q.Who == Manager {
		if m.To = manager; manager == (Recipient{}) {
			return a.nobody(ctx, q, "the directory names no manager")
		}
	}
	nonce := make([]byte, nonceSize)
	if _, err := io.ReadFull(a.Rand, nonce); err != nil {
		return fmt.Errorf("make a link: %w", err)
	}
	var c Channel
	ready := false
	if err := a.Store.Update(ctx, func(tx Tx) error {
		c, ready, m.Link = Channel{}, false, ""
		now := a.Now()
		q, err = tx.Question(q.Tenant, q.ID)
		if err != nil || q.State != Pending || q.DueAt.IsZero() || q.DueAt.After(now) {
			return err
		}
		next, chosen, token, err := a.prepare(tx, q, i, m.To, key, nonce)
		if err != nil {
			return err
		}
		if q, err = tx.PutQuestion(next); err != nil {
			return err
		}
		c, ready = chosen, token != ""
		if ready {
			m.Link = base + Path(q.ID, token)
		}
		if q.State == Unasked {
			return tx.Audit(entry(q, audit.QuestionEnded, access.BySystem("question"), now, "the %s of %s could not be asked: %s", q.Who, q.Name, q.Reason))
		}
		return nil
	}); err != nil || !ready {
		return err
	}
	m.Question = q
	m.Question.Facts = a.facts(ctx, q)
	switch err := a.Send(ctx, c.ID, m); {
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.Is(err, fault.Invalid):
		return a.nobody(ctx, q, c.ID+" refuses it: "+err.Error())
	case err != nil:
		return a.again(ctx, q, err.Error(), true)
	}
	return a.sent(ctx, q, m)
}

// prepare chooses how q is asked and makes its link. Without a token it is not asked
// now, or never.
func (a *Asker) prepare(tx Tx, q Question, i identity.Identity, to Recipient, key, nonce []byte) (next Question, c Channel, token string, err error) {
	now, s := a.Now(), a.Settings()
	mfa := (*bool)(nil)
	if e, ok := i.Account(identity.EntraID); ok {
		mfa = e.Facts.MFARegistered
	}
	c, why, ok := Choose(q, s.Channels, mfa)
	if !ok {
		return q.Nobody(why, now), c, "", nil
	}
	if q.Who == Manager {
		why, err := a.atRisk(tx, q.Tenant, to)
		if why != "" || err != nil {
			return q.Nobody(why, now), c, "", err
		}
	}
	if len(q.Hash) == 0 {
		n, err := tx.QuestionsSent(q.Tenant, q.Identity, now.Add(-24*time.Hour))
		if err != nil {
			return q, c, "", err
		}
		if limit := cmp.Or(s.PerDay, DefaultPerDay); n >= limit {
			return q.Nobody(fmt.Sprintf("they were asked %d times within a day already", n), now), c, "", nil
		}
		if n, err = tx.QuestionsSent(q.Tenant, "", now.Add(-time.Hour)); err != nil {
			return q, c, "", err
		}
		if limit := cmp.Or(s.PerHour, DefaultPerHour); n >= limit {
			q.Trouble, q.DueAt = fmt.Sprintf("%d people were asked within an hour, and no more are", n), now.Add(proofEvery)
			return q, c, "", nil
		}
	}
	if q, token, err = q.Link(key, nonce); err != nil {
		return q, c, "", err
	}
	q.Via, q.Choice, q.DueAt = c.ID, why, now.Add(sendFor)
	return q, c, token, nil
}

// atRisk says why the manager is not asked: their own account is in doubt.
func (a *Asker) atRisk(tx Tx, t identity.Tenant, manager Recipient) (string, error) {
	if manager.ObjectID == "" {
		return "", nil
	}
	found, err := tx.FindAccount(t, manager.ObjectID)
	if err != nil {
		return "", err
	}
	for _, i := range found {
		r, err := tx.Assessment(t, i.ID)
		if err != nil && !errors.Is(err, fault.NotFound) {
			return "", err
		}
		if r.Level.Rank() >= signal.LevelLow.Rank() {
			return fmt.Sprintf("the manager is at %s risk themselves", r.Level), nil
		}
	}
	return "", nil
}

// facts adds what the sign-ins tell to what the person is asked about. It is a help:
// what cannot be read is left out.
func (a *Asker) facts(ctx context.Context, q Question) []Fact {
	out := slices.Clone(q.Facts)
	for n, f := range out {
		if f.SignIn == "" {
			continue
		}
		page, err := a.Records.Records(ctx, record.Query{Tenant: q.Tenant, Sources: []record.Source{record.SignIn}, ExternalID: f.SignIn, Limit: 1})
		if err != nil || len(page.Records) == 0 {
			continue
		}
		r := page.Records[0]
		out[n].App, out[n].Device = cmp.Or(f.App, r.App), cmp.Or(f.Device, r.Device, r.UserAgent)
		out[n].Place, out[n].IP = cmp.Or(f.Place, r.Location), cmp.Or(f.IP, r.IP)
	}
	return out
}

// sent notes that the channel took the message, and what was asked about.
func (a *Asker) sent(ctx context.Context, was Question, m Message) error {
	return a.Store.Update(ctx, func(tx Tx) error {
		q, err := tx.Question(was.Tenant, was.ID)
		if err != nil {
			return err
		}
		now := a.Now()
		q.SentAt, q.Trouble, q.Facts = now, "", m.Question.Facts
		if q.State == Pending { // else it was answered before this came so far
			q.DueAt = time.Time{}
		}
		if q, err = tx.PutQuestion(q); err != nil {
			return err
		}
		e := entry(q, audit.QuestionSent, access.BySystem("question"), now, "the %s of %s was asked whether it was them, by %s", q.Who, q.Name, q.Choice)
		e.Data["to"], e.Data["facts"] = m.To.Name, q.Facts
		return tx.Audit(e)
	})
}

// again puts a question off.
func (a *Asker) again(ctx context.Context, was Question, trouble string, failed bool) error {
	return a.Store.Update(ctx, func(tx Tx) error {
		q, err := tx.Question(was.Tenant, was.ID)
		if err != nil || q.State != Pending {
			return err
		}
		wait := proofEvery
		if failed {
			wait = min(time.Second<<min(q.Tries, 10), slowest)
			q.Tries++
			if a.Log != nil && (q.Tries == 1 || q.Tries%20 == 0) {
				a.Log.Warn("a question could not be sent; it is tried again", "question", q.ID, "channel", q.Via, "tries", q.Tries, "in", wait, "why", trouble)
			}
		}
		q.Trouble, q.DueAt = clip(trouble), a.Now().Add(wait)
		_, err = tx.PutQuestion(q)
		return err
	})
}

func clip(s string) string { return s[:min(len(s), 300)] }

// nobody ends a question that cannot be asked.
func (a *Asker) nobody(ctx context.Context, was Question, why string) error {
	return a.Store.Update(ctx, func(tx Tx) error {
		q, err := tx.Question(was.Tenant, was.ID)
		if err != nil || q.State != Pending {
			return err
		}
		if q, err = tx.PutQuestion(q.Nobody(clip(why), a.Now())); err != nil {
			return err
		}
		return tx.Audit(entry(q, audit.QuestionEnded, access.BySystem("question"), a.Now(), "the %s of %s could not be asked: %s", q.Who, q.Name, q.Reason))
	})
}

// prove looks for a strong sign-in since the question was asked, after a yes that
// nothing speaks against.
func (a *Asker) prove(ctx context.Context, was Question) error {
	var refs []identity.Ref
	var bad []signal.Signal
	if err := a.Store.Update(ctx, func(tx Tx) error {
		i, err := tx.Identity(was.Tenant, was.Identity)
		if err != nil {
			return err
		}
		refs = nil
		for _, acc := range i.Accounts {
			refs = append(refs, acc.Ref)
		}
		bad, err = tx.SignalsOf(was.Tenant, was.Identity)
		return err
	}); err != nil {
		return err
	}
	page, err := a.Records.Records(ctx, record.Query{Tenant: was.Tenant, Accounts: refs, Sources: []record.Source{record.SignIn}, Since: was.AskedAt, Limit: 100})
	if err != nil {
		return err
	}
	proof := ""
	for _, r := range page.Records {
		if text, ok := strong(r, refs, bad); ok {
			proof = text
		}
	}
	return a.Store.Update(ctx, func(tx Tx) error {
		q, err := tx.Question(was.Tenant, was.ID)
		if err != nil || q.DueAt.IsZero() || q.State != Answered {
			return err
		}
		now := a.Now()
		standing, err := StandingOf(tx, q, a.Settings())
		if err != nil {
			return err
		}
		// What came meanwhile speaks too.
		if q.Doubts = standing.Doubts(); len(q.Doubts) > 0 || now.After(q.EndedAt.Add(proofFor)) {
			q.DueAt = time.Time{}
			_, err = tx.PutQuestion(q)
			return err
		}
		q.DueAt = now.Add(proofEvery)
		if proof == "" {
			_, err = tx.PutQuestion(q)
			return err
		}
		q.Proof, q.DueAt = proof, time.Time{}
		if q, err = tx.PutQuestion(q); err != nil {
			return err
		}
		return tx.Audit(entry(q, audit.QuestionProven, access.BySystem("question"), now, "that it was %s is borne out: %s", q.Name, q.Proof))
	})
}

// strong reports whether a sign-in bears a yes out: the person themselves gave a second
// factor in it, it carries no risk, and it came from nowhere that a signal came from.
func strong(r record.Record, of []identity.Ref, bad []signal.Signal) (string, bool) {
	if r.Source != record.SignIn || r.Result != record.Success || !r.SecondFactor() || !slices.ContainsFunc(of, func(a identity.Ref) bool { return same(a, r.Subject) }) {
		return "", false
	}
	if k := r.Risk; k != nil && (k.During.Rank() > 0 || k.Aggregated.Rank() > 0 || k.State.Open() && k.State != "") {
		return "", false
	}
	from, err := netip.ParseAddr(r.IP)
	for _, g := range bad {
		if ip, e := netip.ParseAddr(g.IP); err != nil || e == nil && ip.Unmap() == from.Unmap() {
			return "", false
		}
	}
	return fmt.Sprintf("a sign-in without risk at %s, with a second factor given then, from %s", r.At.UTC().Format(time.RFC3339), r.IP), true
}

func same(a, b identity.Ref) bool {
	for _, k := range a.Keys() {
		if slices.Contains(b.Keys(), k) {
			return true
		}
	}
	return false
}

// StandingOf gathers what speaks about the identity of q now.
func StandingOf(tx interface {
	Identity(t identity.Tenant, id identity.ID) (identity.Identity, error)
	SignalsOf(t identity.Tenant, id identity.ID) ([]signal.Signal, error)
	Assessment(t identity.Tenant, id identity.ID) (risk.Assessment, error)
}, q Question, s Settings) (Standing, error) {
	out := Standing{Believe: cmp.Or(s.Believe, signal.LevelLow), From: q.From}
	i, err := tx.Identity(q.Tenant, q.Identity)
	if err != nil {
		return out, err
	}
	if held, known := i.Privileged(); known {
		out.Privileged = &held
	}
	r, err := tx.Assessment(q.Tenant, q.Identity)
	if err != nil && !errors.Is(err, fault.NotFound) {
		return out, err
	}
	out.Level = r.Level
	list, err := tx.SignalsOf(q.Tenant, q.Identity)
	if err != nil {
		return out, err
	}
	for _, g := range list {
		if !g.State.Open() {
			continue
		}
		out.Open = append(out.Open, g)
		if e, _ := detection.Of(g); !slices.Contains(out.Causes, e.Cause) {
			out.Causes = append(out.Causes, e.Cause)
		}
	}
	slices.Sort(out.Causes)
	return out, nil
}

// Entry is a line of the trail about q. It holds nothing of the link.
func entry(q Question, k audit.Kind, by access.Actor, at time.Time, format string, args ...any) audit.Entry {
	return audit.Entry{
		Tenant: q.Tenant, At: at, Actor: by, Kind: k, Identity: string(q.Identity), Case: q.Case, Run: q.Run, Text: fmt.Sprintf(format, args...),
		Data: map[string]any{"question": q.ID, "channel": q.Via, "choice": q.Choice},
	}
}

// AnsweredEntry is the line of the trail about the answer of q.
func AnsweredEntry(q Question) audit.Entry {
	text := fmt.Sprintf("the %s of %s answered: %s", q.Who, q.Name, q.Answer.Text(q.Who))
	if len(q.Doubts) > 0 {
		text += "; that settles nothing, because " + q.Doubts[0]
	}
	e := entry(q, audit.QuestionAnswered, access.BySystem("question"), q.EndedAt, "%s", text)
	e.Data["answer"], e.Data["from"], e.Data["doubts"] = q.Answer, q.From, q.Doubts
	return e
}

// Path is the page's path for a question's secret.
func Path(id ID, token string) string { return "/ask/" + string(id) + "/" + token }
