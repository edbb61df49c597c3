package listing

import (
	"bytes"
	"io"
)

const (
	firstBuffer = 16 << 10
	maxBuffer   = 128 << 10 // the service takes 8 KiB of metadata for a blob
	maxDepth    = 32
)

// lexer cuts a body into tags and text, and sees to it that every element ends
// where it should. What it returns is valid until the next call.
type lexer struct {
	from   io.Reader
	buf    []byte
	at     int // buf[at:to] was read from the body and not yet used
	to     int
	opened []byte // the names of the open elements, one after another
	starts []int  // where each of them begins
	empty  bool   // the last tag was both: its end comes next
	text   []byte // the last text with its references replaced
}

type kind int

const (
	start kind = iota
	end
)

// tag is the start or the end of an element.
type tag struct {
	kind       kind
	name       []byte // of a start
	attributes []byte
	depth      int // how many elements are open around it
}

// more reads on. It moves what is there to the front of the buffer.
func (l *lexer) more() error {
	if l.at > 0 {
		l.to = copy(l.buf, l.buf[l.at:l.to])
		l.at = 0
	}
	if l.to == len(l.buf) {
		if len(l.buf) >= maxBuffer {
			return unknown("a text of more than %d bytes", maxBuffer)
		}
		l.buf = append(l.buf, make([]byte, len(l.buf))...)
	}
	for range 100 {
		n, err := l.from.Read(l.buf[l.to:])
		l.to += n
		switch {
		case n > 0:
			return nil
		case err == io.EOF:
			return io.ErrUnexpectedEOF
		case err != nil:
			return err
		}
	}
	return io.ErrNoProgress
}

// until returns what comes before a byte, and goes past that.
func (l *lexer) until(c byte) ([]byte, error) {
	for looked := 0; ; {
		if i := bytes.IndexByte(l.buf[l.at+looked:l.to], c); i >= 0 {
			found := l.buf[l.at : l.at+looked+i]
			l.at += looked + i + 1
			return found, nil
		}
		looked = l.to - l.at
		if err := l.more(); err != nil {
			return nil, err
		}
	}
}

// prolog goes past a byte order mark and an XML declaration.
func (l *lexer) prolog() error {
	before, err := l.until('<')
	if err != nil {
		return err
	}
	if len(bytes.TrimLeft(bytes.TrimPrefix(before, []byte("\uFEFF")), space)) > 0 {
		return unknown("text before the list")
	}
	l.at-- // what begins here may be a tag
	if l.to-l.at < 2 {
		if err := l.more(); err != nil {
			return err
		}
	}
	if l.buf[l.at+1] != '?' {
		return nil
	}
	l.at++
	declaration, err := l.until('>')
	if err != nil {
		return err
	}
	switch string(bytes.ToLower(declaration)) {
	case `?xml version="1.0" encoding="utf-8"?`, `?xml version='1.0' encoding='utf-8'?`, `?xml version="1.0"?`,
		`?xml version="1.0" encoding="utf-8" standalone="yes"?`:
		return nil
	}
	return unknown("the declaration %.60q", declaration)
}

// epilog reads the body to its end, so that its connection can be used again.
func (l *lexer) epilog() error {
	for {
		if len(bytes.TrimLeft(l.buf[l.at:l.to], space)) > 0 {
			return unknown("text after the list")
		}
		l.at = l.to
		switch err := l.more(); {
		case err == io.ErrUnexpectedEOF: // its end, or that of a connection: the list is whole
			return nil
		case err != nil:
			return err
		}
	}
}

// tag goes past text, which must be nothing but white space, and returns the
// next tag.
func (l *lexer) tag() (tag, error) {
	if l.empty {
		l.empty = false
		return l.pop(), nil
	}
	before, err := l.until('<')
	if err != nil {
		return tag{}, err
	}
	if len(before) > 0 && len(bytes.TrimLeft(before, space)) > 0 {
		return tag{}, unknown("text between elements")
	}
	return l.rest()
}

// rest reads a tag whose "<" has been read.
func (l *lexer) rest() (tag, error) {
	raw, err := l.until('>')
	if err != nil {
		return tag{}, err
	}
	if len(raw) > 0 && raw[0] == '/' {
		if !l.ends(raw[1:]) {
			return tag{}, unknown("the end tag <%.40s>", raw)
		}
		return l.pop(), nil
	}
	raw, l.empty = bytes.CutSuffix(raw, []byte("/"))
	length := nameLength(raw)
	name, attributes := raw[:length], raw[length:]
	if length == 0 || len(attributes) > 0 && !areAttributes(attributes) {
		return tag{}, unknown("the tag <%.40s>", raw)
	}
	if len(l.starts) == maxDepth {
		return tag{}, unknown("more than %d elements in each other", maxDepth)
	}
	l.starts = append(l.starts, len(l.opened))
	l.opened = append(l.opened, name...)
	return tag{start, name, attributes, len(l.starts) - 1}, nil
}

// ends tells whether this is the name of the innermost element.
func (l *lexer) ends(name []byte) bool {
	if len(l.starts) == 0 {
		return false
	}
	innermost := l.opened[l.starts[len(l.starts)-1]:]
	return bytes.Equal(name, innermost) || bytes.Equal(bytes.TrimRight(name, space), innermost)
}

// pop ends the innermost element.
func (l *lexer) pop() tag {
	last := len(l.starts) - 1
	l.opened, l.starts = l.opened[:l.starts[last]], l.starts[:last]
	return tag{kind: end, depth: last}
}

// leaf reads the text of an element that has nothing else, and its end.
func (l *lexer) leaf() ([]byte, error) {
	if l.empty {
		l.empty = false
		l.pop()
		return nil, nil
	}
	raw, err := l.until('<')
	if err != nil {
		return nil, err
	}
	has, err := checkText(raw)
	switch {
	case err != nil:
		return nil, err
	case has&isReturn != 0:
		return nil, unknown("a carriage return in text, which XML reads as a line feed")
	case has&isReference == 0:
		l.text = append(l.text[:0], raw...)
	default:
		if l.text, err = replaced(l.text[:0], raw); err != nil {
			return nil, err
		}
	}
	t, err := l.rest()
	if err == nil && t.kind != end {
		err = unknown("an element in text")
	}
	return l.text, err
}

// skip goes past an element.
func (l *lexer) skip(t tag) error {
	for depth := t.depth; ; {
		if l.empty {
			l.empty = false
			if l.pop().depth == depth {
				return nil
			}
			continue
		}
		raw, err := l.until('<')
		if err != nil {
			return err
		}
		has, err := checkText(raw)
		if err == nil && has&isReference != 0 {
			l.text, err = replaced(l.text[:0], raw)
		}
		if err != nil {
			return err
		}
		switch t, err := l.rest(); {
		case err != nil:
			return err
		case t.kind == end && t.depth == depth:
			return nil
		}
	}
}
