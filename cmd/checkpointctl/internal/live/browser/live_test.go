package browser

import (
	"fmt"
	"testing"
	"time"
)

// hashOf is the address of a group's view.
func viewOf(s *fakeServer, g *fakeGroup) string { return s.url() + "#/groups/" + g.row.ID }

// mixed is a group with every state of a partition, with events, and with data lost.
func mixed(partitions int) *fakeGroup {
	g := newGroup("checkout", partitions, "worker-1", "worker-2", "worker-3", "worker-4")
	g.partitions[5].State, g.partitions[5].OwnershipAge = "expired", ptr(95.0)
	g.partitions[9].State, g.partitions[9].OwnerID = "relinquished", nil
	g.partitions[11] = partitionRow{PartitionID: "11", State: "never owned", LagState: ptr("no checkpoint")}
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

// TestLooks opens both views at several sizes, and looks whether they fit and whether the console stays silent.
func TestLooks(t *testing.T) {
	big := newGroup("audit", 1024, "auditor-a", "auditor-b", "auditor-c")
	quiet := newGroup("$Default", 4, "f3b1c0de-5a5e-4c1e-8f0e-2f1f3c9d7a61")
	g := mixed(32)
	s := newServer(t, g, quiet, big)
	for name, l := range map[string]look{
		"1280-light": desktop, "1280-dark": {width: 1280, height: 900, dark: true},
		"400-light": phone, "400-dark": {width: 400, height: 800, dark: true},
	} {
		t.Run(name, func(t *testing.T) {
			for view, url := range map[string]string{"overview": s.url(), "group": viewOf(s, g), "large": viewOf(s, big), "small": viewOf(s, quiet)} {
				p := open(t, l, url)
				if view == "overview" {
					p.want(`document.querySelectorAll(".segment").length > 0`, true)
				} else {
					p.want(`document.querySelectorAll(".plot canvas").length`, 4)
				}
				p.want(`document.documentElement.scrollWidth <= innerWidth && document.body.scrollWidth <= innerWidth`, true)
				p.screenshot(view + "-" + name)
			}
		})
	}
}
