package ops

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestEscapeFunctions(t *testing.T) {
	for name, want := range map[string]string{
		"MyHub-1_a.b": "myhub-1_a.b",
		"$Default":    ":24default",
		"a b:c/d":     "a:20b:3Ac:2Fd",
		"hüb":         "h:FCb",
		"hubλ":        "hub::03BB",
		"hub😀":        "hub::D83D::DE00",
	} {
		require.Equal(t, want, escapeFunctions(name))
	}
}

func FuzzParseLegacy(f *testing.F) {
	files, err := filepath.Glob(filepath.Join("testdata", "legacy", "*", "*.json"))
	require.NoError(f, err)
	for _, file := range files {
		content, err := os.ReadFile(file)
		require.NoError(f, err)
		f.Add(content)
	}
	f.Add([]byte(`{"offset":1e400,"sequence_number":{}}`))
	f.Add([]byte(`{"offset":"1","OFFSET":"2"}`))
	f.Add([]byte(`{"a":1,"A":1,"b":1,"B":1,"c":1,"C":1,"d":1,"D":1}`))
	f.Fuzz(func(t *testing.T, content []byte) {
		first, err := parseLegacy(content)
		second, again := parseLegacy(content)
		if err != nil {
			require.EqualError(t, again, err.Error(), "the same each time")
			return
		}
		require.Equal(t, first, second)
		if first.enqueuedTime != nil {
			require.Greater(t, first.enqueuedTime.Year(), 0)
		}
	})
}
