package chart

import (
	"encoding/xml"
	"errors"
	"io"
	"math"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// The committed chart, which internal/report compares with the drawn one byte for byte, shows the places of the lines.
func TestSVGIsXMLWithItsTexts(t *testing.T) {
	svg, err := SVG(Text{Title: "A <title>", Description: "what it shows", XAxis: "partitions", YAxis: "time"}, []Line{
		{Name: "slow & steady", Class: "official", Points: []Point{{4, 0.02}, {32, 0.17}, {1024, 5.6}}},
		{Name: "ours", Class: "ours", Points: []Point{{4, 0.0057}, {32, 0.0075}, {1024, 0.19}}},
		{Name: "bare", Class: "bare", Points: []Point{{4, 0.0056}, {32, 0.0072}, {1024, 0.185}}},
	})
	require.NoError(t, err)
	d := xml.NewDecoder(strings.NewReader(svg))
	var texts []string
	elements := map[string]int{}
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		require.NoError(t, err)
		switch token := token.(type) {
		case xml.StartElement:
			elements[token.Name.Local]++
		case xml.CharData:
			texts = append(texts, strings.TrimSpace(string(token)))
		}
	}
	for _, text := range []string{"A <title>", "what it shows", "partitions", "time", "slow & steady", "ours", "bare", "4", "32", "1024", "1 ms", "10 s"} {
		require.Contains(t, texts, text)
	}
	require.Equal(t, 3, elements["polyline"])
	require.Equal(t, 9, elements["circle"])
	require.Contains(t, svg, "prefers-color-scheme: dark")
}

func TestUnits(t *testing.T) {
	require.Equal(t, []string{"1 µs", "100 µs", "10 ms", "1 s", "100 s"}, []string{unit(-6), unit(-4), unit(-2), unit(0), unit(2)})
}

func TestSVGRefuses(t *testing.T) {
	for name, bad := range map[string][]Line{
		"no lines":       nil,
		"no points":      {{Name: "a"}},
		"one place":      {{Name: "a", Points: []Point{{4, 1}}}},
		"no time":        {{Name: "a", Points: []Point{{4, 0}, {5, 1}}}},
		"not a number":   {{Name: "a", Points: []Point{{4, math.NaN()}, {5, 1}}}},
		"no end":         {{Name: "a", Points: []Point{{4, math.Inf(1)}, {5, 1}}}},
		"no records":     {{Name: "a", Points: []Point{{0, 1}, {5, 1}}}},
		"negative times": {{Name: "a", Points: []Point{{4, -1}, {5, 1}}}},
	} {
		_, err := SVG(Text{}, bad)
		require.Error(t, err, name)
	}
}
