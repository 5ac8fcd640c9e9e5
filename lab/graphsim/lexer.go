package graphsim

import "strings"

type tokKind int

const (
	tokEnd tokKind = iota
	tokWord
	tokString
	tokOpen
	tokClose
	tokComma
	tokColon
	tokBad
)

// token is one piece of a filter. text is unquoted for strings, the reason
// for tokBad.
type token struct {
	kind tokKind
	text string
	pos  int
}

// lexer cuts a filter into tokens. A word runs to the next space, bracket,
// comma or quote, so that dates, GUIDs and paths need no rules of their own;
// a colon ends a word only when it follows a plain name (a lambda variable).
type lexer struct {
	s string
	i int
}

func (l *lexer) next() token {
	for l.i < len(l.s) && (l.s[l.i] == ' ' || l.s[l.i] == '\t') {
		l.i++
	}
	pos := l.i
	if l.i >= len(l.s) {
		return token{kind: tokEnd, pos: pos}
	}
	c := l.s[l.i]
	switch c {
	case '(':
		return l.one(tokOpen)
	case ')':
		return l.one(tokClose)
	case ',':
		return l.one(tokComma)
	case ':':
		return l.one(tokColon)
	case '\'':
		return l.quoted(pos)
	}
	if c < 0x20 || c == '"' {
		l.i = len(l.s)
		return token{kind: tokBad, text: "a character that is not allowed", pos: pos}
	}
	for l.i < len(l.s) && !strings.ContainsRune(" \t(),'", rune(l.s[l.i])) {
		if l.s[l.i] == ':' && isIdent(l.s[pos:l.i]) {
			break
		}
		l.i++
	}
	return token{kind: tokWord, text: l.s[pos:l.i], pos: pos}
}

// one takes a single character as a token.
func (l *lexer) one(k tokKind) token {
	l.i++
	return token{kind: k, text: l.s[l.i-1 : l.i], pos: l.i - 1}
}

// quoted reads a string in single quotes; a doubled quote stands for one.
func (l *lexer) quoted(pos int) token {
	var b strings.Builder
	for i := l.i + 1; i < len(l.s); i++ {
		if l.s[i] != '\'' {
			b.WriteByte(l.s[i])
			continue
		}
		if i+1 < len(l.s) && l.s[i+1] == '\'' {
			b.WriteByte('\'')
			i++
			continue
		}
		l.i = i + 1
		return token{kind: tokString, text: b.String(), pos: pos}
	}
	l.i = len(l.s)
	return token{kind: tokBad, text: "a string that is not closed", pos: pos}
}
