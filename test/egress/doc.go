// Package egress shows by test that Cordon contacts nothing but the hosts that
// its configuration names: it runs in a network namespace of its own while every
// packet is recorded.
package egress
