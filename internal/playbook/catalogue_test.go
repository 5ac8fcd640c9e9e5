package playbook

import (
	"context"
	"encoding/json"
	"io/fs"
	"testing"
	"testing/fstest"
	"time"

	"github.com/seed-f47efad2/cordon/internal/action"
	"github.com/seed-f47efad2/cordon/internal/action/activedirectory"
	"github.com/seed-f47efad2/cordon/internal/action/entraid"
	"github.com/seed-f47efad2/cordon/internal/identity"
	"github.com/seed-f47efad2/cordon/internal/signal"
)

// described is a Type that only describes itself: parsing and planning ask for
// nothing else, and a call of anything else is a mistake of theirs.
type described struct{ spec action.Spec }

func (d described) Spec() action.Spec { return d.spec }
func (described) Look(context.Context, []action.Request) []action.Look {
	panic("a plan looks at nothing")
}
func (described) Do(context.Context, []action.Request) []action.Outcome {
	panic("a plan does nothing")
}
func (described) ReadBack(context.Context, []action.Request) []action.Reading {
	panic("a plan reads nothing back")
}
func (described) Undo(json.RawMessage) (map[string]any, bool) { return nil, false }

func specs() []action.Spec {
	user := func(name action.Name, effect action.Effect) action.Spec {
		return action.Spec{
			Name: name, Version: 1, Title: string(name), Summary: "is brought to the state of " + string(name),
			Provider: identity.EntraID, Effect: effect, Permissions: []string{"User.ReadWrite.All"},
			Batch: 1, Bucket: action.BucketDirectoryWrite, Within: 5 * time.Minute, Propagation: 30 * time.Second,
		}
	}
	confirm := user("entra.user.confirm_compromised", action.EffectVerdict)
	confirm.Bucket, confirm.ReadBucket, confirm.Batch = action.BucketIdentityProtection, action.BucketIdentityProtection, 60
	confirm.Permissions, confirm.Undo = []string{"IdentityRiskyUser.ReadWrite.All"}, "entra.user.dismiss_risk"
	dismiss := user("entra.user.dismiss_risk", action.EffectVerdict)
	dismiss.Bucket, dismiss.Permissions, dismiss.Irreversible = action.BucketIdentityProtection, confirm.Permissions, "the risk history stays dismissed"
	revoke := user("entra.user.revoke_sessions", action.EffectRestrict)
	revoke.Irreversible, revoke.Remedies = "a session that is gone must be opened again", []signal.Cause{signal.CauseSession}
	disable := user("entra.user.disable", action.EffectRestrict)
	disable.Undo, disable.DirectoryRole = "entra.user.enable", "Privileged Authentication Administrator"
	disable.Remedies = []signal.Cause{signal.CausePassword, signal.CauseSession, signal.CauseBoth, signal.CauseUnknown}
	disable.Params = action.Params{{Name: "synced", Type: "boolean", Text: "also where Active Directory masters it"}}
	enable := user("entra.user.enable", action.EffectRelease)
	enable.Undo = "entra.user.disable"
	reset := user("entra.user.reset_password", action.EffectCredential)
	reset.Password = true
	reset.Irreversible, reset.NeverRepeat = "the old password cannot be read and so not restored", true
	reset.Remedies = []signal.Cause{signal.CausePassword}
	reset.Params = action.Params{{Name: "force_change", Type: "boolean", Default: true, Text: "ask for a new password at the next sign-in"}}
	hand := user("entra.user.hand_over_password", action.EffectRelease)
	hand.Irreversible = "whoever has the link knows the password"
	hand.Params = action.Params{
		{Name: "to", Type: "string", Required: true, Text: "the operator who gets the link"},
		{Name: "hours", Type: "integer", Default: 4, Text: "how long the link lives"},
	}
	return append([]action.Spec{confirm, dismiss, revoke, disable, enable, reset, hand}, append(choreSpecs(user), append(workloadSpecs(user), onPremisesSpecs(user)...)...)...)
}

// choreSpecs are the actions on what hangs on a user.
func choreSpecs(like func(action.Name, action.Effect) action.Spec) []action.Spec {
	rules := like("entra.user.disable_inbox_rules", action.EffectRestrict)
	rules.Undo, rules.Remedies = "entra.user.enable_inbox_rules", []signal.Cause{signal.CauseMailbox}
	noRules := like("entra.user.enable_inbox_rules", action.EffectRelease)
	noRules.Undo = rules.Name
	roles := like("entra.user.remove_roles", action.EffectRestrict)
	roles.Undo, roles.Remedies = "entra.user.assign_roles", []signal.Cause{signal.CauseDirectory}
	assign := like("entra.user.assign_roles", action.EffectRelease)
	assign.Undo = roles.Name
	methods := like("entra.user.remove_methods", action.EffectCredential)
	methods.Irreversible, methods.Remedies = "a method is registered by its owner only", []signal.Cause{signal.CauseMethod}
	methods.Cleans = []signal.Cause{signal.CausePassword, signal.CauseSession, signal.CauseBoth}
	methods.Params = action.Params{{Name: "all", Type: "boolean", Default: false, Text: "all go"}, {Name: "since", Type: "string", Fill: action.FillSince, Text: "younger ones go"}}
	return []action.Spec{rules, noRules, roles, assign, methods}
}

func onPremisesSpecs(like func(action.Name, action.Effect) action.Spec) []action.Spec {
	disable := like("ad.account.disable", action.EffectRestrict)
	disable.Undo, disable.Remedies = "ad.account.enable", []signal.Cause{signal.CausePassword, signal.CauseBoth, signal.CauseUnknown}
	enable := like("ad.account.enable", action.EffectRelease)
	enable.Undo = "ad.account.disable"
	reset := like("ad.account.reset_password", action.EffectCredential)
	reset.Password = true
	reset.Irreversible, reset.Remedies = "the old password is gone", []signal.Cause{signal.CausePassword}
	reset.Params = action.Params{{Name: "twice", Type: "boolean", Default: false, Text: "so that the old one ends at once"}}
	second := like("defender.account.disable", action.EffectRestrict)
	second.Undo = "ad.account.enable"
	out := []action.Spec{disable, enable, reset, second}
	for n := range out {
		out[n].Provider, out[n].Permissions = identity.ActiveDirectory, []string{"a right in the domain"}
	}
	out[3].Via, out[3].Permissions = identity.EntraID, []string{"SecurityIdentitiesActions.ReadWrite.All"}
	return out
}

func workloadSpecs(like func(action.Name, action.Effect) action.Spec) []action.Spec {
	confirm := like("entra.workload.confirm_compromised", action.EffectVerdict)
	confirm.Undo = "entra.workload.dismiss_risk"
	dismiss := like("entra.workload.dismiss_risk", action.EffectVerdict)
	dismiss.Irreversible = "it stays dismissed"
	disable := like("entra.workload.disable", action.EffectRestrict)
	disable.Undo, disable.Remedies = "entra.workload.enable", []signal.Cause{signal.CauseWorkload, signal.CauseConsent}
	enable := like("entra.workload.enable", action.EffectRelease)
	enable.Undo = "entra.workload.disable"
	remove := like("entra.workload.remove_credential", action.EffectCredential)
	remove.Irreversible, remove.Remedies = "it cannot be brought back", []signal.Cause{signal.CauseWorkload}
	remove.Params = action.Params{{Name: "key_ids", Type: "string", Required: true, Fill: action.FillKeyIDs, Text: "Key ids of the credentials to remove, comma-separated."}}
	consent := like("entra.workload.revoke_consent", action.EffectRestrict)
	consent.Undo, consent.Remedies = "entra.workload.restore_consent", []signal.Cause{signal.CauseConsent}
	restore := like("entra.workload.restore_consent", action.EffectRelease)
	restore.Undo = "entra.workload.revoke_consent"
	agent := like("entra.agent.confirm_compromised", action.EffectVerdict)
	agent.Undo = "entra.agent.dismiss_risk"
	calm := like("entra.agent.dismiss_risk", action.EffectVerdict)
	calm.Irreversible = "it stays dismissed"
	return []action.Spec{confirm, dismiss, disable, enable, remove, consent, restore, agent, calm}
}

func routes() []action.Route {
	to := func(n, onPremises action.Name) map[identity.Provider]action.Name {
		return map[identity.Provider]action.Name{identity.EntraID: n, identity.ActiveDirectory: onPremises}
	}
	return []action.Route{
		{Name: "identity.disable", Title: "Disable the account", To: to("entra.user.disable", "ad.account.disable")},
		{Name: "identity.enable", Title: "Enable the account", To: to("entra.user.enable", "ad.account.enable")},
		{Name: "identity.reset_password", Title: "Reset the password", To: to("entra.user.reset_password", "ad.account.reset_password")},
	}
}

// catalogue returns the test catalogue after change, which may be nil.
func catalogue(t testing.TB, change func([]action.Spec)) *action.Catalogue {
	t.Helper()
	all := specs()
	if change != nil {
		change(all)
	}
	var list []action.Type
	known := map[action.Name]bool{}
	for _, s := range all {
		list, known[s.Name] = append(list, described{s}), true
	}
	// What the shipped playbooks use beyond these is as the adapters describe it.
	for _, a := range append(entraid.Types(nil), activedirectory.Types(nil, nil)...) {
		if !known[a.Spec().Name] {
			list = append(list, described{a.Spec()})
		}
	}
	cat, err := action.NewCatalogue(list, routes())
	if err != nil {
		t.Fatal(err)
	}
	return cat
}

func fsOf(files map[string]string) fs.FS {
	m := fstest.MapFS{}
	for name, text := range files {
		m[name] = &fstest.MapFile{Data: []byte(text)}
	}
	return m
}
