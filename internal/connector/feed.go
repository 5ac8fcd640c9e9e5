package connector

import (
	"time"

	"github.com/seed-f47efad2/cordon/internal/identity"
)

// A Feed is one stream that is expected to be heard once in an interval: to be
// read with success when it is polled, to bring something, or a sign of life, when
// it is pushed.
type Feed struct {
	Tenant   identity.Tenant
	Stream   Name
	Interval time.Duration
}

// A FeedReport is what a source says of something that stands behind it, such as
// a sensor: that it works, or why nothing comes from it. Each reading of the source
// reports all of them; one that it stops to report is silent.
type FeedReport struct {
	Stream Name   // the source's own name, a slash and the thing's
	Silent bool   // nothing comes from it
	Says   string // how it is, in the source's words
	Acts   string // DNS name of the domain in which it can change accounts, or AnyDomain; "": in none
}

// AnyDomain stands for the domain of what does not say its own.
const AnyDomain = "*"

// A FeedState is how a feed fares. Silence is an alarm (law 10).
type FeedState struct {
	Tenant identity.Tenant `json:"tenant"`
	Stream Name            `json:"stream"`
	// Interval is how often it is expected; zero for what another feed reports of.
	Interval time.Duration `json:"interval,omitempty"`
	// Source is the feed that reports of this one.
	Source Name `json:"source,omitempty"`

	Success time.Time `json:"success,omitzero"` // when it was last heard; zero: never
	Since   time.Time `json:"since"`            // when the clock of its silence began: its last success, or when it was first expected

	Failure  string    `json:"failure,omitempty"` // of the last attempt; empty when it succeeded
	FailedAt time.Time `json:"failedAt,omitzero"`
	Says     string    `json:"says,omitempty"` // what a report said last
	Acts     string    `json:"acts,omitempty"` // DNS name of the domain in which it can change accounts

	Silent   bool      `json:"silent"`
	SilentAt time.Time `json:"silentAt,omitzero"` // when the alarm was raised
}
