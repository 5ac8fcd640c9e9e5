package samba

import (
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/seed-f47efad2/cordon/internal/identity"
	"github.com/seed-f47efad2/cordon/internal/record"
)

// The numbers of Windows' events that say the same. Source: "Security auditing"
// reference of Windows Server.
const (
	eventEnabled   = "4722"
	eventDisabled  = "4725"
	eventChanged   = "4738"
	eventUnlocked  = "4767"
	eventModified  = "5136"
	eventCreated   = "5137"
	eventMoved     = "5139"
	eventDeleted   = "5141"
	eventReset     = "4724"
	eventOwnChange = "4723"
)

const accountDisable = 0x2 // of userAccountControl, MS-ADTS 2.2.16

// housekeeping reports whether a change is the controller's bookkeeping alone:
// replication partners, and the counters that it keeps of sign-ins.
func (c *change) housekeeping() bool {
	for n := range c.Attributes {
		switch strings.ToLower(n) {
		case "repsfrom", "repsto", "repluptodatevector", "lastlogon", "lastlogontimestamp", "logoncount", "badpwdcount", "badpasswordtime":
		default:
			return false
		}
	}
	return c.Operation == "Modify" && len(c.Attributes) > 0 && c.StatusCode == 0
}

// base is what all changes have in common.
func (d Decoder) base(c *change) record.Record {
	r := record.Record{
		Source: record.DirectoryChange, Subject: account(c.UserSID, "", ""), IP: host(c.RemoteAddress),
		Session: c.SessionID, CorrelationID: c.TransactionID, Result: record.Success,
	}
	if c.StatusCode != 0 {
		r.Result, r.Code, r.Reason = record.Failure, strconv.Itoa(c.StatusCode), short(c.Status, 200)
	}
	return r
}

// party names what was changed: as the directory knows it where that can be asked,
// and by its common name for people otherwise.
func (d Decoder) party(role, dn string, at time.Time) record.Party {
	if d.Locate != nil {
		if ref, ok := d.Locate(dn, at); ok {
			return record.Party{Role: role, Ref: ref}
		}
	}
	return record.Party{Role: role, Ref: identity.Ref{Provider: identity.ActiveDirectory, DisplayName: firstName(dn)}}
}

// firstName is the value of a distinguished name's first part, as it is written.
func firstName(dn string) string {
	_, rest, ok := strings.Cut(dn, "=")
	if !ok {
		return short(dn, 128)
	}
	for n := 0; n < len(rest); n++ {
		switch rest[n] {
		case '\\':
			n++
		case ',':
			return short(rest[:n], 128)
		}
	}
	return short(rest, 128)
}

func (d Decoder) password(c *change, at time.Time) record.Record {
	r := d.base(c)
	r.Type, r.Title, r.Resource = eventReset, "password reset", c.DN
	if strings.EqualFold(c.Action, "Change") {
		r.Type, r.Title = eventOwnChange, "password changed by its owner"
	}
	if c.EventID != 0 {
		r.Type = strconv.Itoa(c.EventID)
	}
	r.Others = []record.Party{d.party("target", c.DN, at)}
	return r
}

func (d Decoder) group(c *change, at time.Time) record.Record {
	r := d.base(c)
	r.Type, r.Title, r.Resource = "groupChange", "member of a group: "+short(strings.ToLower(c.Action), 40), c.Group
	if c.EventID != 0 {
		r.Type = strconv.Itoa(c.EventID)
	}
	r.Others = []record.Party{d.party("member", c.User, at), d.party("group", c.Group, at)}
	return r
}

func (d Decoder) directory(c *change, at time.Time) record.Record {
	r := d.base(c)
	r.Resource = c.DN
	r.Others = append(r.Others, d.party("target", c.DN, at))
	switch c.Operation {
	case "Add":
		r.Type, r.Title = eventCreated, "object created"
	case "Delete":
		r.Type, r.Title = eventDeleted, "object deleted"
	case "Rename":
		r.Type, r.Title = eventMoved, "object moved or renamed"
	default:
		r.Type, r.Title = eventModified, "changed"
	}
	if r.Type != eventModified {
		return r
	}
	names := slices.Sorted(maps.Keys(c.Attributes))
	if len(names) > 0 {
		r.Title = "changed " + short(strings.Join(names, ", "), 200)
	}
	for _, n := range names {
		switch strings.ToLower(n) {
		case "useraccountcontrol":
			if old, new, ok := c.Attributes[n].swap(); ok {
				r.Title = "userAccountControl from " + strconv.FormatInt(old, 10) + " to " + strconv.FormatInt(new, 10)
				switch {
				case old&accountDisable == 0 && new&accountDisable != 0:
					r.Type, r.Title = eventDisabled, "account disabled: "+r.Title
				case old&accountDisable != 0 && new&accountDisable == 0:
					r.Type, r.Title = eventEnabled, "account enabled: "+r.Title
				default:
					r.Type = eventChanged
				}
			} else if new, err := strconv.ParseInt(c.Attributes[n].last(), 10, 64); err == nil {
				// Most tools replace the value, and what it was before is not told then.
				r.Type, r.Title = eventEnabled, "account set to enabled: userAccountControl to "+strconv.FormatInt(new, 10)
				if new&accountDisable != 0 {
					r.Type, r.Title = eventDisabled, "account set to disabled: userAccountControl to "+strconv.FormatInt(new, 10)
				}
			}
		case "lockouttime":
			if v := c.Attributes[n].last(); v == "0" {
				r.Type, r.Title = eventUnlocked, "account unlocked"
			}
		case "member":
			r.Others = append(r.Others, c.Attributes[n].members()...)
		}
	}
	return r
}

// swap returns the value that one change took away and the one that it put there.
func (a attribute) swap() (old, new int64, ok bool) {
	var gone, come string
	for _, x := range a.Actions {
		for _, v := range x.Values {
			switch x.Action {
			case "delete":
				gone = v.Value
			case "add", "replace":
				come = v.Value
			}
		}
	}
	old, err := strconv.ParseInt(gone, 10, 64)
	new, err2 := strconv.ParseInt(come, 10, 64)
	return old, new, err == nil && err2 == nil
}

func (a attribute) last() string {
	out := ""
	for _, x := range a.Actions {
		for _, v := range x.Values {
			if x.Action != "delete" {
				out = v.Value
			}
		}
	}
	return out
}

// members are the accounts that an attribute with links names:
// "<GUID=…>;<SID=…>;CN=…" (MS-ADTS 3.1.1.3.4.1.5).
func (a attribute) members() []record.Party {
	var out []record.Party
	for _, x := range a.Actions {
		for _, v := range x.Values {
			ref := identity.Ref{Provider: identity.ActiveDirectory}
			rest := v.Value
			for strings.HasPrefix(rest, "<") {
				part, after, ok := strings.Cut(rest, ">;")
				if !ok {
					break
				}
				switch name, value, _ := strings.Cut(part[1:], "="); name {
				case "GUID":
					ref.GUID = value
				case "SID":
					ref.SID = value
				}
				rest = after
			}
			ref.DisplayName = firstName(rest)
			role := "member added"
			if x.Action == "delete" {
				role = "member removed"
			}
			if out = append(out, record.Party{Role: role, Ref: ref}); len(out) == 100 {
				return out // the raw record has them all
			}
		}
	}
	return out
}
