package activedirectory_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/seed-f47efad2/cordon/internal/action"
	"github.com/seed-f47efad2/cordon/internal/action/activedirectory"
	"github.com/seed-f47efad2/cordon/internal/directory"
	"github.com/seed-f47efad2/cordon/internal/fault"
)

// A fresh account gets what the kit prints and nothing else: the chosen actions work
// for it, the others are refused by the directory, and administrators and what lies
// elsewhere stay out of reach.
func TestGrantIsEnoughAndNoMore(t *testing.T) {
	t.Parallel()
	b := open(t)
	c := b.Controllers[0]
	who := b.take(t)
	g := activedirectory.Grant{Account: who.SAM, Domain: b.NetBIOS, Units: []string{"OU=Staff," + b.BaseDN}, GroupsIn: []string{"OU=Groups," + b.BaseDN},
		Actions: []action.Name{activedirectory.Disable, activedirectory.ResetPassword, activedirectory.RemoveFromGroup}}
	var script strings.Builder
	if err := g.Write(&script, activedirectory.FormSamba); err != nil {
		t.Fatal(err)
	}
	own := b.as(t, who)
	a := b.take(t)
	if o := own.do(t, activedirectory.Disable, own.begin(t, activedirectory.Disable, a, nil)); o.Verdict != action.Refused || !strings.Contains(o.Reason, "no right") {
		t.Fatalf("before anything was granted: %+v", o)
	}
	if _, err := b.Script(t.Context(), c, script.String()); err != nil {
		t.Fatalf("the script: %v\n%s", err, script.String())
	}
	own.through(t, activedirectory.Disable, a, nil)
	own.through(t, activedirectory.Enable, a, nil)
	own.through(t, activedirectory.ResetPassword, a, map[string]any{activedirectory.ParamTwice: true})
	own.through(t, activedirectory.RemoveFromGroup, a, map[string]any{activedirectory.ParamGroup: "Finance"})
	if o := own.do(t, activedirectory.Expire, own.begin(t, activedirectory.Expire, a, nil)); o.Verdict != action.Refused || !strings.Contains(o.Reason, "no right") {
		t.Errorf("an action that was not chosen: %+v", o)
	}
	b.giveKeys(t, a)
	if o := own.do(t, activedirectory.ClearKeyCredentials, own.begin(t, activedirectory.ClearKeyCredentials, a, nil)); o.Verdict != action.Refused {
		t.Errorf("an action that was not chosen: %+v", o)
	}
	for name, out := range map[string]directory.Subject{"an administrator": {SID: b.Tier0.SID, GUID: b.Tier0.GUID}, "a service account elsewhere": {SID: b.Reader.SID, GUID: b.Reader.GUID}} {
		for _, change := range [][]directory.Change{directory.Swap("userAccountControl", "512", "514"), {{Op: directory.Replace, Attribute: "unicodePwd", Values: []string{directory.Password([]byte("Aa1!Aa1!Aa1!"))}}}} {
			if _, err := own.client.Modify(context.Background(), directory.Modification{GUID: out.GUID, Changes: change}); !errors.Is(err, fault.Denied) {
				t.Errorf("%s: %s: %v; want it denied", name, change[0].Attribute, err)
			}
		}
	}
}

func TestGrantRefusesWhatCannotBeWrittenDown(t *testing.T) {
	t.Parallel()
	good := activedirectory.Grant{Account: "svc", Units: []string{"OU=Staff,DC=corp,DC=example"}}
	for name, spoil := range map[string]func(*activedirectory.Grant){
		"no account": func(g *activedirectory.Grant) { g.Account = "" }, "NUL": func(g *activedirectory.Grant) { g.Account = "a\x00b" },
		"two lines": func(g *activedirectory.Grant) { g.Account = "a\nreboot" }, "RTL": func(g *activedirectory.Grant) { g.Account = "a\u202eb" },
		"filter": func(g *activedirectory.Grant) { g.Account = "*)(objectClass=*" }, "long": func(g *activedirectory.Grant) { g.Account = strings.Repeat("a", 10_000) },
		"no unit": func(g *activedirectory.Grant) { g.Units = nil }, "no DN": func(g *activedirectory.Grant) { g.Units = []string{"Staff"} },
		"a quoted unit": func(g *activedirectory.Grant) { g.Units = []string{`OU=a\"b,DC=x`} }, "a unit of two lines": func(g *activedirectory.Grant) { g.Units = []string{"OU=a\nb,DC=x"} },
		"a variable": func(g *activedirectory.Grant) { g.Units = []string{"OU=%PATH%,DC=x"} }, "a long unit": func(g *activedirectory.Grant) { g.Units = []string{"OU=" + strings.Repeat("a", 10_000) + ",DC=x"} },
		"a domain of words": func(g *activedirectory.Grant) { g.Domain = `CORP\x` }, "no action": func(g *activedirectory.Grant) { g.Actions = []action.Name{"entra.user.disable"} },
	} {
		g := good
		spoil(&g)
		for _, form := range activedirectory.Forms() {
			var out strings.Builder
			if err := g.Write(&out, form); !errors.Is(err, fault.Invalid) || out.Len() > 0 {
				t.Errorf("%s as %s: %v, wrote %q", name, form, err, out.String())
			}
		}
	}
}

// What a shell reads is what was meant, whatever stands in a name.
func TestGrantQuotesForTheShell(t *testing.T) {
	t.Parallel()
	dn := `OU=R&D $(reboot) 'n' \, "` + "`id`" + `,DC=corp,DC=example`
	dn = strings.ReplaceAll(dn, `"`, "")
	var script strings.Builder
	g := activedirectory.Grant{Account: "svc'; reboot '$x", Units: []string{dn}, Actions: []action.Name{activedirectory.Unlock}}
	if err := g.Write(&script, activedirectory.FormSamba); err == nil {
		t.Fatal("an account with a semicolon is one")
	}
	g.Account = "svc' $(id) `id` x"
	if err := g.Write(&script, activedirectory.FormSamba); err != nil {
		t.Fatal(err)
	}
	tool := filepath.Join(t.TempDir(), "samba-tool")
	stub := "#!/bin/sh\nif [ $1 = user ]; then printf 'objectSid: S-1-5-21-1-2-3-4\\n'; printf '%s\\n' \"$3\" >&2; else for a; do printf '%s\\n' \"$a\" >&2; done; fi\n"
	if err := os.WriteFile(tool, []byte(stub), 0o700); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("sh")
	cmd.Stdin, cmd.Env = strings.NewReader(script.String()), append(os.Environ(), "PATH="+filepath.Dir(tool)+":"+os.Getenv("PATH"))
	said, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, said)
	}
	for _, want := range []string{g.Account + "\n", "--objectdn=" + dn + "\n", ";S-1-5-21-1-2-3-4)\n"} {
		if !strings.Contains(string(said), want) {
			t.Errorf("the tool was not told %q: %s", want, said)
		}
	}
}
