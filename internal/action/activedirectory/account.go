package activedirectory

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/go-ldap/ldap/v3"

	"github.com/seed-f47efad2/cordon/internal/action"
	"github.com/seed-f47efad2/cordon/internal/directory"
	"github.com/seed-f47efad2/cordon/internal/fault"
	"github.com/seed-f47efad2/cordon/internal/identity"
)

// A domain reads and writes accounts.
type domain struct {
	client *directory.Client
	now    func() time.Time

	mu   sync.Mutex
	self string // objectGUID of our own account, once it is known
}

// The bits of userAccountControl that are looked at. Source: MS-ADTS 2.2.16.
const (
	accountDisable     = 0x2
	lockedOut          = 0x10 // computed only
	interdomainTrust   = 0x800
	dontExpirePassword = 0x10000
	smartcardRequired  = 0x40000
)

var attributes = []string{"sAMAccountName", "userAccountControl", "msDS-User-Account-Control-Computed", "pwdLastSet", "lockoutTime",
	"isCriticalSystemObject", "servicePrincipalName"}

// An account is what one controller shows of an account.
type account struct {
	directory.Object
	control  int32  // userAccountControl
	written  string // userAccountControl as the controller writes it
	computed int64  // msDS-User-Account-Control-Computed
	pwdSet   int64  // pwdLastSet: a FILETIME, 0 when the password must be changed
	lockout  int64  // lockoutTime: a FILETIME, 0 when it is not locked
}

// read takes an object for an account. What is not shown is an error: a right to
// read that is missing must not pass for a value.
func read(o directory.Object) (account, error) {
	a := account{Object: o}
	var ok bool
	if a.written, ok = o.Text("userAccountControl"); !ok {
		return a, hidden(o, "userAccountControl")
	}
	v, err := strconv.ParseInt(a.written, 10, 32)
	if err != nil {
		return a, fault.Errorf(fault.Unavailable, "%s shows a userAccountControl that is no number", o.DC)
	}
	a.control = int32(v)
	for name, to := range map[string]*int64{"msDS-User-Account-Control-Computed": &a.computed, "pwdLastSet": &a.pwdSet, "lockoutTime": &a.lockout} {
		text, ok := o.Text(name)
		if !ok {
			continue // never locked, never set
		}
		if *to, err = strconv.ParseInt(text, 10, 64); err != nil {
			return a, fault.Errorf(fault.Unavailable, "%s shows a %s that is no number", o.DC, name)
		}
	}
	return a, nil
}

func hidden(o directory.Object, attribute string) error {
	return fault.Errorf(fault.Denied, "%s does not show %s: the account that Cordon uses may not read it", o.DC, attribute)
}

func (a account) enabled() bool    { return a.control&accountDisable == 0 }
func (a account) locked() bool     { return a.computed&lockedOut != 0 }
func (a account) mustChange() bool { return a.pwdSet == 0 }

// refuse says why automation never changes the account, whatever the action.
func (a account) refuse(self string) string {
	name, _ := a.Text("sAMAccountName")
	critical, _ := a.Text("isCriticalSystemObject")
	switch {
	case a.GUID == self:
		return "the account that Cordon itself signs in with"
	case a.Is("msDS-GroupManagedServiceAccount"), a.Is("msDS-ManagedServiceAccount"), a.Is("msDS-DelegatedManagedServiceAccount"):
		return "a managed service account: its password and state are the domain's"
	case a.Is("computer"), strings.HasSuffix(name, "$"), a.control&interdomainTrust != 0:
		return "the account of a computer or a trust: it may be a domain controller's"
	case !a.Is("user"):
		return "no account: the identifier names another kind of object"
	case strings.EqualFold(critical, "TRUE"), strings.HasPrefix(strings.ToLower(name), "krbtgt"):
		return "an account that the domain itself cannot do without (krbtgt, the built-in Administrator, Guest)"
	}
	return ""
}

// note is added to what is shown before an action: what a person would ask.
func (a account) note() string {
	if spn, ok := a.Text("servicePrincipalName"); ok {
		return "; it runs services (" + short(spn, 80) + ")"
	}
	return ""
}

// A before is the part of a recorded state that all actions share.
type before struct {
	GUID               string `json:"objectGUID"`
	UserAccountControl int32  `json:"userAccountControl"`
	PwdLastSet         int64  `json:"pwdLastSet"`
	LockoutTime        int64  `json:"lockoutTime"`
	DC                 string `json:"dc"` // who showed it
	// Values are further attributes as they were, for actions that replace them;
	// Group is the group that an action on a membership found.
	Values  values      `json:"values,omitempty"`
	Group   *membership `json:"group,omitempty"`
	By      action.Name `json:"by,omitempty"`      // the action that recorded it
	Already bool        `json:"already,omitempty"` // what that action wants was there
}

// state records the account, and what further attributes it has of those named.
func (a account) state(further ...string) json.RawMessage {
	return encode(before{GUID: a.GUID, UserAccountControl: a.control, PwdLastSet: a.pwdSet, LockoutTime: a.lockout, DC: a.DC,
		Values: valuesOf(a, further)})
}

func encode(v any) json.RawMessage {
	b, err := json.Marshal(v)
	if err != nil { // strings, numbers and octets
		panic(fmt.Sprintf("activedirectory: encode a state: %v", err))
	}
	return b
}

// recorded decodes what Look recorded; ok is false when there is nothing.
func recorded(r json.RawMessage) (before, bool) {
	var b before
	return b, len(r) > 0 && json.Unmarshal(r, &b) == nil && b.GUID != ""
}

func subject(r action.Request) directory.Subject {
	if r.Account.Provider != identity.ActiveDirectory {
		return directory.Subject{}
	}
	return directory.Subject{SID: r.Account.SID, GUID: r.Account.GUID}
}

func subjects(reqs []action.Request) []directory.Subject {
	out := make([]directory.Subject, len(reqs))
	for n, r := range reqs {
		out[n] = subject(r)
	}
	return out
}

// own returns the objectGUID of the account that we sign in with.
func (d *domain) own(ctx context.Context) (string, error) {
	d.mu.Lock()
	known := d.self
	d.mu.Unlock()
	if known != "" {
		return known, nil
	}
	self, err := d.client.Self(ctx)
	if err != nil {
		return "", fmt.Errorf("find Cordon's own account: %w", err)
	}
	d.mu.Lock()
	d.self = self.GUID
	d.mu.Unlock()
	return self.GUID, nil
}

// A question is what one action asks of an account before it acts.
type question struct {
	further []string                                     // attributes to read and record beyond those of every account
	refuse  func(action.Request, account) string         // why the account cannot be its target; "" when it can
	state   func(action.Request, account) (string, bool) // what is there in words, and whether the wanted state holds
	err     func(action.Request, account) error          // why what is there cannot be believed; may be nil
}

// look asks a question of accounts that takes no parameters.
func (d *domain) look(ctx context.Context, reqs []action.Request, refuse func(account) string, state func(account) (string, bool)) []action.Look {
	return d.ask(ctx, reqs, question{
		refuse: func(_ action.Request, a account) string { return refuse(a) },
		state:  func(_ action.Request, a account) (string, bool) { return state(a) },
	})
}

// ask makes the Looks of reqs.
func (d *domain) ask(ctx context.Context, reqs []action.Request, q question) []action.Look {
	out := make([]action.Look, len(reqs))
	self, err := d.own(ctx)
	var v directory.View
	if err == nil {
		v, err = d.client.See(ctx, subjects(reqs), slices.Concat(attributes, q.further)...)
	}
	if err != nil {
		for n := range out {
			out[n].Err = fmt.Errorf("look at the account: %w", err)
		}
		return out
	}
	for n, s := range v.Sights {
		l := &out[n]
		switch {
		case s.Err != nil:
			l.Err = s.Err
			continue
		case s.Object == nil:
			found := false
			l.Facts = &identity.Facts{AsOf: d.now(), Found: &found}
			l.Refuse = "Active Directory has no such account any more"
			continue
		}
		if why := (account{Object: *s.Object}).refuse(self); why != "" { // before what it may not show
			l.Refuse = why
			continue
		}
		a, err := read(*s.Object)
		if err != nil {
			l.Err = err
			continue
		}
		l.Facts = d.facts(a)
		if l.Refuse = cmp.Or(a.refuse(self), q.refuse(reqs[n], a)); l.Refuse == "" {
			if q.err != nil {
				if l.Err = q.err(reqs[n], a); l.Err != nil {
					continue
				}
			}
			l.Text, l.Already = q.state(reqs[n], a)
			l.Text += a.note()
		}
		l.State = a.state(q.further...)
	}
	return out
}

func (d *domain) facts(a account) *identity.Facts {
	found, on := true, a.enabled()
	return &identity.Facts{AsOf: d.now(), Found: &found, Enabled: &on, LastPasswordChange: fileTime(a.pwdSet)}
}

// readBack makes the Readings of reqs: proof says whether a controller shows the
// wanted state, and what it shows in words; further are attributes it looks at. All
// writable controllers must show it.
func (d *domain) readBack(ctx context.Context, reqs []action.Request, proof func(action.Request, account) (bool, string), further ...string) []action.Reading {
	out := make([]action.Reading, len(reqs))
	views, err := d.client.SeeEverywhere(ctx, subjects(reqs), slices.Concat(attributes, further)...)
	if err == nil && ctx.Err() != nil {
		err = fault.Errorf(fault.Unavailable, "the reading was ended: %w", context.Cause(ctx))
	}
	for n, r := range reqs {
		if err != nil {
			out[n].Err = fmt.Errorf("read the account back: %w", err)
			continue
		}
		out[n] = d.merge(r, n, views, proof)
	}
	return out
}

// merge makes one Reading of what each controller shows.
func (d *domain) merge(r action.Request, n int, views []directory.View, proof func(action.Request, account) (bool, string)) action.Reading {
	seen := make([]sighting, len(views))
	for i, v := range views {
		g := &seen[i]
		g.dc = v.DC
		s := directory.Sight{Err: v.Err}
		if v.Err == nil {
			s = v.Sights[n]
		}
		switch {
		case s.Err != nil:
			g.err = s.Err
		case s.Object == nil:
			g.text = "the account is not there"
		default:
			var a account
			if a, g.err = read(*s.Object); g.err == nil {
				g.state = a.state()
				g.holds, g.text = proof(r, a)
			}
		}
	}
	return d.reading(seen)
}

// each runs do for every request at once and returns the outcomes one to one.
func each(reqs []action.Request, do func(action.Request) action.Outcome) []action.Outcome {
	out := make([]action.Outcome, len(reqs))
	var all sync.WaitGroup
	for n, r := range reqs {
		all.Go(func() { out[n] = do(r) })
	}
	all.Wait()
	return out
}

// swap replaces one value by another if it is still there. When it is not, the
// account is read: holds says that what is there now is what was wanted.
func (d *domain) swap(ctx context.Context, r action.Request, attribute string, values func(before) (old, new string), holds func(account) bool) action.Outcome {
	b, ok := recorded(r.Before)
	if !ok {
		return action.Outcome{Verdict: action.Refused, Reason: "no state was recorded before: there is nothing to compare with"}
	}
	from, to := values(b)
	dc, err := d.client.Modify(ctx, directory.Modification{GUID: b.GUID, Changes: directory.Swap(attribute, from, to)})
	if errors.Is(err, fault.Conflict) {
		if v, e := d.client.See(ctx, []directory.Subject{{GUID: b.GUID}}, attributes...); e == nil && v.Sights[0].Object != nil {
			if a, e := read(*v.Sights[0].Object); e == nil && holds(a) {
				return action.Outcome{Verdict: action.Accepted, Reason: "it was so already", RequestID: v.DC}
			}
		}
	}
	return outcome(dc, err)
}

// outcome judges one write. What did nothing and may work another time is Later,
// also when our own signing in is the trouble; only what another try cannot cure is
// Refused.
func outcome(dc string, err error) action.Outcome {
	out := action.Outcome{RequestID: dc}
	if err == nil {
		out.Verdict = action.Accepted
		return out
	}
	out.Reason = short(err.Error(), 300)
	var e *directory.Error
	answered := errors.As(err, &e) && e.Code == ldap.LDAPResultInsufficientAccessRights
	switch {
	case errors.Is(err, fault.Unknown):
		out.Verdict = action.Unknown
	case errors.Is(err, fault.Unavailable):
		out.Verdict = action.Later
		out.After, _ = fault.RetryAfter(err)
	case errors.Is(err, fault.Conflict):
		out.Verdict, out.After = action.Later, time.Second
		out.Reason = "somebody else changed the account meanwhile; it is looked at again"
	case errors.Is(err, fault.Denied) && !answered:
		out.Verdict, out.After = action.Later, 30*time.Second
		out.Reason = "Cordon could not sign in to Active Directory: " + out.Reason
	case errors.Is(err, fault.Denied):
		out.Verdict = action.Refused
		out.Reason = "Active Directory refused it: Cordon's account has no right to do this to the account. Rights delegated on an organisational unit do not reach accounts outside it, nor administrators (" + out.Reason + ")"
	case errors.Is(err, fault.NotFound):
		out.Verdict, out.Reason = action.Refused, "Active Directory has no such account any more"
	default:
		out.Verdict = action.Refused
	}
	return out
}

// fileTime converts a FILETIME, 100 ns since 1601; 0 is no time (MS-DTYP 2.3.3).
func fileTime(v int64) time.Time {
	const to1970 = 11_644_473_600 // seconds
	if v <= 0 {
		return time.Time{}
	}
	return time.Unix(v/10_000_000-to1970, v%10_000_000*100).UTC()
}

// toFileTime is the reverse of fileTime.
func toFileTime(t time.Time) int64 {
	return (t.Unix()+11_644_473_600)*10_000_000 + int64(t.Nanosecond())/100
}

func names[T any](list []T, name func(T) string) []string {
	var out []string
	for _, v := range list {
		out = append(out, name(v))
	}
	return out
}

// join lists names as people do.
func join(list []string) string {
	list = slices.Sorted(slices.Values(list))
	if len(list) < 2 {
		return strings.Join(list, "")
	}
	return strings.Join(list[:len(list)-1], ", ") + " and " + list[len(list)-1]
}

// short makes a text one line of at most n bytes.
func short(s string, n int) string {
	s = strings.Join(strings.Fields(s), " ")
	if len(s) > n {
		s = strings.ToValidUTF8(s[:n], "") + "…"
	}
	return s
}
