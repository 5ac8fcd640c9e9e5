package console

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/seed-f47efad2/cordon/internal/access"
	"github.com/seed-f47efad2/cordon/internal/fault"
)

const (
	cookieName  = "cordon_session"
	sessionLife = 12 * time.Hour   // from sign-in, whatever happens
	sessionIdle = 2 * time.Hour    // without a request
	linkLife    = 15 * time.Minute // of a one-time link
	maxSessions = 10_000
	secretBytes = 32 // 256 bits
)

// digest is what is kept of a session's or a link's secret.
type digest [sha256.Size]byte

type session struct {
	operator access.OperatorID
	csrf     string
	made     time.Time
	used     time.Time
}

type link struct {
	operator access.OperatorID
	until    time.Time
}

// sessions are kept in memory, by digest: a restart signs everybody out, and who
// reads the memory of a store learns nothing.
type sessions struct {
	now  func() time.Time
	rand io.Reader

	mu    sync.Mutex
	open  map[digest]session
	links map[digest]link
}

func newSessions(now func() time.Time, rand io.Reader) *sessions {
	return &sessions{now: now, rand: rand, open: map[digest]session{}, links: map[digest]link{}}
}

func (s *sessions) secret() (string, error) {
	b := make([]byte, secretBytes)
	if _, err := io.ReadFull(s.rand, b); err != nil {
		return "", fmt.Errorf("draw a random secret: %w", err)
	}
	return base64.RawURLEncoding.EncodeToString(b), nil
}

// offer makes a one-time link's secret for the operator.
func (s *sessions) offer(op access.OperatorID) (string, error) {
	secret, err := s.secret()
	if err != nil {
		return "", err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	for d, l := range s.links {
		if !now.Before(l.until) {
			delete(s.links, d)
		}
	}
	s.links[sha256.Sum256([]byte(secret))] = link{op, now.Add(linkLife)}
	return secret, nil
}

// redeem uses a link up. Only a POST comes here: whatever follows links to look
// at them does not burn one.
func (s *sessions) redeem(secret string) (access.OperatorID, error) {
	d := digest(sha256.Sum256([]byte(secret)))
	s.mu.Lock()
	defer s.mu.Unlock()
	l, ok := s.links[d]
	delete(s.links, d)
	if !ok || !s.now().Before(l.until) {
		return "", fault.Errorf(fault.Denied, "the link was used already or ran out; ask for a new one")
	}
	return l.operator, nil
}

// begin opens a session and returns its secret, for the cookie.
func (s *sessions) begin(op access.OperatorID) (string, error) {
	secret, err := s.secret()
	if err != nil {
		return "", err
	}
	csrf, err := s.secret()
	if err != nil {
		return "", err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	if len(s.open) >= maxSessions {
		s.forget(now)
	}
	s.open[sha256.Sum256([]byte(secret))] = session{operator: op, csrf: csrf, made: now, used: now}
	return secret, nil
}

// forget makes room: what is over, else the one unused for longest.
func (s *sessions) forget(now time.Time) {
	var oldest digest
	var found bool
	for d, v := range s.open {
		if over(v, now) {
			delete(s.open, d)
			continue
		}
		if !found || v.used.Before(s.open[oldest].used) {
			oldest, found = d, true
		}
	}
	if found && len(s.open) >= maxSessions {
		delete(s.open, oldest)
	}
}

func over(v session, now time.Time) bool {
	return !now.Before(v.made.Add(sessionLife)) || !now.Before(v.used.Add(sessionIdle))
}

// of returns the request's session. touch counts the request as use: a page's
// own looking for changes does not keep a session alive.
func (s *sessions) of(r *http.Request, touch bool) (session, bool) {
	c, err := r.Cookie(cookieName)
	if err != nil {
		return session{}, false
	}
	d := digest(sha256.Sum256([]byte(c.Value)))
	s.mu.Lock()
	defer s.mu.Unlock()
	v, ok := s.open[d]
	now := s.now()
	if !ok || over(v, now) {
		delete(s.open, d)
		return session{}, false
	}
	if touch {
		v.used = now
		s.open[d] = v
	}
	return v, true
}

func (s *sessions) end(r *http.Request) {
	c, err := r.Cookie(cookieName)
	if err != nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.open, sha256.Sum256([]byte(c.Value)))
}

// genuine reports whether a form was made by a page of this session.
func (v session) genuine(token string) bool {
	return v.csrf != "" && subtle.ConstantTimeCompare([]byte(v.csrf), []byte(token)) == 1
}

func cookie(secret string, secure bool, age time.Duration) *http.Cookie {
	c := &http.Cookie{
		Name: cookieName, Value: secret, Path: "/", HttpOnly: true, Secure: secure, SameSite: http.SameSiteStrictMode,
		MaxAge: int(age / time.Second),
	}
	if age <= 0 {
		c.MaxAge = -1
	}
	return c
}
