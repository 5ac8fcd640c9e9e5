package console

import (
	"bytes"
	"context"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"errors"
	"fmt"
	"html/template"
	"log/slog"
	"net/http"
	"strconv"
	"time"

	"github.com/seed-f47efad2/cordon/internal/fault"
	"github.com/seed-f47efad2/cordon/internal/question"
)

//go:embed ask/page.html
var askTemplate string

//go:embed ask/style.css
var askStyle string

// AskPath is the path below which AskPage answers; nothing else has to be reachable by
// those who are asked.
const AskPath = "/ask/"

// Questions is what the page needs of the desk. *desk.Service is one.
type Questions interface {
	Question(ctx context.Context, id question.ID, token, from string) (question.Question, error)
	Reply(ctx context.Context, id question.ID, token string, a question.Answer, from string) (question.Question, error)
}

// AskPage is the page on which people answer whether it was them. It knows no sign-in
// and no cookie: the link is all that it asks for. Looking at it decides nothing,
// because programs follow links in messages; an answer is a form that is sent with a
// choice in it, which none of its fields has beforehand. It is safe for concurrent use.
type AskPage struct {
	questions Questions
	log       *slog.Logger
	page      *template.Template
	csp       string
	secure    bool
	mux       *http.ServeMux
}

// NewAskPage returns the page. secure says that it is reached over TLS only.
func NewAskPage(q Questions, secure bool, log *slog.Logger) (*AskPage, error) {
	t, err := template.New("ask").Funcs(template.FuncMap{
		"show": show, "clip": clip, "machine": machine,
		"long":  func(t time.Time) string { return t.UTC().Format("Monday 2 January 2006, 15:04 UTC") },
		"words": func(a string, w question.Who) string { return question.Answer(a).Text(w) },
	}).Parse(askTemplate)
	if err != nil {
		return nil, fmt.Errorf("console: the page of questions: %w", err)
	}
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	sum := sha256.Sum256([]byte(askStyle))
	p := &AskPage{
		questions: q, log: log, page: t, secure: secure, mux: http.NewServeMux(),
		csp: "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
	}
	p.mux.HandleFunc("GET "+AskPath+"{id}/{token}", p.show)
	p.mux.HandleFunc("POST "+AskPath+"{id}/{token}", p.reply)
	p.mux.HandleFunc(AskPath, func(w http.ResponseWriter, r *http.Request) { p.fail(w, r, fault.Errorf(fault.NotFound, "no page")) })
	return p, nil
}

// maxAnswer bounds an answer's form in bytes.
const maxAnswer = 1 << 10

// ServeHTTP answers one request. Nothing of the address, which holds the secret, is
// logged.
func (p *AskPage) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Content-Security-Policy", p.csp)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
	h.Set("Referrer-Policy", "same-origin") // with no-referrer, old browsers send the form without saying where it comes from
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Robots-Tag", "noindex, nofollow")
	if p.secure || r.TLS != nil {
		h.Set("Strict-Transport-Security", "max-age=31536000")
	}
	r.Body = http.MaxBytesReader(w, r.Body, maxAnswer)
	p.mux.ServeHTTP(w, r)
}

// asked is what the template shows: one of Bad, Thanks and Question.
type asked struct {
	Style    template.CSS
	Bad      string // why there is nothing to answer
	Thanks   string // the answer, in words
	Next     string // what the person can do beside
	Missing  string // what the form lacked
	Question *question.Question
}

func (p *AskPage) show(w http.ResponseWriter, r *http.Request) {
	q, err := p.questions.Question(r.Context(), question.ID(r.PathValue("id")), r.PathValue("token"), address(r))
	if err != nil {
		p.fail(w, r, err)
		return
	}
	p.write(w, r, http.StatusOK, asked{Question: &q})
}

func (p *AskPage) reply(w http.ResponseWriter, r *http.Request) {
	id, token := question.ID(r.PathValue("id")), r.PathValue("token")
	// What another site makes a browser send is not an answer.
	err := http.NewCrossOriginProtection().Check(r)
	if err == nil {
		err = r.ParseForm()
	}
	if err != nil {
		p.fail(w, r, fault.Errorf(fault.Invalid, "the form cannot be read"))
		return
	}
	a := question.Answer(r.PostForm.Get("answer"))
	if a != question.Yes && a != question.No {
		q, err := p.questions.Question(r.Context(), id, token, address(r))
		if err != nil {
			p.fail(w, r, err)
			return
		}
		p.write(w, r, http.StatusBadRequest, asked{Question: &q, Missing: "Choose one of the two answers."})
		return
	}
	q, err := p.questions.Reply(r.Context(), id, token, a, address(r))
	if err != nil {
		p.fail(w, r, err)
		return
	}
	next := "Your security team has been told and acts on it."
	if a == question.Yes {
		next = "If you are asked to sign in again, do so as always and with your second factor: that bears your answer out."
	}
	p.write(w, r, http.StatusOK, asked{Thanks: a.Text(q.Who), Next: next})
}

// fail says that there is nothing to answer, in the same words whatever the reason.
func (p *AskPage) fail(w http.ResponseWriter, r *http.Request, err error) {
	status, text := http.StatusNotFound, "This link is not valid, or not any more"
	if after, ok := fault.RetryAfter(err); ok {
		status, text = http.StatusTooManyRequests, "Too many attempts; try again later"
		w.Header().Set("Retry-After", strconv.Itoa(int(after.Seconds())+1))
	} else if !errors.Is(err, fault.NotFound) {
		status, text = http.StatusBadRequest, "This cannot be answered now"
		if !errors.Is(err, fault.Invalid) {
			status = http.StatusServiceUnavailable
			p.log.ErrorContext(r.Context(), "an answer could not be taken", "question", clip(64, r.PathValue("id")), "err", err)
		}
	}
	p.write(w, r, status, asked{Bad: text})
}

func (p *AskPage) write(w http.ResponseWriter, r *http.Request, status int, a asked) {
	a.Style = template.CSS(askStyle) // our own, and no word of it from outside
	var b bytes.Buffer
	if err := p.page.Execute(&b, a); err != nil {
		p.log.ErrorContext(r.Context(), "the page of a question could not be made", "err", err)
		http.Error(w, "Cordon made a mistake; its log says more", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write(b.Bytes()) // the browser may be gone; there is nobody else to tell
}
