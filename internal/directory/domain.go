package directory

import (
	"context"
	"strings"
	"time"

	"github.com/seed-f47efad2/cordon/internal/fault"
)

// replicateAll is the extended right DS-Replication-Get-Changes-All: with it all
// secrets of a domain can be read (MS-ADTS 5.1.3.2.1).
const replicateAll = "1131f6ad-9c07-11d1-f79f-00c04fc2dcd2"

// A Domain is what the domain's head and its surroundings say.
type Domain struct {
	DC           string // who showed it
	SID          string
	Policy       Policy
	Trusts       []Trust
	Replicators  []string // SIDs that may replicate secrets; nil with HeadUnread
	HeadUnread   bool     // the list of rights on the domain's head may not be read
	Exchange     []string // SIDs of the groups of Exchange's servers
	SeamlessSSO  bool     // AZUREADSSOACC$ is there: its key opens cloud sign-in
	KrbtgtSetAt  time.Time
	SSOAccountAt time.Time
}

// Policy is the domain's password policy. Zero durations: never, or none.
type Policy struct {
	MinLength   int
	History     int
	MaxAge      time.Duration
	MinAge      time.Duration
	Complex     bool
	LockoutAt   int // wrong passwords; 0: never
	LockoutFor  time.Duration
	LockoutOver time.Duration // the window in which they count
}

// A Trust is a relation to another domain (MS-ADTS 6.1.6.7.9 and 6.1.6.7.12).
type Trust struct {
	Partner  string
	Inbound  bool // the partner trusts this domain
	Outbound bool // this domain trusts the partner: its accounts may sign in here
	Within   bool // within the forest
	Forest   bool // with a whole other forest
}

// Describe reads the domain's head: password policy, who may replicate secrets,
// trusts.
func (c *Client) Describe(ctx context.Context) (Domain, error) {
	var d Domain
	for o, err := range c.Search(ctx, Query{Filter: "(objectClass=*)", One: true, Descriptor: true, Attributes: []string{"minPwdLength", "pwdHistoryLength",
		"maxPwdAge", "minPwdAge", "pwdProperties", "lockoutThreshold", "lockoutDuration", "lockOutObservationWindow", "nTSecurityDescriptor"}}) {
		if err != nil {
			return d, err
		}
		d.DC, d.SID = o.DC, o.SID
		d.Policy = Policy{
			MinLength: int(o.number("minPwdLength")), History: int(o.number("pwdHistoryLength")), MaxAge: o.span("maxPwdAge"), MinAge: o.span("minPwdAge"),
			Complex: o.number("pwdProperties")&1 != 0, LockoutAt: int(o.number("lockoutThreshold")),
			LockoutFor: o.span("lockoutDuration"), LockoutOver: o.span("lockOutObservationWindow"),
		}
		d.Replicators, d.HeadUnread = replicators(o)
	}
	if d.SID == "" {
		return d, fault.Errorf(fault.Unavailable, "%s does not show its own head", c.cfg.Domain)
	}
	filter := "(|(objectClass=trustedDomain)(&(objectCategory=group)(|(sAMAccountName=Exchange Servers)(sAMAccountName=Microsoft Exchange Servers)))" +
		"(&(objectClass=user)(|(sAMAccountName=krbtgt)(sAMAccountName=AZUREADSSOACC$))))"
	for o, err := range c.Search(ctx, Query{Filter: filter, Attributes: []string{"trustPartner", "trustDirection", "trustAttributes", "sAMAccountName", "pwdLastSet"}}) {
		if err != nil {
			return d, err
		}
		name, _ := o.Text("sAMAccountName")
		switch {
		case o.Is("trustedDomain"):
			partner, _ := o.Text("trustPartner")
			way, how := o.number("trustDirection"), o.number("trustAttributes")
			d.Trusts = append(d.Trusts, Trust{Partner: clean(partner, 255), Inbound: way&1 != 0, Outbound: way&2 != 0, Within: how&0x20 != 0, Forest: how&0x8 != 0})
		case o.Is("group"):
			d.Exchange = append(d.Exchange, o.SID)
		case strings.EqualFold(name, "krbtgt"):
			d.KrbtgtSetAt = FileTime(o.number("pwdLastSet"))
		default:
			d.SeamlessSSO, d.SSOAccountAt = true, FileTime(o.number("pwdLastSet"))
		}
	}
	return d, nil
}

// replicators reads whom the domain's head lets replicate secrets: the extended
// right by name, or all of them.
func replicators(head Object) (sids []string, unread bool) {
	v := head.Values("nTSecurityDescriptor")
	if len(v) != 1 {
		return nil, true
	}
	list, err := DACL(v[0])
	if err != nil {
		return nil, true
	}
	seen := map[string]bool{}
	for _, e := range list {
		all := e.Mask&RightGeneric != 0 || e.Mask&RightControl != 0 && e.Type == ""
		if !e.Allow || e.Flags&ForChildren != 0 || !all && (e.Mask&RightControl == 0 || e.Type != replicateAll) || seen[e.SID] {
			continue
		}
		seen[e.SID] = true
		sids = append(sids, e.SID)
	}
	return sids, false
}

// FileTime converts a FILETIME, 100 ns since 1601; 0 and "never" are no time
// (MS-DTYP 2.3.3).
func FileTime(v int64) time.Time {
	const to1970 = 11_644_473_600 // seconds
	if v <= 0 || v == 1<<63-1 {
		return time.Time{}
	}
	return time.Unix(v/10_000_000-to1970, v%10_000_000*100).UTC()
}

// GeneralizedTime converts a time as attributes such as whenCreated write it, in UTC
// (MS-ADTS 3.1.1.2.2.2.14 for the syntax); the zero time for what is none.
func GeneralizedTime(s string) time.Time {
	t, err := time.Parse("20060102150405.0Z", s)
	if err != nil {
		return time.Time{}
	}
	return t.UTC()
}
