package httpapi_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/seed-f47efad2/cordon/internal/fault"
	"github.com/seed-f47efad2/cordon/internal/httpapi"
	"github.com/seed-f47efad2/cordon/internal/push"
)

func TestPush(t *testing.T) {
	t.Parallel()
	var got push.Request
	s := start(t, httpapi.Options{Push: func(_ context.Context, r push.Request) (push.Answer, error) {
		got = r
		switch r.Sender {
		case "siem":
			return push.Answer{Read: 1, New: 1, Records: []push.Told{{Result: "new"}}}, nil
		case "again":
			return push.Answer{}, fault.Errorf(fault.Conflict, "the key was used")
		}
		return push.Answer{}, push.ErrUnknown
	}})
	send := func(sender, body string) *httptest.ResponseRecorder {
		r := httptest.NewRequest(http.MethodPost, "/api/signals", strings.NewReader(body))
		r.Header.Set("Content-Type", "application/json")
		r.Header.Set("Cordon-Sender", sender)
		r.Header.Set("Idempotency-Key", "k")
		r.Header.Set("Cordon-Timestamp", "7")
		r.Header.Set("Cordon-Signature", "v1=00")
		w := httptest.NewRecorder()
		s.handler.ServeHTTP(w, r)
		return w
	}
	// A body of odd white space is signed as it stands, and one larger than operators'.
	body := "{\"records\" :\n [ {} ]}" + strings.Repeat(" ", 200<<10)
	w := send("siem", body)
	if w.Code != http.StatusOK || !strings.Contains(w.Body.String(), `"result":"new"`) {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	if string(got.Body) != body || got.Key != "k" || got.Timestamp != "7" || got.Signature != "v1=00" {
		t.Errorf("the request arrives as %+.200v", got)
	}
	for sender, want := range map[string]int{"nobody": http.StatusUnauthorized, "again": http.StatusConflict} {
		if w := send(sender, "{}"); w.Code != want || !strings.Contains(w.Header().Get("Content-Type"), "problem") {
			t.Errorf("%s: %d %s", sender, w.Code, w.Body)
		}
	}
	got = push.Request{}
	if w := send("siem", strings.Repeat("x", push.MaxBody+10)); w.Code != http.StatusBadRequest || got.Sender != "" {
		t.Errorf("too large: %d %s", w.Code, w.Body)
	}
	nobody := start(t, httpapi.Options{})
	r := httptest.NewRequest(http.MethodPost, "/api/signals", strings.NewReader("{}"))
	w = httptest.NewRecorder()
	nobody.handler.ServeHTTP(w, r)
	if w.Code != http.StatusForbidden {
		t.Errorf("without senders: %d %s", w.Code, w.Body)
	}
}
