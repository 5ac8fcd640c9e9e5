// Package archtest checks what reviews would otherwise have to: that imports
// point inward (docs/packages.txt is the law), that every package says what it is
// for, and that documents name only what exists. It holds tests only.
package archtest
