package browser

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
)

// screenshotsVariable names the environment variable with a folder for screenshots. Without it they are not kept.
// docs/live.png is the upper part of demo-group-1280-light.png, with 256 colours.
const screenshotsVariable = "CHECKPOINTCTL_SCREENSHOTS"

// patience bounds what should come soon. Only what never comes takes so long.
const patience = 5 * time.Minute

// browser is the one Chromium of this test program. Each test has a profile of its own in it.
var browser struct {
	once sync.Once
	ctx  context.Context
	stop context.CancelFunc
	err  error
}

func TestMain(m *testing.M) {
	flag.Parse()
	code := m.Run()
	if browser.stop != nil {
		browser.stop()
	}
	os.Exit(code)
}

func startBrowser() {
	ctx := context.Background()
	path, err := chromium(ctx)
	if err != nil {
		browser.err = err
		return
	}
	options := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.NoSandbox, chromedp.DisableGPU, chromedp.WSURLReadTimeout(patience),
		chromedp.Flag("hide-scrollbars", true), chromedp.Flag("lang", "en-US"),
		chromedp.Env("LANG=en_US.UTF-8", "LC_ALL=en_US.UTF-8", "TZ=UTC")) // with the POSIX locale uPlot does not load
	if path != "" {
		options = append(options, chromedp.ExecPath(path))
	}
	allocator, stopAllocator := chromedp.NewExecAllocator(ctx, options...)
	tab, stopTab := chromedp.NewContext(allocator)
	browser.ctx, browser.stop = tab, func() { stopTab(); stopAllocator() }
	browser.err = chromedp.Do(tab, chromedp.Navigate("about:blank"))
}

func needBrowser(t testing.TB) {
	t.Helper()
	if testing.Short() {
		t.Skip("needs Chromium: left out by -short")
	}
	browser.once.Do(startBrowser)
	if browser.err != nil {
		t.Fatal(browser.err)
	}
}

// look is how a page is shown.
type look struct {
	width, height int64
	dark, still   bool
	scale         float64
}

var (
	desktop = look{width: 1280, height: 900}
	phone   = look{width: 400, height: 800}
)

// page is a tab. Its test fails if the console has a message that it does not expect.
type page struct {
	t   testing.TB
	ctx context.Context

	mu       sync.Mutex
	expected []string // parts of messages
	problems []string
}

// open shows an address in a new tab.
func open(t testing.TB, l look, url string) *page {
	t.Helper()
	needBrowser(t)
	ctx, cancel := chromedp.NewContext(browser.ctx, chromedp.WithNewBrowserContext())
	p := &page{t: t, ctx: ctx, expected: []string{"willReadFrequently"}} // which the tests' look at pixels brings
	messages := chromedp.Console(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for m, err := range messages {
			if err != nil {
				return
			}
			p.mu.Lock()
			p.problems = append(p.problems, m.String()+" "+m.URL)
			p.mu.Unlock()
		}
	}()
	t.Cleanup(func() {
		p.eval("0") // so that every earlier message is here
		cancel()
		<-done
		for _, problem := range p.problems {
			expected := false
			for _, part := range p.expected {
				expected = expected || strings.Contains(problem, part)
			}
			if !expected {
				t.Errorf("the console says: %s", problem)
			}
		}
	})
	p.look(l)
	p.do(chromedp.Navigate(url))
	return p
}

// expect tells a part of console messages that are no failure.
func (p *page) expect(part string) { p.expected = append(p.expected, part) }

func (p *page) do(actions ...chromedp.Action[chromedp.Void]) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, patience)
	defer cancel()
	if err := chromedp.Do(ctx, actions...); err != nil {
		p.t.Fatal(err)
	}
}

func (p *page) look(l look) {
	p.t.Helper()
	features := []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: "light"}, {Name: "prefers-reduced-motion", Value: "no-preference"}}
	if l.dark {
		features[0].Value = "dark"
	}
	if l.still {
		features[1].Value = "reduce"
	}
	p.do(chromedp.EmulateViewport(l.width, l.height, chromedp.EmulateScale(max(l.scale, 1))))
	if _, err := chromedp.Call(p.ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: features}); err != nil {
		p.t.Fatal(err)
	}
}

// eval returns the value of an expression.
func (p *page) eval(expression string) any {
	p.t.Helper()
	v, err := p.tryEval(expression)
	if err != nil {
		p.t.Fatalf("%s: %v", expression, err)
	}
	return v
}

func (p *page) tryEval(expression string) (v any, err error) {
	ctx, cancel := context.WithTimeout(p.ctx, patience)
	defer cancel()
	raw, err := chromedp.Run(ctx, chromedp.Evaluate[[]byte](expression))
	if err != nil {
		return nil, err
	}
	return v, json.Unmarshal(raw, &v)
}

// want fails unless the expression has the value, which it may take a while to get.
func (p *page) want(expression string, want any) {
	p.t.Helper()
	text, err := json.Marshal(want)
	if err != nil {
		p.t.Fatal(err)
	}
	deadline := time.Now().Add(patience)
	for {
		v, err := p.tryEval(expression)
		got, _ := json.Marshal(v)
		if err == nil && string(got) == string(text) {
			return
		}
		if time.Now().After(deadline) {
			p.t.Fatalf("%s is %s, %v, want %s", expression, got, err, text)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// wantText fails unless the text is in the element that the selector finds, now or soon.
func (p *page) wantText(selector, text string) {
	p.t.Helper()
	s, _ := json.Marshal(selector)
	x, _ := json.Marshal(text)
	p.want(fmt.Sprintf(`(() => { const text = document.querySelector(%s)?.innerText ?? ""; return text.includes(%s) || text })()`, s, x), true)
}

// wantFits fails if the page is wider than the window.
func (p *page) wantFits() {
	p.t.Helper()
	p.want(`document.documentElement.scrollWidth <= innerWidth && document.body.scrollWidth <= innerWidth`, true)
}

func (p *page) press(keys ...string) {
	p.t.Helper()
	for _, key := range keys {
		p.do(chromedp.KeyEvent(key))
	}
}

func (p *page) click(selector string) {
	p.t.Helper()
	p.do(chromedp.Click(chromedp.CSS(selector)))
}

// screenshot keeps the whole page as a picture, if anyone wants pictures.
func (p *page) screenshot(name string) {
	p.t.Helper()
	dir := os.Getenv(screenshotsVariable)
	if dir == "" {
		return
	}
	picture, err := chromedp.Run(p.ctx, chromedp.FullScreenshot(100))
	if err != nil {
		p.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, name+".png"), picture, 0o600); err != nil {
		p.t.Fatal(err)
	}
}
