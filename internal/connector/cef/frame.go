package cef

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
)

// maxFrame bounds one message, in bytes. Sensors send under 8 KiB.
const maxFrame = 64 << 10

// errFraming says that the stream cannot be followed any further.
var errFraming = errors.New("the stream cannot be followed any further")

// A frame is one message of a stream, or what there is of it and why it is none.
type frame struct {
	text   []byte
	reason string
}

// A framer cuts a stream into messages: by count of octets (RFC 6587, 3.4.1) where a
// message begins with one, else by line end (3.4.2). Senders choose; one connection
// may hold both.
type framer struct{ in *bufio.Reader }

func newFramer(r io.Reader) *framer { return &framer{bufio.NewReaderSize(r, 8<<10)} }

// next returns the next message, io.EOF after the last one, and errFraming when a
// count is beyond all bounds.
func (f *framer) next() (frame, error) {
	for {
		n, err := f.count()
		if err != nil {
			return frame{}, err
		}
		if n < 0 {
			fr, err := f.line()
			if err != nil || len(fr.text) > 0 {
				return fr, err
			}
			continue // an empty line between messages
		}
		if n > maxFrame {
			head, _ := f.in.Peek(min(f.in.Buffered(), 256)) // it is there
			return frame{bytes.Clone(head), fmt.Sprintf("a message of %d octets; %d is the most", n, maxFrame)}, errFraming
		}
		text := make([]byte, n)
		got, err := io.ReadFull(f.in, text)
		if err != nil {
			return frame{text[:got], fmt.Sprintf("the connection ended %d octets before its message", n-got)}, io.EOF
		}
		if text = bytes.TrimRight(text, "\r\n\x00"); len(text) > 0 {
			return frame{text: text}, nil
		}
	}
}

// count takes the count of octets in front of a message, and returns −1 when there is
// none.
func (f *framer) count() (int, error) {
	if _, err := f.in.Peek(1); err != nil {
		return 0, err
	}
	for digits := 1; digits <= 7; digits++ {
		head, err := f.in.Peek(digits + 1)
		if len(head) <= digits || err != nil && !errors.Is(err, io.EOF) {
			return -1, nil
		}
		c := head[digits]
		switch {
		case head[0] < '1' || head[0] > '9':
			return -1, nil
		case c >= '0' && c <= '9':
			continue
		case c != ' ':
			return -1, nil
		}
		// A count is followed by the priority; a line may begin with a number too.
		if more, _ := f.in.Peek(digits + 2); len(more) < digits+2 || more[digits+1] != '<' {
			return -1, nil
		}
		n, err := strconv.Atoi(string(head[:digits]))
		if err != nil {
			return -1, nil
		}
		_, err = f.in.Discard(digits + 1)
		return n, err
	}
	return -1, nil
}

// line takes a message that ends with a line end, or with the stream.
func (f *framer) line() (frame, error) {
	var text []byte
	for {
		part, err := f.in.ReadSlice('\n')
		if room := maxFrame + 1 - len(text); len(part) > 0 && room > 0 {
			text = append(text, part[:min(len(part), room)]...)
		}
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			continue
		case err != nil && len(text) == 0:
			return frame{}, err
		}
		// An error behind a message is met again by the next call.
		if len(text) > maxFrame {
			return frame{text[:256], fmt.Sprintf("longer than %d octets", maxFrame)}, nil
		}
		return frame{text: bytes.TrimRight(text, "\r\n\x00")}, nil
	}
}
