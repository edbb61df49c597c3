package browser

import (
	"fmt"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"github.com/ea947076/checkpointstore/cmd/checkpointctl/internal/report"
	"github.com/ea947076/checkpointstore/ops"
)

// The keys that the page knows.
const (
	tab, enter, escape    = kb.Tab, kb.Enter, kb.Escape
	left, right, up, down = kb.ArrowLeft, kb.ArrowRight, kb.ArrowUp, kb.ArrowDown
	home, end, pageUp     = kb.Home, kb.End, kb.PageUp
)

// viewOf is the address of a group's view.
func viewOf(s *fakeServer, g *fakeGroup) string { return s.url() + "#/groups/" + g.row.ID }

// mixed is a group with every state of a partition, with events, and with data lost.
func mixed(partitions int) *fakeGroup {
	g := newGroup("checkout", partitions, "worker-1", "worker-2", "worker-3", "worker-4")
	g.partitions[5].State, g.partitions[5].OwnershipAge = "expired", ptr(report.Seconds(95))
	g.partitions[9].State, g.partitions[9].OwnerID = "relinquished", nil
	g.partitions[11] = report.Partition{PartitionID: "11", State: "never owned", LagState: ptr("no checkpoint")}
	g.partitions[7].LagState, g.partitions[7].Lost = ptr("expired"), ptr(int64(120))
	for i := range 12 {
		from, to := fmt.Sprintf("worker-%d", i%4+1), fmt.Sprintf("worker-%d", (i+1)%4+1)
		g.event(time.Duration(55-4*i)*time.Minute, eventRow{PartitionID: fmt.Sprint(i), Kind: "owner", From: &from, To: &to})
	}
	for i := range 6 {
		g.event(22*time.Minute, eventRow{PartitionID: fmt.Sprint(i * 2), Kind: "owner", From: ptr("worker-5"), To: ptr("worker-2")})
	}
	g.event(17*time.Minute, eventRow{PartitionID: "4", Kind: "reset", Generation: ptr(int64(3))})
	g.event(9*time.Minute, eventRow{PartitionID: "2", Kind: "checkpoint-back"})
	return g
}

var looks = map[string]look{
	"1280-light": desktop, "1280-dark": {width: 1280, height: 900, dark: true},
	"400-light": phone, "400-dark": {width: 400, height: 800, dark: true},
}

// TestLooks opens both views at several sizes, and looks whether they fit and whether the console stays silent.
func TestLooks(t *testing.T) {
	needBrowser(t)
	big := newGroup("audit", 1024, "auditor-a", "auditor-b", "auditor-c")
	quiet := newGroup("$Default", 4, "f3b1c0de-5a5e-4c1e-8f0e-2f1f3c9d7a61")
	g := mixed(32)
	s := newServer(t, g, quiet, big)
	for name, l := range looks {
		t.Run(name, func(t *testing.T) {
			for view, url := range map[string]string{"overview": s.url(), "group": viewOf(s, g), "large": viewOf(s, big), "small": viewOf(s, quiet)} {
				p := open(t, l, url)
				if view == "overview" {
					p.want(`document.querySelectorAll(".segment").length > 0`, true)
				} else {
					p.want(`document.querySelectorAll(".plot canvas").length`, 4)
				}
				p.wantFits()
				p.screenshot(view + "-" + name)
			}
		})
	}
}

// colours is how many pixels of each plot have a colour of the style sheet.
func colours(name string) string {
	return fmt.Sprintf(`(() => {
		const [r, g, b] = getComputedStyle(document.documentElement).getPropertyValue(%q).trim().match(/\w\w/g).map((x) => parseInt(x, 16));
		return [...document.querySelectorAll(".plot canvas")].map((canvas) => {
			const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
			let n = 0;
			for (let i = 0; i < data.length; i += 4) if (data[i] === r && data[i+1] === g && data[i+2] === b && data[i+3] === 255) n++;
			return n;
		});
	})()`, name)
}

func TestOverview(t *testing.T) {
	g, quiet := mixed(32), newGroup("$Default", 4, "only")
	s := newServer(t, g, quiet)
	s.errors = []string{"event hub orders: no answer"}
	quiet.row.Error = ptr("reading the group: 503 ServerBusy")
	p := open(t, desktop, s.url())
	p.want(`document.title`, "Consumer groups · checkpointctl")
	p.wantText(".card:nth-child(1)", "orders · orders.servicebus.windows.net")
	p.wantText(".card:nth-child(1)", "32 partitions: 29 live, 1 expired, 1 relinquished, 1 never owned · lag of 1 unknown")
	p.wantText(".card:nth-child(1) .trouble", "120 events lost to retention · 1 partition with an expired owner")
	p.wantText(".card:nth-child(1) dd:last-child", "1,")
	p.wantText(".card:nth-child(2) .trouble", "503 ServerBusy")
	p.wantText("#errors", "event hub orders: no answer")
	p.want(`[...document.querySelectorAll(".thin-strip")].map((strip) => strip.children.length)`, []int{32, 4})
	p.want(`document.querySelector(".thin-strip").getAttribute("aria-label").startsWith("32 partitions: 29 live")`, true)
	p.want(`document.getElementById("demo").hidden`, true)

	s.round(func() { s.errors, s.groups = nil, append(s.groups, newGroup("later", 8, "a")) })
	p.want(`document.querySelectorAll(".card").length`, 3)
	p.want(`document.getElementById("errors").hidden`, true)
	p.click(".card:nth-child(3) a")
	p.wantText("h1", "later")
	p.want(`document.activeElement.tagName`, "H1")
	p.click(".crumbs a")
	p.want(`document.querySelectorAll(".card").length`, 3)
}

func TestOverviewWithoutGroups(t *testing.T) {
	s := newServer(t)
	p := open(t, desktop, s.url())
	p.wantText("main", "No consumer group was found.")
	s.round(func() { s.groups = append(s.groups, newGroup("first", 2, "a")) })
	p.wantText(".card", "first")
	p.want(`document.querySelector(".empty").hidden`, true)
}

func TestPlotsHaveData(t *testing.T) {
	g := mixed(32)
	s := newServer(t, g)
	p := open(t, desktop, viewOf(s, g))
	p.want(`document.querySelectorAll(".plot canvas").length`, 4)
	for colour, plots := range map[string][]bool{
		"--own-0":      {true, false, true, false}, // the total, and one of five partitions
		"--own-5":      {false, true, false, false},
		"--own-4":      {false, false, true, false}, // the fifth partition
		"--ink":        {false, false, false, true},
		"--mark":       {true, true, true, true},
		"--mark-reset": {true, true, true, true},
	} {
		p.want(colours(colour)+`.map((n) => n > 20)`, plots)
	}
	p.want(`[...document.querySelectorAll(".u-legend .u-value")].filter((value) => /^\d/.test(value.textContent)).length`, 4+1+1+5+1)

	// A mark under the pointer says what happened.
	p.want(`(() => {
		const over = document.querySelector(".u-over"), box = over.getBoundingClientRect();
		for (let x = 0; x < box.width; x += 4) {
			over.dispatchEvent(new MouseEvent("mousemove", { clientX: box.left + x, clientY: box.top + 20, bubbles: true }));
			const tip = document.querySelector(".plot-tip");
			if (!tip.hidden && tip.textContent.includes("partition 4: was reset, generation 3")) return true;
		}
		return false;
	})()`, true)

	// A selection plots that partition alone, with its events.
	p.click("#cell-3")
	p.wantText(".selection", "Plotted: partition 3.")
	p.want(colours("--own-4")+`[2]`, 0)
	p.want(colours("--own-0")+`[3] > 20`, true)
	p.want(colours("--mark-reset")+`[0]`, 0)
	p.wantText(".events", "worker-4 → worker-1")
	p.want(`document.querySelectorAll(".events li").length`, 1)
}

// TestEachRoundAddsAPoint looks whether the plots follow without reading the history again.
func TestEachRoundAddsAPoint(t *testing.T) {
	g := newGroup("checkout", 8, "a")
	s := newServer(t, g)
	p := open(t, desktop, viewOf(s, g))
	p.want(`document.querySelectorAll(".plot canvas").length`, 4)
	s.round(func() {
		for i := range g.partitions {
			g.partitions[i].Lag = ptr(int64(1_000_000))
		}
	})
	p.wantText(".tile", "8M")
	p.wantText(".u-legend", "8M")
	p.want(`performance.getEntriesByType("resource").filter((entry) => entry.name.endsWith("/history")).length`, 1)
}

// TestTakeOver shows another owner, in a round that the server announces.
func TestTakeOver(t *testing.T) {
	g := newGroup("checkout", 32, "worker-1", "worker-2")
	s := newServer(t, g)
	p := open(t, desktop, viewOf(s, g))
	p.want(`document.querySelector("#cell-3").getAttribute("data-owner")`, "worker-2")
	before := p.eval(`document.querySelector("#cell-3").className`)
	p.want(`document.querySelectorAll(".events li").length`, 0)
	s.round(func() { g.takeOver("worker-9", 3, 4) })
	p.want(`document.querySelector("#cell-3").getAttribute("data-owner")`, "worker-9")
	p.want(fmt.Sprintf(`document.querySelector("#cell-3").className !== %q`, before), true)
	p.want(`getComputedStyle(document.querySelector("#cell-3")).backgroundColor === getComputedStyle(document.querySelector("#cell-4")).backgroundColor`, true)
	p.want(`getComputedStyle(document.querySelector("#cell-3")).backgroundColor !== getComputedStyle(document.querySelector("#cell-5")).backgroundColor`, true)
	p.wantText(".events li", "Partition 4 worker-1 → worker-9")
	p.want(`[...document.querySelectorAll(".owner")].map((owner) => owner.textContent)`, []string{"worker-115", "worker-215", "worker-92"})
	p.wantText(".partitions tbody", "worker-9")
	p.want(colours("--mark")+`.every((n) => n > 5)`, true)
}

const firstColumn = `[...document.querySelectorAll(".partitions tbody tr:not(.spacer) td:first-child")].slice(0, 4).map((cell) => cell.innerText.trim())`

func TestTableSorts(t *testing.T) {
	g := newGroup("checkout", 12, "b", "a")
	for i := range g.partitions {
		g.partitions[i].Lag = ptr(int64((i * 7) % 12 * 100))
	}
	g.partitions[2].Lag = nil
	s := newServer(t, g)
	p := open(t, desktop, viewOf(s, g))
	sorted := func(column string) string {
		return fmt.Sprintf(`[...document.querySelectorAll("th")].find((th) => th.innerText === %q).getAttribute("aria-sort")`, column)
	}
	p.want(firstColumn, []string{"0", "1", "2", "3"})
	p.want(sorted("Partition"), "ascending")
	p.want(`document.querySelectorAll(".plot canvas").length`, 4) // which move the table when they come
	header := func(n int) string { return fmt.Sprintf("th:nth-child(%d) button", n) }
	p.click(header(4)) // lag
	p.want(firstColumn, []string{"5", "10", "3", "8"})
	p.want(sorted("Lag"), "descending")
	p.want(sorted("Partition"), "none")
	p.click(header(4))
	p.want(firstColumn, []string{"0", "7", "9", "4"})
	p.want(`document.querySelector(".partitions tbody tr:nth-last-child(2) td").innerText.trim()`, "2") // what is not known comes last

	p.press(home)
	p.want(`document.activeElement.innerText`, "Partition")
	p.press(right, right)
	p.want(`document.activeElement.innerText`, "Owner")
	p.press(enter)
	p.want(sorted("Owner"), "ascending")
	p.want(firstColumn, []string{"1", "3", "5", "7"})
	p.press(enter, left, enter)
	p.want(sorted("State"), "ascending")

	p.do(chromedp.SendKeys(chromedp.ID("filter"), "a"))
	p.wantText(".count", "6 of 12")
	p.want(`document.querySelectorAll(".partitions tbody tr:not(.spacer)").length`, 6)
	p.want(`document.querySelectorAll("td.more")[0].offsetWidth`, 0)
	p.click("#more-columns")
	p.want(`document.querySelectorAll("td.more")[0].offsetWidth > 0`, true)
}

func TestKeyboard(t *testing.T) {
	g := newGroup("checkout", 32, "a", "b")
	s := newServer(t, g)
	p := open(t, desktop, s.url())
	p.want(`document.querySelectorAll(".segment").length`, 32)
	p.press(tab)
	p.want(`document.activeElement.id + document.activeElement.getBoundingClientRect().top`, "skip0")
	p.press(enter)
	p.want(`document.activeElement.id`, "main")
	p.press(tab)
	p.want(`document.activeElement.innerText`, "checkout")
	p.want(`getComputedStyle(document.activeElement).outlineStyle`, "solid")
	p.press(enter)
	p.wantText("h1", "checkout")
	p.want(`document.querySelectorAll(".cell").length`, 32)

	p.press(tab)
	p.want(`document.activeElement.className`, "strip")
	p.want(`getComputedStyle(document.querySelector(".strip-box")).outlineStyle`, "solid")
	active := `document.getElementById(document.activeElement.getAttribute("aria-activedescendant"))?.innerText.trim() ?? ""`
	p.want(active, "0")
	p.press(right, right, right, left)
	p.want(active, "2")
	p.wantText(".about", "Partition 2 · live · a")
	p.press(enter)
	p.want(`document.querySelector("#cell-2").getAttribute("aria-selected")`, "true")
	p.press(end, up, " ")
	p.wantText(".selection", "Plotted: partitions 2, ")
	p.press(escape)
	p.wantText(".selection", "furthest behind")
	p.want(`document.querySelectorAll("[aria-selected=true]").length`, 0)

	p.press(tab, enter) // the first owner of the legend
	p.want(`document.activeElement.getAttribute("aria-pressed")`, "true")
	p.want(`document.querySelectorAll(".cell.dim").length`, 16)
	p.wantText(".count", "16 of 32")
	p.press(escape)
	p.want(`document.querySelectorAll(".cell.dim").length`, 0)
	p.want(`document.querySelector(".count").textContent`, "")
	p.press(tab, tab, tab, tab) // the second owner, the filter, the columns, the table
	p.want(`document.activeElement.getAttribute("role")`, "grid")
	p.want(`getComputedStyle(document.querySelector(".table-box")).outlineStyle`, "solid")
	row := `document.querySelector("#" + document.activeElement.getAttribute("aria-activedescendant"))?.cells[0].innerText.trim() ?? ""`
	p.press(down, down)
	p.want(row, "1")
	p.press(end)
	p.want(row, "31")
	p.press(enter)
	p.wantText(".selection", "Plotted: partition 31.")
	p.press(pageUp, home, down)
	p.want(row, "1")
	p.press(tab)
	p.want(`document.activeElement.innerText`, "Partition")
	p.want(`getComputedStyle(document.activeElement).outlineStyle`, "solid")
}

// TestHostileNames has markup in every name that comes from a blob or from the service.
func TestHostileNames(t *testing.T) {
	const image, script = `<img src=x onerror=alert(1)>`, `"><script>document.body.id='hit'</script>`
	g := newGroup(script, 6, image, script, "javascript:alert(1)", "${alert(1)}")
	g.row.Namespace, g.row.EventHub, g.row.Error = image, script, ptr(image)
	g.row.Spellings = []string{image, script}
	for i := range g.partitions {
		g.partitions[i].Writer, g.partitions[i].Offset, g.partitions[i].LagState, g.partitions[i].LagMethod = ptr(image), ptr(script), ptr(image), ptr(image)
	}
	g.partitions[5].PartitionID, g.partitions[5].State = image, ops.State(script)
	g.partitions[4].PartitionID, g.partitions[3].PartitionID, g.partitions[2].OwnerID = "constructor", "__proto__", ptr("__proto__")
	g.history.Partitions[image] = g.history.Partitions["5"]
	g.event(time.Minute, eventRow{PartitionID: image, Kind: "owner", From: ptr(image), To: ptr(script)})
	g.event(time.Minute, eventRow{PartitionID: script, Kind: image})
	s := newServer(t, g)
	s.errors = []string{image}
	clean := func(p *page) {
		t.Helper()
		p.want(`document.querySelectorAll("img, iframe, object, script:not([src]), [onerror]").length`, 0)
		p.want(`document.body.id`, "")
	}
	p := open(t, desktop, s.url())
	p.wantText("#errors", image)
	p.wantText(".card h2", script)
	p.wantText(".card .where", image)
	clean(p)
	p.click(".card h2 a")
	p.want(`document.querySelectorAll(".plot canvas").length`, 4)
	p.click("#more-columns")
	p.wantText("h1", script)
	p.wantText(".legend", "<img src=x o")
	p.wantText(".partitions tbody", "alert(1)>")
	p.wantText(".events", image)
	p.eval(`([...document.querySelectorAll(".cell")].find((cell) => cell.textContent.startsWith("<img")).click(), true)`)
	p.want(`[...document.querySelectorAll(".u-label")].filter((label) => label.textContent === "Partition `+image+`").length`, 2)
	clean(p)
	s.round(func() { g.takeOver(script, 3, 4) })
	p.press(escape) // which ends the selection
	p.wantText(".events", "Partition __proto__ ")
	p.wantText(".events", "Partition constructor ")
	p.want(`document.getElementById("offline").hidden`, true)
	clean(p)
}

func TestDarkAndStill(t *testing.T) {
	g := mixed(32)
	s := newServer(t, g)
	p := open(t, desktop, viewOf(s, g))
	p.want(`document.querySelectorAll(".plot canvas").length`, 4)
	const background = `getComputedStyle(document.body).backgroundColor`
	p.want(background, "rgb(246, 247, 249)")
	p.want(`getComputedStyle(document.querySelector(".cell")).animationName`, "none")
	s.round(func() { g.takeOver("worker-9", 0) })
	p.want(`getComputedStyle(document.querySelector("#cell-0")).animationName`, "changed")

	p.look(look{width: 1280, height: 900, dark: true, still: true})
	p.want(background, "rgb(17, 21, 27)")
	p.want(`getComputedStyle(document.querySelector("#cell-0")).animationName`, "none")
	p.want(`getComputedStyle(document.documentElement).getPropertyValue("--own-5").trim()`, "#45bcbc")
	p.want(colours("--own-5")+`[1] > 20`, true) // the plots were drawn again
	p.look(desktop)
	p.want(background, "rgb(246, 247, 249)")
	p.want(colours("--own-5")+`[1] > 20`, true)
}

func TestServerGoneAndBack(t *testing.T) {
	g := newGroup("checkout", 8, "a")
	s := newServer(t, g)
	p := open(t, desktop, viewOf(s, g))
	p.expect("net::ERR_")
	p.wantText("#connection", "Live")
	s.stop()
	p.wantText("#connection", "Reconnecting")
	p.wantText("#offline", "The server does not answer. This is what it said at")
	p.want(`document.querySelectorAll(".cell").length`, 8) // the latest data stays

	s.round(func() { g.takeOver("b", 1) })
	s.start()
	p.wantText("#connection", "Live")
	p.want(`document.getElementById("offline").hidden`, true)
	p.want(`document.querySelector("#cell-1").getAttribute("data-owner")`, "b")
	s.round(func() { g.takeOver("c", 2) }) // and rounds come again
	p.want(`document.querySelector("#cell-2").getAttribute("data-owner")`, "c")
}

// TestRefusedStream refuses the stream of events while the first answer of the API is on its way: the page listens later.
func TestRefusedStream(t *testing.T) {
	s := newServer(t, newGroup("checkout", 8, "a"))
	s.hold = make(chan struct{})
	p := open(t, desktop, s.url())
	p.expect("503")
	p.wantText("#connection", "Reconnecting")
	close(s.hold)
	p.wantText(".card", "checkout")
	s.wantStreams(1)
	s.round(func() { s.groups = append(s.groups, newGroup("later", 2, "a")) })
	p.wantText(".card:nth-child(2)", "later")
}

// TestHiddenTab does not listen while nobody looks, so that many tabs do not use up the browser's connections.
func TestHiddenTab(t *testing.T) {
	g := newGroup("checkout", 8, "a")
	s := newServer(t, g)
	p := open(t, desktop, viewOf(s, g))
	p.want(`document.querySelectorAll(".cell").length`, 8)
	s.wantStreams(1)
	turn := func(hidden bool) {
		p.eval(fmt.Sprintf(`Object.defineProperty(document, "hidden", { value: %t, configurable: true }) && document.dispatchEvent(new Event("visibilitychange"))`, hidden))
	}
	turn(true)
	s.wantStreams(0)
	s.round(func() { g.takeOver("b", 1) })
	turn(false)
	s.wantStreams(1)
	p.want(`document.querySelector("#cell-1").getAttribute("data-owner")`, "b")
}

func TestErrors(t *testing.T) {
	g := newGroup("checkout", 8, "a")
	for i := range g.partitions {
		g.partitions[i].Lag, g.partitions[i].LagTime, g.partitions[i].LagState = nil, nil, ptr("unknown")
	}
	for i := range g.history.Times {
		g.history.Lag[i], g.history.LagSeconds[i] = nil, nil
	}
	for _, h := range g.history.Partitions {
		clear(h.Lag)
	}
	g.row.Error = ptr("event hub: dial tcp: no such host")
	s := newServer(t, g)

	t.Run("event hub not reachable", func(t *testing.T) {
		p := open(t, desktop, viewOf(s, g))
		p.wantText(".trouble:not([hidden])", "no such host")
		p.want(`document.querySelector(".tile dd").textContent`, "–") // not 0
		p.wantText("figure", "Not known: the event hub was not asked, or has not answered.")
		p.want(`document.querySelectorAll(".plot canvas").length`, 1) // the age of the checkpoints is known
		p.wantText(".partitions tbody", "unknown")
	})
	t.Run("no such group", func(t *testing.T) {
		p := open(t, desktop, s.url()+"#/groups/gone")
		p.expect("404")
		p.wantText("main", "There is no such consumer group.")
	})
	t.Run("no round yet", func(t *testing.T) {
		s.round(func() { s.failure = `{"schemaVersion":1,"error":"the first round is not over"}` })
		p := open(t, desktop, s.url())
		p.expect("503")
		p.wantText("#offline", "The server answered 503: the first round is not over. Trying again.")
		s.round(func() { s.failure = "" })
		p.wantText(".card", "checkout") // though no event announced it
		p.wantText("#connection", "Live")
		p.want(`document.getElementById("offline").hidden`, true)
		s.round(func() { s.groups = append(s.groups, newGroup("later", 2, "a")) })
		p.wantText(".card:nth-child(2)", "later")
	})
	t.Run("another version of the data", func(t *testing.T) {
		s.round(func() { s.version = 2 })
		p := open(t, desktop, s.url())
		p.wantText("#offline", "reload the page")
		s.change(func() { s.version = 1 })
		p.wantText(".card", "checkout") // though no event announced it
	})
}

// TestManyPartitions has as many partitions as an event hub can have.
func TestManyPartitions(t *testing.T) {
	g := newGroup("audit", 1024, "a", "b", "c")
	s := newServer(t, g)
	p := open(t, phone, viewOf(s, g))
	p.want(`document.querySelectorAll(".cell").length`, 1024)
	p.want(`document.querySelectorAll(".partitions tbody tr").length < 60`, true)
	p.wantFits()
	p.want(`document.querySelector(".partitions").getAttribute("aria-rowcount")`, "1025")
	p.eval(`document.querySelector(".table-scroll").scrollTo(0, 1e6)`)
	p.want(`[...document.querySelectorAll(".partitions tbody tr:not(.spacer) td:first-child")].at(-1).innerText.trim()`, "1023")
	p.want(`document.querySelectorAll(".partitions tbody tr").length < 60`, true)
	p.do(chromedp.SendKeys(chromedp.ID("filter"), "1000"))
	p.want(firstColumn, []string{"1000"})
}

// firstPaint is the time until the strip and the table are painted, in milliseconds since the navigation began. The
// plots follow when the history has come.
const firstPaint = `new Promise((done) => {
	const look = () => {
		if (document.querySelectorAll(".cell").length > 0) requestAnimationFrame(() => setTimeout(() => done(performance.now())));
		else setTimeout(look, 1);
	};
	look();
})`

// BenchmarkFirstPaint measures the first paint of a group with 1,024 partitions and an hour's history, each time in a
// new tab without a cache.
func BenchmarkFirstPaint(b *testing.B) {
	g := newGroup("audit", 1024, "a", "b", "c")
	s := newServer(b, g)
	b.Run("fake server", func(b *testing.B) { benchmarkFirstPaint(b, viewOf(s, g)) })
	d := newDemo(b, 1024)
	p := open(b, desktop, d.url)
	p.wantText("main", "billing")
	view := p.eval(`document.querySelector(".card a").href`).(string)
	b.Run("demo", func(b *testing.B) { benchmarkFirstPaint(b, view) })
}

func benchmarkFirstPaint(b *testing.B, url string) {
	var paint, plots float64
	for b.Loop() {
		p := open(b, desktop, url)
		ms, err := chromedp.Run(p.ctx, chromedp.Evaluate[float64](firstPaint, chromedp.EvalAwaitPromise))
		if err != nil {
			b.Fatal(err)
		}
		paint += ms
		p.want(`document.querySelectorAll(".plot canvas").length`, 4)
		plots += p.eval(`performance.now()`).(float64)
	}
	b.ReportMetric(paint/float64(b.N), "ms/first-paint")
	b.ReportMetric(plots/float64(b.N), "ms/plots")
}
