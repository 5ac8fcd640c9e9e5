package world

import (
	"fmt"
	"time"
)

// Effect is one change of one field, for the ledger. A password never appears
// in it: Before and After of "passwordProfile" are counters of resets.
type Effect struct {
	Object string    `json:"object"` // collection and id, "users/6f…"
	Field  string    `json:"field"`
	Before any       `json:"before"`
	After  any       `json:"after"`
	Due    time.Time `json:"due,omitzero"` // set when the change is only accepted and takes effect at this instant
}

// Error is a refusal in Graph's own terms. A method that returns one has
// changed nothing.
type Error struct {
	Status  int    // HTTP status
	Code    string // Graph's error code, such as "Request_ResourceNotFound"
	Message string // Graph's wording where it is known
}

func (e *Error) Error() string { return fmt.Sprintf("%d %s: %s", e.Status, e.Code, e.Message) }

func refuse(status int, code, format string, args ...any) error {
	return &Error{Status: status, Code: code, Message: fmt.Sprintf(format, args...)}
}

func errNotFound(id string) error {
	return refuse(404, "Request_ResourceNotFound",
		"Resource '%s' does not exist or one of its queried reference-property objects are not present.", id)
}

func errDenied() error {
	return refuse(403, "Authorization_RequestDenied", "Insufficient privileges to complete the operation.")
}

func errBad(format string, args ...any) error {
	return refuse(400, "Request_BadRequest", format, args...)
}
