package browser

import (
	"encoding/json"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ea947076/checkpointstore/cmd/checkpointctl/internal/demo"
	"github.com/ea947076/checkpointstore/cmd/checkpointctl/internal/live"
	"github.com/ea947076/checkpointstore/ops"
)

const fleetRound = 10 * time.Second

// demoServer is the server of checkpointctl demo. The test lets its time pass.
type demoServer struct {
	t      testing.TB
	fleet  *demo.Fleet
	server *live.Server
	url    string
}

// newDemo starts a fleet with a past of 40 minutes, so that everything has happened to it.
func newDemo(t testing.TB, partitions int) *demoServer {
	const past = 40 * time.Minute
	fleet := demo.New(demo.Options{Seed: 1, Partitions: partitions, Start: time.Now().Add(-past)})
	d := &demoServer{t: t, fleet: fleet, server: live.New(live.Options{
		Store: fleet.Store(), OpenHub: fleet.OpenHub, Interval: fleetRound, Expiration: demo.Expiration,
		Hub: ops.HubOptions{Interval: time.Nanosecond}, Demo: true, Now: fleet.Now,
	})}
	for elapsed := time.Duration(0); elapsed < past; elapsed += fleetRound {
		d.round()
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: d.server.Handler(listener.Addr().String())}
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(func() { _ = server.Close() })
	d.url = "http://" + listener.Addr().String() + "/"
	return d
}

// round lets the time of a round pass, and makes one.
func (d *demoServer) round() {
	d.t.Helper()
	if err := d.fleet.Step(d.t.Context(), fleetRound); err != nil {
		d.t.Fatal(err)
	}
	d.server.Refresh(d.t.Context())
}

// TestDemo opens the page of the demo at several sizes.
func TestDemo(t *testing.T) {
	needBrowser(t)
	d := newDemo(t, 32)
	for name, l := range looks {
		t.Run(name, func(t *testing.T) {
			p := open(t, l, d.url)
			p.wantText("#demo", "Demo")
			p.want(`document.querySelectorAll(".card").length`, 3)
			p.want(`document.querySelectorAll(".segment").length`, 32+32+8)
			p.wantFits()
			p.screenshot("demo-overview-" + name)
			p.click(`.card a`)
			p.wantText("h1", "billing")
			p.want(`document.querySelectorAll(".plot canvas").length`, 4)
			p.want(`document.querySelectorAll(".events li").length > 3`, true)
			p.wantFits()
			p.screenshot("demo-group-" + name)
		})
	}
}

// owners returns the owners of a consumer group's partitions, by the API.
func (d *demoServer) owners(id string) (owners []string) {
	d.t.Helper()
	response, err := http.Get(d.url + "api/v1/groups/" + id)
	if err != nil {
		d.t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	var group struct {
		Partitions []struct{ OwnerID *string }
	}
	if err := json.NewDecoder(response.Body).Decode(&group); err != nil {
		d.t.Fatal(err)
	}
	for _, p := range group.Partitions {
		owners = append(owners, value(p.OwnerID))
	}
	return owners
}

// TestDemoTakeOver lets rounds pass until a partition of the demo has another owner, which the page shows.
func TestDemoTakeOver(t *testing.T) {
	needBrowser(t)
	d := newDemo(t, 32)
	p := open(t, desktop, d.url)
	p.want(`document.querySelectorAll(".card").length`, 3)
	p.click(".card a")
	p.want(`document.querySelectorAll(".cell").length`, 32)
	id := strings.TrimPrefix(p.eval(`location.hash`).(string), "#/groups/")
	const owners = `[...document.querySelectorAll(".cell")].map((cell) => cell.getAttribute("data-owner"))`
	before := d.owners(id)
	p.want(owners, before)
	after := before
	for round := 0; slices.Equal(before, after); round++ {
		if round == 100 {
			t.Fatal("no partition has another owner after 100 rounds")
		}
		d.round()
		after = d.owners(id)
	}
	p.want(owners, after)
}
