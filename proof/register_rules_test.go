package proof

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func claimed(call, end int64, owner, on string, r result, etag string) operation {
	return operation{id: int(call), action: claims, owner: owner, on: on, result: r, etag: etag, call: call, end: end}
}

func read(call, end int64, etag, owner string) operation {
	return operation{id: int(call), action: reads, etag: etag, owner: owner, call: call, end: end}
}

func deleted(call, end int64) operation {
	return operation{id: int(call), action: deletes, call: call, end: end}
}

// The model itself, on histories written by hand.
func TestWhatTheModelTellsApart(t *testing.T) {
	sameID := func(string) bool { return true }
	for name, c := range map[string]struct {
		ops   []operation
		allow allowances
		legal bool
	}{
		"nothing":                      {legal: true},
		"no record at first":           {ops: []operation{read(1, 2, "", "")}, legal: true},
		"a record from nowhere":        {ops: []operation{read(1, 2, "1", "a")}},
		"first claim":                  {ops: []operation{claimed(1, 2, "a", "", won, "1"), read(3, 4, "1", "a")}, legal: true},
		"another owner than the one":   {ops: []operation{claimed(1, 2, "a", "", won, "1"), read(3, 4, "1", "b")}},
		"another ETag than the one":    {ops: []operation{claimed(1, 2, "a", "", won, "1"), read(3, 4, "2", "a")}},
		"two first claims":             {ops: []operation{claimed(1, 3, "a", "", won, "1"), claimed(2, 4, "b", "", won, "2")}},
		"two claims on one ETag":       {ops: []operation{claimed(1, 2, "a", "", won, "1"), claimed(3, 5, "b", "1", won, "2"), claimed(4, 6, "c", "1", won, "3")}},
		"a renewal has another ETag":   {ops: []operation{claimed(1, 2, "a", "", won, "1"), claimed(3, 4, "a", "1", won, "2"), claimed(5, 6, "b", "1", won, "3")}},
		"a read from before":           {ops: []operation{claimed(1, 2, "a", "", won, "1"), read(3, 4, "", "")}},
		"a read at the same time":      {ops: []operation{claimed(1, 3, "a", "", won, "1"), read(2, 4, "", "")}, legal: true},
		"lost to another":              {ops: []operation{claimed(1, 3, "a", "", won, "1"), claimed(2, 4, "b", "", lost, "")}, legal: true},
		"lost to nobody":               {ops: []operation{claimed(1, 2, "b", "", lost, "")}},
		"lost, on a state that stays":  {ops: []operation{claimed(1, 2, "a", "", won, "1"), claimed(3, 4, "b", "1", lost, ""), read(5, 6, "1", "a")}},
		"lost, and yet the owner":      {ops: []operation{claimed(1, 2, "a", "", won, "1"), claimed(3, 4, "b", "1", lost, ""), read(5, 6, "2", "b")}},
		"won, overwritten, then lost":  {ops: []operation{claimed(1, 2, "a", "", won, "1"), claimed(3, 8, "b", "1", lost, ""), read(4, 5, "2", "b"), claimed(6, 7, "c", "2", won, "3")}, legal: true},
		"unknown, took effect":         {ops: []operation{claimed(1, 2, "a", "", unknown, ""), read(3, 4, "1", "a")}, legal: true},
		"unknown, later":               {ops: []operation{claimed(1, 2, "a", "", unknown, ""), read(3, 4, "", ""), read(5, 6, "1", "a")}, legal: true},
		"unknown, never":               {ops: []operation{claimed(1, 2, "a", "", unknown, ""), claimed(3, 4, "b", "", won, "1"), read(5, 6, "1", "b")}, legal: true},
		"unknown, not before its call": {ops: []operation{read(1, 2, "1", "a"), claimed(3, 4, "a", "", unknown, "")}},
		"unknown, not twice":           {ops: []operation{claimed(1, 2, "a", "", unknown, ""), read(3, 4, "1", "a"), read(5, 6, "2", "a")}},
		"unknown, of another owner":    {ops: []operation{claimed(1, 2, "a", "", unknown, ""), read(3, 4, "1", "b")}},
		"unknown, with an ETag that another claim got": {ops: []operation{
			claimed(1, 2, "a", "", unknown, ""), read(3, 4, "1", "a"), claimed(5, 6, "b", "1", won, "1"),
		}},
		"unknown, claimed over":          {ops: []operation{claimed(1, 2, "a", "", unknown, ""), read(3, 4, "1", "a"), claimed(5, 6, "b", "1", won, "2")}, legal: true},
		"unknown, too late":              {ops: []operation{claimed(1, 2, "a", "", unknown, ""), claimed(3, 4, "b", "", won, "1"), read(5, 6, "2", "a")}},
		"two claims of one id":           {ops: []operation{claimed(1, 3, "a", "", won, "1"), claimed(2, 4, "a", "", won, "1")}},
		"two claims of one id, told":     {ops: []operation{claimed(1, 3, "a", "", won, "1"), claimed(2, 4, "a", "", won, "1")}, allow: allowances{sharedID: sameID}, legal: true},
		"two ids, told":                  {ops: []operation{claimed(1, 3, "a", "", won, "1"), claimed(2, 4, "b", "", won, "1")}, allow: allowances{sharedID: sameID}},
		"one id, two ETags, told":        {ops: []operation{claimed(1, 3, "a", "", won, "1"), claimed(2, 4, "a", "", won, "2")}, allow: allowances{sharedID: sameID}},
		"one id, not the owner, told":    {ops: []operation{claimed(1, 2, "a", "", won, "1"), claimed(3, 4, "b", "1", won, "2"), claimed(5, 6, "a", "1", won, "1")}, allow: allowances{sharedID: sameID}},
		"deleted":                        {ops: []operation{claimed(1, 2, "a", "", won, "1"), deleted(3, 4), read(5, 6, "", "")}, legal: true},
		"deleted, and still there":       {ops: []operation{claimed(1, 2, "a", "", won, "1"), deleted(3, 4), read(5, 6, "1", "a")}},
		"deleted, made anew":             {ops: []operation{claimed(1, 2, "a", "", won, "1"), deleted(3, 4), claimed(5, 6, "a", "1", won, "2")}, allow: allowances{deleted: true}, legal: true},
		"deleted, made anew by two":      {ops: []operation{claimed(1, 2, "a", "", won, "1"), deleted(3, 4), claimed(5, 7, "a", "1", won, "2"), claimed(6, 8, "b", "1", won, "3")}, allow: allowances{deleted: true}},
		"deleted, a late request":        {ops: []operation{claimed(1, 2, "a", "", won, "1"), deleted(3, 4), read(5, 6, "2", "a")}, allow: allowances{deleted: true}, legal: true},
		"deleted, a request from nobody": {ops: []operation{claimed(1, 2, "a", "", won, "1"), deleted(3, 4), read(5, 6, "2", "b")}, allow: allowances{deleted: true}},
		"deleted, lost in between":       {ops: []operation{claimed(1, 4, "a", "", lost, ""), deleted(2, 3)}, allow: allowances{deleted: true}, legal: true},
	} {
		t.Run(name, func(t *testing.T) {
			require.Equal(t, c.legal, linearizable(c.ops, c.allow), format(c.ops))
		})
	}
}
