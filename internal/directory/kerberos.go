package directory

import (
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"

	"github.com/go-ldap/ldap/v3"
	"github.com/go-ldap/ldap/v3/gssapi"
	krb "github.com/jcmturner/gokrb5/v8/client"
	"github.com/jcmturner/gokrb5/v8/config"
	"github.com/jcmturner/gokrb5/v8/iana/errorcode"
	"github.com/jcmturner/gokrb5/v8/keytab"
	"github.com/jcmturner/gokrb5/v8/krberror"
	"github.com/jcmturner/gokrb5/v8/messages"

	"github.com/seed-f47efad2/cordon/internal/fault"
)

// kerberos signs in with SASL GSSAPI. Integrity and privacy are TLS's; the
// library offers no channel binding, so a controller that demands it refuses.
func (c *Client) kerberos(l *ldap.Conn, h *host, password string) error {
	conf, err := config.NewFromString(c.krb5(h))
	if err != nil {
		return &Error{DC: h.name, What: "bind", Kind: fault.Invalid, Err: fmt.Errorf("kerberos: %w", err)}
	}
	user, realm, _ := strings.Cut(c.cfg.Bind.UPN, "@")
	// Active Directory's KDC does not know FAST as the library speaks it.
	k := krb.NewWithPassword(user, strings.ToUpper(realm), password, conf, krb.DisablePAFXFAST(true))
	if file := c.cfg.Bind.Keytab; file != "" {
		keys, err := keytab.Load(file)
		if err != nil {
			return &Error{DC: h.name, What: "bind", Kind: fault.Invalid, Err: fmt.Errorf("keytab %s: %w", file, err)}
		}
		k = krb.NewWithKeytab(user, strings.ToUpper(realm), keys, conf, krb.DisablePAFXFAST(true))
	}
	defer k.Destroy()
	if err := k.Login(); err != nil {
		return c.kerberosError(h, err)
	}
	err = l.GSSAPIBind(&gssapi.Client{Client: k}, "ldap/"+h.name, "")
	if e := (*ldap.Error)(nil); err != nil && !errors.As(err, &e) {
		return c.kerberosError(h, err)
	}
	return err
}

// kerberosError tells a refusal of the account from trouble on the way.
func (c *Client) kerberosError(h *host, err error) *Error {
	kind := fault.Unavailable
	var said messages.KRBError
	if errors.As(err, &said) {
		switch said.ErrorCode {
		case errorcode.KDC_ERR_PREAUTH_FAILED, errorcode.KDC_ERR_CLIENT_REVOKED, errorcode.KDC_ERR_C_PRINCIPAL_UNKNOWN,
			errorcode.KDC_ERR_KEY_EXPIRED, errorcode.KDC_ERR_POLICY, errorcode.KDC_ERR_S_PRINCIPAL_UNKNOWN:
			kind = fault.Denied
		}
	}
	if k := (krberror.Krberror{}); kind == fault.Unavailable && errors.As(err, &k) && k.RootCause == krberror.KDCError {
		for _, refusal := range []string{"KDC_ERR_PREAUTH_FAILED", "KDC_ERR_CLIENT_REVOKED", "KDC_ERR_C_PRINCIPAL_UNKNOWN", "KDC_ERR_KEY_EXPIRED"} {
			if strings.Contains(err.Error(), refusal) { // the library keeps the code in text alone
				kind = fault.Denied
			}
		}
	}
	return &Error{DC: h.name, What: "bind", Kind: kind, Err: fmt.Errorf("kerberos: %s", clean(err.Error(), 300))}
}

// krb5 is the library's configuration: this realm, these KDCs, over TCP, and
// nobody asked by DNS.
func (c *Client) krb5(h *host) string {
	kdcs := c.cfg.Bind.KDCs
	if len(kdcs) == 0 {
		kdcs = []string{h.name} // every controller is one
		for _, dc := range c.cfg.DCs {
			if name, err := hostName(dc); err == nil && name != h.name {
				kdcs = append(kdcs, name)
			}
		}
	}
	kdcs = slices.Clone(kdcs)
	for n, k := range kdcs {
		for name, ip := range c.cfg.Addresses {
			if host, port, err := net.SplitHostPort(k); err == nil && strings.EqualFold(host, name) {
				kdcs[n] = net.JoinHostPort(ip, port)
			} else if err != nil && strings.EqualFold(k, name) {
				kdcs[n] = net.JoinHostPort(ip, "88")
			}
		}
	}
	_, realm, _ := strings.Cut(c.cfg.Bind.UPN, "@")
	realm = strings.ToUpper(realm)
	var b strings.Builder
	fmt.Fprintf(&b, "[libdefaults]\n default_realm = %s\n dns_lookup_kdc = false\n dns_lookup_realm = false\n udp_preference_limit = 1\n", realm)
	fmt.Fprintf(&b, "[realms]\n %s = {\n", realm)
	for _, k := range kdcs {
		if _, _, err := net.SplitHostPort(k); err != nil {
			k = net.JoinHostPort(k, "88")
		}
		fmt.Fprintf(&b, "  kdc = %s\n", k)
	}
	fmt.Fprintf(&b, " }\n[domain_realm]\n .%s = %s\n %s = %s\n", c.cfg.Domain, realm, c.cfg.Domain, realm)
	return b.String()
}
