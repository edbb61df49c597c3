package processor

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Nil hooks cost nothing: no allocation, and no function is called.
func TestNilHooksCostNothing(t *testing.T) {
	for name, hooks := range map[string]*Hooks{"nil": nil, "without functions": {}} {
		t.Run(name, func(t *testing.T) {
			p := &Processor{options: Options{Hooks: hooks}}
			of := &tenure{id: "0"}
			require.Zero(t, testing.AllocsPerRun(100, func() {
				p.hookRunStart()
				p.hookRunEnd(nil)
				p.hookClaims(nil, nil, nil)
				p.hookReceive(of, nil, time.Second)
				p.hookHandlerStart(of)
				p.hookHandlerEnd(of, time.Second, nil, nil)
				p.hookBatch(of, 100, 1, time.Second, nil)
				p.hookCheckpoint(of, 1, 0, time.Second, nil)
				p.hookRestart(of, nil, 1, time.Second)
				p.hookOutage(claiming, time.Time{}, nil)
			}))
		})
	}
}
