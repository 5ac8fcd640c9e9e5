// Package graphfile splits files of JSON objects into records: a collection of
// Microsoft Graph ({"value": […]}), a message of a diagnostic stream
// ({"records": […]}), the answer to a hunting query ({"results": […]}), an array, one
// object, or JSON Lines of any of these. It reads as a stream, so that the size of a
// file does not matter.
package graphfile

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
)

// MaxRecord bounds one object, in bytes.
const MaxRecord = 8 << 20

// A Record is one object, or what could not be read as one.
type Record struct {
	Number int             // from 1
	Raw    json.RawMessage // the object as it stands in the file; what there is of it when Reason is set
	Reason string          // why it is no object; "" when it is one
}

// Records yields the records of r in order. A part that is broken is a Record
// with a Reason, and reading goes on behind it where that can be told: with the
// next element of a list, the next line of JSON Lines, or else not. The error is r's own.
func Records(r io.Reader) iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		s := &splitter{in: bufio.NewReaderSize(r, 1<<16), yield: yield}
		s.skipMark()
		for s.more() {
			if !s.value() {
				return
			}
		}
		if s.err != nil {
			yield(Record{}, fmt.Errorf("read: %w", s.err))
		}
	}
}

type splitter struct {
	in    *bufio.Reader
	yield func(Record, error) bool
	count int
	err   error
}

// skipMark skips a byte-order mark, which some exports begin with.
func (s *splitter) skipMark() {
	if b, _ := s.in.Peek(3); bytes.Equal(b, []byte("\xef\xbb\xbf")) {
		_, _ = s.in.Discard(3) // it was peeked: it is there
	}
}

// more skips white space and reports whether anything follows.
func (s *splitter) more() bool {
	for {
		b, err := s.in.ReadByte()
		if err != nil {
			if !errors.Is(err, io.EOF) {
				s.err = err
			}
			return false
		}
		if !isSpace(b) {
			return s.in.UnreadByte() == nil
		}
	}
}

func isSpace(b byte) bool { return b == ' ' || b == '\t' || b == '\r' || b == '\n' || b == ',' }

func (s *splitter) emit(raw []byte, reason string) bool {
	s.count++
	return s.yield(Record{Number: s.count, Raw: bytes.Clone(raw), Reason: reason}, nil)
}

// value takes one top-level value: an object, or an array of objects.
func (s *splitter) value() bool {
	b, err := s.in.Peek(1)
	if err != nil {
		return false
	}
	switch b[0] {
	case '[':
		_, _ = s.in.Discard(1)
		return s.elements()
	case '{':
		if s.isCollection() {
			return s.elements()
		}
		return s.object()
	}
	return s.badLine("neither an object nor an array")
}

// isCollection looks whether the object is a collection and, when it is, reads up
// to the first element of its list. Graph's begin with @odata members and then
// value; an object that has a value deep inside is none.
func (s *splitter) isCollection() bool {
	head, _ := s.in.Peek(1 << 12)
	depth, inString, key := 0, false, -1
	for n := 0; n < len(head); n++ {
		c := head[n]
		switch {
		case inString && c == '\\':
			n++
		case c == '"':
			if !inString {
				key = n + 1
			}
			inString = !inString
			if inString || depth != 1 || !isList(string(head[key:n])) {
				continue
			}
			rest := bytes.TrimLeft(head[n+1:], " \t\r\n")
			if len(rest) == 0 || rest[0] != ':' {
				continue
			}
			rest = bytes.TrimLeft(rest[1:], " \t\r\n")
			if len(rest) == 0 || rest[0] != '[' {
				return false
			}
			_, _ = s.in.Discard(len(head) - len(rest) + 1)
			return true
		case inString:
		case c == '{' || c == '[':
			depth++
		case c == '}' || c == ']':
			if depth--; depth == 0 {
				return false
			}
		}
	}
	return false
}

// isList reports whether a member of that name holds the elements of a collection.
func isList(name string) bool { return name == "value" || name == "records" || name == "results" }

// elements takes the elements of an array up to its end, and then what is left
// of the collection around it.
func (s *splitter) elements() bool {
	for s.more() {
		b, _ := s.in.Peek(1)
		switch b[0] {
		case ']':
			_, _ = s.in.Discard(1)
			return s.restOfCollection()
		case '{':
			if !s.object() {
				return false
			}
		default:
			if !s.emit(s.other(b[0]), "an element that is no object") {
				return false
			}
		}
	}
	return s.emit(nil, "the file ends inside an array")
}

// other takes an element that begins with c and is no object, up to its end, so that
// what comes behind it is read.
func (s *splitter) other(c byte) []byte {
	if c == '[' || c == '"' {
		raw, _ := s.scan(c)
		return raw[:min(len(raw), 256)]
	}
	var out []byte
	for {
		b, err := s.in.ReadByte()
		if err != nil {
			if !errors.Is(err, io.EOF) {
				s.err = err
			}
			return out
		}
		if isSpace(b) || b == ']' || b == '}' {
			_ = s.in.UnreadByte() // it was read just now
			if b == '}' && len(out) == 0 {
				_, _ = s.in.ReadByte() // a brace alone would never end
				out = append(out, b)
			}
			return out
		}
		if len(out) < 256 {
			out = append(out, b)
		}
	}
}

// restOfCollection skips members behind value, such as @odata.nextLink, up to
// the closing brace; after a plain array there is nothing to skip.
func (s *splitter) restOfCollection() bool {
	for s.more() {
		b, _ := s.in.Peek(1)
		switch b[0] {
		case '}':
			_, _ = s.in.Discard(1)
			return true
		case '"':
			if _, ok := s.scan('"'); !ok {
				return false
			}
		case '{', '[':
			return true // another value of JSON Lines, or an array of arrays
		default:
			_, _ = s.in.Discard(1)
		}
	}
	return true
}

// object takes one object, up to MaxRecord bytes.
func (s *splitter) object() bool {
	raw, ok := s.scan('{')
	switch {
	case !ok && len(raw) >= MaxRecord:
		return s.emit(raw[:256], fmt.Sprintf("larger than %d bytes", MaxRecord)) && s.skipLine()
	case !ok:
		return s.emit(raw, "the file ends inside an object")
	case !json.Valid(raw):
		return s.emit(raw, "not valid JSON")
	}
	return s.emit(raw, "")
}

// scan reads from an opening byte to the one that closes it.
func (s *splitter) scan(open byte) ([]byte, bool) {
	var out []byte
	depth, inString := 0, false
	for len(out) < MaxRecord {
		c, err := s.in.ReadByte()
		if err != nil {
			if !errors.Is(err, io.EOF) {
				s.err = err
			}
			return out, false
		}
		out = append(out, c)
		switch {
		case inString && c == '\\':
			if next, err := s.in.ReadByte(); err == nil {
				out = append(out, next)
			}
		case c == '"':
			inString = !inString
			if !inString && open == '"' {
				return out, true
			}
		case inString:
		case c == '{' || c == '[':
			depth++
		case c == '}' || c == ']':
			if depth--; depth <= 0 {
				return out, true
			}
		}
	}
	return out, false
}

func (s *splitter) badLine(reason string) bool {
	line, _ := s.in.ReadSlice('\n')
	return s.emit(line[:min(len(line), 256)], reason)
}

func (s *splitter) skipLine() bool {
	for {
		_, err := s.in.ReadSlice('\n')
		if err == nil || !errors.Is(err, bufio.ErrBufferFull) {
			return true
		}
	}
}
