//go:build !race

package cli

// rssLimit bounds the memory of a service in scripts, in bytes.
const rssLimit = "400e6"
