package activedirectory

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"

	"github.com/seed-f47efad2/cordon/internal/action"
	"github.com/seed-f47efad2/cordon/internal/directory"
	"github.com/seed-f47efad2/cordon/internal/fault"
	"github.com/seed-f47efad2/cordon/internal/identity"
	"github.com/seed-f47efad2/cordon/internal/signal"
)

// ParamTwice asks for two resets in a row.
const ParamTwice = "twice"

// password sets a new random password that nobody ever learns (law 4).
//
// After one reset the previous password still opens NTLM and simple binds for an
// hour, because the directory keeps it as the one before. The second reset puts
// another random one in that place. Both go to the same controller, one right after
// the other: the history replicates as one value, so a controller that has heard of
// neither goes from the old password to both at once.
type password struct{ *domain }

var (
	_ action.Type      = (*password)(nil)
	_ action.Generator = (*password)(nil)
)

func (*password) Spec() action.Spec {
	return action.Spec{
		Name: ResetPassword, Version: 1, Provider: identity.ActiveDirectory, Effect: action.EffectCredential,
		Title: "Reset the password in Active Directory", Summary: "The account has a new random password that nobody knows.",
		Permissions: []string{"Reset Password on user objects in the organisational units in scope", "Read and write pwdLastSet there (for two resets in a row)"},
		Params: action.Params{{Name: ParamTwice, Type: "boolean", Default: false,
			Text: "Reset it twice, so that the old password ends at once for NTLM and simple binds too. Wanted whenever password or hash were stolen."}},
		Remedies:     []signal.Cause{signal.CausePassword},
		Irreversible: "the old password cannot be brought back", Password: true,
		Limits: "After a single reset the old password still opens NTLM and LDAP simple binds for up to an hour; only Kerberos ends at once. Tickets and open connections go on. A synchronised cloud account follows within a few minutes where password hashes are synchronised.",
		Proof:  "`pwdLastSet` is later than the one read before on every writable domain controller, and after two resets not 0.",
		Batch:  batch, Bucket: Bucket, ReadBatch: readBatch,
		NeverRepeat: true, Propagation: propagation, Within: within,
	}
}

func (p *password) Look(ctx context.Context, reqs []action.Request) []action.Look {
	return p.look(ctx, reqs, func(account) string { return "" }, func(a account) (string, bool) { return setText(a), false })
}

// passwordLength is in characters, a little over 6 bits each.
const passwordLength = 32

// Generate makes the password; for two resets, two of them.
func (p *password) Generate(rand io.Reader, r action.Request) (secret, sealed []byte, err error) {
	for range resets(r) {
		one, err := newPassword(rand, r.Account)
		if err != nil {
			clear(secret)
			return nil, nil, err
		}
		secret = append(secret, one...)
	}
	return secret, nil, nil
}

func resets(r action.Request) int {
	if twice, _ := r.Params[ParamTwice].(bool); twice {
		return 2
	}
	return 1
}

func (p *password) Do(ctx context.Context, reqs []action.Request) []action.Outcome {
	return each(reqs, func(r action.Request) action.Outcome { return p.reset(ctx, r) })
}

// reset sets the password or passwords. The first of two also demands a change at
// the next logon, which the second lifts: so the read-back tells one reset from two,
// which leave no other trace that the account may read.
func (p *password) reset(ctx context.Context, r action.Request) action.Outcome {
	b, ok := recorded(r.Before)
	n := resets(r)
	switch {
	case !ok:
		return action.Outcome{Verdict: action.Refused, Reason: "no state was recorded before: there is nothing to compare with"}
	case len(r.Secret) != n*passwordLength:
		return action.Outcome{Verdict: action.Refused, Reason: "no password was made for this request"}
	}
	set := func(secret []byte) directory.Change {
		return directory.Change{Op: directory.Replace, Attribute: "unicodePwd", Values: []string{directory.Password(secret)}}
	}
	m := directory.Modification{GUID: b.GUID, Changes: []directory.Change{set(r.Secret[:passwordLength])}, Secrets: []string{string(r.Secret)}}
	if n == 1 {
		return outcome(p.client.Modify(ctx, m))
	}
	m.Secrets = []string{string(r.Secret[:passwordLength]), string(r.Secret[passwordLength:])}
	m.Changes = append(m.Changes, directory.Change{Op: directory.Replace, Attribute: "pwdLastSet", Values: []string{"0"}})
	dc, err := p.client.Modify(ctx, m)
	if err != nil {
		return outcome(dc, err)
	}
	m.DC, m.Changes = dc, []directory.Change{set(r.Secret[passwordLength:])}
	for range 3 { // only while it is certain that nothing happened
		if _, err = p.client.Modify(ctx, m); err == nil || !errors.Is(err, fault.Unavailable) || ctx.Err() != nil {
			break
		}
	}
	if err == nil {
		return action.Outcome{Verdict: action.Accepted, RequestID: dc}
	}
	return action.Outcome{Verdict: action.Unknown, RequestID: dc, Reason: "the first of two resets was taken; of the second: " + short(err.Error(), 240)}
}

// ReadBack takes a later time than the one Look saw for the proof. Both are the
// domain's.
func (p *password) ReadBack(ctx context.Context, reqs []action.Request) []action.Reading {
	return allRemaining(reqs, p.readBack(ctx, reqs, func(r action.Request, a account) (bool, string) {
		b, ok := recorded(r.Before)
		if resets(r) == 2 && a.mustChange() && b.PwdLastSet != 0 {
			return false, "the first of two resets is there and the second is not"
		}
		return ok && a.pwdSet > b.PwdLastSet, setText(a)
	}))
}

func setText(a account) string {
	if a.mustChange() {
		return "the password must be changed at the next logon"
	}
	return "password last set " + fileTime(a.pwdSet).Format("2006-01-02 15:04:05.000") + " UTC"
}

// The classes of characters; a password has some of each, as the default policy
// asks for. Nobody types it, so none is left out for its looks.
var classes = []string{"abcdefghijklmnopqrstuvwxyz", "ABCDEFGHIJKLMNOPQRSTUVWXYZ", "0123456789", "!#$%&*+-./:;<=>?@^_~"}

// newPassword draws characters evenly until one has all classes and nothing of the
// account's name, which the policy forbids.
func newPassword(rand io.Reader, of identity.Ref) ([]byte, error) {
	all := []byte(strings.Join(classes, ""))
	out := make([]byte, passwordLength)
	for range 100 { // a few in a hundred fail; a hundred in a row is no chance
		for n := 0; n < len(out); {
			var b [1]byte
			if _, err := io.ReadFull(rand, b[:]); err != nil {
				clear(out)
				return nil, fault.Errorf(fault.Unavailable, "make a password: read randomness: %w", err)
			}
			if int(b[0]) < 256/len(all)*len(all) { // what is above would favour the first characters
				out[n] = all[int(b[0])%len(all)]
				n++
			}
		}
		if acceptable(out, of) {
			return out, nil
		}
	}
	clear(out)
	return nil, fault.Errorf(fault.Unavailable, "make a password: the source of randomness is not random")
}

// acceptable follows the rules of "Password must meet complexity requirements".
func acceptable(p []byte, of identity.Ref) bool {
	for _, c := range classes {
		if !bytes.ContainsAny(p, c) {
			return false
		}
	}
	lower := strings.ToLower(string(p))
	parts := strings.FieldsFunc(of.DisplayName, func(c rune) bool { return strings.ContainsRune(",.-_ #\t", c) })
	for _, part := range append(parts, of.SAM) {
		if len(part) >= 3 && strings.Contains(lower, strings.ToLower(part)) {
			return false
		}
	}
	return true
}
