package graph

import (
	"cmp"
	"errors"
	"net/url"
	"strings"

	"github.com/seed-f47efad2/cordon/internal/fault"
	"github.com/seed-f47efad2/cordon/internal/secret"
)

// A Config says which tenant to talk to, where, and as whom.
type Config struct {
	TenantID string `yaml:"tenant_id"` // GUID or verified domain
	ClientID string `yaml:"client_id"` // application (client) id of the app registration
	Cloud    string `yaml:"cloud"`     // name of a Cloud; global

	// GraphURL and LoginURL replace the cloud's, for a cloud not listed here
	// and for the lab. LoginURL also turns instance discovery off: nobody but
	// the named host is asked whether it is an authority.
	GraphURL string `yaml:"graph_url"`
	LoginURL string `yaml:"login_url"`
	CAFile   string `yaml:"ca_file"` // PEM certificates trusted beside the system's

	Credential Credential `yaml:"credential"`
}

// A Credential proves that we are the app. Exactly one kind is given. Files
// and variables are read again whenever a token is due, so that a new secret,
// certificate or federated token needs no restart.
type Credential struct {
	Secret              secret.Ref `yaml:"secret"`
	CertificateFile     string     `yaml:"certificate_file"`     // PEM or PKCS #12, with its private key
	CertificatePassword secret.Ref `yaml:"certificate_password"` // of a PKCS #12 file
	FederatedTokenFile  string     `yaml:"federated_token_file"` // workload identity federation
	ManagedIdentity     string     `yaml:"managed_identity"`     // "system", or the client id of a user-assigned one
}

// Check finds every mistake that shows without reading a secret or asking
// anybody; each is fault.Invalid and begins with the key at fault. It passes
// on a machine that has neither the files nor the variables.
func (c Config) Check() error {
	var errs []error
	bad := func(key, format string, args ...any) {
		errs = append(errs, fault.Errorf(fault.Invalid, key+": "+format, args...))
	}
	switch {
	case c.TenantID == "":
		bad("tenant_id", "missing: the directory (tenant) id, a GUID, or a verified domain of the tenant")
	case isAny(c.TenantID, "common", "organizations", "consumers"):
		bad("tenant_id", "%q names no single tenant: an app signs in to one", c.TenantID)
	case !isGUID(c.TenantID) && !isDomain(c.TenantID):
		bad("tenant_id", "%q is neither a GUID nor a domain", clean(c.TenantID, 100))
	}
	switch {
	case c.ClientID == "" && c.Credential.ManagedIdentity == "":
		bad("client_id", "missing: the application (client) id of the app registration")
	case c.ClientID != "" && !isGUID(c.ClientID):
		bad("client_id", "%q is not a GUID", clean(c.ClientID, 100))
	}
	if _, ok := CloudNamed(c.Cloud); !ok {
		bad("cloud", "no cloud %q; known are %s; for another set graph_url and login_url", clean(c.Cloud, 100), cloudNames())
	}
	for _, u := range []struct{ key, value string }{{"graph_url", c.GraphURL}, {"login_url", c.LoginURL}} {
		if u.value == "" {
			continue
		}
		if _, err := rootURL(u.value); err != nil {
			bad(u.key, "%w", err)
		}
	}
	if (c.GraphURL == "") != (c.LoginURL == "") && c.Credential.ManagedIdentity == "" {
		// One of Microsoft's with one of somebody else's would hand a token or
		// a secret to the wrong side.
		bad(pick(c.GraphURL == "", "graph_url", "login_url"), "missing: graph_url and login_url are given together or not at all")
	}
	return errors.Join(append(errs, c.Credential.check()...)...)
}

func (c Credential) check() []error {
	var errs []error
	bad := func(key, format string, args ...any) {
		errs = append(errs, fault.Errorf(fault.Invalid, "credential."+key+": "+format, args...))
	}
	var given []string
	for _, k := range []struct {
		key string
		set bool
	}{
		{"secret", c.Secret != ""},
		{"certificate_file", c.CertificateFile != ""},
		{"federated_token_file", c.FederatedTokenFile != ""},
		{"managed_identity", c.ManagedIdentity != ""},
	} {
		if k.set {
			given = append(given, k.key)
		}
	}
	switch len(given) {
	case 0:
		errs = append(errs, fault.Errorf(fault.Invalid,
			"credential: missing: one of secret, certificate_file, federated_token_file, managed_identity"))
	case 1:
	default:
		errs = append(errs, fault.Errorf(fault.Invalid, "credential: %s are given: only one can be used", strings.Join(given, " and ")))
	}
	if c.Secret != "" {
		if err := c.Secret.Check(); err != nil {
			bad("secret", "%w", err)
		}
	}
	if c.CertificatePassword != "" {
		if err := c.CertificatePassword.Check(); err != nil {
			bad("certificate_password", "%w", err)
		}
		if c.CertificateFile == "" {
			bad("certificate_password", "given without certificate_file")
		}
	}
	if m := c.ManagedIdentity; m != "" && m != "system" && !isGUID(m) {
		bad("managed_identity", "%q is neither \"system\" nor the client id of a user-assigned identity", clean(m, 100))
	}
	return errs
}

// endpoints returns where to sign in and where Graph is, and the hosts that
// may be spoken to while signing in.
func (c Config) endpoints() (login, graph *url.URL, hosts []string, err error) {
	cloud, ok := CloudNamed(c.Cloud)
	if !ok {
		return nil, nil, nil, fault.Errorf(fault.Invalid, "cloud: no cloud %q", clean(c.Cloud, 100))
	}
	if login, err = rootURL(cmp.Or(c.LoginURL, cloud.LoginURL)); err != nil {
		return nil, nil, nil, err
	}
	if graph, err = rootURL(cmp.Or(c.GraphURL, cloud.GraphURL)); err != nil {
		return nil, nil, nil, err
	}
	hosts = []string{login.Host}
	if c.LoginURL == "" {
		hosts = append(hosts, cloud.aliases...)
	}
	return login, graph, hosts, nil
}

// Hosts returns every host that a client of this configuration speaks to, as
// host or host:port: the Graph first, then those of the sign-in. A managed
// identity's tokens come from the machine itself.
func (c Config) Hosts() ([]string, error) {
	_, g, hosts, err := c.endpoints()
	if err != nil {
		return nil, err
	}
	if c.Credential.ManagedIdentity != "" {
		hosts = nil
	}
	return append([]string{g.Host}, hosts...), nil
}

// Open returns a client for the configuration. It reads ca_file and contacts
// nobody; the credential is read when the first token is due. Of o, BaseURL
// and Tokens are set here, and Transport unless it is given.
func Open(c Config, o Options) (*Client, error) {
	if err := c.Check(); err != nil {
		return nil, err
	}
	_, g, _, err := c.endpoints()
	if err != nil {
		return nil, err
	}
	o.BaseURL = g.String()
	if o.Transport == nil {
		if o.Transport, err = NewTransport(c.CAFile); err != nil {
			return nil, err
		}
	}
	if o.Tokens, err = NewTokens(c, o.Transport, o.Now); err != nil {
		return nil, err
	}
	return New(o)
}

func isGUID(s string) bool {
	if len(s) != 36 {
		return false
	}
	for i, c := range []byte(s) {
		hex := '0' <= c && c <= '9' || 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F'
		dash := i == 8 || i == 13 || i == 18 || i == 23
		if dash && c != '-' || !dash && !hex {
			return false
		}
	}
	return true
}

func isDomain(s string) bool {
	labels := strings.Split(s, ".")
	if len(labels) < 2 || len(s) > 253 {
		return false
	}
	for _, l := range labels {
		if l == "" || len(l) > 63 || l[0] == '-' || l[len(l)-1] == '-' ||
			strings.ContainsFunc(l, func(c rune) bool {
				return c != '-' && (c < '0' || c > '9') && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z')
			}) {
			return false
		}
	}
	return true
}

func isAny(s string, words ...string) bool {
	for _, w := range words {
		if strings.EqualFold(s, w) {
			return true
		}
	}
	return false
}

func pick(first bool, a, b string) string {
	if first {
		return a
	}
	return b
}
