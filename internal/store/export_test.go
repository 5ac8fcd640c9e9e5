package store

// MadeHere says to a transaction that it made the id itself, as NewID would have.
func MadeHere(tx any, id string) { tx.(*Tx).fresh[id] = true }

// SelectOwners is the query of the owners of identifiers, all but the list of values.
const SelectOwners = selectOwners
