package graphsim

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// login answers what Entra's authority answers: the token endpoint, the
// tenant's metadata, and instance discovery. path has no leading slash.
func (t *Tenant) login(r *request, path string) *outcome {
	if path == "common/discovery/instance" {
		return t.instanceDiscovery(r)
	}
	tenant, rest, _ := strings.Cut(path, "/")
	switch rest {
	case "v2.0/.well-known/openid-configuration", ".well-known/openid-configuration":
		if !t.isTenant(tenant) {
			return t.oauthFailure(r, unknownTenant(tenant))
		}
		return t.metadata(r)
	case "discovery/v2.0/keys":
		// Access tokens are opaque to clients and signed with a secret of the
		// tenant's own, so there is no public key to show.
		return jsonOutcome(200, map[string]any{"keys": []any{}})
	case "oauth2/v2.0/token":
		return t.token(r, tenant)
	}
	return nil
}

func (t *Tenant) isTenant(s string) bool { return strings.EqualFold(s, t.world.TenantID()) }

func unknownTenant(name string) *oauthError {
	return &oauthError{400, "invalid_request", 90002, "Tenant '" + name + "' not found. Check to make sure you have the correct tenant ID and are signing into the correct cloud."}
}

// instanceDiscovery is what MSAL asks when it does not know an authority.
func (t *Tenant) instanceDiscovery(r *request) *outcome {
	return jsonOutcome(200, map[string]any{
		"tenant_discovery_endpoint": r.base + "/" + t.world.TenantID() + "/v2.0/.well-known/openid-configuration",
		"api-version":               "1.1",
		"metadata": []any{map[string]any{
			"preferred_network": r.host, "preferred_cache": r.host, "aliases": []string{r.host},
		}},
	})
}

func (t *Tenant) metadata(r *request) *outcome {
	root := r.base + "/" + t.world.TenantID()
	return jsonOutcome(200, map[string]any{
		"issuer":                                root + "/v2.0",
		"authorization_endpoint":                root + "/oauth2/v2.0/authorize",
		"token_endpoint":                        root + "/oauth2/v2.0/token",
		"device_authorization_endpoint":         root + "/oauth2/v2.0/devicecode",
		"end_session_endpoint":                  root + "/oauth2/v2.0/logout",
		"userinfo_endpoint":                     r.base + "/oidc/userinfo",
		"jwks_uri":                              root + "/discovery/v2.0/keys",
		"token_endpoint_auth_methods_supported": []string{"client_secret_post", "private_key_jwt"},
		"response_types_supported":              []string{"code", "id_token", "code id_token", "id_token token"},
		"response_modes_supported":              []string{"query", "fragment", "form_post"},
		"scopes_supported":                      []string{"openid", "profile", "email", "offline_access"},
		"subject_types_supported":               []string{"pairwise"},
		"id_token_signing_alg_values_supported": []string{"RS256"},
		"tenant_region_scope":                   "EU",
		"cloud_instance_name":                   r.host,
		"cloud_graph_host_name":                 r.host,
		"msgraph_host":                          r.host,
	})
}

// token answers a client-credentials request.
func (t *Tenant) token(r *request, tenant string) *outcome {
	if r.method != http.MethodPost {
		return t.oauthFailure(r, &oauthError{405, "invalid_request", 900561, "The endpoint only accepts POST requests. Received a " + r.method + " request."})
	}
	form, err := url.ParseQuery(string(r.body))
	if err != nil {
		return t.oauthFailure(r, &oauthError{400, "invalid_request", 900144, "The request body is not a form."})
	}
	t.ledger.change(r.entry, func(e *Entry) { e.App = form.Get("client_id") })
	if !t.isTenant(tenant) {
		return t.oauthFailure(r, unknownTenant(tenant))
	}
	app, oerr := t.authenticate(r, form)
	if oerr != nil {
		return t.oauthFailure(r, oerr)
	}
	aud, oerr := t.audience(r, form.Get("scope"))
	if oerr != nil {
		return t.oauthFailure(r, oerr)
	}
	now := t.now()
	life := t.lifetime()
	tok, err := signHS256(t.key, jwtClaims{
		Aud: audience(aud), Iss: r.base + "/" + t.world.TenantID() + "/v2.0",
		Sub: app.actor.ServicePrincipalID, Oid: app.actor.ServicePrincipalID, AppID: app.ClientID,
		Tid: t.world.TenantID(), Roles: app.Roles, Idtyp: "app", Ver: "1.0", Jti: t.newGUID(),
		Iat: seconds(now), Nbf: seconds(now), Exp: seconds(now.Add(life)),
	})
	if err != nil {
		return t.oauthFailure(r, &oauthError{500, "server_error", 90033, "A transient error has occurred. Please try again."})
	}
	secs := int(life / time.Second)
	return jsonOutcome(200, map[string]any{
		"token_type": "Bearer", "expires_in": secs, "ext_expires_in": secs, "access_token": tok,
	})
}

func seconds(t time.Time) json.Number { return json.Number(strconv.FormatInt(t.Unix(), 10)) }

// lifetime is the configured one, or a random 60 to 90 minutes.
func (t *Tenant) lifetime() time.Duration {
	if t.opts.TokenLifetime > 0 {
		return t.opts.TokenLifetime
	}
	id := t.newGUID()
	n := (int(id[0])*31 + int(id[1])) * 31 % 1801
	return time.Hour + time.Duration(n)*time.Second
}

// authenticate checks the form's credential in the order of Entra's errors.
func (t *Tenant) authenticate(r *request, form url.Values) (*registered, *oauthError) {
	for _, name := range []string{"grant_type", "client_id", "scope"} {
		if form.Get(name) == "" {
			return nil, &oauthError{400, "invalid_request", 900144, "The request body must contain the following parameter: '" + name + "'."}
		}
	}
	if g := form.Get("grant_type"); g != "client_credentials" {
		return nil, &oauthError{400, "unsupported_grant_type", 70003, "The app requested an unsupported grant type '" + g + "'."}
	}
	id := form.Get("client_id")
	app, ok := t.app(id)
	if !ok {
		return nil, &oauthError{400, "unauthorized_client", 700016, "Application with identifier '" + id + "' was not found in the directory '" + t.world.TenantID() + "'. This can happen if the application has not been installed by the administrator of the tenant or consented to by any user in the tenant. You may have sent your authentication request to the wrong tenant."}
	}
	if kind := form.Get("client_assertion_type"); kind != "" || form.Has("client_assertion") {
		if kind != "urn:ietf:params:oauth:client-assertion-type:jwt-bearer" {
			return nil, &oauthError{400, "invalid_request", 50027, "The client assertion type '" + kind + "' is not supported."}
		}
		root := r.base + "/" + t.world.TenantID()
		endpoints := []string{root + "/oauth2/v2.0/token", root + "/v2.0", root}
		return app, app.checkAssertion(form.Get("client_assertion"), endpoints, t.now())
	}
	secret := form.Get("client_secret")
	if secret == "" {
		return nil, &oauthError{401, "invalid_client", 7000218, "The request body must contain the following parameter: 'client_assertion' or 'client_secret'."}
	}
	return app, app.checkSecret(secret, t.now())
}

// audience reads the resource out of "https://host/.default". Client
// libraries add OpenID Connect's own scopes, which count for nothing here.
func (t *Tenant) audience(r *request, scope string) (string, *oauthError) {
	scope = strings.Join(slices.DeleteFunc(strings.Fields(scope), func(s string) bool {
		return slices.Contains([]string{"openid", "profile", "email", "offline_access"}, s)
	}), " ")
	res, ok := strings.CutSuffix(scope, "/.default")
	if !ok {
		return "", &oauthError{400, "invalid_scope", 1002012, "The provided value for scope " + scope + " is not valid. Client credential flows must have a scope value with /.default suffixed to the resource identifier (application ID URI)."}
	}
	u, err := url.Parse(res)
	if err != nil || !t.isGraphHost(r, u.Host) {
		return "", &oauthError{400, "invalid_resource", 500011, "The resource principal named " + res + " was not found in the tenant named " + t.world.TenantID() + ". This can happen if the application has not been installed by the administrator of the tenant or consented to by any user in the tenant."}
	}
	return res, nil
}

func (t *Tenant) isGraphHost(r *request, host string) bool {
	return strings.EqualFold(host, r.host) || strings.EqualFold(host, "graph.microsoft.com") ||
		slices.ContainsFunc(t.opts.Hosts, func(h string) bool { return strings.EqualFold(h, host) })
}

func (t *Tenant) oauthFailure(r *request, e *oauthError) *outcome {
	now := t.now().UTC()
	o := jsonOutcome(e.status, map[string]any{
		"error":             e.word,
		"error_description": e.Error() + " Trace ID: " + r.id + " Correlation ID: " + r.clientID + " Timestamp: " + now.Format("2006-01-02 15:04:05Z"),
		"error_codes":       []int{e.code},
		"timestamp":         now.Format("2006-01-02 15:04:05Z"),
		"trace_id":          r.id,
		"correlation_id":    r.clientID,
		"error_uri":         r.base + "/error?code=" + strconv.Itoa(e.code),
	})
	o.code = "AADSTS" + strconv.Itoa(e.code)
	return o
}

// session is what a valid bearer token says.
type session struct {
	app   *registered
	roles []string
}

// bearer checks the token of a Graph request. The error is Graph's 401.
func (t *Tenant) bearer(r *request) (session, *graphError) {
	h := r.header.Get("Authorization")
	if h == "" {
		return session{}, &graphError{401, "InvalidAuthenticationToken", "Access token is empty."}
	}
	kind, raw, _ := strings.Cut(h, " ")
	if !strings.EqualFold(kind, "Bearer") {
		return session{}, &graphError{401, "InvalidAuthenticationToken", "CompactToken parsing failed with error code: 80049217"}
	}
	c, err := verifyHS256(t.key, strings.TrimSpace(raw))
	if err != nil {
		return session{}, &graphError{401, "InvalidAuthenticationToken", "IDX14100: JWT is not well formed or its signature is wrong."}
	}
	if exp := unix(c.Exp); !t.now().Before(exp) {
		return session{}, expiredToken()
	}
	u, err := url.Parse(string(c.Aud))
	if err != nil || !t.isGraphHost(r, u.Host) {
		return session{}, &graphError{401, "InvalidAuthenticationToken", "Access token validation failure. Invalid audience."}
	}
	app, ok := t.app(c.AppID)
	if !ok {
		return session{}, &graphError{401, "Authorization_IdentityNotFound", "The identity of the calling application could not be established."}
	}
	return session{app, c.Roles}, nil
}

func expiredToken() *graphError {
	return &graphError{401, "InvalidAuthenticationToken", "Lifetime validation failed, the token is expired."}
}

// graphError is a refusal in Graph's envelope.
type graphError struct {
	status  int
	code    string
	message string
}

func (e *graphError) Error() string { return e.code + ": " + e.message }

// asGraphError finds the graphError in err, if there is one.
func asGraphError(err error) (*graphError, bool) {
	var g *graphError
	return g, errors.As(err, &g)
}
