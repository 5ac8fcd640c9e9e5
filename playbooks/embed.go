// Package playbooks holds the playbooks that come with Cordon, each with its
// fixtures beside it.
package playbooks

import "embed"

// FS holds the shipped playbooks (*.yaml) and their fixtures (*.txtar).
//
//go:embed *.yaml *.txtar
var FS embed.FS
