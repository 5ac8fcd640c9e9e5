package graph

import (
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/seed-f47efad2/cordon/internal/fault"
)

// A SignInError is a token that was not given. It has a fault kind: Denied
// when Entra refuses the credential, Invalid when the configuration names what
// does not exist, Unavailable otherwise.
type SignInError struct {
	Status        int    // HTTP status; 0 when there was no answer
	Code          int    // the number after AADSTS; 0 when not said
	OAuthError    string // "invalid_client" and the like, bounded
	Message       string // Entra's first line, bounded and without secrets
	Words         string // what it means and what to do, ours
	TraceID       string // for Microsoft's support
	CorrelationID string

	Kind  fault.Kind
	After time.Duration // Retry-After; 0 when not said
	Err   error         // no answer: why
}

func (e *SignInError) Error() string {
	var b strings.Builder
	b.WriteString("sign in: ")
	b.WriteString(e.Words)
	if e.Err != nil {
		b.WriteString(": " + clean(e.Err.Error(), 400))
	}
	if e.Message != "" {
		b.WriteString(": " + e.Message)
	}
	if e.TraceID != "" {
		b.WriteString(" (trace id " + e.TraceID + ")")
	}
	return b.String()
}

// Unwrap shows the kind with the wait, and the cause.
func (e *SignInError) Unwrap() []error {
	out := []error{&fault.Error{Kind: e.Kind, Err: errors.New(e.Error()), After: e.After}}
	if e.Err != nil {
		out = append(out, e.Err)
	}
	return out
}

// explain turns the last exchange with the sign-in host, or the library's
// error when there was none, into words.
func explain(x exchangeRecord, err error, c Config, now time.Time, secrets []string) error {
	switch {
	case !x.asked:
		// The library hides its causes behind text.
		text := clean(redact(err.Error(), secrets), 400)
		return &SignInError{Words: "no token", Kind: fault.Unavailable, Err: errors.New(text)}
	case x.err != nil:
		kind := fault.Unavailable
		if k := fault.KindOf(x.err); k != "" {
			kind = k
		}
		return &SignInError{Words: clean(x.host, 200) + " could not be reached", Kind: kind, Err: hide(x.err, secrets)}
	case x.status >= 200 && x.status <= 299:
		return &SignInError{Status: x.status, Words: clean(x.host, 200) + " answered something that is not a sign-in: check login_url", Kind: fault.Unavailable}
	}
	e := &SignInError{Status: x.status}
	e.read(x.body, secrets)
	e.Kind, e.Words = meaning(e.Code, c)
	date := time.Time{}
	if at, ok := retryAfter(x.header.Get("Retry-After"), date, now); ok {
		e.After = at
	}
	if e.Words != "" {
		return e
	}
	switch {
	case x.status == 429 || x.status == 408 || x.status >= 500:
		e.Kind, e.Words = fault.Unavailable, fmt.Sprintf("%s answered %d", clean(x.host, 200), x.status)
	case x.status >= 300 && x.status < 400 || x.status == 404:
		e.Kind, e.Words = fault.Invalid, fmt.Sprintf("%s answered %d: is login_url right?", clean(x.host, 200), x.status)
	default:
		e.Kind, e.Words = fault.Denied, strings.TrimSpace(fmt.Sprintf("%s refused with %d %s", clean(x.host, 200), x.status, e.OAuthError))
		if e.Code != 0 {
			e.Words += " AADSTS" + strconv.Itoa(e.Code)
		}
	}
	return e
}

// read takes what it can from an OAuth error body.
func (e *SignInError) read(body []byte, secrets []string) {
	var w struct {
		Error         text            `json:"error"`
		Description   text            `json:"error_description"`
		Codes         json.RawMessage `json:"error_codes"`
		TraceID       text            `json:"trace_id"`
		CorrelationID text            `json:"correlation_id"`
	}
	if json.Unmarshal(body, &w) != nil {
		return
	}
	safe := func(s text, n int) string { return clean(redact(string(s), secrets), n) }
	first, _, _ := strings.Cut(strings.ReplaceAll(string(w.Description), "\r", "\n"), "\n")
	first, _, _ = strings.Cut(first, " Trace ID:")
	e.OAuthError = safe(w.Error, 60)
	e.Message = safe(text(first), 300)
	e.TraceID = safe(w.TraceID, 60)
	e.CorrelationID = safe(w.CorrelationID, 60)
	var codes []int
	if json.Unmarshal(w.Codes, &codes) == nil && len(codes) > 0 {
		e.Code = codes[0]
	} else if m := regexp.MustCompile(`AADSTS([0-9]{4,9})`).FindStringSubmatch(string(w.Description)); m != nil {
		e.Code, _ = strconv.Atoi(m[1])
	}
}

// meaning explains the AADSTS codes that an app signing in to one tenant can
// meet (Microsoft, "Microsoft Entra authentication and authorization error
// codes"). No words: the code is not one of them.
func meaning(code int, c Config) (fault.Kind, string) {
	say := func(kind fault.Kind, format string, args ...any) (fault.Kind, string) {
		return kind, fmt.Sprintf("AADSTS%d: ", code) + fmt.Sprintf(format, args...)
	}
	app := clean(c.ClientID, 60)
	switch code {
	case 7000215:
		return say(fault.Denied, "the client secret of app %s is wrong: give the secret's value, not its id", app)
	case 7000222:
		return say(fault.Denied, "the client secret of app %s has expired: create a new one and put it where credential.secret points", app)
	case 700027, 7000271, 700030:
		return say(fault.Denied, "the certificate is not registered with app %s, or not valid now: upload its public part to the app registration", app)
	case 700024:
		return say(fault.Denied, "the signed assertion is outside its time: check this machine's clock, or the age of the federated token")
	case 70021, 700211, 700212, 700213, 700214:
		return say(fault.Denied, "no federated credential of app %s matches the token's issuer, subject and audience", app)
	case 700016:
		return say(fault.Invalid, "app %s is not in tenant %s: check client_id and tenant_id, or grant admin consent there", app, clean(c.TenantID, 100))
	case 7000229:
		return say(fault.Denied, "app %s has no service principal in tenant %s: grant admin consent there", app, clean(c.TenantID, 100))
	case 7000112:
		return say(fault.Denied, "app %s is disabled", app)
	case 90002, 900023:
		return say(fault.Invalid, "tenant %s does not exist in this cloud: check tenant_id and cloud", clean(c.TenantID, 100))
	case 500011:
		return say(fault.Invalid, "tenant %s does not know this Graph: check cloud or graph_url", clean(c.TenantID, 100))
	case 53003, 530032, 530035:
		return say(fault.Denied, "Conditional Access for workload identities blocks app %s from here", app)
	}
	return "", ""
}
