package directory

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/go-ldap/ldap/v3"

	"github.com/seed-f47efad2/cordon/internal/fault"
)

// errTimeout is the cause of a request that our own timeout ended.
var errTimeout = errors.New("no complete answer within the request timeout")

// An Error is a request that did not succeed. errors.Is asks for its fault kind.
// Its text contains no password and is safe to show.
type Error struct {
	DC   string // the controller asked; "" when there was none
	What string // what was asked: "modify", "search", "bind", "connect"
	Code uint16 // LDAP result code; 0 when the controller did not answer in full
	Win  string // the Windows error that leads the diagnostic text, such as "0000052D"; ""
	Data string // of a refused bind, such as "533"; ""
	Text string // the controller's words, one line, bounded; for people, never matched

	Kind fault.Kind
	Err  error // the cause on our side of the wire; nil when the controller answered
}

func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString("directory: " + e.What)
	if e.DC != "" {
		b.WriteString(" on " + e.DC)
	}
	b.WriteString(": ")
	switch {
	case e.Err != nil:
		b.WriteString(clean(e.Err.Error(), 400))
	default:
		b.WriteString(e.Reason())
	}
	if e.Kind == fault.Unknown {
		b.WriteString("; it may have taken effect: read before repeating")
	}
	return b.String()
}

// Unwrap shows the kind and the cause.
func (e *Error) Unwrap() []error {
	if e.Err != nil {
		return []error{e.Kind, e.Err}
	}
	return []error{e.Kind}
}

// Reason says in words what the controller's answer means.
func (e *Error) Reason() string {
	if e.Err != nil {
		return clean(e.Err.Error(), 300)
	}
	words := bindData[strings.ToLower(e.Data)]
	if e.Code != ldap.LDAPResultInvalidCredentials || words == "" {
		words = winWords[strings.ToUpper(e.Win)]
	}
	if words == "" {
		words = codeWords[e.Code]
	}
	name := ldap.LDAPResultCodeMap[e.Code]
	if words == "" {
		words = strings.ToLower(name)
	}
	out := fmt.Sprintf("%s (LDAP %d", words, e.Code)
	for _, more := range []string{e.Win, e.Data} {
		if more != "" {
			out += ", " + more
		}
	}
	return out + ")"
}

// The words for result codes. Source: MS-ADTS 3.1.1.3.1.9 and RFC 4511.
var codeWords = map[uint16]string{
	ldap.LDAPResultStrongAuthRequired:       "the controller asks for signing or another way to sign in",
	ldap.LDAPResultReferral:                 "the controller sends writes elsewhere: it is read-only, or not in charge of this domain",
	ldap.LDAPResultNoSuchAttribute:          "the value that was to be replaced is not there any more: somebody else changed it",
	ldap.LDAPResultConstraintViolation:      "the directory's rules do not allow the value",
	ldap.LDAPResultAttributeOrValueExists:   "the value is there already",
	ldap.LDAPResultNoSuchObject:             "there is no such object",
	ldap.LDAPResultInvalidCredentials:       "user name or password is wrong",
	ldap.LDAPResultInsufficientAccessRights: "the account that Cordon uses has no right to do this here",
	ldap.LDAPResultBusy:                     "the controller is busy",
	ldap.LDAPResultUnavailable:              "the controller is not available",
	ldap.LDAPResultUnwillingToPerform:       "the controller will not do this",
	ldap.LDAPResultEntryAlreadyExists:       "the value is there already",
}

// The words for what leads a diagnostic text. Source: MS-ERREF, Win32 codes.
var winWords = map[string]string{
	"0000052D": "the password does not meet the domain's policy",
	"00000056": "the old password is wrong",
	"00002077": "the controller will not do this without encryption",
}

// The words for the data of a refused bind. Source: MS-ERREF, Win32 codes in hex.
var bindData = map[string]string{
	"525": "there is no such account",
	"52e": "user name or password is wrong",
	"52f": "the account's restrictions do not allow this sign-in",
	"530": "the account may not sign in at this hour",
	"531": "the account may not sign in from here",
	"532": "the account's password has expired",
	"533": "the account is disabled",
	"701": "the account has expired",
	"773": "the account must change its password first",
	"775": "the account is locked",
}

var (
	leadingCode = regexp.MustCompile(`^([0-9A-Fa-f]{8}):`)
	dataCode    = regexp.MustCompile(`\bdata ([0-9A-Fa-f]{1,8})\b`)
)

// failed makes the error of a request that never got an answer.
func (c *Client) failed(h *host, what string, k fault.Kind, cause error) *Error {
	switch {
	case errors.Is(cause, errTimeout), errors.Is(cause, context.DeadlineExceeded):
		cause = errTimeout
	case cause == nil:
		cause = errors.New("the connection ended")
	}
	return &Error{DC: h.name, What: what, Kind: k, Err: cause}
}

// answered makes the error of a controller's answer.
func answered(dc, what string, write bool, e *ldap.Error) *Error {
	out := &Error{DC: dc, What: what, Code: e.ResultCode, Kind: kindOf(e.ResultCode, write)}
	if e.Err != nil {
		out.Text = clean(e.Err.Error(), 300)
	}
	if m := leadingCode.FindStringSubmatch(out.Text); m != nil {
		out.Win = strings.ToUpper(m[1])
	}
	if m := dataCode.FindStringSubmatch(out.Text); m != nil {
		out.Data = strings.ToLower(m[1])
	}
	return out
}

// kindOf says what a result code means for the caller. A controller changes
// everything in a request or nothing, so an answer other than success says that
// nothing was changed; the exceptions are answers that say no more than "it did
// not go well", which are read before they are believed.
func kindOf(code uint16, write bool) fault.Kind {
	switch code {
	case ldap.LDAPResultNoSuchObject:
		return fault.NotFound
	case ldap.LDAPResultNoSuchAttribute, ldap.LDAPResultAttributeOrValueExists, ldap.LDAPResultEntryAlreadyExists:
		return fault.Conflict
	case ldap.LDAPResultInvalidCredentials, ldap.LDAPResultInsufficientAccessRights, ldap.LDAPResultStrongAuthRequired,
		ldap.LDAPResultAuthMethodNotSupported, ldap.LDAPResultInappropriateAuthentication, ldap.LDAPResultConfidentialityRequired:
		return fault.Denied
	case ldap.LDAPResultBusy, ldap.LDAPResultUnavailable, ldap.LDAPResultReferral, ldap.LDAPResultOperationsError:
		return fault.Unavailable
	case ldap.LDAPResultTimeLimitExceeded, ldap.LDAPResultOther, ldap.LDAPResultAdminLimitExceeded:
		if write {
			return fault.Unknown
		}
		return fault.Unavailable
	}
	return fault.Invalid
}

// redact removes the secrets from a text that a controller or a library wrote.
func (e *Error) redact(secrets []string) *Error {
	hide := func(s string) string {
		for _, x := range secrets {
			if len(x) >= 4 {
				s = strings.ReplaceAll(s, x, "[redacted]")
			}
		}
		return s
	}
	e.Text = hide(e.Text)
	if e.Err != nil {
		if s := e.Err.Error(); hide(s) != s {
			e.Err = errors.New(hide(s))
		}
	}
	return e
}

// clean makes foreign text fit for one line of a log or a page: no control or
// invisible characters, valid UTF-8, at most n bytes.
func clean(s string, n int) string {
	if len(s) > 4*n {
		s = s[:4*n]
	}
	s = strings.TrimSpace(strings.Map(func(c rune) rune {
		switch {
		case unicode.IsSpace(c):
			return ' '
		case unicode.IsControl(c), unicode.Is(unicode.Cf, c), c == unicode.ReplacementChar:
			return -1
		}
		return c
	}, s))
	if len(s) <= n {
		return s
	}
	cut := max(n-len("…"), 0)
	for cut > 0 && !utf8.RuneStart(s[cut]) {
		cut--
	}
	return s[:cut] + "…"
}
