package directory

import (
	"context"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/go-ldap/ldap/v3"

	"github.com/seed-f47efad2/cordon/internal/fault"
)

// person restricts a search to accounts of people and services, as opposed to
// computers, which are users too.
const person = "(objectCategory=person)(objectClass=user)(!(objectClass=computer))"

// maxKey bounds a name that is searched for, in bytes. Active Directory's longest
// is a user principal name of 1,024 characters.
const maxKey = 4096

// Find returns the one account with that name, as the preferred writable
// controller shows it: a SID, an objectGUID, a user principal name, or
// DOMAIN\name. No such account is fault.NotFound, more than one fault.Conflict,
// and a name of another domain or of no form fault.Invalid.
func (c *Client) Find(ctx context.Context, name string, attributes ...string) (Object, error) {
	filters, err := c.filters(ctx, name)
	if err != nil {
		return Object{}, err
	}
	for _, f := range filters {
		var found []Object
		for o, err := range c.Search(ctx, Query{Filter: "(&" + person + f + ")", Attributes: attributes}) {
			if err != nil {
				return Object{}, err
			}
			found = append(found, o)
		}
		switch len(found) {
		case 0:
		case 1:
			return found[0], nil
		default:
			return Object{}, fault.Errorf(fault.Conflict, "%d accounts of %s are called %q: name one by its SID", len(found), c.cfg.Domain, clean(name, 100))
		}
	}
	return Object{}, fault.Errorf(fault.NotFound, "%s has no account %q, or none that may be read", c.cfg.Domain, clean(name, 100))
}

// FindDN returns the object that is called by that distinguished name now. A name of
// another domain or of no form is fault.Invalid, one that nothing has fault.NotFound.
func (c *Client) FindDN(ctx context.Context, dn string, attributes ...string) (Object, error) {
	if !c.below(dn) {
		return Object{}, fault.Errorf(fault.Invalid, "%q is no distinguished name in %s", clean(dn, 100), c.cfg.Domain)
	}
	for o, err := range c.Search(ctx, Query{Base: dn, Filter: "(objectClass=*)", Attributes: attributes, One: true}) {
		if err != nil {
			return Object{}, err
		}
		if sameDN(o.DN, dn) {
			return o, nil
		}
	}
	return Object{}, fault.Errorf(fault.NotFound, "%s has no object %q, or none that may be read", c.cfg.Domain, clean(dn, 100))
}

// below reports whether a text is a distinguished name in the domain. The other forms
// that controllers take for one, <GUID=…> and <SID=…>, are none.
func (c *Client) below(dn string) bool {
	if len(dn) > maxKey || strings.HasPrefix(dn, "<") || strings.ContainsRune(dn, 0) || !utf8.ValidString(dn) {
		return false
	}
	base, err := ldap.ParseDN(c.cfg.BaseDN)
	if err != nil {
		return false
	}
	name, err := ldap.ParseDN(dn)
	return err == nil && base.AncestorOfFold(name)
}

// filters returns what to search for, in order.
func (c *Client) filters(ctx context.Context, name string) ([]string, error) {
	domain, sam, qualified := strings.Cut(name, `\`)
	user, suffix, upn := cutLast(name, "@")
	switch {
	case name == "" || len(name) > maxKey:
		return nil, fault.Errorf(fault.Invalid, "a name of %d bytes names no account", len(name))
	case strings.ContainsRune(name, 0) || !utf8.ValidString(name):
		// Samba compares names up to the first NUL.
		return nil, fault.Errorf(fault.Invalid, "%q names no account: it is no text", clean(name, 100))
	case strings.HasPrefix(strings.ToUpper(name), "S-1-"):
		f, err := Subject{SID: name}.filter()
		return []string{f}, err
	case qualified:
		ok, err := c.ours(ctx, domain)
		if err == nil && (!ok || sam == "") {
			err = fault.Errorf(fault.Invalid, "%q is no account of %s", clean(name, 100), c.cfg.Domain)
		}
		return []string{textFilter("sAMAccountName", sam)}, err
	case upn && user != "":
		out := []string{textFilter("userPrincipalName", name)}
		if strings.EqualFold(suffix, c.cfg.Domain) { // every account has this one, written down or not
			out = append(out, textFilter("sAMAccountName", user))
		}
		return out, nil
	}
	if b, err := GUIDBytes(name); err == nil {
		return []string{bytesFilter("objectGUID", b)}, nil
	}
	return nil, fault.Errorf(fault.Invalid, "%q is neither a SID, an objectGUID, a user principal name nor DOMAIN\\name", clean(name, 100))
}

// ours reports whether a domain named before a backslash is this one.
func (c *Client) ours(ctx context.Context, domain string) (bool, error) {
	t, err := c.learn(ctx)
	if err != nil {
		return false, err
	}
	return domain != "" && slices.ContainsFunc([]string{c.cfg.Domain, t.netbios}, func(d string) bool { return strings.EqualFold(d, domain) }), nil
}

func cutLast(s, sep string) (before, after string, found bool) {
	n := strings.LastIndex(s, sep)
	if n < 0 {
		return s, "", false
	}
	return s[:n], s[n+len(sep):], true
}

// Self returns the account that the client signs in with.
func (c *Client) Self(ctx context.Context) (Object, error) {
	if c.cfg.Bind.UPN != "" {
		return c.Find(ctx, c.cfg.Bind.UPN)
	}
	for o, err := range c.Search(ctx, Query{Filter: textFilter("distinguishedName", c.cfg.Bind.DN)}) {
		return o, err
	}
	return Object{}, fault.Errorf(fault.NotFound, "%s has no account %q, or none that may be read", c.cfg.Domain, clean(c.cfg.Bind.DN, 200))
}
