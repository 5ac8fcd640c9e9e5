package playbook

import (
	"io/fs"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/seed-f47efad2/cordon/internal/action"
	"github.com/seed-f47efad2/cordon/internal/action/activedirectory"
	"github.com/seed-f47efad2/cordon/internal/action/entraid"
	"github.com/seed-f47efad2/cordon/internal/identity"
	"github.com/seed-f47efad2/cordon/playbooks"
)

func TestShippedPlaybooks(t *testing.T) {
	t.Parallel()
	lib, problems := Load(playbooks.FS, catalogue(t, nil))
	for _, p := range problems {
		t.Error(p)
	}
	if lib == nil {
		t.FailNow()
	}
	var ids []string
	for _, p := range lib.Playbooks() {
		ids = append(ids, p.Ref.ID)
		if i := slices.IndexFunc(p.Steps, func(s StepRule) bool { return s.ID == "disable-cloud" }); i >= 0 && p.Ref.ID == "contain-hybrid" && !strings.Contains(p.Steps[i].Title, "up to 30 minutes") {
			t.Errorf("contain-hybrid does not say how long Entra Connect takes: %q", p.Steps[i].Title)
		}
	}
	want := []string{
		"ad-credential-theft", "administrator-anomaly", "agent-risk", "ask-user", "block-user", "block-user-today",
		"certificate-abuse", "classify-expected-activity", "classify-false-positive", "classify-true-positive", "confirm-user", "contain-hybrid", "contain-now", "dcsync", "dismiss-user", "domain-secrets",
		"high-user-risk", "honeytoken", "inbox-rules", "leaked-credentials", "malicious-application", "method-added",
		"okta-identity", "password-spray", "privilege-change", "remediated-elsewhere", "reset-user", "revoke-user",
		"sync-fight", "token-theft", "unusual-travel", "workload-credential",
	}
	if diff := cmp.Diff(want, ids); diff != "" {
		t.Errorf("shipped playbooks (-want +got):\n%s", diff)
	}
	for _, id := range ids {
		text, err := fs.ReadFile(playbooks.FS, id+".txtar")
		if err != nil {
			t.Errorf("%s has no fixture: %v", id, err)
			continue
		}
		for _, p := range lib.Test("playbooks/"+id+".txtar", text) {
			t.Error(p)
		}
		for _, kind := range []string{"plan: act", "plan: refused: ", "plan: held: "} {
			if !strings.Contains(string(text), "\n"+kind) {
				t.Errorf("%s.txtar has no case that ends in %q", id, kind)
			}
		}
	}
}

func TestRequires(t *testing.T) {
	t.Parallel()
	lib, problems := Load(playbooks.FS, catalogue(t, nil))
	if problems != nil {
		t.Fatal(problems)
	}
	all := lib.Requires()
	i := slices.IndexFunc(all, func(r Requirement) bool { return r.Playbook == "high-user-risk" })
	want := Requirement{Playbook: "high-user-risk", Permissions: []string{"IdentityRiskyUser.ReadWrite.All", "User.ReadWrite.All"}, DirectoryRoles: []string{"Privileged Authentication Administrator"}, OnPremises: []action.Name{"ad.account.disable", "ad.account.enable"}}
	if diff := cmp.Diff(want, all[i]); diff != "" {
		t.Errorf("requirement (-want +got):\n%s", diff)
	}
	// Rights in a domain are none of an application's permissions; what goes through
	// Defender is.
	i = slices.IndexFunc(all, func(r Requirement) bool { return r.Playbook == "contain-hybrid" })
	if r := all[i]; !slices.Contains(r.OnPremises, "ad.account.disable") || slices.Contains(r.OnPremises, "defender.account.disable") || !slices.Contains(r.Permissions, "SecurityIdentitiesActions.ReadWrite.All") {
		t.Errorf("contain-hybrid needs %+v", r)
	}
}

func TestFixtureReportsWhatDiffers(t *testing.T) {
	t.Parallel()
	lib, problems := Load(playbooks.FS, catalogue(t, nil))
	if problems != nil {
		t.Fatal(problems)
	}
	fixture := "-- acts.given --\nidentity: {}\nsignals: [{type: leakedCredentials}]\n" +
		"-- acts.want --\nmatch: yes\nplan: act\n" +
		"confirm entra.user.confirm_compromised skipped: not called for: identity.cloud && (identity.synced || identity.guest) is false\n" +
		"reset entra.user.reset_password\nrevoke entra.user.disable\n" +
		"-- bad.given --\nidentity: {cluod: true}\n-- bad.want --\n-- lone.want --\n"
	var got []string
	for _, p := range lib.Test("leaked-credentials.txtar", []byte(fixture)) {
		got = append(got, p.Error())
	}
	want := []string{
		`leaked-credentials.txtar:9: case acts: wanted "revoke entra.user.disable", got "revoke entra.user.revoke_sessions"`,
		`leaked-credentials.txtar:11: identity: no key "cluod"; did you mean "cloud"?; it knows name, kind, cloud, on_premises, synced, enabled, deleted, guest, roles, mfa_registered, passwordless, joined_groups, tags`,
		`leaked-credentials.txtar:13: there is no .given for lone.want`,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("problems (-want +got):\n%s", diff)
	}
}

// The fixtures hold with the actions of the adapter as well as with the
// hand-made ones.
func TestShippedPlaybooksWithTheRealCatalogue(t *testing.T) {
	t.Parallel()
	routes := entraid.Routes()
	for _, r := range routes {
		if to := activedirectory.Routes()[r.Name]; to != "" {
			r.To[identity.ActiveDirectory] = to
		}
	}
	cat, err := action.NewCatalogue(append(entraid.Types(nil), activedirectory.Types(nil, nil)...), routes)
	if err != nil {
		t.Fatal(err)
	}
	lib, problems := Load(playbooks.FS, cat)
	if problems != nil {
		t.Fatal(problems)
	}
	for _, p := range lib.Playbooks() {
		text, err := fs.ReadFile(playbooks.FS, p.Ref.ID+".txtar")
		if err != nil {
			t.Fatal(err)
		}
		for _, q := range lib.Test("playbooks/"+p.Ref.ID+".txtar", text) {
			t.Error(q)
		}
	}
}

func TestTheDocumentedPlaybookIsOne(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../../docs/playbooks.md")
	if err != nil {
		t.Fatal(err)
	}
	blocks := strings.Split(string(page), "```")
	text, ok := strings.CutPrefix(blocks[1], "yaml\n")
	if !ok {
		t.Fatal("the first block is not YAML")
	}
	lib, problems := build([]File{{"leaked-credentials.yaml", []byte(text)}}, catalogue(t, nil))
	if problems != nil {
		t.Fatal(problems)
	}
	fixture := blocks[slices.IndexFunc(blocks, func(b string) bool { return strings.HasPrefix(b, "\n-- ") })]
	for _, p := range lib.Test("leaked-credentials.txtar", []byte(fixture)) {
		t.Error(p)
	}
}
