package activedirectory

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/go-ldap/ldap/v3"

	"github.com/seed-f47efad2/cordon/internal/action"
	"github.com/seed-f47efad2/cordon/internal/directory"
	"github.com/seed-f47efad2/cordon/internal/fault"
	"github.com/seed-f47efad2/cordon/internal/identity"
)

// Tasks are what Cordon has people do and never does itself: it says what and when,
// watches the directory, and proves it. Nothing is ever written by them.
//
// Changing krbtgt's key invalidates every ticket of the domain that is older than the
// change before last; Microsoft asks for two changes with the longest life of a ticket
// between them. Sources: "AD Forest Recovery: Resetting the krbtgt password",
// "Microsoft Entra seamless single sign-on: how do I roll over the Kerberos key".

// taskWithin is how long people have for a task before it counts as unconfirmed.
const taskWithin = 72 * time.Hour

const keyVersion = "msDS-KeyVersionNumber"

func taskSpec(name action.Name, title, summary string) action.Spec {
	return action.Spec{
		Name: name, Version: 1, Provider: identity.ActiveDirectory, Effect: action.EffectVerdict, Title: title, Summary: summary,
		Batch: 1, Bucket: Bucket, ReadBatch: 1, NeverRepeat: true, Propagation: propagation, Within: taskWithin,
	}
}

// handed is the outcome of handing a task to people: nothing was sent.
func handed(reqs []action.Request) []action.Outcome {
	out := make([]action.Outcome, len(reqs))
	for n, r := range reqs {
		out[n] = action.Outcome{Verdict: action.Accepted, RequestID: "people", Reason: "a person does it; Cordon watches"}
		if _, ok := recordedTask(r.Before); !ok {
			out[n] = action.Outcome{Verdict: action.Refused, Reason: "no state was recorded before: there is nothing to compare with"}
		}
	}
	return out
}

// A rotation is two changes of the key of one account of the domain itself.
type rotation struct {
	*domain
	spec   action.Spec
	sam    string // of that account
	absent string // what it means when there is none
	how    string // what the person does, once
}

var _ action.Type = (*rotation)(nil)

func (d *domain) rotations() []action.Type {
	krbtgt := &rotation{domain: d, sam: "krbtgt", absent: "the domain shows no krbtgt",
		how: "reset krbtgt's password on the PDC emulator (Active Directory Users and Computers, or samba-tool user setpassword krbtgt)"}
	krbtgt.spec = taskSpec(RotateKrbtgt, "Have people change krbtgt's key twice", "No ticket that was forged with the domain's stolen key opens anything any more.")
	krbtgt.spec.Limits = "Cordon never changes it. After the second change all older tickets end: people sign in again, and services that lose their way are restarted. Each read-only controller has a krbtgt of its own."
	sso := &rotation{domain: d, sam: "AZUREADSSOACC$", absent: "seamless single sign-on is not set up in this domain: there is no AZUREADSSOACC$",
		how: "run Update-AzureADSSOForest on the server of Entra Connect, as the domain's administrator"}
	sso.spec = taskSpec(RotateSSOKey, "Have people change the seamless single sign-on key twice", "No ticket that was forged with the stolen key signs in to the cloud any more.")
	sso.spec.Limits = "Cordon never changes it. Between a change and the next sign-in to the domain people may be asked for their password once."
	for _, r := range []*rotation{krbtgt, sso} {
		r.spec.Permissions = []string{"Read pwdLastSet and " + keyVersion + " of " + r.sam + ", which every account may by default"}
		r.spec.Irreversible = "a key that was changed does not come back"
		r.spec.Proof = "every writable controller shows a key version that is two higher than before"
	}
	return []action.Type{krbtgt, sso}
}

// A taskState is what a task recorded or saw on one controller.
type taskState struct {
	GUID    string    `json:"objectGUID,omitempty"` // of the account that is rotated
	Version int64     `json:"keyVersion,omitempty"`
	SetAt   time.Time `json:"pwdLastSet,omitzero"`
	Rights  []string  `json:"replicators,omitempty"` // SIDs
	DC      string    `json:"dc"`
}

func recordedTask(r json.RawMessage) (taskState, bool) {
	var s taskState
	return s, len(r) > 0 && json.Unmarshal(r, &s) == nil && s.DC != ""
}

func (r *rotation) Spec() action.Spec { return r.spec }

func (r *rotation) Look(ctx context.Context, reqs []action.Request) []action.Look {
	out := r.look(ctx, reqs, func(account) string { return "" }, func(account) (string, bool) { return "", false })
	var found []directory.Object
	for o, err := range r.client.Search(ctx, directory.Query{Filter: "(&(objectClass=user)(sAMAccountName=" + ldap.EscapeFilter(r.sam) + "))", Attributes: []string{"pwdLastSet", keyVersion}}) {
		if err != nil {
			for n := range out {
				out[n] = action.Look{Err: fmt.Errorf("look for %s: %w", r.sam, err)}
			}
			return out
		}
		found = append(found, o)
	}
	for n := range out {
		l := &out[n]
		switch {
		case l.Err != nil || l.Refuse != "":
			continue
		case len(found) != 1:
			l.Refuse = r.absent
			continue
		}
		s, err := rotated(found[0])
		if err != nil {
			l.Err = err
			continue
		}
		l.State, l.Text = encode(s), fmt.Sprintf("%s has version %d of its key, set at %s", r.sam, s.Version, minuteText(s.SetAt))
	}
	return out
}

// rotated reads the account whose key is changed.
func rotated(o directory.Object) (taskState, error) {
	s := taskState{GUID: o.GUID, DC: o.DC}
	for name, to := range map[string]*int64{keyVersion: &s.Version, "pwdLastSet": nil} {
		text, ok := o.Text(name)
		if !ok {
			return s, hidden(o, name)
		}
		v, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return s, fault.Errorf(fault.Unavailable, "%s shows a %s that is no number", o.DC, name)
		}
		if to != nil {
			*to = v
		} else {
			s.SetAt = fileTime(v)
		}
	}
	return s, nil
}

func (r *rotation) Do(_ context.Context, reqs []action.Request) []action.Outcome { return handed(reqs) }

func (r *rotation) ReadBack(ctx context.Context, reqs []action.Request) []action.Reading {
	out := make([]action.Reading, len(reqs))
	for n, req := range reqs {
		b, ok := recordedTask(req.Before)
		if !ok || b.GUID == "" {
			out[n].Err = fault.Errorf(fault.Invalid, "watch %s: no state was recorded before", r.sam)
			continue
		}
		views, err := r.client.SeeEverywhere(ctx, []directory.Subject{{GUID: b.GUID}}, "pwdLastSet", keyVersion)
		if err == nil && ctx.Err() != nil {
			err = fault.Errorf(fault.Unavailable, "the reading was ended: %w", context.Cause(ctx))
		}
		if err != nil {
			out[n].Err = fmt.Errorf("watch %s: %w", r.sam, err)
			continue
		}
		seen := make([]sighting, len(views))
		for i, v := range views {
			seen[i] = r.sight(b, v)
		}
		out[n] = r.reading(seen)
		out[n].Pending = out[n].Err == nil && !out[n].Seen // people are at it
	}
	return out
}

// sight says how far one controller shows the rotation to be, and what is next.
func (r *rotation) sight(b taskState, v directory.View) sighting {
	s := sighting{dc: v.DC, err: v.Err}
	if s.err == nil {
		s.err = v.Sights[0].Err
	}
	switch {
	case s.err != nil:
		return s
	case v.Sights[0].Object == nil:
		s.text = r.sam + " is not there"
		return s
	}
	var now taskState
	if now, s.err = rotated(*v.Sights[0].Object); s.err != nil {
		return s
	}
	s.state = encode(now)
	switch changes := now.Version - b.Version; {
	case changes <= 0:
		s.text = fmt.Sprintf("the first change is awaited of a person: %s; the key is still that of %s", r.how, minuteText(now.SetAt))
	case changes == 1:
		s.text = fmt.Sprintf("changed once, at %s; the second change is awaited of a person not before %s, %s after the first, when every controller shows it: again %s",
			minuteText(now.SetAt), minuteText(now.SetAt.Add(ticketLife)), "10 hours", r.how)
	default:
		s.holds, s.text = true, fmt.Sprintf("changed twice or more, last at %s (version %d)", minuteText(now.SetAt), now.Version)
	}
	return s
}

func minuteText(t time.Time) string { return t.UTC().Format("2006-01-02 15:04") + " UTC" }

// replication has people take away the right to replicate the domain's secrets.
// Cordon would need to write the list of rights on the domain's head (WriteDACL): with
// that it could give itself the domain, so no account of Cordon has it.
type replication struct{ *domain }

var _ action.Type = (*replication)(nil)

func (*replication) Spec() action.Spec {
	s := taskSpec(RemoveReplication, "Have people remove replication rights in Active Directory", "The account cannot replicate the domain's secrets (DCSync) any more.")
	s.Permissions = []string{"Read the list of rights on the head of the domain, which every account may by default"}
	s.Irreversible = "Cordon never writes the domain's list of rights: who took a right away gives it back"
	s.Limits = "Cordon never changes it: that takes WriteDACL on the head of the domain. Rights that the account has by way of a group are not seen here; remove the membership. What it replicated already stays known."
	s.Proof = "the list of rights on the domain's head names the account no more"
	return s
}

func (p *replication) Look(ctx context.Context, reqs []action.Request) []action.Look {
	looks := p.look(ctx, reqs, func(account) string { return "" }, func(account) (string, bool) { return "", false })
	d, err := p.client.Describe(ctx)
	for n := range looks {
		l := &looks[n]
		b, ok := recorded(l.State)
		switch {
		case l.Err != nil || l.Refuse != "":
			continue
		case err != nil:
			l.Err = fmt.Errorf("look at the domain's rights: %w", err)
			continue
		case d.HeadUnread:
			l.Err = fault.Errorf(fault.Denied, "%s does not show the rights on the domain's head", d.DC)
			continue
		case !ok || reqs[n].Account.SID == "":
			l.Refuse = "the account's SID is not known: its rights cannot be told from others'"
			continue
		}
		has := slices.Contains(d.Replicators, reqs[n].Account.SID)
		l.Already, l.Text = !has, replicationText(has)
		l.State = encode(taskState{GUID: b.GUID, Rights: d.Replicators, DC: d.DC})
	}
	return looks
}

func (p *replication) Do(_ context.Context, reqs []action.Request) []action.Outcome {
	return handed(reqs)
}

func (p *replication) ReadBack(ctx context.Context, reqs []action.Request) []action.Reading {
	out := make([]action.Reading, len(reqs))
	d, err := p.client.Describe(ctx)
	if err == nil && ctx.Err() != nil {
		err = fault.Errorf(fault.Unavailable, "the reading was ended: %w", context.Cause(ctx))
	}
	if err == nil && d.HeadUnread {
		err = errors.New(d.DC + " does not show the rights on the domain's head")
	}
	for n, r := range reqs {
		if _, ok := recordedTask(r.Before); err != nil || r.Account.SID == "" || !ok {
			out[n].Err = fmt.Errorf("watch the domain's rights: %w", errors.Join(err, fault.Unavailable))
			continue
		}
		has := slices.Contains(d.Replicators, r.Account.SID)
		text := replicationText(has)
		if has {
			text += "; a person removes it, such as by dsacls " + p.client.BaseDN() + " /R and the account's name"
		}
		out[n] = action.Reading{Seen: !has, Pending: has, State: encode(taskState{Rights: d.Replicators, DC: d.DC}),
			Text: text + " on " + d.DC + ", read at " + p.now().UTC().Format("15:04:05") + " UTC"}
	}
	return out
}

func replicationText(has bool) string {
	if has {
		return "the domain's head lets the account replicate all secrets"
	}
	return "the domain's head gives the account itself no right to replicate secrets"
}
