// Package chart draws how long calls take over the number of records, on logarithmic axes, as an SVG that brings its own
// background, light or dark.
package chart

import (
	"cmp"
	_ "embed"
	"fmt"
	"html/template"
	"math"
	"slices"
	"strings"
)

//go:embed chart.svg.tmpl
var source string

// Line is one competitor.
type Line struct {
	Name   string
	Class  string // its style: one of ours, official, bare
	Points []Point
}

// Point is one measured time.
type Point struct {
	Records int
	Seconds float64
}

// Text is what stands around the lines.
type Text struct {
	Title, Description, XAxis, YAxis string
}

// The area of the lines, in pixels, and how far apart their names are at the least.
const (
	left, right, top, bottom = 80.0, 520.0, 50.0, 330.0
	nameHeight               = 18.0
)

// SVG draws the lines. They need points for two numbers of records or more, with positive times.
func SVG(text Text, lines []Line) (string, error) {
	least, most, records, err := extent(lines)
	if err != nil {
		return "", err
	}
	first, last := math.Floor(math.Log10(least)), math.Ceil(math.Log10(most))
	last = max(last, first+1)
	x := func(n int) float64 {
		return place(math.Log(float64(n)/float64(records[0]))/math.Log(float64(records[len(records)-1])/float64(records[0])), left, right)
	}
	y := func(seconds float64) float64 { return place((math.Log10(seconds)-first)/(last-first), bottom, top) }

	picture := picture{Text: text}
	for exponent := first; exponent <= last; exponent++ {
		at := y(math.Pow10(int(exponent)))
		picture.Ticks = append(picture.Ticks, mark{Y: at, LabelY: at + 4, Label: unit(int(exponent))})
	}
	for _, n := range records {
		picture.Records = append(picture.Records, mark{X: x(n), Label: fmt.Sprint(n)})
	}
	for _, l := range lines {
		d := drawn{Line: l}
		for _, p := range l.Points {
			d.Places = append(d.Places, mark{X: x(p.Records), Y: y(p.Seconds)})
			d.Path = strings.TrimSpace(fmt.Sprintf("%s %g,%g", d.Path, x(p.Records), y(p.Seconds)))
		}
		d.NameY = d.Places[len(d.Places)-1].Y + 4
		picture.Lines = append(picture.Lines, d)
	}
	picture.Names = slices.SortedStableFunc(slices.Values(picture.Lines), func(a, b drawn) int { return cmp.Compare(a.NameY, b.NameY) })
	for i := 1; i < len(picture.Names); i++ {
		picture.Names[i].NameY = max(picture.Names[i].NameY, picture.Names[i-1].NameY+nameHeight)
	}
	var svg strings.Builder
	err = template.Must(template.New("chart").Parse(source)).Execute(&svg, picture)
	return svg.String(), err
}

// picture is what the template draws.
type picture struct {
	Text
	Ticks, Records []mark
	Lines, Names   []drawn
}

type mark struct {
	X, Y, LabelY float64
	Label        string
}

type drawn struct {
	Line
	Path   string
	Places []mark
	NameY  float64
}

// extent returns the shortest and the longest time, and the numbers of records.
func extent(lines []Line) (least, most float64, records []int, err error) {
	least, most = math.Inf(1), math.Inf(-1)
	for _, line := range lines {
		if len(line.Points) == 0 {
			return 0, 0, nil, fmt.Errorf("the line %q has no points", line.Name)
		}
		for _, p := range line.Points {
			if p.Records <= 0 || !(p.Seconds > 0) || math.IsInf(p.Seconds, 1) {
				return 0, 0, nil, fmt.Errorf("the line %q has a point that a logarithmic axis cannot show: %v", line.Name, p)
			}
			records = append(records, p.Records)
			least, most = min(least, p.Seconds), max(most, p.Seconds)
		}
	}
	slices.Sort(records)
	if records = slices.Compact(records); len(records) < 2 {
		return 0, 0, nil, fmt.Errorf("there are %d numbers of records, and two are needed", len(records))
	}
	return least, most, records, nil
}

// place is a part of the way between two pixels, rounded to a tenth of a pixel.
func place(part, from, to float64) float64 { return math.Round((from+part*(to-from))*10) / 10 }

// unit writes a power of ten of seconds.
func unit(exponent int) string {
	switch {
	case exponent >= 0:
		return fmt.Sprintf("%.0f s", math.Pow10(exponent))
	case exponent >= -3:
		return fmt.Sprintf("%.0f ms", math.Pow10(exponent+3))
	}
	return fmt.Sprintf("%g µs", math.Pow10(exponent+6))
}
