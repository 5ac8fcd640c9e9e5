package risk

import (
	"cmp"
	"slices"
	"strings"

	"github.com/seed-f47efad2/cordon/internal/identity"
)

// An accountBook numbers the accounts that signals and risks are about. Its first
// one takes what names no account by a strong identifier.
type accountBook struct {
	list   []bookedAccount
	strong map[identity.Key]identity.Key // an Active Directory GUID's SID
}

type bookedAccount struct {
	key  identity.Key
	name string
}

// maxAccounts is how many accounts are told apart; what is beyond counts with the
// last one.
const maxAccounts = 64

// of returns the bits of the accounts that ref names: one for the cloud account and
// one for that in Active Directory.
func (b *accountBook) of(ref identity.Ref) uint64 {
	var out uint64
	sid := identity.Key{}
	for _, k := range ref.Keys() {
		switch k.Kind {
		case identity.KeySID:
			sid = k
		case identity.KeyGUID:
			if sid.Value != "" {
				continue
			}
			if s, ok := b.strong[k]; ok {
				if k = s; out&b.bit(k, ref) != 0 {
					continue
				}
			}
		}
		out |= b.bit(k, ref)
	}
	if out == 0 {
		out = b.bit(identity.Key{}, ref)
	}
	return out
}

func (b *accountBook) bit(k identity.Key, ref identity.Ref) uint64 {
	for n := range b.list {
		if b.list[n].key == k {
			return 1 << n
		}
	}
	if len(b.list) < maxAccounts {
		b.list = append(b.list, bookedAccount{k, accountName(k, ref)})
	}
	return 1 << (len(b.list) - 1)
}

func accountName(k identity.Key, ref identity.Ref) string {
	switch k.Kind {
	case identity.KeyEntraObject:
		return "Microsoft Entra ID: " + cmp.Or(ref.UPN, ref.DisplayName, k.Value)
	case identity.KeySID, identity.KeyGUID:
		name := ref.SAM
		if name != "" && ref.Domain != "" {
			name = ref.Domain + `\` + name
		}
		return "Active Directory: " + cmp.Or(name, ref.UPN, ref.DisplayName, k.Value)
	}
	return ref.Name()
}

func (b *accountBook) names(accounts uint64) string {
	var out []string
	for n := range b.list {
		if accounts&(1<<n) != 0 {
			out = append(out, b.list[n].name)
		}
	}
	return strings.Join(out, " and ")
}

// fill books every account there is, in an order that depends on nothing but their
// identifiers, under the name that comes first of those they are called by.
func (b *accountBook) fill(in Input) {
	learn := func(ref identity.Ref) {
		if ref.SID == "" || ref.GUID == "" {
			return
		}
		var sid, guid identity.Key
		for _, k := range ref.Keys() {
			switch k.Kind {
			case identity.KeySID:
				sid = k
			case identity.KeyGUID:
				guid = k
			}
		}
		if b.strong == nil {
			b.strong = map[identity.Key]identity.Key{}
		}
		if old, ok := b.strong[guid]; !ok || sid.Value < old.Value {
			b.strong[guid] = sid
		}
	}
	open := func(f func(identity.Ref)) {
		for n := range in.Signals {
			if counts(&in.Signals[n], &in) {
				f(in.Signals[n].Subject)
			}
		}
		for n := range in.Accounts {
			if in.Accounts[n].State.Open() && !in.Accounts[n].Deleted {
				f(in.Accounts[n].Subject)
			}
		}
	}
	open(learn)
	open(func(ref identity.Ref) {
		of := b.of(ref)
		for n := range b.list {
			if of&(1<<n) == 0 {
				continue
			}
			if name := accountName(b.list[n].key, ref); better(name, b.list[n].name, b.list[n].key.Value) {
				b.list[n].name = name
			}
		}
	})
	slices.SortFunc(b.list, func(x, y bookedAccount) int {
		return cmp.Or(strings.Compare(string(x.key.Kind), string(y.key.Kind)), strings.Compare(x.key.Value, y.key.Value))
	})
}

// better prefers a name over a bare identifier, and of two names the first in order.
func better(name, old, key string) bool {
	bare := func(s string) bool { return key != "" && strings.HasSuffix(s, key) }
	if bare(name) != bare(old) {
		return bare(old)
	}
	return name < old
}
