//go:build race

package cli

// rssLimit bounds the memory of a service in scripts, in bytes; the race detector
// takes several times of what the program does.
const rssLimit = "1500e6"
