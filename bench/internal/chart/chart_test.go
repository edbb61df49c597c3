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

func lines() []Line {
	return []Line{
		{Name: "slow & steady", Class: "official", Points: []Point{{4, 0.02}, {32, 0.17}, {1024, 5.6}}},
		{Name: "ours", Class: "ours", Points: []Point{{4, 0.0057}, {32, 0.0075}, {1024, 0.19}}},
		{Name: "bare", Class: "bare", Points: []Point{{4, 0.0056}, {32, 0.0072}, {1024, 0.185}}},
	}
}

func draw(t *testing.T) string {
	t.Helper()
	svg, err := SVG(Text{Title: "A <title>", Description: "what it shows", XAxis: "partitions", YAxis: "time"}, lines())
	require.NoError(t, err)
	return svg
}

func TestSVGIsXMLWithItsTexts(t *testing.T) {
	d := xml.NewDecoder(strings.NewReader(draw(t)))
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
	require.Equal(t, 1, elements["title"])
	require.Equal(t, 1, elements["desc"])
}

func TestSVGHasBothThemes(t *testing.T) {
	svg := draw(t)
	require.Contains(t, svg, "prefers-color-scheme: dark")
	require.Contains(t, svg, `role="img"`)
	require.Equal(t, 2, strings.Count(svg, ".background {"), "it brings its background in both")
}

func TestScales(t *testing.T) {
	s, err := scalesOf(lines())
	require.NoError(t, err)
	require.Equal(t, []int{4, 32, 1024}, s.records)
	require.InDeltaSlice(t, []float64{0.001, 0.01, 0.1, 1, 10}, s.ticks, 1e-9)
	require.Equal(t, left, s.x(4))
	require.Equal(t, right, s.x(1024))
	require.Equal(t, bottom, s.y(0.001))
	require.Equal(t, top, s.y(10))
	require.InDelta(t, (top+bottom)/2, s.y(0.1), 0.1)
	require.InDelta(t, left+(right-left)*3/8, s.x(32), 0.1)
}

func TestTicksAreAroundTheTimes(t *testing.T) {
	require.InDeltaSlice(t, []float64{0.01, 0.1}, ticks(0.02, 0.03), 1e-9)
	require.InDeltaSlice(t, []float64{1, 10}, ticks(1, 1), 1e-9)
	require.Equal(t, []string{"1 µs", "100 µs", "10 ms", "100 s"}, []string{unit(1e-6), unit(1e-4), unit(1e-2), unit(100)})
}

func TestNamesKeepApart(t *testing.T) {
	svg := draw(t)
	var heights []float64
	for _, name := range []string{"slow &amp; steady", "ours", "bare"} {
		before, _, found := strings.Cut(svg, `text-anchor="start">`+name+"<")
		require.True(t, found, name)
		_, y, _ := strings.Cut(before[strings.LastIndex(before, "<text"):], ` y="`)
		y, _, _ = strings.Cut(y, `"`)
		var height float64
		require.NoError(t, xml.Unmarshal([]byte("<y>"+y+"</y>"), &height))
		heights = append(heights, height)
	}
	for i := range heights {
		for j := range i {
			require.GreaterOrEqual(t, math.Abs(heights[i]-heights[j]), 18.0)
		}
	}
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
