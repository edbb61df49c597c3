package layout

import (
	"strings"
	"testing"
	"unicode/utf8"
)

func TestPrefix(t *testing.T) {
	s := Scope{"NS.servicebus.windows.net", "MyHub", "$Default"}
	for _, c := range []struct {
		scope Scope
		kind  Kind
		want  string
	}{
		{s, Ownership, "NS.servicebus.windows.net/MyHub/$Default/ownership/"},
		{s, Checkpoint, "NS.servicebus.windows.net/MyHub/$Default/checkpoint/"},
		{s.Lower(), Ownership, "ns.servicebus.windows.net/myhub/$default/ownership/"},
		{s.Lower(), Checkpoint, "ns.servicebus.windows.net/myhub/$default/checkpoint/"},
	} {
		if got := c.scope.Prefix(c.kind); got != c.want {
			t.Errorf("the prefix is %q, want %q", got, c.want)
		}
	}
}

func TestPartitionID(t *testing.T) {
	const prefix = "ns/hub/group/checkpoint/"
	for name, want := range map[string]string{
		prefix + "0": "0", prefix + "partition-1": "partition-1", prefix + "A": "A",
		prefix: "", prefix + "0/extra": "", prefix + "x/": "", prefix + "/": "", prefix + "/0": "",
		"ns/hub/group/checkpoint": "", "ns/hub/group/checkpoints/0": "", "ns/hub/group/ownership/0": "",
		"NS/hub/group/checkpoint/0": "", "": "", "0": "", "x" + prefix + "0": "",
	} {
		got, found := PartitionID(prefix, []byte(name))
		if got != want || found != (want != "") {
			t.Errorf("%q is partition %q, %v, want %q", name, got, found, want)
		}
	}
}

func TestCheckNames(t *testing.T) {
	good := Scope{"ns", "hub", "group"}
	for name, ok := range map[string]bool{
		"a": true, "A-b_c.d": true, "$Default": true, "é": true, "a b": true, "%": true, "{0}": true, ".a": true, "a..b": true,
		"": false, "a/b": false, "/": false, `a\b`: false, "a\nb": false, "a\x00": false, "\x7f": false, "\u0085": false,
		".": false, "..": false, "a.": false, " a": false, "a ": false, "\u00a0a": false, "\xff": false,
		"\ufffe": false, "a\uffff": false, "\ufffd": true,
	} {
		for what, err := range map[string]error{
			"fully qualified namespace": Scope{name, "hub", "group"}.Check(),
			"event hub name":            Scope{"ns", name, "group"}.Check(),
			"consumer group":            Scope{"ns", "hub", name}.Check(),
			"partition id":              good.CheckPartition(name),
		} {
			if (err == nil) != ok {
				t.Errorf("the %s %q gives %v, want it good: %v", what, name, err, ok)
			}
			if err != nil && (!strings.Contains(err.Error(), what) || strings.ContainsAny(err.Error(), "\n\x00\x7f")) {
				t.Errorf("the %s %q gives the text %q, want one line that names it", what, name, err)
			}
		}
	}
}

// TestLongNames: a blob's name may have 1024 characters, of whichever kind it is.
func TestLongNames(t *testing.T) {
	s := Scope{"ns", "hub", "group"}
	room := 1024 - len(s.Prefix(Checkpoint))
	for _, letter := range []string{"a", "é"} {
		if err := s.CheckPartition(strings.Repeat(letter, room)); err != nil {
			t.Errorf("%d times %s: %v", room, letter, err)
		}
		if s.CheckPartition(strings.Repeat(letter, room+1)) == nil {
			t.Errorf("%d times %s passes", room+1, letter)
		}
	}
	s.EventHub = strings.Repeat("h", len("hub")+room-1)
	if err := s.Check(); err != nil {
		t.Errorf("with room for one character: %v", err)
	}
	if err := s.CheckPartition("0"); err != nil {
		t.Errorf("with room for one character: %v", err)
	}
	s.EventHub += "h"
	if s.Check() == nil {
		t.Error("a scope passes that leaves no room for a partition id")
	}
}

func TestQuote(t *testing.T) {
	for in, want := range map[string]string{
		"a":                                      `"a"`,
		"a\nb":                                   `"a\nb"`,
		strings.Repeat("a", 64):                  `"` + strings.Repeat("a", 64) + `"`,
		strings.Repeat("a", 65):                  `"` + strings.Repeat("a", 64) + `…"`,
		strings.Repeat("a", 63) + "éé":           `"` + strings.Repeat("a", 63) + `…"`,
		strings.Repeat("\x00", 1000000):          `"` + strings.Repeat(`\x00`, 64) + `…"`,
		"AccountKey=abcdefgh;x":                  `"AccountKey=REDACTED;x"`,
		"AccountKey=" + strings.Repeat("a", 100): `"AccountKey=REDACTED"`,
		"AccountKey=" + strings.Repeat("a", 1000000):                        `"AccountKey=REDACTED…"`,
		strings.Repeat("x", 50) + " AccountKey=" + strings.Repeat("a", 100): `"` + strings.Repeat("x", 50) + ` AccountKey=RE…"`,
	} {
		if got := Quote(in); got != want {
			t.Errorf("%.70q is quoted as %s, want %s", in, got, want)
		}
	}
}

func TestCredentialIn(t *testing.T) {
	const key = "Zt8Q~kX93hfJ2mQpLw.7Vb_ySgT40RcN1dEuA"
	for text, want := range map[string]string{
		"Endpoint=sb://ns.servicebus.windows.net/": "a connection string",
		"ENDPOINT=SB://x":                          "a connection string",
		"SharedAccessKey=" + key:                   "a connection string",
		"SharedAccessKeyName=root":                 "a connection string",
		"AccountName=a;AccountKey=" + key:          "a connection string",
		"SharedAccessSignature=sv=1&sig=" + key:    "a connection string",
		"https://user:" + key + "@host":            "a URL with a credential",
		"https://host/c?sv=1&sig=" + key:           "a URL with a credential",
		"?sig=" + key:                              "a shared access signature",
		"sv=1&SIG=" + key:                          "a shared access signature",
		"sig%3D" + key:                             "a shared access signature",
		"eyJhbGciOiJub25lIn0.eyJzdWIi.c2ln":        "a credential",
		"Bearer " + key:                            "a credential",
		"client_secret: " + key:                    "a credential",
		"":                                         "",
		"$Default":                                 "",
		"ns.servicebus.windows.net":                "",
		"localhost:5672":                           "",
		"https://ns.servicebus.windows.net":        "",
		"a=b":                                      "",
		"design=1":                                 "",
		"the key to it":                            "",
		"pod-7 (eyJ)":                              "",
		"sharedaccesskey hub":                      "",
		"0f8fad5b-d9cb-469f-a165-70867728950e":     "",
	} {
		if got := CredentialIn(text); got != want {
			t.Errorf("%q looks like %q, want %q", text, got, want)
		}
		if want == "" {
			continue
		}
		for what, err := range map[string]error{
			"namespace": Scope{text, "hub", "group"}.Check(), "partition id": Scope{"ns", "hub", "group"}.CheckPartition(text), "owner id": CheckOwnerID(text),
		} {
			if err == nil || !strings.Contains(err.Error(), what) || !strings.Contains(err.Error(), "this looks like "+want) || strings.Contains(err.Error(), key) {
				t.Errorf("the %s %q gives %v", what, text, err)
			}
		}
	}
}

// FuzzPartitionID: what may be stored has a name from which the partition comes
// back, and no two records share a name.
func FuzzPartitionID(f *testing.F) {
	f.Add("ns", "hub", "group", "0", "ns", "hub", "group", "1")
	f.Add("ns", "hub", "group", "0", "NS", "Hub", "Group", "0")
	f.Add("ns", "hub", "g/checkpoint", "0", "ns", "hub/g", "checkpoint", "0")
	f.Add("ns", "ownership", "checkpoint", "ownership", "ns", "checkpoint", "ownership", "checkpoint")
	f.Add("İ", "K", "ſ", "ẞ", "i̇", "k", "s", "ß")
	f.Add(".", "..", "\\", "%2F", "a.", " ", "\x00", "\xff")
	f.Add("EYJhbGciOiJub25lIn0.eyJ.x", "sig=abcdefgh", "SIG=ABC", "0", "eyJhbGciOiJub25lIn0.a.b", "h", "g", "Bearer AAAAAAAAAAAAAAAA")
	f.Fuzz(func(t *testing.T, ns1, hub1, group1, id1, ns2, hub2, group2, id2 string) {
		a, b := Scope{ns1, hub1, group1}, Scope{ns2, hub2, group2}
		PartitionID(ns1, []byte(ns2)) // any text
		if a.Check() != nil || a.CheckPartition(id1) != nil {
			return
		}
		if lower := a.Lower(); lower.Check() != nil || lower.CheckPartition(id1) != nil {
			t.Errorf("%q passes, in lower case it does not: %v, %v", a, lower.Check(), lower.CheckPartition(id1))
		}
		name := func(s Scope, kind Kind, id string) string { return s.Prefix(kind) + id }
		for _, s := range []Scope{a, a.Lower()} {
			for _, kind := range []Kind{Ownership, Checkpoint} {
				if got, found := PartitionID(s.Prefix(kind), []byte(name(s, kind, id1))); !found || got != id1 {
					t.Errorf("%q comes back as %q, %v", id1, got, found)
				}
				if n := utf8.RuneCountInString(name(s.Lower(), kind, id1)); n > maxName {
					t.Errorf("the name has %d characters", n)
				}
			}
		}
		if name(a, Ownership, id1) == name(a, Checkpoint, id1) {
			t.Errorf("one name for both kinds: %q", name(a, Ownership, id1))
		}
		if b.Check() != nil || b.CheckPartition(id2) != nil {
			return
		}
		for _, kind := range []Kind{Ownership, Checkpoint} {
			for _, other := range []Kind{Ownership, Checkpoint} {
				if same := a == b && id1 == id2 && kind == other; (name(a, kind, id1) == name(b, other, id2)) != same {
					t.Errorf("as typed, %q and %q are the same record: %v, but the names are %q and %q", a, b, same, name(a, kind, id1), name(b, other, id2))
				}
				x, y := a.Lower(), b.Lower()
				if same := x == y && id1 == id2 && kind == other; (name(x, kind, id1) == name(y, other, id2)) != same {
					t.Errorf("in lower case, %q and %q are the same record: %v, but the names are %q and %q", x, y, same, name(x, kind, id1), name(y, other, id2))
				}
			}
		}
	})
}

// FuzzLower: the scope in lower case is the same however often it is made.
func FuzzLower(f *testing.F) {
	f.Add("NS", "Hub", "$Default")
	f.Add("İ", "K", "ẞ")
	f.Fuzz(func(t *testing.T, ns, hub, group string) {
		once := Scope{ns, hub, group}.Lower()
		if twice := once.Lower(); twice != once {
			t.Errorf("%q becomes %q", once, twice)
		}
	})
}
