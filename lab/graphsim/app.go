package graphsim

import (
	"crypto/rsa"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// App is an application registered in the tenant, with its consent given.
// Changes after New have no effect but through Tenant.SetApp.
type App struct {
	ClientID string // a GUID
	Name     string // "Cordon" if empty; appears in the directory audit

	Secrets      []Secret
	Certificates []*x509.Certificate // RSA; any of them may sign an assertion
	Federated    []Federated

	// Roles are the application permissions consented to, such as
	// "User.Read.All". ReaderRoles and ResponderRoles return usual sets.
	Roles []string
	// DirectoryRoles are display names of directory roles that the service
	// principal holds, such as "Privileged Authentication Administrator".
	DirectoryRoles []string
}

// Secret is a client secret. The zero Expires means never.
type Secret struct {
	Value   string
	Expires time.Time
}

// String hides the value.
func (Secret) String() string { return "(secret)" }

// GoString hides the value.
func (Secret) GoString() string { return "(secret)" }

// Federated is a federated identity credential: tokens of Issuer for Subject
// stand in the place of a secret. Entra fetches the issuer's keys over the
// network; here Key is given.
type Federated struct {
	Issuer   string
	Subject  string
	Audience string // "api://AzureADTokenExchange" if empty
	Key      *rsa.PublicKey
}

// Responder returns an app that may do what Cordon does to any person,
// administrators included: ResponderRoles and the directory role that admits
// to privileged people.
func Responder(clientID, secret string) App {
	return App{
		ClientID: clientID, Secrets: []Secret{{Value: secret}}, Roles: ResponderRoles(),
		DirectoryRoles: []string{"Privileged Authentication Administrator"},
	}
}

// ReaderRoles returns the application permissions of an app that only reads:
// risk, sign-ins, alerts, sensors, people, groups, roles, policies, applications
// and devices.
func ReaderRoles() []string {
	return []string{
		"IdentityRiskEvent.Read.All", "IdentityRiskyUser.Read.All", "IdentityRiskyServicePrincipal.Read.All",
		"AuditLog.Read.All", "SecurityAlert.Read.All", "SecurityIncident.Read.All",
		"SecurityIdentitiesHealth.Read.All", "SecurityIdentitiesSensors.Read.All", "SecurityIdentitiesAccount.Read.All",
		"User.Read.All", "GroupMember.Read.All", "RoleManagement.Read.Directory", "Policy.Read.All",
		"Application.Read.All", "Device.Read.All", "UserAuthenticationMethod.Read.All",
	}
}

// ResponderRoles returns ReaderRoles and the permissions to contain.
func ResponderRoles() []string {
	return append(ReaderRoles(),
		"IdentityRiskyUser.ReadWrite.All", "IdentityRiskyServicePrincipal.ReadWrite.All", "IdentityRiskEvent.ReadWrite.All",
		"User.EnableDisableAccount.All", "User.RevokeSessions.All", "User-PasswordProfile.ReadWrite.All",
		"GroupMember.ReadWrite.All", "SecurityAlert.ReadWrite.All", "SecurityIncident.ReadWrite.All",
		"SecurityIdentitiesActions.ReadWrite.All", "Application.ReadWrite.All", "DelegatedPermissionGrant.ReadWrite.All",
		"MailboxSettings.ReadWrite", "UserAuthenticationMethod.ReadWrite.All", "Device.ReadWrite.All",
		"RoleAssignmentSchedule.ReadWrite.Directory", "RoleAssignmentSchedule.Remove.Directory",
		"RoleEligibilitySchedule.ReadWrite.Directory", "RoleEligibilitySchedule.Remove.Directory")
}

func (a *App) check() error {
	if !isGUID(a.ClientID) {
		return fmt.Errorf("app %q: the client id is not a GUID", a.ClientID)
	}
	for _, c := range a.Certificates {
		if _, ok := c.PublicKey.(*rsa.PublicKey); !ok {
			return fmt.Errorf("app %s: certificate %s: only RSA keys can sign an assertion", a.ClientID, c.Subject)
		}
	}
	for _, f := range a.Federated {
		if f.Issuer == "" || f.Subject == "" || f.Key == nil {
			return fmt.Errorf("app %s: a federated credential needs issuer, subject and key", a.ClientID)
		}
	}
	return nil
}

// oauthError is a refusal of the token endpoint: an AADSTS code, an OAuth
// error word and the text.
type oauthError struct {
	status int
	word   string
	code   int
	text   string
}

func (e *oauthError) Error() string { return fmt.Sprintf("AADSTS%d: %s", e.code, e.text) }

// checkSecret compares in the order that Entra's messages imply: an expired
// secret is named as expired only if its value was right.
func (a *App) checkSecret(value string, now time.Time) *oauthError {
	for _, s := range a.Secrets {
		if s.Value != value {
			continue
		}
		if !s.Expires.IsZero() && !now.Before(s.Expires) {
			return &oauthError{401, "invalid_client", 7000222, "The provided client secret keys for app '" + a.ClientID + "' are expired."}
		}
		return nil
	}
	return &oauthError{401, "invalid_client", 7000215, "Invalid client secret provided. Ensure the secret being sent in the request is the client secret value, not the client secret ID, for a secret added to app '" + a.ClientID + "'."}
}

// checkAssertion verifies a client assertion: one signed by a registered
// certificate, or the token of a federated credential.
func (a *App) checkAssertion(raw string, endpoints []string, now time.Time) *oauthError {
	t, err := parseJWT(raw)
	if err != nil {
		return &oauthError{401, "invalid_client", 50027, "JWT token is invalid or malformed: " + err.Error() + "."}
	}
	if exp := unix(t.claims.Exp); exp.IsZero() || !now.Before(exp.Add(5*time.Minute)) {
		return &oauthError{401, "invalid_client", 700024, "Client assertion is not within its valid time range. Current time: " + now.Format(time.RFC3339) + "."}
	}
	if nbf := unix(t.claims.Nbf); now.Add(5 * time.Minute).Before(nbf) {
		return &oauthError{401, "invalid_client", 700024, "Client assertion is not within its valid time range. Current time: " + now.Format(time.RFC3339) + "."}
	}
	if t.claims.Iss != a.ClientID {
		return a.checkFederated(t)
	}
	if t.claims.Sub != a.ClientID {
		return &oauthError{401, "invalid_client", 700021, "Client assertion application identifier doesn't match 'client_id' parameter."}
	}
	if !slices.ContainsFunc(endpoints, func(e string) bool { return strings.EqualFold(e, string(t.claims.Aud)) }) {
		return &oauthError{401, "invalid_client", 700023, "Client assertion audience claim does not match Realm issuer."}
	}
	cert, err := a.certificate(t.header)
	if err != nil {
		return &oauthError{401, "invalid_client", 700027, "The certificate with identifier used to sign the client assertion is not registered on application. [Reason - " + err.Error() + "]"}
	}
	if now.Before(cert.NotBefore) || now.After(cert.NotAfter) {
		return &oauthError{401, "invalid_client", 700027, "The certificate used to sign the client assertion is outside its validity."}
	}
	key, ok := cert.PublicKey.(*rsa.PublicKey)
	if !ok || t.verifyRSA(key) != nil {
		return &oauthError{401, "invalid_client", 700027, "Client assertion failed signature validation."}
	}
	return nil
}

func (a *App) checkFederated(t jwt) *oauthError {
	for _, f := range a.Federated {
		aud := f.Audience
		if aud == "" {
			aud = "api://AzureADTokenExchange"
		}
		if t.claims.Iss != f.Issuer || t.claims.Sub != f.Subject || string(t.claims.Aud) != aud {
			continue
		}
		if t.verifyRSA(f.Key) != nil {
			return &oauthError{401, "invalid_client", 700027, "Client assertion failed signature validation."}
		}
		return nil
	}
	return &oauthError{401, "invalid_client", 700213, "No matching federated identity record found for presented assertion subject '" + t.claims.Sub + "'."}
}

// certificate finds the registered certificate that a header names by
// thumbprint. Client libraries write it in either base64 alphabet.
func (a *App) certificate(h jwtHeader) (*x509.Certificate, error) {
	name := h.X5tS256
	sha256Form := name != ""
	if !sha256Form {
		name = h.X5t
	}
	if name == "" {
		return nil, errors.New("the assertion names no certificate thumbprint")
	}
	want, err := decodeAnyBase64(name)
	if err != nil {
		return nil, errors.New("the thumbprint is not base64")
	}
	for _, c := range a.Certificates {
		var got []byte
		if sha256Form {
			s := sha256.Sum256(c.Raw)
			got = s[:]
		} else {
			s := sha1.Sum(c.Raw)
			got = s[:]
		}
		if string(got) == string(want) {
			return c, nil
		}
	}
	return nil, fmt.Errorf("the key was not found, thumbprint of key used by client: '%X'", want)
}

func decodeAnyBase64(s string) ([]byte, error) {
	s = strings.NewReplacer("+", "-", "/", "_").Replace(strings.TrimRight(s, "="))
	return base64.RawURLEncoding.DecodeString(s)
}
