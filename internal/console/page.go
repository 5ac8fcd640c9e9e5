package console

import (
	"errors"
	"net/http"
	"net/url"
	"time"

	"github.com/seed-f47efad2/cordon/internal/access"
	"github.com/seed-f47efad2/cordon/internal/approval"
	"github.com/seed-f47efad2/cordon/internal/audit"
	"github.com/seed-f47efad2/cordon/internal/connector"
	"github.com/seed-f47efad2/cordon/internal/desk"
	"github.com/seed-f47efad2/cordon/internal/fault"
	"github.com/seed-f47efad2/cordon/internal/identity"
	"github.com/seed-f47efad2/cordon/internal/signal"
)

// A head is what every page's template may know besides its own.
type head struct {
	Title   string
	Nav     string // which entry of the navigation is current
	Op      access.Operator
	CSRF    string
	Head    desk.Head
	Silent  int           // feeds from which nothing comes (law 10)
	Said    string        // what the last command did
	Refresh time.Duration // without JavaScript, load again after; 0: do not
	Now     time.Time
}

// Can tells templates which forms to offer; the desk checks again.
func (h head) Can(p string) bool { return h.Op.Can(access.Permission(p)) }

type (
	signInPage struct {
		head
		Link string // the secret of a one-time link; "" asks for a token
		Next string
		Bad  string
	}
	queuePage struct {
		head
		Queue    desk.Queue
		Status   string
		MinLevel string
		Name     string
		More     string // the query of the next page; "" when there is none
	}
	feedsPage struct {
		head
		List []connector.FeedState
	}
	identitiesPage struct {
		head
		List desk.List[identity.Identity]
		Name string
		More string
	}
	identityPage struct {
		head
		View      desk.IdentityView
		Playbooks []desk.PlaybookView
	}
	planPage struct {
		head
		View desk.RunView
	}
	runsPage struct {
		head
		List  desk.List[desk.RunSummary]
		State string
		More  string
	}
	runPage struct {
		head
		View desk.RunView
	}
	approvalsPage struct {
		head
		List  desk.List[approval.Request]
		State string
		More  string
	}
	approvalPage struct {
		head
		View desk.ApprovalView
	}
	actionsPage struct {
		head
		List  desk.List[desk.ActionView]
		State string
		More  string
	}
	actionPage struct {
		head
		View desk.ActionView
	}
	signalPage struct {
		head
		Signal signal.Signal
	}
	holdPage struct {
		head
		Tenants []identity.Tenant
	}
	auditPage struct {
		head
		List desk.List[audit.Entry]
		More string
	}
	handOverPage struct {
		head
		HandOver desk.HandOver
		Link     string
	}
	revealPage struct {
		head
		Run      string
		Revealed *desk.Revealed
	}
	errorPage struct {
		head
		Status  int
		What    string
		Text    string
		SignIn  bool
		Retried string
	}
)

// said are the only texts a page repeats from a link.
var said = map[string]string{
	"approved":  "Approved. The steps are on their way; nothing counts as done until it is verified.",
	"rejected":  "Rejected. The reason is in the trail.",
	"undoing":   "The undo is on its way.",
	"extended":  "It stands longer. The reason is in the trail.",
	"started":   "Started.",
	"stopped":   "All writes are stopped.",
	"resumed":   "Writes go on.",
	"verdict":   "The case is closed.",
	"signedout": "You are signed out.",
	"noted":     "Written down.",
	"proposed":  "Planned. Nothing leaves before others have approved it.",

	"campaign-approve": "Your answer is written down.",
	"campaign-reject":  "Rejected. The reason is in the trail.",
	"campaign-pause":   "Paused. Nothing further leaves.",
	"campaign-resume":  "It goes on.",
	"campaign-stop":    "Stopped. What has not left is withdrawn.",
	"linked":           "Linked. Its signals and its case are here now.",
	"tagged":           "Tagged. It takes effect at once.",
	"untagged":         "The tag was taken away. It takes effect at once.",
	"unlinked":         "Unlinked. This is where the account went.",
	"excepted":         "In force. Whom it is about was assessed anew.",
	"ended":            "Ended. Whom it was about was assessed anew.",
}

// open builds the head of a page for whoever is signed in. ok is false when
// nobody is, and the answer has been written.
func (c *Console) open(w http.ResponseWriter, r *http.Request, title, nav string) (h head, ok bool) {
	op, s, ok := c.signedIn(r, true)
	if !ok {
		next := ""
		if r.Method == http.MethodGet && r.URL.Path != "/" {
			next = "?next=" + url.QueryEscape(r.URL.RequestURI())
		}
		http.Redirect(w, r, "/signin"+next, http.StatusSeeOther)
		return h, false
	}
	h = head{Title: title, Nav: nav, Op: op, CSRF: s.csrf, Now: c.now().UTC(), Said: said[r.URL.Query().Get("said")]}
	var err error
	if h.Head, err = c.desk.Head(r.Context(), op); err != nil {
		c.fail(w, r, err)
		return h, false
	}
	feeds, err := c.desk.Feeds(r.Context(), op, op.Tenant)
	if err != nil {
		c.fail(w, r, err)
		return h, false
	}
	h.Silent = feeds.Silent
	return h, true
}

// show writes a page.
func (c *Console) show(w http.ResponseWriter, r *http.Request, name string, page any) {
	c.showAs(w, r, http.StatusOK, name, page)
}

func (c *Console) showAs(w http.ResponseWriter, r *http.Request, status int, name string, page any) {
	if err := c.pages.render(w, status, name, page); err != nil {
		c.log.ErrorContext(r.Context(), "page went wrong", "page", name, "error", err)
		http.Error(w, "Cordon made a mistake; its log says more", http.StatusInternalServerError)
	}
}

// fail writes the page of an error. One without a kind is our own mistake: it is
// logged in full and told to nobody.
func (c *Console) fail(w http.ResponseWriter, r *http.Request, err error) {
	p := errorPage{Status: http.StatusInternalServerError, What: "Cordon made a mistake", Text: "Its log says more. Nothing was changed by this request."}
	for _, s := range []struct {
		kind   fault.Kind
		status int
		what   string
	}{
		{fault.Invalid, http.StatusBadRequest, "That cannot be done as it is"},
		{fault.NotFound, http.StatusNotFound, "There is no such thing"},
		{fault.Conflict, http.StatusConflict, "Somebody was faster"},
		{fault.Denied, http.StatusForbidden, "You may not do that"},
		{fault.Held, http.StatusLocked, "That is held"},
		{fault.Unavailable, http.StatusServiceUnavailable, "That does not answer now"},
		{fault.Unknown, http.StatusBadGateway, "It may have been done: look before you ask again"},
	} {
		if errors.Is(err, s.kind) {
			p.Status, p.What, p.Text = s.status, s.what, err.Error()
			break
		}
	}
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		p.Status, p.What, p.Text = http.StatusRequestEntityTooLarge, "That is too much", "A form may have 64 KB."
	case p.Status == http.StatusInternalServerError && r.Context().Err() == nil:
		c.log.ErrorContext(r.Context(), "request went wrong", "method", r.Method, "path", r.URL.Path, "error", err)
	}
	p.head = head{Title: p.What, Now: c.now().UTC()}
	if op, s, ok := c.signedIn(r, false); ok {
		p.head.Op, p.head.CSRF = op, s.csrf
		if h, err := c.desk.Head(r.Context(), op); err == nil {
			p.head.Head = h
		}
	}
	c.showAs(w, r, p.Status, "error", p)
}
