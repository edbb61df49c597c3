package layout

import "testing"

// FuzzFold: two scopes have one spelling in lower case only if they differ by the
// case of ASCII letters alone.
func FuzzFold(f *testing.F) {
	for _, pair := range [][2]string{
		{"Hub", "hUB"}, {"\u212a", "k"}, {"\u0130", "i"}, {"\u0130", "i\u0307"}, {"\u0131", "I"}, {"\u017f", "S"}, {"ς", "Σ"}, {"É", "é"}, {"e\u0301", "é"},
		{"ẞ", "ß"}, {"\u212b", "å"}, {"@", "`"}, {"[", "{"}, {"\xff", "\xfe"}, {"", "A"},
	} {
		f.Add(pair[0], pair[1])
	}
	f.Fuzz(func(t *testing.T, a, b string) {
		if same, one := sameASCII(a, b), lower(a) == lower(b); same != one && good(a, b) {
			t.Errorf("%q and %q differ by ASCII case alone: %v, but they are spelled %q and %q", a, b, same, lower(a), lower(b))
		}
	})
}

func sameASCII(a, b string) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range len(a) {
		x, y := a[i], b[i]
		if x > y {
			x, y = y, x
		}
		if x != y && !('A' <= x && x <= 'Z' && y == x+0x20) {
			return false
		}
	}
	return true
}

// good leaves out what [Scope.Check] refuses.
func good(names ...string) bool {
	for _, name := range names {
		if checkAtom("name", name) != nil {
			return false
		}
	}
	return true
}
