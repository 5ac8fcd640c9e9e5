package activedirectory

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode"

	"github.com/go-ldap/ldap/v3"

	"github.com/seed-f47efad2/cordon/internal/action"
	"github.com/seed-f47efad2/cordon/internal/fault"
)

// A Grant is a delegation to write down: what lets one account carry out the
// actions on the objects below some organisational units, and nothing else.
type Grant struct {
	Account  string        // sAMAccountName of the account that Cordon uses
	Domain   string        // NetBIOS name of its domain, for the Windows forms
	Units    []string      // distinguished names below which users are in scope
	GroupsIn []string      // distinguished names below which groups are; the Units when empty
	Actions  []action.Name // each with the undo that it names; all of Types when empty
}

// The forms that a grant is written in.
const (
	FormSamba      = "samba"
	FormDsacls     = "dsacls"
	FormPowerShell = "powershell"
)

// Forms are the forms in the order in which they are offered.
func Forms() []string { return []string{FormSamba, FormDsacls, FormPowerShell} }

// check finds what cannot be written down; each mistake is fault.Invalid.
func (g Grant) check() error {
	if !plain(g.Account) || len(g.Account) > 256 || strings.ContainsAny(g.Account, `"/\[]:;|=,+*?<>@`) {
		return fault.Errorf(fault.Invalid, "%.60q is not the sAMAccountName of an account", g.Account)
	}
	if g.Domain != "" && (len(g.Domain) > 15 || !computerName(g.Domain)) {
		return fault.Errorf(fault.Invalid, "%.60q is not the NetBIOS name of a domain", g.Domain)
	}
	if len(g.Units) == 0 {
		return fault.Errorf(fault.Invalid, "no organisational unit is given: rights on a whole domain are more than Cordon needs")
	}
	for _, dn := range slices.Concat(g.Units, g.GroupsIn) {
		// A quotation mark cannot be told to a Windows program in every case.
		if p, err := ldap.ParseDN(dn); err != nil || len(p.RDNs) < 2 || !plain(dn) || len(dn) > 2048 || strings.ContainsAny(dn, "\"%") {
			return fault.Errorf(fault.Invalid, "%.100q is not the distinguished name of an organisational unit that can be written down", dn)
		}
	}
	for _, n := range g.Actions {
		if written[n] == nil && n != RemoveFromGroup && n != AddToGroup {
			return fault.Errorf(fault.Invalid, "%.60q is no action in Active Directory", n)
		}
	}
	return nil
}

// plain reports whether s is one line of visible text.
func plain(s string) bool {
	return s != "" && s == strings.TrimSpace(s) && !strings.ContainsFunc(s, func(c rune) bool {
		return unicode.IsControl(c) || unicode.Is(unicode.Cf, c) || c == unicode.ReplacementChar
	})
}

// Write writes the grant to w in a form: a shell script for samba-tool, which is
// tried against a Samba domain controller, or the text of commands for Windows,
// which is not tried. A mistake in the grant or an unknown form is fault.Invalid and
// nothing is written.
func (g Grant) Write(w io.Writer, form string) error {
	if err := g.check(); err != nil {
		return fmt.Errorf("write a delegation: %w", err)
	}
	if len(g.Actions) == 0 {
		for _, t := range Types(nil, nil) {
			g.Actions = append(g.Actions, t.Spec().Name)
		}
	}
	rights, privileged := Rights(g.Actions...)
	targets := g.targets(rights)
	var b strings.Builder
	switch form {
	case FormSamba:
		g.samba(&b, targets, privileged)
	case FormDsacls:
		g.dsacls(&b, targets, privileged)
	case FormPowerShell:
		g.powershell(&b, targets, privileged)
	default:
		return fault.Errorf(fault.Invalid, "write a delegation: there is no form %.40q; there are: %s", form, join(Forms()))
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// A target is one organisational unit with the rights that are given on it.
type target struct {
	dn     string
	rights []Right
}

func (g Grant) targets(rights []Right) []target {
	var out []target
	add := func(dns []string, class string) {
		of := slices.DeleteFunc(slices.Clone(rights), func(r Right) bool { return r.Class != class })
		if len(of) == 0 {
			return
		}
		for _, dn := range dns {
			out = append(out, target{dn, of})
		}
	}
	add(g.Units, "user")
	groups := g.GroupsIn
	if len(groups) == 0 {
		groups = g.Units
	}
	add(groups, "group")
	return out
}

// ace writes a right in SDDL: allowed, inherited by what is below and not held by
// the unit itself, on objects of one class (MS-DTYP 2.5.1.1).
func (r Right) ace(sid string) string {
	what := "RPWP"
	if r.Extended != "" {
		what = "CR"
	}
	return "(OA;CIIO;" + what + ";" + r.GUID + ";" + r.ClassGUID + ";" + sid + ")"
}

func (g Grant) samba(b *strings.Builder, targets []target, privileged bool) {
	fmt.Fprintf(b, "#!/bin/sh\n# The least rights for Cordon's account, for Samba. Run it as root on a domain controller,\n# or with -H and -U in SAMBA_TOOL_OPTIONS from elsewhere.\nset -eu\n")
	fmt.Fprintf(b, "sid=$(samba-tool user show %s --attributes=objectSid ${SAMBA_TOOL_OPTIONS:-} | sed -n 's/^objectSid: //p')\n", shell(g.Account))
	fmt.Fprintf(b, "case $sid in S-1-5-21-*) ;; *) echo 'no such account:' %s >&2; exit 1 ;; esac\n", shell(g.Account))
	for _, t := range targets {
		b.WriteString("\n")
		for _, r := range t.rights {
			fmt.Fprintf(b, "# %s\n", r.words())
		}
		b.WriteString("samba-tool dsacl set ${SAMBA_TOOL_OPTIONS:-} --objectdn=" + shell(t.dn) + " --sddl=\"")
		for _, r := range t.rights {
			b.WriteString(r.ace("$sid"))
		}
		b.WriteString("\"\n")
	}
	if privileged {
		fmt.Fprintf(b, "\n# To change who may act for others the account needs a privilege on every controller.\n# It lets the account trust others for delegation too: leave it out if you can.\n# net rpc rights grant %s %s -S CONTROLLER -U Administrator\n", shell(g.qualified()), EnableDelegation)
	}
}

func (g Grant) dsacls(b *strings.Builder, targets []target, privileged bool) {
	b.WriteString("rem The least rights for Cordon's account, by dsacls on Windows. UNTESTED: read it before you run it.\n")
	for _, t := range targets {
		b.WriteString("\n")
		for _, r := range t.rights {
			permission := "RPWP;" + r.Attribute
			if r.Extended != "" {
				permission = "CA;" + r.Extended
			}
			fmt.Fprintf(b, "dsacls \"%s\" /I:S /G \"%s:%s;%s\"\n", t.dn, g.qualified(), permission, r.Class)
		}
	}
	if privileged {
		fmt.Fprintf(b, "\nrem Also, by group policy on the domain controllers: \"Enable computer and user accounts to be\nrem trusted for delegation\" (%s) for %s. It lets the account trust others\nrem for delegation too: leave it out if you can.\n", EnableDelegation, g.qualified())
	}
}

func (g Grant) powershell(b *strings.Builder, targets []target, privileged bool) {
	b.WriteString("# The least rights for Cordon's account, by PowerShell on Windows. UNTESTED: read it before you run it.\nImport-Module ActiveDirectory\n")
	fmt.Fprintf(b, "$sid = (Get-ADUser -Identity %s).SID\n", powershell(g.Account))
	for _, t := range targets {
		fmt.Fprintf(b, "\n$path = 'AD:' + %s\n$acl = Get-Acl -Path $path\n", powershell(t.dn))
		for _, r := range t.rights {
			what := "ReadProperty, WriteProperty"
			if r.Extended != "" {
				what = "ExtendedRight"
			}
			fmt.Fprintf(b, "# %s\n$acl.AddAccessRule((New-Object System.DirectoryServices.ActiveDirectoryAccessRule($sid, '%s', 'Allow', [guid]'%s', 'Descendents', [guid]'%s')))\n",
				r.words(), what, r.GUID, r.ClassGUID)
		}
		b.WriteString("Set-Acl -Path $path -AclObject $acl\n")
	}
	if privileged {
		fmt.Fprintf(b, "\n# Also, by group policy on the domain controllers: \"Enable computer and user accounts to be\n# trusted for delegation\" (%s). It lets the account trust others for\n# delegation too: leave it out if you can.\n", EnableDelegation)
	}
}

func (g Grant) qualified() string {
	if g.Domain == "" {
		return g.Account
	}
	return g.Domain + `\` + g.Account
}

func (r Right) words() string {
	if r.Extended != "" {
		return r.Extended + " on " + r.Class + " objects"
	}
	return "read and write " + r.Attribute + " of " + r.Class + " objects"
}

// shell quotes a word for a POSIX shell.
func shell(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

// powershell quotes a string for PowerShell, which takes typographic marks for
// quotation marks too.
func powershell(s string) string {
	var b strings.Builder
	b.WriteByte('\'')
	for _, c := range s {
		switch c {
		case '\'', '‘', '’', '‚', '‛':
			b.WriteRune(c)
		}
		b.WriteRune(c)
	}
	return b.String() + "'"
}
