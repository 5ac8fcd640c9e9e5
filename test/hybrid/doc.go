// Package hybrid tries the built program on both sides of a hybrid identity at
// once: a real Active Directory domain, and a simulated Entra tenant whose
// synchronised people come from it. What is true is told by neither: outsiders
// sign in, and the tenant keeps a ledger of its own.
package hybrid
