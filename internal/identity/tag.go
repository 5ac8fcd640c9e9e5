package identity

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/seed-f47efad2/cordon/internal/fault"
)

// A TagName says what an identity is, which no directory says of it.
type TagName string

// The tags that people give by hand.
const (
	TagProtected  TagName = "protected"       // automation never changes it (law 1)
	TagSensitive  TagName = "sensitive"       // counts as privileged
	TagCritical   TagName = "critical"        // counts as privileged; a takeover does most harm
	TagVIP        TagName = "VIP"             // counts as privileged
	TagPAM        TagName = "PAM"             // its password is kept by privileged access management; counts as privileged
	TagExchange   TagName = "Exchange server" // counts as privileged
	TagHoneytoken TagName = "honeytoken"      // a decoy that nobody has a reason to use
)

// TagNames returns all tags that can be given by hand.
func TagNames() []TagName {
	return []TagName{TagProtected, TagSensitive, TagCritical, TagVIP, TagPAM, TagExchange, TagHoneytoken}
}

// Privileges reports whether who has the tag is treated as one who holds a directory
// role: approvals are asked for, and dispatch serves it first.
func (n TagName) Privileges() bool {
	switch n {
	case TagSensitive, TagCritical, TagVIP, TagPAM, TagExchange:
		return true
	}
	return false
}

// A Tagging is one time somebody gave a tag by hand. Taggings are kept when the tag is
// taken away again.
type Tagging struct {
	Name      TagName   `json:"name"`
	By        string    `json:"by"`
	Reason    string    `json:"reason"`
	At        time.Time `json:"at"`
	RemovedBy string    `json:"removedBy,omitempty"`
	RemovedAt time.Time `json:"removedAt,omitzero"`
	Removal   string    `json:"removal,omitempty"` // why
}

// InForce reports whether the tag was not taken away again.
func (t Tagging) InForce() bool { return t.RemovedAt.IsZero() }

// Text says it for people.
func (t Tagging) Text() string { return fmt.Sprintf("tagged %s by %s: %s", t.Name, t.By, t.Reason) }

// Tagged returns the taggings in force, in the order in which they were given.
func (i Identity) Tagged() []Tagging {
	var out []Tagging
	for _, t := range i.Tags {
		if t.InForce() {
			out = append(out, t)
		}
	}
	return out
}

// KeptPassword says who keeps the identity's password, and with it who alone changes
// it; empty: nobody but its directory.
func (i Identity) KeptPassword() string {
	for _, t := range i.Tagged() {
		if t.Name == TagPAM {
			return fmt.Sprintf("its password is kept by privileged access management and has to be changed there (%s)", t.Text())
		}
	}
	return ""
}

// WithTag returns i with the tag, given by by for the reason. It returns fault.Invalid
// for a name that is none and fault.Conflict when i has the tag.
func (i Identity) WithTag(n TagName, by, reason string, now time.Time) (Identity, error) {
	n, ok := tagName(n)
	if !ok {
		return i, fault.Errorf(fault.Invalid, "%q is no tag; they are %q", n, TagNames())
	}
	for _, t := range i.Tagged() {
		if t.Name == n {
			return i, fault.Errorf(fault.Conflict, "%s is %s already", i.Name, t.Text())
		}
	}
	i.Tags = append(slices.Clone(i.Tags), Tagging{Name: n, By: by, Reason: reason, At: now})
	i.UpdatedAt = now
	return i, nil
}

// WithoutTag returns i without the tag. It returns fault.NotFound when i does not have
// it.
func (i Identity) WithoutTag(n TagName, by, reason string, now time.Time) (Identity, error) {
	n, _ = tagName(n)
	for k, t := range i.Tags {
		if t.Name == n && t.InForce() {
			i.Tags = slices.Clone(i.Tags)
			i.Tags[k].RemovedBy, i.Tags[k].RemovedAt, i.Tags[k].Removal = by, now, reason
			i.UpdatedAt = now
			return i, nil
		}
	}
	return i, fault.Errorf(fault.NotFound, "%s has no tag %q that was given by hand", i.Name, n)
}

// tagName returns the tag in its own spelling.
func tagName(n TagName) (TagName, bool) {
	for _, k := range TagNames() {
		if strings.EqualFold(string(k), strings.TrimSpace(string(n))) {
			return k, true
		}
	}
	return n, false
}

// inherit gives i the tags in force of other that it lacks: what was a reason to be
// careful with the one is a reason to be careful with what its accounts became.
func (i *Identity) inherit(other Identity) {
	have := i.Tagged()
	for _, t := range other.Tagged() {
		if !slices.ContainsFunc(have, func(h Tagging) bool { return h.Name == t.Name }) {
			i.Tags = append(slices.Clone(i.Tags), t)
		}
	}
}
