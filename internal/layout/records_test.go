package layout

import (
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"testing"
)

// records is a file of testdata/metadata: what one package writes.
type records struct {
	Writer  string
	Records []struct {
		Case     string
		Kind     string
		Metadata Metadata
		Want     struct {
			OwnerID        string
			Offset         *string
			SequenceNumber *int64
			Directory      bool
		}
	}
}

// TestRecordsOfOtherPackages reads what each other package writes.
func TestRecordsOfOtherPackages(t *testing.T) {
	dir := filepath.Join("..", "..", "testdata", "metadata")
	files, err := filepath.Glob(filepath.Join(dir, "*.json"))
	if err != nil || len(files) < 10 {
		t.Fatalf("%d files in %s, %v", len(files), dir, err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			var all records
			if err := json.Unmarshal(text, &all); err != nil {
				t.Fatal(err)
			}
			if len(all.Records) == 0 {
				t.Fatal("no records")
			}
			for _, r := range all.Records {
				t.Run(r.Kind+": "+r.Case, func(t *testing.T) {
					switch r.Kind {
					case "ownership":
						if got := ValuesOf(r.Metadata).OwnerID(); got != r.Want.OwnerID {
							t.Errorf("the owner id is %q, want %q", got, r.Want.OwnerID)
						}
					case "checkpoint":
						offset, sequenceNumber := ValuesOf(r.Metadata).Position()
						if !reflect.DeepEqual(offset, r.Want.Offset) {
							t.Errorf("the offset is %s, want %s", show(offset), show(r.Want.Offset))
						}
						if !reflect.DeepEqual(sequenceNumber, r.Want.SequenceNumber) {
							t.Errorf("the sequence number is %s, want %s", show(sequenceNumber), show(r.Want.SequenceNumber))
						}
					case "directory":
						if got := ValuesOf(r.Metadata).IsDirectory(); got != r.Want.Directory {
							t.Errorf("it is a directory: %v, want %v", got, r.Want.Directory)
						}
					default:
						t.Fatalf("what is a %q?", r.Kind)
					}
				})
			}
		})
	}
}

func show[T any](v *T) string {
	text, _ := json.Marshal(v)
	return string(text)
}
