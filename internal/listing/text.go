package listing

import (
	"bytes"
	"strconv"
	"unicode/utf8"
)

// space is what XML has for white space.
const space = " \t\r\n"

// What a byte can be. A text is looked at once, for all of it.
const (
	isFirst     = 1 << iota // the first of a name; prefixes are not known here
	isName                  // a later one of a name
	isControl               // nothing that XML can hold
	isReference             // "&"
	isBracket               // "]"
	isReturn                // a carriage return
	isWide                  // part of a character beyond ASCII
)

var classes = func() (classes [256]byte) {
	for i := range classes {
		switch c := byte(i); {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', c == '_':
			classes[i] = isFirst | isName
		case '0' <= c && c <= '9', c == '-', c == '.':
			classes[i] = isName
		case c == '&':
			classes[i] = isReference
		case c == ']':
			classes[i] = isBracket
		case c == '\r':
			classes[i] = isReturn
		case c < ' ' && c != '\t' && c != '\n':
			classes[i] = isControl
		case c >= utf8.RuneSelf:
			classes[i] = isWide
		}
	}
	return classes
}()

// classesOf are those of all bytes of a text.
func classesOf(s []byte) (all byte) {
	for _, c := range s {
		all |= classes[c]
	}
	return all
}

// nameLength is the length of the name that a text begins with.
func nameLength(s []byte) int {
	if len(s) == 0 || classes[s[0]]&isFirst == 0 {
		return 0
	}
	n := 1
	for n < len(s) && classes[s[n]]&isName != 0 {
		n++
	}
	return n
}

// areAttributes tells whether this is a list of ` name="value"`.
func areAttributes(s []byte) bool {
	for {
		trimmed := bytes.TrimLeft(s, space)
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

// attribute finds an attribute in a list of attributes, and how often it is there.
func attribute(s []byte, name string) (value []byte, times int) {
	for {
		s = bytes.TrimLeft(s, space)
		if len(s) == 0 {
			return value, times
		}
		n, v, rest, _ := cutAttribute(s)
		if string(n) == name {
			value = v
			times++
		}
		s = rest
	}
}

// cutAttribute takes the first attribute off a list. A value is taken as it
// stands: one with references or a "<" is not understood.
func cutAttribute(s []byte) (name, value, rest []byte, ok bool) {
	n := nameLength(s)
	if n+2 > len(s) || s[n] != '=' || s[n+1] != '"' && s[n+1] != '\'' {
		return nil, nil, nil, false
	}
	value, rest, closed := bytes.Cut(s[n+2:], s[n+1:n+2])
	has := classesOf(value)
	if !closed || has&(isControl|isReference|isReturn) != 0 || bytes.IndexByte(value, '<') >= 0 || has&isWide != 0 && !isPlain(value) {
		return nil, nil, nil, false
	}
	return s[:n], value, rest, true
}

// checkText tells of what a text is made, if XML can hold it.
func checkText(raw []byte) (has byte, err error) {
	has = classesOf(raw)
	switch {
	case has&isControl != 0, has&isWide != 0 && !isPlain(raw):
		return has, unknown("a character that XML cannot hold")
	case has&isBracket != 0 && bytes.Contains(raw, []byte("]]>")):
		return has, unknown("]]> in text")
	}
	return has, nil
}

// replaced appends a text with its references replaced.
func replaced(to, raw []byte) ([]byte, error) {
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
	digits, found := bytes.CutPrefix(name, []byte("#"))
	if !found {
		return 0, false
	}
	base := 10
	if hex, found := bytes.CutPrefix(digits, []byte("x")); found {
		digits, base = hex, 16
	}
	n, err := strconv.ParseUint(string(digits), base, 32)
	r := rune(n)
	return r, err == nil && n <= utf8.MaxRune && utf8.ValidRune(r) && isCharacter(r)
}

// isPlain tells whether a text is valid UTF-8 of characters that XML can hold.
func isPlain(s []byte) bool {
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
