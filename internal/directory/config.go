package directory

import (
	"errors"
	"maps"
	"net"
	"slices"
	"strconv"
	"strings"

	"github.com/go-ldap/ldap/v3"

	"github.com/seed-f47efad2/cordon/internal/fault"
	"github.com/seed-f47efad2/cordon/internal/secret"
)

// A Config says which domain to talk to, through whom, and as whom.
type Config struct {
	Domain string `yaml:"domain"` // DNS name of the domain
	// DCs are domain controllers as HOST or HOST:PORT, in order of preference; HOST is
	// the name in the certificate. None: the domain's DNS is asked (SRV records).
	DCs []string `yaml:"dcs"`
	// Addresses says where a controller is, by name, for a machine that does not
	// resolve the domain's names: the name is still what the certificate must prove.
	Addresses map[string]string `yaml:"addresses"`
	BaseDN    string            `yaml:"base_dn"`  // of the domain; made from its DNS name when empty
	Bind      Bind              `yaml:"bind"`     // the account that Cordon uses there
	CAFile    string            `yaml:"ca_file"`  // PEM certificates to trust instead of the system's
	StartTLS  bool              `yaml:"starttls"` // StartTLS on port 389 in place of LDAPS on 636
	Scope     Scope             `yaml:"scope"`
}

// A Scope is what the account was delegated: what its rights are compared with. It
// limits nothing by itself, the rights do.
type Scope struct {
	Units   []string `yaml:"ou"`       // distinguished names below which users are in scope; none: the whole domain is looked at
	Groups  []string `yaml:"group_ou"` // the same for groups; the Units
	Actions []string `yaml:"actions"`  // as disable or ad.account.disable; none: those that the playbooks use
}

// Bind is how Cordon signs in. Exactly one of DN and UPN is given. The password is
// read again whenever a connection is made, so that a new one needs no restart.
type Bind struct {
	DN       string     `yaml:"dn"`
	UPN      string     `yaml:"upn"`
	Password secret.Ref `yaml:"password"`
	Kerberos bool       `yaml:"kerberos"` // SASL GSSAPI in place of a simple bind; takes upn
	Keytab   string     `yaml:"keytab"`   // file with the account's keys, for Kerberos in place of a password; read for each connection too
	KDCs     []string   `yaml:"kdcs"`     // for Kerberos, as HOST or HOST:PORT; the dcs
}

// Check finds every mistake that shows without reading a secret or asking anybody;
// each is fault.Invalid and begins with the key at fault.
func (c Config) Check() error {
	var errs []error
	bad := func(key, format string, args ...any) {
		errs = append(errs, fault.Errorf(fault.Invalid, key+": "+format, args...))
	}
	switch {
	case c.Domain == "":
		bad("domain", "missing: the DNS name of the domain, such as corp.example")
	case !isName(c.Domain) || !strings.Contains(c.Domain, "."):
		bad("domain", "%q is not the DNS name of a domain", clean(c.Domain, 100))
	}
	seen := map[string]bool{}
	for _, dc := range c.DCs {
		name, err := hostName(dc)
		switch {
		case err != nil:
			bad("dcs", "%q: %w", clean(dc, 100), err)
		case seen[name]:
			bad("dcs", "%s is listed twice", name)
		}
		seen[name] = true
	}
	for _, dc := range slices.Sorted(maps.Keys(c.Addresses)) {
		if !isName(dc) || net.ParseIP(dc) != nil {
			bad("addresses", "%q is not the name of a controller", clean(dc, 100))
		}
		if net.ParseIP(c.Addresses[dc]) == nil {
			bad("addresses", "%q is not an address", clean(c.Addresses[dc], 100))
		}
	}
	if c.BaseDN != "" {
		if _, err := ldap.ParseDN(c.BaseDN); err != nil {
			bad("base_dn", "%q is not a distinguished name", clean(c.BaseDN, 100))
		}
	}
	base := c.BaseDN
	if base == "" {
		base = domainDN(c.Domain)
	}
	outside := func(key string, list []string) {
		for _, dn := range list {
			if !within(dn, base) {
				bad(key, "%q is not the distinguished name of something below %s", clean(dn, 100), clean(base, 100))
			}
		}
	}
	outside("scope.ou", c.Scope.Units)
	outside("scope.group_ou", c.Scope.Groups)
	return errors.Join(append(errs, c.Bind.check()...)...)
}

// within reports whether a distinguished name lies below another.
func within(dn, base string) bool {
	a, err := ldap.ParseDN(dn)
	if err != nil {
		return false
	}
	b, err := ldap.ParseDN(base)
	return err == nil && b.AncestorOfFold(a)
}

func (b Bind) check() []error {
	var errs []error
	bad := func(key, format string, args ...any) {
		errs = append(errs, fault.Errorf(fault.Invalid, "bind."+key+": "+format, args...))
	}
	user, realm, _ := strings.Cut(b.UPN, "@")
	switch {
	case b.DN == "" && b.UPN == "":
		bad("upn", "missing: the account that Cordon uses, as upn or as dn")
	case b.DN != "" && b.UPN != "":
		bad("dn", "dn and upn are given: only one can be used")
	case b.Kerberos && b.UPN == "":
		bad("upn", "missing: Kerberos knows accounts by user@DOMAIN, not by dn")
	case b.UPN != "" && (user == "" || realm == ""):
		bad("upn", "%q is not of the form user@domain", clean(b.UPN, 100))
	case b.DN != "":
		if _, err := ldap.ParseDN(b.DN); err != nil {
			bad("dn", "%q is not a distinguished name", clean(b.DN, 100))
		}
	}
	switch {
	case b.Keytab != "" && b.Password != "":
		bad("keytab", "keytab and password are given: only one can be used")
	case b.Keytab != "" && !b.Kerberos:
		bad("keytab", "a keytab is for Kerberos: set kerberos: true")
	}
	if b.Password == "" && b.Keytab == "" {
		bad("password", "missing: a reference to the account's password, env:NAME or file:PATH")
	} else if err := b.Password.Check(); b.Password != "" && err != nil {
		bad("password", "%w", err)
	}
	for _, k := range b.KDCs {
		if host, _, err := net.SplitHostPort(k); k == "" || err == nil && host == "" || strings.ContainsAny(k, " \t\r\n{}=") {
			bad("kdcs", "%q is not HOST or HOST:PORT", clean(k, 100))
		}
	}
	return errs
}

// hostName returns the name of a controller in lower case. Addresses are refused:
// a certificate proves a name.
func hostName(dc string) (string, error) {
	name := dc
	if strings.Contains(dc, ":") {
		var port string
		var err error
		if name, port, err = net.SplitHostPort(dc); err != nil {
			return "", errors.New("not HOST or HOST:PORT")
		}
		if n, err := strconv.Atoi(port); err != nil || n < 1 || n > 65535 {
			return "", errors.New("the port is not one")
		}
	}
	name = strings.ToLower(strings.TrimSuffix(name, "."))
	if net.ParseIP(name) != nil {
		return "", errors.New("an address: give the name that stands in the controller's certificate")
	}
	if !isName(name) {
		return "", errors.New("not a host name")
	}
	return name, nil
}

func isName(s string) bool {
	if s == "" || len(s) > 253 {
		return false
	}
	for label := range strings.SplitSeq(s, ".") {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
		for _, c := range []byte(label) {
			if !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '-' || c == '_') {
				return false
			}
		}
	}
	return true
}

// domainDN is the distinguished name of a domain: corp.example is
// DC=corp,DC=example (RFC 2247).
func domainDN(domain string) string {
	labels := strings.Split(domain, ".")
	for n, l := range labels {
		labels[n] = "DC=" + ldap.EscapeDN(l)
	}
	return strings.Join(labels, ",")
}

// sameDN compares two distinguished names. Active Directory ignores case in names.
func sameDN(a, b string) bool {
	x, err := ldap.ParseDN(a)
	if err != nil {
		return false
	}
	y, err := ldap.ParseDN(b)
	return err == nil && x.EqualFold(y)
}

// parentDN returns the DN without its first part, or "".
func parentDN(dn string) string {
	d, err := ldap.ParseDN(dn)
	if err != nil || len(d.RDNs) < 2 {
		return ""
	}
	d.RDNs = slices.Clone(d.RDNs[1:])
	return d.String()
}
