package entraid

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/seed-f47efad2/cordon/internal/action"
	"github.com/seed-f47efad2/cordon/internal/fault"
	"github.com/seed-f47efad2/cordon/internal/graph"
	"github.com/seed-f47efad2/cordon/internal/identity"
	"github.com/seed-f47efad2/cordon/internal/signal"
)

// A rule is Graph's messageRule, the fields we use, under its names. Of what it
// looks for nothing is kept: that is the person's mail.
type rule struct {
	ID          string       `json:"id"`
	DisplayName string       `json:"displayName,omitempty"`
	IsEnabled   *bool        `json:"isEnabled,omitempty"`
	IsReadOnly  *bool        `json:"isReadOnly,omitempty"`
	Actions     *ruleActions `json:"actions,omitempty"`
}

type ruleActions struct {
	ForwardTo             []struct{} `json:"forwardTo,omitempty"`
	ForwardAsAttachmentTo []struct{} `json:"forwardAsAttachmentTo,omitempty"`
	RedirectTo            []struct{} `json:"redirectTo,omitempty"`
	Delete                bool       `json:"delete,omitempty"`
	PermanentDelete       bool       `json:"permanentDelete,omitempty"`
	MoveToFolder          string     `json:"moveToFolder,omitempty"`
	MarkAsRead            bool       `json:"markAsRead,omitempty"`
}

// suspect says what of a rule is what attackers use: sending mail elsewhere,
// deleting it, or reading it away into a folder. Source: "Suspicious inbox
// manipulation rule" of Microsoft's detections.
func (u rule) suspect() string {
	a := u.Actions
	switch {
	case a == nil:
		return ""
	case len(a.ForwardTo)+len(a.ForwardAsAttachmentTo)+len(a.RedirectTo) > 0:
		return "sends mail elsewhere"
	case a.Delete || a.PermanentDelete:
		return "deletes mail"
	case a.MoveToFolder != "" && a.MarkAsRead:
		return "moves mail away as read"
	}
	return ""
}

const (
	paramRules    = "rules"
	paramAllRules = "all"
)

// ruleID reports whether an id is one that goes into a path: Graph's are base64.
func ruleID(id string) bool {
	for _, c := range []byte(id) {
		if !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || strings.IndexByte("+/=-_", c) >= 0) {
			return false
		}
	}
	return id != "" && len(id) <= 512
}

func (d directory) inbox(spec action.Spec, want bool) *chores[rule] {
	spec.Version, spec.Provider = 1, identity.EntraID
	spec.Permissions = []string{"MailboxSettings.ReadWrite", "User.Read.All"}
	spec.Batch, spec.Bucket, spec.ReadBucket = 1, action.BucketMailbox, action.BucketMailbox
	spec.Propagation, spec.Within = 30*time.Second, 5*time.Minute
	spec.Proof = "`isEnabled` of each of the recorded rules has the wanted value, or the rule is gone."
	return &chores[rule]{
		directory: d, spec: spec,
		refuse: func(u user) string {
			if u.guest() {
				return "a guest's mailbox is in the home tenant"
			}
			return ""
		},
		read: func(ctx context.Context, id string, _ action.Request) ([]rule, time.Time, error) {
			found, at, err := collect(ctx, d.graph, graph.Request{
				Path: graph.Path("users", id, "mailFolders", "inbox", "messageRules"), Priority: graph.High,
			}, func(u rule) string { return u.ID })
			if errors.Is(err, fault.NotFound) {
				return nil, at, fault.Errorf(fault.Held, "read the inbox rules: the user has no mailbox here: %w", errors.Unwrap(err))
			}
			if err != nil {
				return nil, at, fmt.Errorf("read the inbox rules: %w", err)
			}
			var out []rule
			for _, u := range found {
				out = append(out, u)
			}
			return out, at, nil
		},
		todo: func(r action.Request, there []rule) (left []rule, refuse string, err error) {
			only, err := ids(r, paramRules, ruleID)
			if err == nil && want && len(only) == 0 {
				err = fault.Errorf(fault.Invalid, "%s: no rule is named that could be enabled", paramRules)
			}
			if err != nil {
				return nil, "", err
			}
			all, _ := r.Params[paramAllRules].(bool)
			fixed := 0
			for _, u := range there {
				switch {
				case len(only) > 0 && !slices.Contains(only, u.ID):
				case len(only) == 0 && !all && u.suspect() == "":
				case u.IsEnabled != nil && *u.IsEnabled == want:
				case u.IsReadOnly != nil && *u.IsReadOnly:
					fixed++
				default:
					u.DisplayName = line(u.DisplayName)
					left = append(left, u)
				}
			}
			if len(left) == 0 && fixed > 0 {
				refuse = "the rule can only be changed in Outlook itself: a person must do it"
			}
			return left, refuse, nil
		},
		write: func(id string, _ action.Request, u rule) graph.Request {
			return graph.Request{Method: http.MethodPatch, Path: graph.Path("users", id, "mailFolders", "inbox", "messageRules", u.ID), Body: map[string]bool{"isEnabled": want}}
		},
		key: func(u rule) string { return u.ID },
		text: func(list []rule) string {
			return listed(list, func(u rule) string {
				text := line(u.DisplayName)
				if why := u.suspect(); why != "" {
					text += " (" + why + ")"
				}
				return text
			})
		},
	}
}

func ruleIDs(list []rule) map[string]any {
	var out []string
	for _, u := range list {
		out = append(out, u.ID)
	}
	return map[string]any{paramRules: strings.Join(out, ",")}
}

func disableInboxRules(d directory) action.Type {
	c := d.inbox(action.Spec{
		Name: DisableInboxRules, Effect: action.EffectRestrict, Undo: EnableInboxRules,
		Title:    "Disable suspicious inbox rules",
		Summary:  "Inbox rules that send mail elsewhere, delete it, or move it away as read do nothing any more; they are kept as evidence.",
		Remedies: []signal.Cause{signal.CauseMailbox},
		Limits:   "Forwarding that is set for the whole mailbox, by an administrator or under Options, is not an inbox rule: a person must look and take it off (Exchange admin centre, Mailbox, Manage mail flow). Hidden rules that other programs made are not listed by Graph. Mail that is gone stays gone.",
		Params: action.Params{
			{Name: paramRules, Type: "string", Text: "Only these: ids of the rules, comma-separated."},
			{Name: paramAllRules, Type: "boolean", Default: false, Text: "All rules, not only the suspicious ones."},
		},
	}, false)
	c.already = "no such rule is enabled"
	return reversible[rule]{c, ruleIDs}
}

func enableInboxRules(d directory) action.Type {
	c := d.inbox(action.Spec{
		Name: EnableInboxRules, Effect: action.EffectRelease, Undo: DisableInboxRules,
		Title:   "Enable inbox rules",
		Summary: "The named inbox rules work again.",
		Limits:  "Only rules that are still there.",
		Params:  action.Params{{Name: paramRules, Type: "string", Required: true, Text: "Ids of the rules, comma-separated."}},
	}, true)
	c.already = "the rules are enabled"
	return reversible[rule]{c, ruleIDs}
}
