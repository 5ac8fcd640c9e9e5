package playbook

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"cel.dev/cel-go/cel"

	"github.com/seed-f47efad2/cordon/internal/detection"
	"github.com/seed-f47efad2/cordon/internal/identity"
	"github.com/seed-f47efad2/cordon/internal/signal"
)

// The structs below are the typed environment of every expression: a field that
// is not here is an error when the playbook is loaded. Their fields are read by
// CEL through reflection, under the name in the tag.

type celIdentity struct {
	ID            string   `cel:"id"`
	Name          string   `cel:"name"`
	Kind          string   `cel:"kind"`
	Privileged    bool     `cel:"privileged"`
	Tags          []string `cel:"tags"` // given by hand
	Synced        bool     `cel:"synced"`
	Enabled       bool     `cel:"enabled"`
	Guest         bool     `cel:"guest"`
	Deleted       bool     `cel:"deleted"`
	Protected     bool     `cel:"protected"`
	Cloud         bool     `cel:"cloud"`
	OnPremises    bool     `cel:"on_premises"`
	Roles         []string `cel:"roles"`
	Authority     string   `cel:"authority"`
	MFARegistered bool     `cel:"mfa_registered"`
	Passwordless  bool     `cel:"passwordless"`

	// JoinedGroups are SIDs of groups of Active Directory that somebody put it into since
	// the earliest open signal.
	JoinedGroups []string `cel:"joined_groups"`

	Accounts []celAccount    `cel:"accounts"`
	Groups   map[string]bool `cel:"groups"` // of those that were read
}

type celAccount struct {
	Key      string `cel:"key"`
	Provider string `cel:"provider"`
	Kind     string `cel:"kind"`
	Name     string `cel:"name"`
}

type celRisk struct {
	Level   string      `cel:"level"`
	Score   int64       `cel:"score"`
	Causes  []string    `cel:"causes"`
	Reasons []celReason `cel:"reasons"`
}

type celReason struct {
	Text   string `cel:"text"`
	Points int64  `cel:"points"`
	Source string `cel:"source"`
}

type celSignal struct {
	ID     string `cel:"id"`
	Source string `cel:"source"`
	Type   string `cel:"type"`
	Title  string `cel:"title"`
	Cause  string `cel:"cause"`
	Family string `cel:"family"`
	Level  string `cel:"level"`
	State  string `cel:"state"`
	Open   bool   `cel:"open"`
	Detail string `cel:"detail"`
	// Classification is what was made of an alert at its source, Microsoft's word.
	Classification string    `cel:"classification"`
	IP             string    `cel:"ip"`
	Location       string    `cel:"location"`
	Timing         string    `cel:"timing"`
	Techniques     []string  `cel:"techniques"`
	ActivityAt     time.Time `cel:"activity_at"`
	DetectedAt     time.Time `cel:"detected_at"`
	UpdatedAt      time.Time `cel:"updated_at"`
}

type celTenant struct {
	ID                 string   `cel:"id"`
	UsableGlobalAdmins int64    `cel:"usable_global_admins"`
	Connected          []string `cel:"connected"`
}

// facts is one Input as expressions see it, and which of its facts are not
// known, with the reason in words.
type facts struct {
	vars    map[string]any
	missing map[string]string // "identity.privileged" → why it is not known
	act     cel.PartialActivation
}

func factsOf(in Input) (*facts, error) {
	f := &facts{missing: map[string]string{}}
	signals := make([]celSignal, 0, len(in.Signals))
	for _, s := range sortedSignals(in.Signals) {
		signals = append(signals, celSignalOf(s))
	}
	f.vars = map[string]any{
		"identity": f.identity(in),
		"risk":     f.risk(in),
		"signal":   f.trigger(in),
		"signals":  signals,
		"tenant":   f.tenant(in),
		"steps":    in.Steps,
	}
	if in.Steps == nil {
		f.missing["steps"] = "no step has been done yet"
	}
	for name, value := range in.Each {
		f.vars[name] = value
	}
	var unknown []*cel.AttributePatternType
	for path := range f.missing {
		name, field, ok := strings.Cut(path, ".")
		p := cel.AttributePattern(name)
		if ok {
			p = p.QualString(field)
		}
		unknown = append(unknown, p)
	}
	act, err := cel.PartialVars(f.vars, unknown...)
	if err != nil {
		return nil, fmt.Errorf("facts of identity %s: %w", in.Identity.ID, err)
	}
	f.act = act
	return f, nil
}

func sortedSignals(in []signal.Signal) []signal.Signal {
	out := slices.Clone(in)
	slices.SortFunc(out, func(a, b signal.Signal) int {
		return cmp.Or(a.At().Compare(b.At()), cmp.Compare(a.Source, b.Source), cmp.Compare(a.ExternalID, b.ExternalID))
	})
	return out
}

func (f *facts) identity(in Input) celIdentity {
	i := in.Identity
	out := celIdentity{ID: string(i.ID), Name: i.Name, Kind: string(i.Kind)}
	entra, cloud := i.Account(identity.EntraID)
	_, out.OnPremises = i.Account(identity.ActiveDirectory)
	out.Cloud = cloud
	if i.Kind == identity.KindUnknown || i.Kind == "" {
		f.missing["identity.kind"] = "no source has said yet what kind of identity it is"
	}
	known := false
	if out.Privileged, known = i.Privileged(); !known {
		f.missing["identity.privileged"] = "its directory roles have not been read"
		f.missing["identity.roles"] = f.missing["identity.privileged"]
	}
	for _, t := range i.Tagged() {
		out.Tags = append(out.Tags, string(t.Name))
	}
	slices.Sort(out.Tags)
	roles, _ := i.Roles()
	for _, r := range roles {
		out.Roles = append(out.Roles, r.Name)
	}
	slices.Sort(out.Roles)
	out.Groups = groupsOf(i)
	for _, a := range i.Accounts {
		out.Accounts = append(out.Accounts, celAccount{a.Key(), string(a.Provider), string(a.Kind), a.Name()})
	}
	if authority, known := i.Authority(); known {
		out.Authority = string(authority)
	} else {
		f.missing["identity.authority"] = "whether the account is synced from Active Directory has not been read"
	}
	notRead := "the account has not been read"
	f.flag(&out.Synced, "identity.synced", entra.Facts.Synced, !cloud, notRead)
	f.flag(&out.MFARegistered, "identity.mfa_registered", entra.Facts.MFARegistered, !cloud, "its registered methods have not been read")
	f.flag(&out.Passwordless, "identity.passwordless", entra.Facts.Passwordless, !cloud, "its registered methods have not been read")
	out.Guest = i.Kind == identity.KindGuest || strings.EqualFold(entra.Facts.UserType, "Guest")
	if !out.Guest && cloud && entra.Facts.UserType == "" && (i.Kind == identity.KindUnknown || i.Kind == "") {
		f.missing["identity.guest"] = notRead
	}
	f.joined(&out, in)
	f.presence(&out, i)
	out.Protected = in.Protection.Protected()
	if in.Protection.Unknown {
		f.missing["identity.protected"] = strings.Join(in.Protection.Reasons, "; ")
	}
	return out
}

// joined sets the groups that it was put into since the earliest open signal.
func (f *facts) joined(out *celIdentity, in Input) {
	since := in.Now
	for _, s := range in.Signals {
		if at := s.At(); s.State.Open() && !s.Feedback() && !at.IsZero() && at.Before(since) {
			since = at
		}
	}
	for _, a := range in.Identity.Accounts {
		switch p := a.Facts.OnPremises; {
		case a.Provider != identity.ActiveDirectory || deleted(a):
		case p == nil && slices.Contains(in.Connected, identity.ActiveDirectory):
			f.missing["identity.joined_groups"] = "what Active Directory says of it has not been read"
		case p != nil:
			for _, j := range p.Joined {
				if !j.At.Before(since) {
					out.JoinedGroups = append(out.JoinedGroups, j.Group)
				}
			}
		}
	}
	slices.Sort(out.JoinedGroups)
	out.JoinedGroups = slices.Compact(out.JoinedGroups)
}

// flag sets *to from a fact that may be missing; absent says that the fact
// cannot be so, because there is no such account.
func (f *facts) flag(to *bool, path string, fact *bool, absent bool, why string) {
	switch {
	case fact != nil:
		*to = *fact
	case !absent:
		f.missing[path] = why
	}
}

// presence sets whether any account is enabled and whether all are deleted.
func (f *facts) presence(out *celIdentity, i identity.Identity) {
	out.Deleted = len(i.Accounts) > 0
	for _, a := range i.Accounts {
		switch {
		case a.Facts.Enabled == nil && (a.Facts.Found == nil || *a.Facts.Found):
			f.missing["identity.enabled"] = "whether the account is enabled has not been read"
		case a.Facts.Enabled != nil && *a.Facts.Enabled:
			out.Enabled = true
		}
		switch {
		case a.Facts.Found == nil:
			f.missing["identity.deleted"] = "whether the account still exists has not been read"
			out.Deleted = false
		case *a.Facts.Found:
			out.Deleted = false
		}
	}
	if out.Enabled {
		delete(f.missing, "identity.enabled")
	}
	if slices.ContainsFunc(i.Accounts, func(a identity.Account) bool { return a.Facts.Found != nil && *a.Facts.Found }) {
		delete(f.missing, "identity.deleted")
	}
}

func (f *facts) risk(in Input) celRisk {
	a := in.Assessment
	out := celRisk{Level: string(a.Level), Score: int64(a.Score)}
	for _, c := range a.Causes {
		out.Causes = append(out.Causes, string(c))
	}
	for _, r := range a.Reasons {
		out.Reasons = append(out.Reasons, celReason{Text: r.Text, Points: int64(r.Points), Source: string(r.Source)})
	}
	if a.Level == "" {
		f.missing["risk"] = "the identity has not been assessed yet"
	}
	return out
}

func (f *facts) trigger(in Input) celSignal {
	if in.Trigger == nil {
		f.missing["signal"] = "no signal asked for this; use signals"
		return celSignal{}
	}
	s := *in.Trigger
	if s.ActivityAt.IsZero() {
		f.missing["signal.activity_at"] = "the source did not say when it happened"
	}
	if s.DetectedAt.IsZero() {
		f.missing["signal.detected_at"] = "the source did not say when it was detected"
	}
	return celSignalOf(s)
}

func celSignalOf(s signal.Signal) celSignal {
	e, _ := detection.Of(s)
	return celSignal{
		ID: s.ExternalID, Source: string(s.Source), Type: s.Type, Title: s.Title, Cause: string(e.Cause), Family: string(e.Family),
		Level: string(s.Level), State: string(s.State), Open: s.State.Open(), Detail: s.Detail, Classification: s.Classification, IP: s.IP,
		Location: s.Location, Timing: s.Timing, Techniques: s.Techniques,
		ActivityAt: orAt(s.ActivityAt, s), DetectedAt: orAt(s.DetectedAt, s), UpdatedAt: s.UpdatedAt,
	}
}

// orAt is the time or, within the list of signals where single fields cannot be
// unknown, the next best one.
func orAt(t time.Time, s signal.Signal) time.Time {
	if t.IsZero() {
		return s.At()
	}
	return t
}

func (f *facts) tenant(in Input) celTenant {
	out := celTenant{ID: string(in.Tenant), UsableGlobalAdmins: int64(in.UsableGlobalAdmins)}
	for _, p := range in.Connected {
		out.Connected = append(out.Connected, string(p))
	}
	slices.Sort(out.Connected)
	if in.UsableGlobalAdmins < 0 {
		f.missing["tenant.usable_global_admins"] = "the holders of Global Administrator have not been read"
	}
	return out
}

// groupsOf says of each group that was read whether one of the accounts is in it.
func groupsOf(i identity.Identity) map[string]bool {
	out := map[string]bool{}
	for _, a := range i.Accounts {
		for _, g := range a.Facts.GroupsRead {
			if id := groupID(g); !out[id] {
				out[id] = false
			}
		}
		for _, g := range a.Facts.Groups {
			out[groupID(g)] = true
		}
	}
	return out
}

// groupID is a group's id as playbooks write it: an object id of Entra in lower
// case, a SID in upper.
func groupID(g string) string {
	g = strings.Trim(g, " {}")
	if identity.IsSID(g) {
		return strings.ToUpper(g)
	}
	return strings.ToLower(g)
}
