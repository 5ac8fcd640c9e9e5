package graph

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/cloud"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"

	"github.com/seed-f47efad2/cordon/internal/fault"
)

const (
	// renewBefore is how long before its end a token is replaced (Microsoft's
	// advice; tokens live 60 to 90 minutes).
	renewBefore = 5 * time.Minute
	// lastUse is how long before its end a token is still good when no new one
	// can be had: longer than a request is on its way.
	lastUse = 30 * time.Second
	// After a failure the sign-in host is left alone for a while; every request
	// of ours would ask it again otherwise.
	restUnavailable = 2 * time.Second
	restDenied      = 30 * time.Second
	// maxCredentialFile bounds a certificate or federated token file, in bytes.
	maxCredentialFile = 1 << 20
)

// tokens is a TokenSource over Microsoft's identity library. The library keeps
// tokens too, but cannot be told to drop one, and reads a secret or certificate
// only once. So the current token is kept here and every sign-in, about one an
// hour, makes a fresh credential from what is on disk then.
type tokens struct {
	cfg   Config
	scope string
	now   func() time.Time
	via   *signInTransport
	opts  azcore.ClientOptions

	turn chan struct{} // holds one item while somebody signs in

	mu   sync.Mutex // guards what follows; never held during I/O
	held heldToken
	rest failure
}

type heldToken struct {
	value string
	renew time.Time
	end   time.Time
}

// A failure is remembered until its time, or until the material changes.
type failure struct {
	err   error
	until time.Time
	of    [sha256.Size]byte
}

// NewTokens returns the source of tokens for a configuration that passed
// Check. rt carries the requests to the login host; a managed identity asks
// its machine directly instead. now may be nil.
func NewTokens(c Config, rt http.RoundTripper, now func() time.Time) (TokenSource, error) {
	login, g, hosts, err := c.endpoints()
	if err != nil {
		return nil, err
	}
	if now == nil {
		now = time.Now
	}
	if c.Credential.ManagedIdentity != "" {
		// The endpoint is on the machine (http, link-local or named by its
		// environment), so neither a proxy nor our CA belongs in between.
		hosts, rt = []string{""}, &http.Transport{DisableKeepAlives: true}
	}
	t := &tokens{
		cfg: c, now: now,
		scope: g.String() + "/.default",
		via:   &signInTransport{next: rt, hosts: hosts},
		turn:  make(chan struct{}, 1),
	}
	t.opts = azcore.ClientOptions{
		Cloud:     cloud.Configuration{ActiveDirectoryAuthorityHost: login.String()},
		Transport: t.via,
		Retry:     policy.RetryOptions{MaxRetries: -1}, // callers decide, as for Graph itself
		Telemetry: policy.TelemetryOptions{ApplicationID: "cordon"},
	}
	return t, nil
}

// Token returns the current token, or signs in when it is about to end.
func (t *tokens) Token(ctx context.Context) (string, error) {
	if v, ok := t.current(renewBefore); ok {
		return v, nil
	}
	select {
	case t.turn <- struct{}{}:
	default:
		// Somebody is fetching: go on with the old token while it is good.
		if v, ok := t.current(lastUse); ok {
			return v, nil
		}
		select {
		case t.turn <- struct{}{}:
		case <-ctx.Done():
			return "", fault.Errorf(fault.Unavailable, "waiting for a token: %w", context.Cause(ctx))
		}
	}
	defer func() { <-t.turn }()
	if v, ok := t.current(renewBefore); ok {
		return v, nil
	}
	err := t.fetch(ctx)
	if v, ok := t.current(lastUse); ok {
		return v, nil
	}
	if err == nil {
		err = fault.Errorf(fault.Unavailable, "sign in: the token given has already ended: check this machine's clock")
	}
	return "", err
}

// current returns the token when more than margin of its life is left. For a
// token of a short life the early renewal shrinks in proportion.
func (t *tokens) current(margin time.Duration) (string, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := t.now()
	if t.held.value == "" {
		return "", false
	}
	if margin == renewBefore {
		return t.held.value, now.Before(t.held.renew)
	}
	return t.held.value, now.Before(t.held.end.Add(-margin))
}

// Drop forgets the token. A managed identity's machine keeps its own copy and
// would give the same one again.
func (t *tokens) Drop(token string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.held.value == token {
		t.held = heldToken{}
	}
	return t.cfg.Credential.ManagedIdentity == ""
}

// fetch signs in and keeps the token. The caller has the turn.
func (t *tokens) fetch(ctx context.Context) error {
	t.mu.Lock()
	rest := t.rest
	t.mu.Unlock()

	m, err := t.cfg.Credential.read()
	if err != nil {
		return err
	}
	now := t.now()
	if rest.err != nil && now.Before(rest.until) && rest.of == m.sum {
		return rest.err
	}
	cred, ends, err := t.newCredential(m)
	if err != nil {
		return err
	}
	if !ends.IsZero() && now.After(ends) {
		return fault.Errorf(fault.Denied, "sign in: the certificate in %s ended on %s: put a new one there and register it with the app",
			t.cfg.Credential.CertificateFile, ends.UTC().Format(time.DateOnly))
	}
	t.via.take()
	at, err := cred.GetToken(ctx, policy.TokenRequestOptions{Scopes: []string{t.scope}})
	if err != nil {
		err = explain(t.via.take(), err, t.cfg, now, m.hidden)
		if ctx.Err() == nil { // the caller's impatience is nobody else's failure
			t.mu.Lock()
			t.rest = failure{err: err, until: now.Add(restAfter(err)), of: m.sum}
			t.mu.Unlock()
		}
		return err
	}
	if at.Token == "" || strings.ContainsFunc(at.Token, func(c rune) bool { return c <= ' ' || c >= 0x7f }) {
		return fault.Errorf(fault.Unavailable, "sign in: the answer contains no usable token")
	}
	life := time.Until(at.ExpiresOn) // the library counted from the real clock
	end := now.Add(life)
	t.mu.Lock()
	t.held = heldToken{value: at.Token, end: end, renew: end.Add(-min(renewBefore, life/4))}
	t.rest = failure{}
	t.mu.Unlock()
	return nil
}

func restAfter(err error) time.Duration {
	if after, ok := fault.RetryAfter(err); ok {
		return after
	}
	if errors.Is(err, fault.Unavailable) {
		return restUnavailable
	}
	return restDenied
}

// A material is what a credential is made from, as it is on disk or in the
// environment now.
type material struct {
	sum      [sha256.Size]byte
	secret   string // client secret or federated token
	file     []byte // certificate file
	password string // of the certificate file
	hidden   []string
}

func (c Credential) read() (material, error) {
	var m material
	var err error
	switch {
	case c.Secret != "":
		if m.secret, err = c.Secret.Read(); err != nil {
			return material{}, fmt.Errorf("sign in: credential.secret: %w", err)
		}
		m.hidden = []string{m.secret}
	case c.FederatedTokenFile != "":
		b, err := readFile(c.FederatedTokenFile)
		if m.secret = strings.TrimSpace(string(b)); err == nil && m.secret == "" {
			err = fmt.Errorf("%s is empty", c.FederatedTokenFile)
		}
		if err != nil {
			return material{}, fault.Errorf(fault.Invalid, "sign in: credential.federated_token_file: %w", err)
		}
		m.hidden = []string{m.secret}
	case c.CertificateFile != "":
		if m.file, err = readFile(c.CertificateFile); err != nil {
			return material{}, fault.Errorf(fault.Invalid, "sign in: credential.certificate_file: %w", err)
		}
		if c.CertificatePassword != "" {
			if m.password, err = c.CertificatePassword.Read(); err != nil {
				return material{}, fmt.Errorf("sign in: credential.certificate_password: %w", err)
			}
			m.hidden = []string{m.password}
		}
	}
	m.sum = sha256.Sum256(fmt.Appendf(nil, "%q %q %q", m.secret, m.password, m.file))
	return m, nil
}

func (t *tokens) newCredential(m material) (azcore.TokenCredential, time.Time, error) {
	c := t.cfg
	own := c.LoginURL != "" // an authority that Microsoft's discovery does not know
	var cred azcore.TokenCredential
	var ends time.Time
	var err error
	switch {
	case c.Credential.Secret != "":
		cred, err = azidentity.NewClientSecretCredential(c.TenantID, c.ClientID, m.secret,
			&azidentity.ClientSecretCredentialOptions{ClientOptions: t.opts, DisableInstanceDiscovery: own})
	case c.Credential.CertificateFile != "":
		certs, key, perr := azidentity.ParseCertificates(m.file, []byte(m.password))
		if perr != nil {
			return nil, ends, fault.Errorf(fault.Invalid,
				"sign in: credential.certificate_file: %s: %w; it must hold the certificate and its RSA private key, as unencrypted PEM, or as PKCS #12 with the older (3DES, SHA-1) encryption",
				c.Credential.CertificateFile, hide(perr, m.hidden))
		}
		ends = certs[0].NotAfter // the first one signs
		cred, err = azidentity.NewClientCertificateCredential(c.TenantID, c.ClientID, certs, key,
			&azidentity.ClientCertificateCredentialOptions{ClientOptions: t.opts, DisableInstanceDiscovery: own})
	case c.Credential.FederatedTokenFile != "":
		// Not WorkloadIdentityCredential: it keeps a token it read for ten
		// minutes, and reads the environment where a setting is empty.
		assertion := m.secret
		cred, err = azidentity.NewClientAssertionCredential(c.TenantID, c.ClientID,
			func(context.Context) (string, error) { return assertion, nil },
			&azidentity.ClientAssertionCredentialOptions{ClientOptions: t.opts, DisableInstanceDiscovery: own})
	case c.Credential.ManagedIdentity != "":
		o := &azidentity.ManagedIdentityCredentialOptions{ClientOptions: t.opts}
		if id := c.Credential.ManagedIdentity; id != "system" {
			o.ID = azidentity.ClientID(id)
		}
		cred, err = azidentity.NewManagedIdentityCredential(o)
	default:
		err = errors.New("no credential is configured")
	}
	if err != nil {
		return nil, ends, fault.Errorf(fault.Invalid, "sign in: credential: %w", hide(err, m.hidden))
	}
	return cred, ends, nil
}

func readFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxCredentialFile+1))
	if err == nil && len(b) > maxCredentialFile {
		err = fmt.Errorf("%s is larger than %s", path, size(maxCredentialFile))
	}
	return b, err
}
