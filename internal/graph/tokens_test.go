package graph_test

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/seed-f47efad2/cordon/internal/fault"
	"github.com/seed-f47efad2/cordon/internal/graph"
	"github.com/seed-f47efad2/cordon/internal/secret"
	"github.com/seed-f47efad2/cordon/internal/secret/secrettest"
)

const (
	tenantID = "11111111-2222-4333-8444-555555555555"
	clientID = "aaaaaaaa-bbbb-4ccc-8ddd-eeeeeeeeeeee"
)

// entra is the sign-in host as the identity library sees it: the metadata it
// asks for and a token endpoint. It accepts what accept says.
type entra struct {
	*httptest.Server
	caFile string

	mu     sync.Mutex
	accept func(url map[string]string) (status int, body string, retryAfter string)
	asked  []map[string]string // form values of the token requests
	life   int                 // seconds
	meta   func(self string) string
}

func newEntra(t *testing.T) *entra {
	t.Helper()
	e := &entra{life: 3600}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{tenant}/v2.0/.well-known/openid-configuration", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		if e.meta != nil {
			io.WriteString(w, e.meta(e.URL))
			return
		}
		fmt.Fprintf(w, `{"token_endpoint":"%[1]s/%[2]s/oauth2/v2.0/token","authorization_endpoint":"%[1]s/%[2]s/oauth2/v2.0/authorize","issuer":"%[1]s/%[2]s/v2.0"}`, e.URL, r.PathValue("tenant"))
	})
	mux.HandleFunc("POST /{tenant}/oauth2/v2.0/token", func(w http.ResponseWriter, r *http.Request) {
		r.ParseForm()
		form := map[string]string{}
		for k := range r.PostForm {
			form[k] = r.PostForm.Get(k)
		}
		e.mu.Lock()
		defer e.mu.Unlock()
		e.asked = append(e.asked, form)
		w.Header().Set("Content-Type", "application/json")
		if e.accept != nil {
			status, body, after := e.accept(form)
			if after != "" {
				w.Header().Set("Retry-After", after)
			}
			if status != 200 {
				w.WriteHeader(status)
				io.WriteString(w, body)
				return
			}
		}
		fmt.Fprintf(w, `{"token_type":"Bearer","expires_in":%d,"ext_expires_in":%d,"access_token":"access-token-%d"}`, e.life, e.life, len(e.asked))
	})
	e.Server = httptest.NewUnstartedServer(mux)
	e.Config.ErrorLog = log.New(io.Discard, "", 0)
	e.StartTLS()
	t.Cleanup(e.Close)
	e.caFile = filepath.Join(t.TempDir(), "ca.pem")
	write(t, e.caFile, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: e.Certificate().Raw})))
	return e
}

func (e *entra) requests() []map[string]string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return append([]map[string]string(nil), e.asked...)
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func (e *entra) config(c graph.Credential) graph.Config {
	return graph.Config{TenantID: tenantID, ClientID: clientID, LoginURL: e.URL, GraphURL: "https://graph.cordon.example", CAFile: e.caFile, Credential: c}
}

// clock is a hand-driven time.
type clock struct {
	mu sync.Mutex
	at time.Time
}

func (c *clock) now() time.Time { c.mu.Lock(); defer c.mu.Unlock(); return c.at }
func (c *clock) pass(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(d)
}

func tokens(t *testing.T, c graph.Config) (graph.TokenSource, *clock) {
	t.Helper()
	if err := c.Check(); err != nil {
		t.Fatal(err)
	}
	rt, err := graph.NewTransport(c.CAFile)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(rt.CloseIdleConnections)
	cl := &clock{at: time.Now()}
	src, err := graph.NewTokens(c, rt, cl.now)
	if err != nil {
		t.Fatal(err)
	}
	return src, cl
}

func TestSecretSignIn(t *testing.T) {
	t.Parallel()
	e := newEntra(t)
	file := filepath.Join(t.TempDir(), "secret")
	write(t, file, "first-secret-value\n")
	src, clock := tokens(t, e.config(graph.Credential{Secret: secret.Ref("file:" + file)}))

	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			if got, err := src.Token(t.Context()); err != nil || got != "access-token-1" {
				t.Errorf("%q, %v", got, err)
			}
		})
	}
	wg.Wait()
	got := e.requests()
	if len(got) != 1 {
		t.Fatalf("20 callers made %d token requests", len(got))
	}
	for name, want := range map[string]string{"client_id": clientID, "client_secret": "first-secret-value", "grant_type": "client_credentials"} {
		if got[0][name] != want {
			t.Errorf("%s is %q, want %q", name, got[0][name], want)
		}
	}
	if scope, _, _ := strings.Cut(got[0]["scope"], " "); scope != "https://graph.cordon.example/.default" {
		t.Errorf("scope %q", got[0]["scope"])
	}

	// The secret is rotated while we run; it is read when the token is due.
	write(t, file, "second-secret-value\n")
	if got, err := src.Token(t.Context()); err != nil || got != "access-token-1" {
		t.Errorf("too early: %q, %v", got, err)
	}
	clock.pass(56 * time.Minute) // within five minutes of the end
	if got, err := src.Token(t.Context()); err != nil || got != "access-token-2" {
		t.Fatalf("after rotation: %q, %v", got, err)
	}
	if got := e.requests()[1]["client_secret"]; got != "second-secret-value" {
		t.Errorf("the second sign-in used %q", got)
	}
}

func TestATokenGraphRefusedIsDropped(t *testing.T) {
	t.Parallel()
	e := newEntra(t)
	file := filepath.Join(t.TempDir(), "secret")
	write(t, file, "the-secret-value")
	src, _ := tokens(t, e.config(graph.Credential{Secret: secret.Ref("file:" + file)}))
	first, err := src.Token(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if !src.Drop(first) {
		t.Error("another token can be had")
	}
	second, err := src.Token(t.Context())
	if err != nil || second == first {
		t.Fatalf("after the drop: %q, %v", second, err)
	}
	src.Drop(first) // a straggler with the old token must not cost the new one
	if third, err := src.Token(t.Context()); err != nil || third != second {
		t.Errorf("%q, %v; want %q again", third, err, second)
	}
}

func TestAnOutageOfTheSignInDoesNotStopAGoodToken(t *testing.T) {
	t.Parallel()
	e := newEntra(t)
	file := filepath.Join(t.TempDir(), "secret")
	write(t, file, "the-secret-value")
	src, clock := tokens(t, e.config(graph.Credential{Secret: secret.Ref("file:" + file)}))
	if _, err := src.Token(t.Context()); err != nil {
		t.Fatal(err)
	}
	e.mu.Lock()
	e.accept = func(map[string]string) (int, string, string) { return 503, "", "20" }
	e.mu.Unlock()
	clock.pass(57 * time.Minute)
	for range 50 {
		if got, err := src.Token(t.Context()); err != nil || got != "access-token-1" {
			t.Fatalf("%q, %v", got, err)
		}
	}
	clock.pass(3 * time.Minute) // the token has ended
	_, err := src.Token(t.Context())
	if after, ok := fault.RetryAfter(err); !errors.Is(err, fault.Unavailable) || !ok || after != 20*time.Second {
		t.Errorf("%v, after %v", err, after)
	}
	n := len(e.requests())
	for range 50 {
		if _, err := src.Token(t.Context()); !errors.Is(err, fault.Unavailable) {
			t.Fatal(err)
		}
	}
	if got := len(e.requests()); got != n {
		t.Errorf("a sign-in host that asked for 20 s was asked %d times more", got-n)
	}
	e.mu.Lock()
	e.accept = nil
	e.mu.Unlock()
	clock.pass(21 * time.Second)
	if _, err := src.Token(t.Context()); err != nil {
		t.Errorf("after the outage: %v", err)
	}
}

// certificate makes a self-signed one with its key, as PEM.
func certificate(t *testing.T, ends time.Time) (text string, registered *x509.Certificate) {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "cordon"}, NotBefore: ends.AddDate(-1, 0, 0), NotAfter: ends}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	k, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	registered, err = x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})) + string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: k})), registered
}

// signedBy checks an assertion as Entra would: the thumbprint in its header,
// the signature, and the audience.
func signedBy(assertion, audience string, cert *x509.Certificate) bool {
	parts := strings.Split(assertion, ".")
	if len(parts) != 3 {
		return false
	}
	part := func(i int) []byte { b, _ := base64.RawURLEncoding.DecodeString(parts[i]); return b }
	var head struct {
		Alg   string
		Thumb string `json:"x5t#S256"`
	}
	var claims struct{ Aud, Iss, Sub string }
	if json.Unmarshal(part(0), &head) != nil || json.Unmarshal(part(1), &claims) != nil {
		return false
	}
	thumb := sha256.Sum256(cert.Raw)
	sum := sha256.Sum256([]byte(parts[0] + "." + parts[1]))
	return head.Alg == "PS256" && head.Thumb == base64.StdEncoding.EncodeToString(thumb[:]) &&
		claims.Aud == audience && claims.Iss == clientID && claims.Sub == clientID &&
		rsa.VerifyPSS(cert.PublicKey.(*rsa.PublicKey), crypto.SHA256, sum[:], part(2), nil) == nil
}

func TestCertificateSignIn(t *testing.T) {
	t.Parallel()
	e := newEntra(t)
	file := filepath.Join(t.TempDir(), "cordon.pem")
	one, first := certificate(t, time.Now().AddDate(0, 1, 0))
	two, second := certificate(t, time.Now().AddDate(1, 0, 0))
	registered := first
	e.accept = func(form map[string]string) (int, string, string) {
		if !signedBy(form["client_assertion"], e.URL+"/"+tenantID+"/oauth2/v2.0/token", registered) {
			return 401, `{"error":"invalid_client","error_description":"AADSTS700027: The certificate with identifier used to sign the client assertion is not registered on application.\r\nTrace ID: t1 Correlation ID: c1","error_codes":[700027],"trace_id":"t1","correlation_id":"c1"}`, ""
		}
		return 200, "", ""
	}
	write(t, file, one)
	src, clock := tokens(t, e.config(graph.Credential{CertificateFile: file}))
	if _, err := src.Token(t.Context()); err != nil {
		t.Fatal(err)
	}

	// Rotated at Entra first: the next token is refused, until the new file is
	// there, which is seen at once.
	registered = second
	clock.pass(time.Hour)
	_, err := src.Token(t.Context())
	if !errors.Is(err, fault.Denied) || !strings.Contains(err.Error(), "upload its public part") {
		t.Fatalf("%v, want denied with advice", err)
	}
	write(t, file, two)
	if got, err := src.Token(t.Context()); err != nil || got != "access-token-3" {
		t.Fatalf("after rotation: %q, %v", got, err)
	}

	old, _ := certificate(t, time.Now().AddDate(0, 0, -1))
	write(t, file, old)
	clock.pass(2 * time.Hour)
	if _, err = src.Token(t.Context()); !errors.Is(err, fault.Denied) || !strings.Contains(err.Error(), "ended on") {
		t.Errorf("%v, want denied: it ended", err)
	}
	for name, text := range map[string]string{"empty": "", "no key": one[:strings.Index(one, "-----BEGIN PRIVATE")], "rubbish": "\x00\x01"} {
		write(t, file, text)
		if _, err = src.Token(t.Context()); !errors.Is(err, fault.Invalid) || !strings.Contains(err.Error(), file) {
			t.Errorf("%s: %v, want invalid and the file's name", name, err)
		}
	}
	os.Remove(file)
	if _, err = src.Token(t.Context()); !errors.Is(err, fault.Invalid) || !errors.Is(err, os.ErrNotExist) {
		t.Errorf("removed: %v", err)
	}
}

func TestFederatedSignIn(t *testing.T) {
	t.Parallel()
	e := newEntra(t)
	file := filepath.Join(t.TempDir(), "token")
	src, clock := tokens(t, e.config(graph.Credential{FederatedTokenFile: file}))
	if _, err := src.Token(t.Context()); !errors.Is(err, fault.Invalid) || !strings.Contains(err.Error(), "federated_token_file") {
		t.Fatalf("without the file: %v", err)
	}
	for i, assertion := range []string{"header.first-assertion.sig", "header.second-assertion.sig"} {
		write(t, file, assertion+"\n")
		if _, err := src.Token(t.Context()); err != nil {
			t.Fatal(err)
		}
		got := e.requests()[i]
		if got["client_assertion"] != assertion || got["client_assertion_type"] != "urn:ietf:params:oauth:client-assertion-type:jwt-bearer" {
			t.Errorf("sign-in %d used %v", i, got)
		}
		clock.pass(time.Hour)
	}
}

// Not parallel: the machine's identity endpoint is named by the environment.
func TestManagedIdentitySignIn(t *testing.T) {
	var got []string
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got = append(got, r.URL.Query().Get("resource")+" "+r.URL.Query().Get("client_id")+" "+r.Header.Get("X-IDENTITY-HEADER"))
		fmt.Fprintf(w, `{"access_token":"managed-%d","expires_on":"%d","resource":"x","token_type":"Bearer"}`, len(got), time.Now().Add(time.Hour).Unix())
	}))
	t.Cleanup(s.Close)
	t.Setenv("IDENTITY_ENDPOINT", s.URL)
	t.Setenv("IDENTITY_HEADER", "proof")
	t.Setenv("HTTPS_PROXY", "http://127.0.0.1:1") // must not be used
	t.Setenv("HTTP_PROXY", "http://127.0.0.1:1")
	// The library keeps these tokens for the whole process, by resource, so
	// each run of the test needs a resource of its own.
	_, port, _ := strings.Cut(strings.TrimPrefix(s.URL, "http://"), ":")
	base := "https://graph.cordon.example:" + port
	for i, id := range []string{"system", clientID} {
		src, _ := tokens(t, graph.Config{TenantID: tenantID, GraphURL: base, Credential: graph.Credential{ManagedIdentity: id}})
		tok, err := src.Token(t.Context())
		if err != nil || tok != fmt.Sprintf("managed-%d", i+1) {
			t.Errorf("%s: %q, %v", id, tok, err)
		}
		if src.Drop(tok) {
			t.Error("the machine would give the same token again")
		}
	}
	want := []string{base + "  proof", base + " " + clientID + " proof"}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

func TestSignInErrors(t *testing.T) {
	t.Parallel()
	const value = "Sup3r~Secret.Value-of.the.App"
	aad := func(code int, text string) string {
		b, _ := json.Marshal(map[string]any{"error": "invalid_client", "error_codes": []int{code}, "trace_id": "trace-1", "correlation_id": "corr-1",
			"error_description": fmt.Sprintf("AADSTS%d: %s Trace ID: trace-1 Correlation ID: corr-1 Timestamp: 2026-11-24 10:00:00Z", code, text)})
		return string(b)
	}
	for name, tc := range map[string]struct {
		status      int
		body, after string
		kind        fault.Kind
		code        int
		says        []string
	}{
		"wrong secret":        {401, aad(7000215, "Invalid client secret provided: "+value), "", fault.Denied, 7000215, []string{"AADSTS7000215", "not its id", clientID, "trace-1", "[redacted]"}},
		"expired secret":      {401, aad(7000222, "expired"), "", fault.Denied, 7000222, []string{"has expired", "credential.secret"}},
		"certificate":         {401, aad(700027, "x"), "", fault.Denied, 700027, []string{"not registered"}},
		"clock":               {401, aad(700024, "x"), "", fault.Denied, 700024, []string{"clock"}},
		"federation":          {401, aad(700213, "x"), "", fault.Denied, 700213, []string{"federated credential"}},
		"app not in tenant":   {400, aad(700016, "x"), "", fault.Invalid, 700016, []string{clientID, tenantID, "client_id"}},
		"no such tenant":      {400, aad(90002, "x"), "", fault.Invalid, 90002, []string{tenantID, "cloud"}},
		"disabled":            {401, aad(7000112, "x"), "", fault.Denied, 7000112, []string{"disabled"}},
		"conditional access":  {400, aad(53003, "x"), "", fault.Denied, 53003, []string{"Conditional Access"}},
		"unheard of":          {400, aad(999999, "something new"), "", fault.Denied, 999999, []string{"AADSTS999999", "something new"}},
		"code only in words":  {401, `{"error":"invalid_client","error_description":"AADSTS7000222: x"}`, "", fault.Denied, 7000222, nil},
		"throttled":           {429, `{"error":"temporarily_unavailable"}`, "17", fault.Unavailable, 0, []string{"429"}},
		"down":                {503, "<html>", "", fault.Unavailable, 0, []string{"503"}},
		"not a sign-in":       {404, "<html>", "", fault.Invalid, 0, []string{"login_url"}},
		"redirected":          {302, "", "", fault.Invalid, 0, []string{"login_url"}},
		"hostile description": {400, `{"error":"x\n\u202e","error_description":"a\u0000b\u001b[31m` + strings.Repeat("z", 5000) + `"}`, "", fault.Denied, 0, nil},
		"codes of any shape":  {400, `{"error":7,"error_codes":"x","error_description":[1]}`, "", fault.Denied, 0, nil},
		"a token, unreadable": {200, "", "", "", 0, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := newEntra(t)
			file := filepath.Join(t.TempDir(), "secret")
			write(t, file, value)
			e.accept = func(map[string]string) (int, string, string) { return tc.status, tc.body, tc.after }
			src, _ := tokens(t, e.config(graph.Credential{Secret: secret.Ref("file:" + file)}))
			got, err := src.Token(t.Context())
			if tc.kind == "" {
				if err != nil || got == "" {
					t.Fatal(err)
				}
				return
			}
			var s *graph.SignInError
			if !errors.As(err, &s) || !errors.Is(err, tc.kind) || s.Code != tc.code || s.Status != tc.status {
				t.Fatalf("%#v: %v; want %s", s, err, tc.kind)
			}
			for _, w := range tc.says {
				if !strings.Contains(err.Error(), w) {
					t.Errorf("%q does not say %q", err, w)
				}
			}
			if len(err.Error()) > 1000 || strings.ContainsAny(err.Error(), "\n\x00\x1b") {
				t.Errorf("%q is not one short printable line", err)
			}
			if tc.after != "" {
				if after, _ := fault.RetryAfter(err); after != 17*time.Second {
					t.Errorf("after %v", after)
				}
			}
			secrettest.Absent(t, value, err, src)

			// And as the caller of Graph sees it.
			c, err := graph.New(graph.Options{BaseURL: "https://graph.cordon.example", Tokens: src, Transport: always(204, "")})
			if err != nil {
				t.Fatal(err)
			}
			_, err = c.Do(t.Context(), graph.Request{Method: "POST", Path: "/users"})
			if !errors.Is(err, tc.kind) || !errors.As(err, &s) {
				t.Errorf("through Do: %v", err)
			}
			secrettest.Absent(t, value, err)
		})
	}
}

func TestASignInThatIsLedAwayGetsNoSecret(t *testing.T) {
	t.Parallel()
	evil := newEntra(t)
	e := newEntra(t)
	e.meta = func(self string) string {
		return fmt.Sprintf(`{"token_endpoint":"%[1]s/x/oauth2/v2.0/token","authorization_endpoint":"%[2]s/x/oauth2/v2.0/authorize","issuer":"%[2]s/%[3]s/v2.0"}`, evil.URL, self, tenantID)
	}
	file := filepath.Join(t.TempDir(), "secret")
	write(t, file, "the-secret-value")
	src, _ := tokens(t, e.config(graph.Credential{Secret: secret.Ref("file:" + file)}))
	_, err := src.Token(t.Context())
	if !errors.Is(err, fault.Invalid) || !strings.Contains(err.Error(), "login_url") {
		t.Errorf("%v, want invalid", err)
	}
	if n := len(evil.requests()); n != 0 {
		t.Errorf("the other host was asked %d times", n)
	}
}

func TestAnUnreachableSignInIsUnavailable(t *testing.T) {
	t.Parallel()
	e := newEntra(t)
	file := filepath.Join(t.TempDir(), "secret")
	write(t, file, "the-secret-value")
	src, _ := tokens(t, e.config(graph.Credential{Secret: secret.Ref("file:" + file)}))
	host := strings.TrimPrefix(e.URL, "https://")
	e.Close()
	_, err := src.Token(t.Context())
	if !errors.Is(err, fault.Unavailable) || !strings.Contains(err.Error(), host) {
		t.Errorf("%v, want unavailable and the host", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := src.Token(ctx); !errors.Is(err, fault.Unavailable) {
		t.Errorf("cancelled: %v", err)
	}
}

func TestOpen(t *testing.T) {
	t.Parallel()
	e := newEntra(t)
	file := filepath.Join(t.TempDir(), "secret")
	write(t, file, "the-secret-value")
	var auth string
	g := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		auth = r.Header.Get("Authorization")
		io.WriteString(w, `{"id":"u1"}`)
	}))
	g.TLS = e.TLS.Clone()
	g.StartTLS()
	t.Cleanup(g.Close)
	cfg := e.config(graph.Credential{Secret: secret.Ref("file:" + file)})
	cfg.GraphURL = g.URL
	c, err := graph.Open(cfg, graph.Options{UserAgent: "cordon/test"})
	if err != nil {
		t.Fatal(err)
	}
	var out user
	if _, err := c.Do(t.Context(), graph.Request{Path: "/users/u1", Out: &out}); err != nil || out.ID != "u1" {
		t.Fatalf("%+v, %v", out, err)
	}
	if auth != "Bearer access-token-1" {
		t.Errorf("Authorization %q", auth)
	}
	cfg.CAFile = file
	if _, err := graph.Open(cfg, graph.Options{}); !errors.Is(err, fault.Invalid) || !strings.Contains(err.Error(), "no certificate") {
		t.Errorf("a CA file without certificates: %v", err)
	}
	cfg.CAFile = file + ".missing"
	if _, err := graph.Open(cfg, graph.Options{}); !errors.Is(err, fault.Invalid) || !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no CA file: %v", err)
	}
	cfg.TenantID = ""
	if _, err := graph.Open(cfg, graph.Options{}); !errors.Is(err, fault.Invalid) {
		t.Errorf("without a tenant: %v", err)
	}
}
