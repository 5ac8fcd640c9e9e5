package cli

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/user"
	"strings"

	"github.com/spf13/cobra"

	"github.com/seed-f47efad2/cordon/internal/access"
	"github.com/seed-f47efad2/cordon/internal/apiclient"
	"github.com/seed-f47efad2/cordon/internal/app"
	"github.com/seed-f47efad2/cordon/internal/desk"
	"github.com/seed-f47efad2/cordon/internal/fault"
	"github.com/seed-f47efad2/cordon/internal/graph"
)

// What the environment may say instead of flags.
const (
	serverVariable = "CORDON_SERVER"
	tokenVariable  = "CORDON_TOKEN"
)

// A target is the Cordon that a command talks to: a running service, or the
// store of a configuration when none runs.
type target struct {
	server, tokenFile, caFile, config string
}

func targetFlags(c *cobra.Command) *target {
	t := &target{}
	f := c.Flags()
	f.StringVar(&t.server, "server", "", "a running Cordon, such as https://cordon.example:8443 (default: $"+serverVariable+")")
	f.StringVar(&t.tokenFile, "token-file", "", "file with your API token (default: $"+tokenVariable+")")
	f.StringVar(&t.caFile, "ca-file", "", "PEM certificates to trust beside the system's")
	f.StringVar(&t.config, "config", "", "work on this configuration's store, when no Cordon runs on it")
	return t
}

// targetOf reads the flags that targetFlags gave the command.
func targetOf(c *cobra.Command) *target {
	v := func(name string) string { return c.Flag(name).Value.String() }
	return &target{server: v("server"), tokenFile: v("token-file"), caFile: v("ca-file"), config: v("config")}
}

// A session is an open way to a Cordon.
type session struct {
	*apiclient.Client
	offline bool   // on the store alone: what is allowed leaves when a service runs
	tenant  string // narrows what an id means; "" any
	close   func() error
}

// open connects, or opens the store. Nothing is asked yet.
func (t *target) open(ctx context.Context, e Env) (*session, error) {
	token, err := t.token(e)
	if err != nil {
		return nil, err
	}
	if t.server != "" && t.config != "" {
		return nil, fault.Errorf(fault.Invalid, "--server and --config exclude each other: either a running Cordon is asked, or the store is opened")
	}
	if t.config != "" {
		return t.onStore(ctx, e, token)
	}
	server := cmp.Or(t.server, variable(e, serverVariable))
	if server == "" {
		return nil, fault.Errorf(fault.Invalid, "which Cordon? Give --server URL (or %s), or --config FILE when none runs", serverVariable)
	}
	rt, err := graph.NewTransport(t.caFile)
	if err != nil {
		return nil, fmt.Errorf("--ca-file: %w", err)
	}
	if err := keepsToken(server); err != nil {
		return nil, err
	}
	c, err := apiclient.New(apiclient.Options{Server: server, Token: token, Transport: rt})
	if err != nil {
		return nil, err
	}
	return &session{Client: c, close: func() error { return nil }}, nil
}

// keepsToken refuses an address that would carry the token in clear.
func keepsToken(server string) error {
	u, err := url.Parse(server)
	if err != nil {
		return fault.Errorf(fault.Invalid, "--server: %w", err)
	}
	ip := net.ParseIP(u.Hostname())
	if u.Scheme == "http" && u.Hostname() != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return fault.Errorf(fault.Invalid, "--server %s: your token would travel in clear; use https://", server)
	}
	return nil
}

func (t *target) token(e Env) (string, error) {
	if t.tokenFile == "" {
		return variable(e, tokenVariable), nil
	}
	f, err := os.Open(t.tokenFile)
	if err != nil {
		return "", fault.Errorf(fault.Invalid, "--token-file: %w", err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, 4096))
	if err != nil {
		return "", fault.Errorf(fault.Invalid, "--token-file: %w", err)
	}
	token := strings.TrimSpace(string(b))
	if token == "" || strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r >= 0x7f }) {
		return "", fault.Errorf(fault.Invalid, "--token-file %s: holds no token", t.tokenFile)
	}
	return token, nil
}

// onStore opens the store of a configuration and answers from it as a service
// would. With a token the operator is whose it is. Without one it is whoever can
// read the configuration and its key, as an owner that is in no group: such a
// person can look, stop, undo and decide, but gives no approval, because
// approvals ask for named people.
func (t *target) onStore(ctx context.Context, e Env, token string) (*session, error) {
	cfg, err := loadConfig(e, t.config)
	if err != nil {
		return nil, err
	}
	o := app.Options{Config: cfg, Version: version, Log: logger(e, cfg.Log)}
	if token == "" {
		secret := make([]byte, 32)
		if _, err := rand.Read(secret); err != nil {
			return nil, err
		}
		token = hex.EncodeToString(secret)
		o.Operators = []desk.Known{{Operator: localOperator(), TokenHash: desk.HashToken(token)}}
	}
	a, err := app.Offline(ctx, o)
	if err != nil {
		return nil, inUse(err)
	}
	c, err := apiclient.New(apiclient.Options{Server: "http://localhost", Token: token, Transport: inProcess{a.Handler()}})
	if err != nil {
		return nil, errors.Join(err, a.Close())
	}
	return &session{Client: c, offline: true, close: a.Close}, nil
}

// localOperator is whoever runs the command on the machine that holds store and
// key. The colon keeps the id apart from every configured one.
func localOperator() access.Operator {
	name := "unknown"
	if u, err := user.Current(); err == nil && u.Username != "" {
		name = u.Username
	}
	return access.Operator{ID: access.OperatorID("local:" + name), Name: name + " on this machine", Roles: []access.Role{access.Owner}}
}

// inUse makes of a store that another process has a matter of wrong use: the
// error names the process and --server.
func inUse(err error) error {
	if errors.Is(err, fault.Conflict) {
		return fault.Errorf(fault.Invalid, "%w", err)
	}
	return err
}

// variable returns a variable of the environment the command was given.
func variable(e Env, name string) string {
	for n := len(e.Environ) - 1; n >= 0; n-- {
		if v, ok := strings.CutPrefix(e.Environ[n], name+"="); ok {
			return v
		}
	}
	return ""
}

// inProcess carries requests to a handler in the same process.
type inProcess struct{ handler http.Handler }

// RoundTrip is http.RoundTripper's.
func (p inProcess) RoundTrip(r *http.Request) (*http.Response, error) {
	in := r.Clone(r.Context())
	in.RemoteAddr, in.RequestURI = "127.0.0.1:0", r.URL.RequestURI()
	if in.Body == nil {
		in.Body = http.NoBody
	}
	w := &answer{header: http.Header{}, status: http.StatusOK}
	p.handler.ServeHTTP(w, in)
	if err := in.Body.Close(); err != nil {
		return nil, err
	}
	return &http.Response{
		Status: http.StatusText(w.status), StatusCode: w.status, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: w.header, Body: io.NopCloser(&w.body), ContentLength: int64(w.body.Len()), Request: r,
	}, nil
}

// An answer is the http.ResponseWriter of inProcess.
type answer struct {
	header http.Header
	status int
	begun  bool
	body   bytes.Buffer
}

func (a *answer) Header() http.Header { return a.header }

func (a *answer) WriteHeader(status int) {
	if !a.begun {
		a.status, a.begun = status, true
	}
}

func (a *answer) Write(b []byte) (int, error) {
	a.begun = true
	return a.body.Write(b)
}
