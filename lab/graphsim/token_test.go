package graphsim_test

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"math/big"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/cloud"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"

	"github.com/seed-f47efad2/cordon/lab/graphsim"
	"github.com/seed-f47efad2/cordon/lab/world"
)

// serve starts the tenant over real HTTPS on a loopback port.
func serve(t *testing.T, o graphsim.Options) (lab *graphsim.Tenant, base string, client *http.Client) {
	t.Helper()
	w, err := world.New(world.Options{Seed: 1, Users: 60})
	if err != nil {
		t.Fatal(err)
	}
	lab, err = graphsim.New(w, o)
	if err != nil {
		t.Fatal(err)
	}
	ca, err := graphsim.NewCA(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- lab.Serve(ctx, l, ca) }()
	tr := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: ca.Pool()}, ForceAttemptHTTP2: true}
	t.Cleanup(func() {
		tr.CloseIdleConnections()
		cancel()
		if err := <-served; err != nil {
			t.Errorf("serve: %v", err)
		}
	})
	return lab, "https://" + l.Addr().String(), &http.Client{Transport: tr}
}

// The three credentials of the real Azure identity library get a token from
// the lab over HTTPS, and Graph accepts it.
func TestAzureIdentity(t *testing.T) {
	t.Parallel()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	cert := selfSigned(t, key)
	app := responder()
	app.Certificates = []*x509.Certificate{cert}
	app.Federated = []graphsim.Federated{{Issuer: "https://issuer.example", Subject: "system:serviceaccount:cordon:cordon", Key: &key.PublicKey}}
	lab, base, client := serve(t, graphsim.Options{Apps: []graphsim.App{app}, Limits: graphsim.Limits{Off: true}})
	tenant := lab.World().TenantID()
	opts := azcore.ClientOptions{
		Cloud:     cloud.Configuration{ActiveDirectoryAuthorityHost: base + "/"},
		Transport: client,
		Retry:     policy.RetryOptions{MaxRetries: -1},
	}

	credentials := map[string]func() (azcore.TokenCredential, error){
		"secret": func() (azcore.TokenCredential, error) {
			return azidentity.NewClientSecretCredential(tenant, clientID, clientSecret,
				&azidentity.ClientSecretCredentialOptions{ClientOptions: opts, DisableInstanceDiscovery: true})
		},
		"certificate": func() (azcore.TokenCredential, error) {
			return azidentity.NewClientCertificateCredential(tenant, clientID, []*x509.Certificate{cert}, key,
				&azidentity.ClientCertificateCredentialOptions{ClientOptions: opts, DisableInstanceDiscovery: true})
		},
		"federated": func() (azcore.TokenCredential, error) {
			return azidentity.NewClientAssertionCredential(tenant, clientID, func(context.Context) (string, error) {
				return federated(t, key, map[string]any{}), nil
			}, &azidentity.ClientAssertionCredentialOptions{ClientOptions: opts, DisableInstanceDiscovery: true})
		},
	}
	for name, make := range credentials {
		t.Run(name, func(t *testing.T) {
			cred, err := make()
			if err != nil {
				t.Fatal(err)
			}
			tok, err := cred.GetToken(t.Context(), policy.TokenRequestOptions{Scopes: []string{base + "/.default"}})
			if err != nil {
				t.Fatal(err)
			}
			if life := time.Until(tok.ExpiresOn); life < 59*time.Minute || life > 91*time.Minute {
				t.Errorf("the token lives %v", life)
			}
			req, err := http.NewRequestWithContext(t.Context(), "GET", base+"/v1.0/users?$top=1&$select=id", nil)
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Authorization", "Bearer "+tok.Token)
			res, err := client.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			if body := decode(t, res); res.StatusCode != 200 || len(values(body)) != 1 {
				t.Errorf("%d %v", res.StatusCode, body)
			}
		})
	}

	// The library shows Entra's code, and never the secret.
	cred, err := azidentity.NewClientSecretCredential(tenant, clientID, "wrong-"+clientSecret,
		&azidentity.ClientSecretCredentialOptions{ClientOptions: opts, DisableInstanceDiscovery: true})
	if err != nil {
		t.Fatal(err)
	}
	_, err = cred.GetToken(t.Context(), policy.TokenRequestOptions{Scopes: []string{base + "/.default"}})
	if err == nil || !strings.Contains(err.Error(), "AADSTS7000215") || strings.Contains(err.Error(), "wrong-"+clientSecret) {
		t.Errorf("a wrong secret: %v", err)
	}
}

// What a client is given as ca_file is the CA that signed the server, and
// instance discovery, for clients that ask, knows the lab's own name.
func TestCAFileAndDiscovery(t *testing.T) {
	t.Parallel()
	ca, err := graphsim.NewCA(time.Now(), "graph.lab", "192.0.2.1")
	if err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(t.TempDir(), "ca.pem")
	if err := ca.WriteFile(name); err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(raw) {
		t.Fatalf("not PEM: %s", raw)
	}
	leaf, err := x509.ParseCertificate(ca.ServerConfig().Certificates[0].Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	for _, host := range []string{"localhost", "127.0.0.1", "::1", "graph.lab", "192.0.2.1"} {
		if _, err := leaf.Verify(x509.VerifyOptions{Roots: pool, DNSName: host}); err != nil {
			t.Errorf("%s: %v", host, err)
		}
	}

	d := newDesk(t, unlimited())
	req, err := http.NewRequestWithContext(t.Context(), "GET", host+"/common/discovery/instance?api-version=1.1&authorization_endpoint=x", nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := d.lab.Transport().RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	if body := decode(t, res); body["tenant_discovery_endpoint"] != host+"/"+d.w.TenantID()+"/v2.0/.well-known/openid-configuration" {
		t.Errorf("%v", body)
	}
}

func selfSigned(t *testing.T, key *rsa.PrivateKey) *x509.Certificate {
	t.Helper()
	now := time.Now()
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "cordon"}, NotBefore: now.Add(-time.Hour), NotAfter: now.Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// federated signs a token as the issuer would; change replaces claims.
func federated(t *testing.T, key *rsa.PrivateKey, change map[string]any) string {
	now := time.Now()
	claims := map[string]any{
		"iss": "https://issuer.example", "sub": "system:serviceaccount:cordon:cordon", "aud": "api://AzureADTokenExchange",
		"iat": now.Unix(), "nbf": now.Unix(), "exp": now.Add(10 * time.Minute).Unix(),
	}
	for k, v := range change {
		claims[k] = v
	}
	return sign(t, key, map[string]any{"alg": "RS256", "typ": "JWT"}, claims)
}

func sign(t *testing.T, key *rsa.PrivateKey, header, claims map[string]any) string {
	part := func(v any) string {
		b, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		return base64.RawURLEncoding.EncodeToString(b)
	}
	signed := part(header) + "." + part(claims)
	sum := sha256.Sum256([]byte(signed))
	sig, err := rsa.SignPKCS1v15(rand.Reader, key, crypto.SHA256, sum[:])
	if err != nil {
		t.Fatal(err)
	}
	return signed + "." + base64.RawURLEncoding.EncodeToString(sig)
}

func TestTokenRefusals(t *testing.T) {
	t.Parallel()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	other, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	app := responder()
	app.Secrets = append(app.Secrets, graphsim.Secret{Value: "old", Expires: time.Now().Add(-time.Hour)})
	app.Certificates = []*x509.Certificate{selfSigned(t, key)}
	app.Federated = []graphsim.Federated{{Issuer: "https://issuer.example", Subject: "system:serviceaccount:cordon:cordon", Key: &key.PublicKey}}
	d := newDesk(t, graphsim.Options{Apps: []graphsim.App{app}})
	path := "/" + d.w.TenantID() + "/oauth2/v2.0/token"
	ask := func(change url.Values) (int, map[string]any) {
		v := url.Values{"client_id": {clientID}, "client_secret": {clientSecret}, "grant_type": {"client_credentials"}, "scope": {host + "/.default"}}
		for k, x := range change {
			if x == nil {
				v.Del(k)
			} else {
				v[k] = x
			}
		}
		return d.form(path, v)
	}
	assertion := func(a string) url.Values {
		return url.Values{"client_secret": nil, "client_assertion_type": {"urn:ietf:params:oauth:client-assertion-type:jwt-bearer"}, "client_assertion": {a}}
	}
	own := func(k *rsa.PrivateKey, cert *x509.Certificate, change map[string]any) string {
		sum := sha256.Sum256(cert.Raw)
		claims := map[string]any{"iss": clientID, "sub": clientID, "aud": host + path, "jti": "1", "nbf": time.Now().Unix(), "exp": time.Now().Add(5 * time.Minute).Unix()}
		for n, v := range change {
			claims[n] = v
		}
		return sign(t, k, map[string]any{"alg": "RS256", "typ": "JWT", "x5t#S256": base64.RawURLEncoding.EncodeToString(sum[:])}, claims)
	}
	cert := app.Certificates[0]
	if status, body := ask(assertion(own(key, cert, nil))); status != 200 {
		t.Errorf("a good assertion: %d %v", status, body)
	}
	for name, c := range map[string]struct {
		change url.Values
		code   float64
	}{
		"wrong secret":             {url.Values{"client_secret": {"x"}}, 7000215},
		"expired secret":           {url.Values{"client_secret": {"old"}}, 7000222},
		"no secret":                {url.Values{"client_secret": nil}, 7000218},
		"unknown app":              {url.Values{"client_id": {"11111111-2222-4333-8444-555555555555"}}, 700016},
		"no scope":                 {url.Values{"scope": nil}, 900144},
		"scope without default":    {url.Values{"scope": {host + "/User.Read.All"}}, 1002012},
		"another resource":         {url.Values{"scope": {"https://vault.example/.default"}}, 500011},
		"another grant":            {url.Values{"grant_type": {"password"}}, 70003},
		"not a JWT":                {assertion("abc"), 50027},
		"another key":              {assertion(own(other, cert, nil)), 700027},
		"unregistered certificate": {assertion(own(other, selfSigned(t, other), nil)), 700027},
		"another audience":         {assertion(own(key, cert, map[string]any{"aud": "https://elsewhere.example"})), 700023},
		"an old assertion":         {assertion(own(key, cert, map[string]any{"exp": time.Now().Add(-time.Hour).Unix()})), 700024},
		"no expiry":                {assertion(own(key, cert, map[string]any{"exp": nil})), 700024},
		"another subject":          {assertion(federated(t, key, map[string]any{"sub": "somebody"})), 700213},
		"a forged federated token": {assertion(federated(t, other, nil)), 700027},
	} {
		status, body := ask(c.change)
		codes, _ := body["error_codes"].([]any)
		if status < 400 || len(codes) != 1 || codes[0] != c.code {
			t.Errorf("%s: %d %v, want AADSTS%.0f", name, status, body, c.code)
		}
	}
	status, body := d.form("/00000000-0000-4000-8000-000000000000/oauth2/v2.0/token", url.Values{"client_id": {clientID}})
	if codes, _ := body["error_codes"].([]any); status != 400 || len(codes) != 1 || codes[0] != 90002.0 {
		t.Errorf("another tenant: %d %v", status, body)
	}
	if e := d.last(path); e.App != clientID || e.Kind != "login" {
		t.Errorf("the ledger says %+v", e)
	}
	for _, e := range d.lab.Ledger() {
		if b, _ := json.Marshal(e); strings.Contains(string(b), clientSecret) {
			t.Errorf("the ledger keeps a secret: %s", b)
		}
	}
}

func TestBearer(t *testing.T) {
	t.Parallel()
	d := newDesk(t, unlimited())
	good := d.token
	for name, c := range map[string]struct{ header, words string }{
		"none":      {"", "empty"},
		"not ours":  {"Bearer a.b.c", "not well formed"},
		"tampered":  {"Bearer " + good[:len(good)-4] + "AAAA", "signature"},
		"no bearer": {"Basic YTpi", "CompactToken"},
	} {
		req, err := http.NewRequestWithContext(t.Context(), "GET", host+"/v1.0/users", nil)
		if err != nil {
			t.Fatal(err)
		}
		if c.header != "" {
			req.Header.Set("Authorization", c.header)
		}
		res, err := d.lab.Transport().RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		body := decode(t, res)
		e, _ := body["error"].(map[string]any)
		msg, _ := e["message"].(string)
		if res.StatusCode != 401 || e["code"] != "InvalidAuthenticationToken" || !strings.Contains(msg, c.words) || res.Header.Get("WWW-Authenticate") == "" {
			t.Errorf("%s: %d %v", name, res.StatusCode, body)
		}
	}
}
