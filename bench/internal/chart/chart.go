// Package chart draws how long calls take over the number of records, on
// logarithmic axes, as an SVG that brings its own background, light or dark.
package chart

import (
	"encoding/xml"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

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

// The picture, and in it the area of the lines, in pixels.
const (
	width, height            = 780.0, 400.0
	left, right, top, bottom = 80.0, 520.0, 50.0, 330.0
)

const style = `
  .background { fill: #ffffff; stroke: #d1d9e0; }
  text { font: 13px -apple-system, "Segoe UI", Helvetica, Arial, sans-serif; fill: #1f2328; }
  .title { font-size: 15px; font-weight: 600; }
  .grid { stroke: #d1d9e0; }
  .line { fill: none; stroke-width: 2.5; }
  .ours { stroke: #0969da; fill: #0969da; }
  .official { stroke: #bc4c00; fill: #bc4c00; }
  .bare { stroke: #6e7781; fill: #6e7781; }
  .line.bare { stroke-dasharray: 6 4; }
  .line.ours, .line.official, .line.bare { fill: none; }
  text.ours, text.official, text.bare { stroke: none; }
  @media (prefers-color-scheme: dark) {
    .background { fill: #0d1117; stroke: #3d444d; }
    text { fill: #f0f6fc; }
    .grid { stroke: #3d444d; }
    .ours { stroke: #4493f8; fill: #4493f8; }
    .official { stroke: #f0883e; fill: #f0883e; }
    .bare { stroke: #9198a1; fill: #9198a1; }
    .line.ours, .line.official, .line.bare { fill: none; }
  }
`

// SVG draws the lines. Every point needs a positive number of records and a
// positive time, and every line a point.
func SVG(text Text, lines []Line) (string, error) {
	s, err := scalesOf(lines)
	if err != nil {
		return "", err
	}
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %g %g" width="%g" height="%g" role="img" aria-labelledby="title description">`+"\n",
		width, height, width, height)
	fmt.Fprintf(&b, "<title id=\"title\">%s</title>\n<desc id=\"description\">%s</desc>\n<style>%s</style>\n",
		escape(text.Title), escape(text.Description), style)
	fmt.Fprintf(&b, `<rect class="background" x="0.5" y="0.5" width="%g" height="%g" rx="6"/>`+"\n", width-1, height-1)
	label(&b, "title", left, 30, "start", text.Title)
	s.axes(&b, text)
	for _, line := range lines {
		s.line(&b, line)
	}
	s.names(&b, lines)
	b.WriteString("</svg>\n")
	return b.String(), nil
}

// scales place records and seconds in the picture.
type scales struct {
	records []int // marked on the axis
	ticks   []float64
}

func scalesOf(lines []Line) (scales, error) {
	var s scales
	least, most := math.Inf(1), math.Inf(-1)
	for _, line := range lines {
		if len(line.Points) == 0 {
			return s, fmt.Errorf("the line %q has no points", line.Name)
		}
		for _, p := range line.Points {
			if p.Records <= 0 || !(p.Seconds > 0) || math.IsInf(p.Seconds, 1) {
				return s, fmt.Errorf("the line %q has a point that a logarithmic axis cannot show: %v", line.Name, p)
			}
			s.records = append(s.records, p.Records)
			least, most = min(least, p.Seconds), max(most, p.Seconds)
		}
	}
	if len(lines) == 0 {
		return s, fmt.Errorf("there are no lines")
	}
	slices.Sort(s.records)
	s.records = slices.Compact(s.records)
	if len(s.records) < 2 {
		return s, fmt.Errorf("all points have the same number of records")
	}
	s.ticks = ticks(least, most)
	return s, nil
}

// ticks are the powers of ten around the times.
func ticks(least, most float64) []float64 {
	var all []float64
	first, last := int(math.Floor(math.Log10(least))), int(math.Ceil(math.Log10(most)))
	for exponent := first; exponent <= max(last, first+1); exponent++ {
		all = append(all, math.Pow10(exponent))
	}
	return all
}

func (s scales) x(records int) float64 {
	return place(float64(records), float64(s.records[0]), float64(s.records[len(s.records)-1]), left, right)
}

func (s scales) y(seconds float64) float64 {
	return place(seconds, s.ticks[0], s.ticks[len(s.ticks)-1], bottom, top)
}

// place takes a value between least and most to one between from and to,
// logarithmically, rounded to a tenth of a pixel.
func place(value, least, most, from, to float64) float64 {
	part := math.Log(value/least) / math.Log(most/least)
	return math.Round((from+part*(to-from))*10) / 10
}

// axes draws the grid with its numbers and what they are.
func (s scales) axes(b *strings.Builder, text Text) {
	for _, seconds := range s.ticks {
		y := s.y(seconds)
		fmt.Fprintf(b, `<line class="grid" x1="%g" y1="%g" x2="%g" y2="%g"/>`+"\n", left, y, right, y)
		label(b, "", left-8, y+4, "end", unit(seconds))
	}
	for _, records := range s.records {
		x := s.x(records)
		fmt.Fprintf(b, `<line class="grid" x1="%g" y1="%g" x2="%g" y2="%g"/>`+"\n", x, top, x, bottom)
		label(b, "", x, bottom+20, "middle", strconv.Itoa(records))
	}
	label(b, "", (left+right)/2, height-22, "middle", text.XAxis)
	fmt.Fprintf(b, `<text transform="translate(22 %g) rotate(-90)" text-anchor="middle">%s</text>`+"\n", (top+bottom)/2, escape(text.YAxis))
}

// unit writes a power of ten of seconds.
func unit(seconds float64) string {
	switch {
	case seconds >= 0.999:
		return strconv.FormatFloat(math.Round(seconds), 'f', -1, 64) + " s"
	case seconds >= 0.999e-3:
		return strconv.FormatFloat(math.Round(seconds*1e3), 'f', -1, 64) + " ms"
	}
	return strconv.FormatFloat(math.Round(seconds*1e9)/1e3, 'f', -1, 64) + " µs"
}

func (s scales) line(b *strings.Builder, line Line) {
	var points []string
	for _, p := range line.Points {
		points = append(points, fmt.Sprintf("%g,%g", s.x(p.Records), s.y(p.Seconds)))
	}
	fmt.Fprintf(b, `<polyline class="line %s" points="%s"/>`+"\n", line.Class, strings.Join(points, " "))
	for _, p := range line.Points {
		fmt.Fprintf(b, `<circle class="%s" cx="%g" cy="%g" r="3.5"/>`+"\n", line.Class, s.x(p.Records), s.y(p.Seconds))
	}
}

// names writes each line's name at its end, far enough apart to be read.
func (s scales) names(b *strings.Builder, lines []Line) {
	const apart = 18
	byHeight := slices.Clone(lines)
	end := func(l Line) float64 { return s.y(l.Points[len(l.Points)-1].Seconds) }
	slices.SortStableFunc(byHeight, func(one, other Line) int { return int(math.Copysign(1, end(one)-end(other))) })
	y := math.Inf(-1)
	for _, line := range byHeight {
		y = max(end(line)+4, y+apart)
		label(b, line.Class, right+12, y, "start", line.Name)
	}
}

func label(b *strings.Builder, class string, x, y float64, anchor, text string) {
	if class != "" {
		class = fmt.Sprintf(` class="%s"`, class)
	}
	fmt.Fprintf(b, `<text%s x="%g" y="%g" text-anchor="%s">%s</text>`+"\n", class, x, y, anchor, escape(text))
}

func escape(text string) string {
	var b strings.Builder
	_ = xml.EscapeText(&b, []byte(text)) // a Builder does not fail
	return b.String()
}
