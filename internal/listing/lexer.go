package listing

import (
	"bytes"
	"io"
	"strconv"
	"unicode/utf8"
)

const (
	firstBuffer = 16 << 10
	mostBuffer  = 128 << 10 // the service takes 8 KiB of metadata for a blob
	mostDepth   = 32
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
	name       []byte
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
		if len(l.buf) >= mostBuffer {
			return unknown("a text of more than %d bytes", mostBuffer)
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
	if len(bytes.TrimLeft(bytes.TrimPrefix(before, []byte("\uFEFF")), " \t\r\n")) > 0 {
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
		if len(bytes.TrimLeft(l.buf[l.at:l.to], " \t\r\n")) > 0 {
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
		return l.pop()
	}
	before, err := l.until('<')
	if err != nil {
		return tag{}, err
	}
	if len(bytes.TrimLeft(before, " \t\r\n")) > 0 {
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
		name := bytes.TrimRight(raw[1:], " \t\r\n")
		if len(l.starts) == 0 || !bytes.Equal(name, l.opened[l.starts[len(l.starts)-1]:]) {
			return tag{}, unknown("the end tag </%.40s>", name)
		}
		return l.pop()
	}
	raw, l.empty = bytes.CutSuffix(raw, []byte("/"))
	length := 0
	for length < len(raw) && isName(raw[length], length == 0) {
		length++
	}
	name, attributes := raw[:length], raw[length:]
	if length == 0 || !areAttributes(attributes) {
		return tag{}, unknown("the tag <%.40s>", raw)
	}
	if len(l.starts) == mostDepth {
		return tag{}, unknown("more than %d elements in each other", mostDepth)
	}
	l.starts = append(l.starts, len(l.opened))
	l.opened = append(l.opened, name...)
	return tag{start, name, attributes, len(l.starts) - 1}, nil
}

// pop ends the innermost element.
func (l *lexer) pop() (tag, error) {
	last := len(l.starts) - 1
	from := l.starts[last]
	t := tag{kind: end, name: l.opened[from:], depth: last}
	l.opened, l.starts = l.opened[:from], l.starts[:last]
	return t, nil
}

// leaf reads the text of an element that has nothing else, and its end.
func (l *lexer) leaf() ([]byte, error) {
	if l.empty {
		l.empty = false
		_, err := l.pop()
		return nil, err
	}
	raw, err := l.until('<')
	if err != nil {
		return nil, err
	}
	if bytes.IndexByte(raw, '\r') >= 0 {
		return nil, unknown("a carriage return in text, which XML reads as a line feed")
	}
	if l.text, err = appendText(l.text[:0], raw); err != nil {
		return nil, err
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
			if inner, err := l.pop(); err != nil || inner.depth == depth {
				return err
			}
			continue
		}
		raw, err := l.until('<')
		if err != nil {
			return err
		}
		if l.text, err = appendText(l.text[:0], raw); err != nil {
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

// isName tells whether a byte can stand in a name. Prefixes are not known here.
func isName(c byte, first bool) bool {
	switch {
	case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', c == '_':
		return true
	}
	return !first && ('0' <= c && c <= '9' || c == '-' || c == '.')
}

// areAttributes tells whether this is a list of ` name="value"`.
func areAttributes(s []byte) bool {
	for {
		trimmed := bytes.TrimLeft(s, " \t\r\n")
		if len(trimmed) == 0 {
			return true
		}
		name, _, rest, ok := cutAttribute(trimmed)
		if len(trimmed) == len(s) || len(name) == 0 || !ok {
			return false
		}
		s = rest
	}
}

// attribute finds an attribute in a list of attributes.
func attribute(s []byte, name string) (value []byte, found bool) {
	for {
		s = bytes.TrimLeft(s, " \t\r\n")
		if len(s) == 0 {
			return nil, false
		}
		n, v, rest, _ := cutAttribute(s)
		if string(n) == name {
			return v, true
		}
		s = rest
	}
}

// cutAttribute takes the first attribute off a list. A value is taken as it
// stands: one with references or a "<" is not understood.
func cutAttribute(s []byte) (name, value, rest []byte, ok bool) {
	n := 0
	for n < len(s) && isName(s[n], n == 0) {
		n++
	}
	if n+2 > len(s) || s[n] != '=' || s[n+1] != '"' && s[n+1] != '\'' {
		return nil, nil, nil, false
	}
	value, rest, closed := bytes.Cut(s[n+2:], s[n+1:n+2])
	if !closed || bytes.ContainsAny(value, "<&\r") || !isPlain(value) {
		return nil, nil, nil, false
	}
	return s[:n], value, rest, true
}

// appendText appends a text with its references replaced.
func appendText(to, raw []byte) ([]byte, error) {
	if !isPlain(raw) {
		return nil, unknown("a character that XML cannot hold")
	}
	if bytes.Contains(raw, []byte("]]>")) {
		return nil, unknown("]]> in text")
	}
	for {
		i := bytes.IndexByte(raw, '&')
		if i < 0 {
			return append(to, raw...), nil
		}
		to = append(to, raw[:i]...)
		length := bytes.IndexByte(raw[i:], ';')
		if length < 0 {
			return nil, unknown("an & without its ;")
		}
		r, ok := reference(raw[i+1 : i+length])
		if !ok {
			return nil, unknown("the reference %.20q", raw[i:i+length])
		}
		to = utf8.AppendRune(to, r)
		raw = raw[i+length+1:]
	}
}

// reference is the character that &name; stands for.
func reference(name []byte) (rune, bool) {
	switch string(name) {
	case "lt":
		return '<', true
	case "gt":
		return '>', true
	case "amp":
		return '&', true
	case "apos":
		return '\'', true
	case "quot":
		return '"', true
	}
	digits, base := name, 10
	var found bool
	if digits, found = bytes.CutPrefix(name, []byte("#")); !found {
		return 0, false
	}
	if hex, found := bytes.CutPrefix(digits, []byte("x")); found {
		digits, base = hex, 16
	}
	n, err := strconv.ParseUint(string(digits), base, 32)
	r := rune(n)
	return r, err == nil && n <= utf8.MaxRune && utf8.ValidRune(r) && isCharacter(r)
}

// isPlain tells whether a text is valid UTF-8 of characters that XML can hold.
func isPlain(s []byte) bool {
	for i, c := range s {
		if c >= utf8.RuneSelf {
			return isPlainUTF8(s[i:])
		}
		if c < ' ' && c != '\t' && c != '\n' && c != '\r' {
			return false
		}
	}
	return true
}

func isPlainUTF8(s []byte) bool {
	for len(s) > 0 {
		r, size := utf8.DecodeRune(s)
		if r == utf8.RuneError && size == 1 || !isCharacter(r) {
			return false
		}
		s = s[size:]
	}
	return true
}

// isCharacter tells whether XML 1.0 can hold a character (its production Char).
func isCharacter(r rune) bool {
	return r == '\t' || r == '\n' || r == '\r' || r >= ' ' && r <= 0xD7FF || r >= 0xE000 && r <= 0xFFFD || r >= 0x10000
}
