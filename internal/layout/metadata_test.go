package layout

import (
	"maps"
	"math"
	"slices"
	"strings"
	"testing"
	"time"
)

// plain is metadata without pointers.
func plain(t *testing.T, m Metadata) map[string]string {
	t.Helper()
	p := make(map[string]string, len(m))
	for k, v := range m {
		if v == nil {
			t.Fatalf("the value of %q is nil", k)
		}
		p[k] = *v
	}
	return p
}

func TestWrittenMetadata(t *testing.T) {
	offset := "1:2:345"
	enqueued := time.Date(2026, 2, 3, 6, 5, 6, 789_900_000, time.FixedZone("", 2*60*60))
	for name, c := range map[string]struct {
		got  Metadata
		want map[string]string
	}{
		"an owner":              {OwnershipMetadata("alice"), map[string]string{"ownerid": "alice"}},
		"no owner":              {OwnershipMetadata(""), map[string]string{"ownerid": ""}},
		"a position":            {CheckpointValues{SequenceNumber: 1234, Offset: &offset}.Metadata(), map[string]string{"sequencenumber": "1234", "offset": "1:2:345"}},
		"a position, no offset": {CheckpointValues{SequenceNumber: -1, Offset: nil}.Metadata(), map[string]string{"sequencenumber": "-1", "offset": ""}},
		"a rewound one": {
			CheckpointValues{SequenceNumber: 7, Generation: 3}.Metadata(),
			map[string]string{"sequencenumber": "7", "offset": "", "generation": "3"},
		},
		"all keys": {
			CheckpointValues{SequenceNumber: 7, Offset: &offset, Generation: 12, EnqueuedTime: &enqueued, ClientID: "alice"}.Metadata(),
			map[string]string{"sequencenumber": "7", "offset": "1:2:345", "generation": "12", "enqueuedtime": "2026-02-03T04:05:06.789Z", "clientidentifier": "alice"},
		},
		"the largest": {CheckpointValues{SequenceNumber: math.MaxInt64, Offset: nil}.Metadata(), map[string]string{"sequencenumber": "9223372036854775807", "offset": ""}},
	} {
		t.Run(name, func(t *testing.T) {
			if got := plain(t, c.got); !maps.Equal(got, c.want) {
				t.Errorf("writes %q, want %q", got, c.want)
			}
		})
	}
}

// TestWrittenMetadataIsACopy: a caller that changes its offset later does not
// change a request that waits to be sent again.
func TestWrittenMetadataIsACopy(t *testing.T) {
	offset := "50"
	m := CheckpointValues{SequenceNumber: 5, Offset: &offset}.Metadata()
	offset = "changed"
	if got := *m["offset"]; got != "50" {
		t.Errorf("the offset is %q, want 50", got)
	}
}

func TestCheckValues(t *testing.T) {
	for value, good := range map[string]bool{
		"": true, "a": true, "a b": true, "1:2:345": true, "@latest": true, "-1": true,
		strings.Repeat("x", 2048): true, strings.Repeat("x", 2049): false,
		`!"#$%&'()*+,-./:;<=>?@[\]^_{|}~` + "`": true,
		" a":                                    false, "a ": false, " ": false, "\ta": false, "a\tb": false, "a\nb": false, "a\rb": false,
		"a\x00": false, "\x7f": false, "é": false, "\xff": false, "\u00a0": false,
	} {
		for what, check := range map[string]func(string) error{"owner id": CheckOwnerID, "offset": CheckOffset} {
			err := check(value)
			if (err == nil) != good {
				t.Errorf("the %s %s gives %v, want it good: %v", what, Quote(value), err, good)
			}
			if err != nil && (!strings.Contains(err.Error(), what) || strings.ContainsAny(err.Error(), "\n\r\t\x00")) {
				t.Errorf("the %s %s gives the text %q, want one line that names it", what, Quote(value), err)
			}
		}
	}
}

// TestReadMetadata reads the keys that only this package writes, and nothing into
// what somebody else put there.
func TestReadMetadata(t *testing.T) {
	for text, want := range map[string]int64{
		"": 0, "0": 0, "1": 1, "007": 7, "4611686018427387904": 1 << 62, "4611686018427387905": 0,
		"-1": 0, "1.5": 0, "x": 0, " 1": 0, "9223372036854775808": 0,
	} {
		if got := ValuesOf(Metadata{"Generation": &text}).Generation(); got != want {
			t.Errorf("the generation %q reads as %d, want %d", text, got, want)
		}
	}
	for text, want := range map[string]string{
		"":                          "",
		"2026-02-03T04:05:06.789Z":  "2026-02-03T04:05:06.789Z",
		"2026-02-03T06:05:06+02:00": "2026-02-03T04:05:06.000Z",
		"2026-02-03":                "",
		"1770091506":                "",
	} {
		got := ValuesOf(Metadata{"enqueuedTime": &text}).EnqueuedTime()
		switch {
		case (got == nil) != (want == ""):
			t.Errorf("the enqueued time %q reads as %v, want %q", text, got, want)
		case got != nil && (got.Format(timeFormat) != want || got.Location() != time.UTC):
			t.Errorf("the enqueued time %q reads as %v, want %s", text, got, want)
		}
	}
	id := "alice"
	if got := ValuesOf(Metadata{"ClientIdentifier": &id}).ClientID(); got != id {
		t.Errorf("the writer reads as %q", got)
	}
}

func TestCheckEnqueuedTime(t *testing.T) {
	for year, good := range map[int]bool{-1: false, 0: true, 1970: true, 9999: true, 10000: false} {
		if err := CheckEnqueuedTime(time.Date(year, 6, 1, 0, 0, 0, 0, time.UTC)); (err == nil) != good {
			t.Errorf("the year %d gives %v, want it good: %v", year, err, good)
		}
	}
}

func TestCheckSequenceNumber(t *testing.T) {
	for _, n := range []int64{0, -1, 1, math.MaxInt64, math.MinInt64 + 1} {
		if err := CheckSequenceNumber(n); err != nil {
			t.Errorf("%d: %v", n, err)
		}
	}
	if CheckSequenceNumber(math.MinInt64) == nil {
		t.Error("the smallest int64 passes")
	}
}

func TestCheckETag(t *testing.T) {
	for etag, good := range map[string]bool{
		`"0x8DC"`: true, "0x8DC": true, `W/"1"`: true,
		"*0x8DC": true, "0x8DC*": true, "W": true, "W/1": true,
		"": false, `""`: false, `"`: false, "W/": false, `W/""`: false,
		"*": false, `"*"`: false, `""*""`: false, `W/"*"`: false, `w/"*"`: false, "W/*": false, `"W/*"`: false, `W/W/"*"`: false, `*"`: false, `"*`: false,
		"*,*": false, `"*,*"`: false, `"0x8DC","*"`: false, `"0x8DC",*`: false, `0x8DC,W/"*"`: false, `*,0x8DC`: false,
		`"0x8DC","0x8DD"`: false, `0x"8DC`: false,
		"a b": false, "a\nb": false, "é": false, "\x7f": false,
	} {
		if err := CheckETag(etag); (err == nil) != good {
			t.Errorf("%q gives %v, want it good: %v", etag, err, good)
		}
	}
}

func TestETag(t *testing.T) {
	for in, want := range map[string]string{
		"0x8DC": `"0x8DC"`, `"0x8DC"`: `"0x8DC"`, `W/"1"`: `W/"1"`, "": "",
		"0 1": "", "*": "", `"*"`: "", `""`: "", "é": "", "a\r\nb": "",
	} {
		if got := ETag(in); got != want {
			t.Errorf("ETag(%q) is %q, want %q", in, got, want)
		}
	}
}

// FuzzPosition reads any text, and reads back what is written.
func FuzzPosition(f *testing.F) {
	for _, text := range []string{"", "0", "-1", "None", "no offset", "NO OFFSET", "1:2:345", "9223372036854775808", "-9223372036854775808", "+5", "12abc"} {
		f.Add(text, int64(5))
	}
	f.Add("@latest", int64(math.MaxInt64))
	f.Add("50", int64(math.MinInt64))
	f.Fuzz(func(t *testing.T, text string, n int64) {
		sequenceNumber := SequenceNumber(text)
		if sequenceNumber != nil {
			again := SequenceNumber(plain(t, CheckpointValues{SequenceNumber: *sequenceNumber, Offset: nil}.Metadata())["sequencenumber"])
			if again == nil || *again != *sequenceNumber {
				t.Errorf("%q reads as %d, is written and then reads as %s", text, *sequenceNumber, show(again))
			}
		}
		if offset := Offset(text); offset != nil && *offset != text {
			t.Errorf("the offset %q reads as %q", text, *offset)
		}
		if CheckOffset(text) != nil || CheckSequenceNumber(n) != nil {
			return
		}
		m := CheckpointValues{SequenceNumber: n, Offset: &text}.Metadata()
		if keys := slices.Sorted(maps.Keys(m)); !slices.Equal(keys, []string{"offset", "sequencenumber"}) {
			t.Fatalf("writes the keys %q", keys)
		}
		offset, back := ValuesOf(m).Position()
		if back == nil || *back != n {
			t.Errorf("%d reads back as %s", n, show(back))
		}
		if want := Offset(text); show(offset) != show(want) {
			t.Errorf("the offset %q reads back as %s, want %s", text, show(offset), show(want))
		}
	})
}

// FuzzOwnerID reads any text under any spelling of the key, and reads back what
// is written.
func FuzzOwnerID(f *testing.F) {
	f.Add("alice", "ownerId", "")
	f.Add("", "OWNERID", "x")
	f.Add("é", "ownerid", "x")
	f.Add("a", "owner", "b")
	f.Fuzz(func(t *testing.T, owner, key, other string) {
		if got := ValuesOf(OwnershipMetadata(owner)).OwnerID(); got != owner {
			t.Errorf("%q reads back as %q", owner, got)
		}
		want := ""
		if strings.EqualFold(key, "ownerid") {
			want = owner
		}
		if got := ValuesOf(Metadata{key: &owner, "x" + key: &other}).OwnerID(); got != want && !strings.EqualFold("x"+key, "ownerid") {
			t.Errorf("%q under the key %q reads as %q, want %q", owner, key, got, want)
		}
		ValuesOf(Metadata{key: nil})
		if _, found := OwnershipMetadata(owner)["ownerid"]; !found {
			t.Error("the key is missing")
		}
	})
}

// FuzzETag: an ETag has one form only, and what may be claimed with has one that
// differs from that of other ETags.
func FuzzETag(f *testing.F) {
	f.Add(`"0x8DC"`, "0x8DC")
	f.Add("", `""`)
	f.Add("*", `W/"1"`)
	f.Fuzz(func(t *testing.T, a, b string) {
		if once, twice := ETag(a), ETag(ETag(a)); once != twice {
			t.Errorf("%q becomes %q and then %q", a, once, twice)
		}
		if (CheckETag(a) == nil) != (CheckETag(ETag(a)) == nil) {
			t.Errorf("%q and its form %q: only one may be claimed with", a, ETag(a))
		}
		if form := ETag(a); form == ETag(b) && form != "" && a != b && a != `"`+b+`"` && b != `"`+a+`"` {
			t.Errorf("%q and %q have one form, %q", a, b, ETag(a))
		}
	})
}
