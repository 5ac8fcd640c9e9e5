package graph

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/seed-f47efad2/cordon/internal/fault"
)

// NewTransport returns the transport for Graph and its sign-in: TLS 1.2 or
// newer, the system's certificates and those of caFile (PEM; "" for none), and
// the proxy that the environment names. Being used without an http.Client it
// follows no redirect. An unreadable or empty caFile is fault.Invalid.
func NewTransport(caFile string) (*http.Transport, error) {
	cfg := &tls.Config{MinVersion: tls.VersionTLS12}
	if caFile != "" {
		pem, err := os.ReadFile(caFile)
		if err != nil {
			return nil, fault.Errorf(fault.Invalid, "ca_file: %w", err)
		}
		pool, err := x509.SystemCertPool()
		if err != nil { // a container without certificates is no reason to stop
			pool = x509.NewCertPool()
		}
		if !pool.AppendCertsFromPEM(pem) {
			return nil, fault.Errorf(fault.Invalid, "ca_file: %s: no certificate in PEM form", caFile)
		}
		cfg.RootCAs = pool
	}
	return &http.Transport{
		Proxy:                  http.ProxyFromEnvironment,
		TLSClientConfig:        cfg,
		TLSHandshakeTimeout:    10 * time.Second,
		ForceAttemptHTTP2:      true,
		MaxIdleConnsPerHost:    32,
		IdleConnTimeout:        90 * time.Second,
		MaxResponseHeaderBytes: 1 << 20,
		// A connection that died silently is noticed by a ping rather than by
		// the next containment.
		HTTP2: &http.HTTP2Config{SendPingTimeout: 15 * time.Second, PingTimeout: 5 * time.Second},
	}, nil
}

// maxTokenBody bounds what the sign-in host may send, in bytes.
const maxTokenBody = 1 << 20

// A signInTransport carries the identity library's requests. It speaks to the
// named hosts only, whatever metadata or environment tell the library, and
// keeps the last exchange, from which errors are explained: the library's own
// texts are long and change.
type signInTransport struct {
	next  http.RoundTripper
	hosts []string // "" in it allows any: a managed identity's endpoint is local

	mu   sync.Mutex
	last exchangeRecord
}

type exchangeRecord struct {
	asked  bool
	host   string
	err    error // no answer
	status int
	header http.Header
	body   []byte
}

// Do implements the identity library's Transporter.
func (t *signInTransport) Do(r *http.Request) (*http.Response, error) {
	rec := exchangeRecord{asked: true, host: r.URL.Host}
	res, err := t.send(r)
	if err == nil {
		var body []byte
		body, err = io.ReadAll(io.LimitReader(res.Body, maxTokenBody+1))
		res.Body.Close()
		if err == nil && len(body) > maxTokenBody {
			err = fmt.Errorf("the answer is larger than the limit of %s", size(maxTokenBody))
		}
		if err == nil {
			res.Body = io.NopCloser(bytes.NewReader(body))
			if res.Request == nil {
				res.Request = r
			}
			rec.status, rec.header = res.StatusCode, res.Header
			if res.StatusCode < 200 || res.StatusCode > 299 { // never keep a token here
				rec.body = body
			}
		}
	}
	rec.err = err
	t.mu.Lock()
	t.last = rec
	t.mu.Unlock()
	if err != nil {
		return nil, err
	}
	return res, nil
}

func (t *signInTransport) send(r *http.Request) (*http.Response, error) {
	if !slices.Contains(t.hosts, "") {
		if r.URL.Scheme != "https" || !slices.Contains(t.hosts, strings.ToLower(r.URL.Host)) {
			return nil, fault.Errorf(fault.Invalid, "the sign-in was led to %s, which is not the configured login host (%s): check login_url, cloud and AZURE_REGIONAL_AUTHORITY_NAME",
				clean(r.URL.Host, 200), strings.Join(t.hosts, ", "))
		}
	}
	return t.next.RoundTrip(r)
}

// take returns the last exchange and forgets it.
func (t *signInTransport) take() exchangeRecord {
	t.mu.Lock()
	defer t.mu.Unlock()
	rec := t.last
	t.last = exchangeRecord{}
	return rec
}
