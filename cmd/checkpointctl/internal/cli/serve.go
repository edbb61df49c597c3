package cli

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"runtime/debug"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/ea947076/checkpointstore/cmd/checkpointctl/internal/demo"
	"github.com/ea947076/checkpointstore/cmd/checkpointctl/internal/live"
	"github.com/ea947076/checkpointstore/ops"
)

// serveFlags say where the page is, and how often it reads.
type serveFlags struct {
	listen   string
	hosts    []string
	interval durationValue
}

func (f *serveFlags) add(flags *pflag.FlagSet, interval time.Duration) {
	f.interval = durationValue(interval)
	flags.StringVar(&f.listen, "listen", "127.0.0.1:8460", "address of the page; port 0 takes a free one")
	flags.StringSliceVar(&f.hosts, "host", nil, "name:port under which browsers reach the page, if that is not --listen, as behind a proxy")
	flags.Var(&f.interval, "interval", "time from one round of reading to the next")
}

func (a *app) serveCommand() *cobra.Command {
	var f serveFlags
	var lag bool
	var expiration time.Duration
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Show consumer groups on a web page that renews itself, as JSON, and to Prometheus",
		Long: `serve shows the consumer groups of the container on a web page: who owns each
partition, how far behind it is, and what changed within the last hour. It only reads:
one list for each consumer group in a round, however many browsers look. --namespace,
--hub and --group leave out other groups.

Lag is shown if EVENTHUB_CONNECTION_STRING is set, or with --lag, which signs in to the
event hubs with DefaultAzureCredential. Requests to an event hub are limited to 20 in a
second, so that the lag of more than 150 partitions takes several rounds.

The page listens on this machine alone. It has no login: who reaches it sees everything,
and can change nothing.

  /                               the page
  /api/v1/groups                  JSON: all consumer groups
  /api/v1/groups/{id}             its partitions and what happened to them
  /api/v1/groups/{id}/history     lag and age of the checkpoints over time
  /api/v1/events                  server-sent events: one for each round
  /metrics                        for Prometheus
  /healthz                        200 while rounds go on`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			store, err := a.store(cmd)
			if err != nil {
				return err
			}
			defer store.Close()
			options := live.Options{
				Store:        store,
				Include:      a.fits,
				EachSpelling: a.connection.verbatim,
				Interval:     time.Duration(f.interval),
				Expiration:   expiration,
			}
			switch {
			case lag || a.env("EVENTHUB_CONNECTION_STRING") != "" && !cmd.Flags().Changed("lag"):
				options.OpenHub = func(scope ops.Scope) (ops.EventHub, func(), error) { return a.hub(cmd, scope, scope.ConsumerGroup) }
			case !cmd.Flags().Changed("lag"):
				a.say("Lag is not shown: set EVENTHUB_CONNECTION_STRING, or give --lag.")
			}
			return a.serve(cmd.Context(), cmd, f, live.New(options))
		},
	}
	flags := cmd.Flags()
	a.scope.add(flags)
	f.add(flags, live.DefaultInterval)
	expirationFlag(flags, &expiration)
	flags.BoolVar(&lag, "lag", false, "ask the event hubs how far behind the partitions are (default if EVENTHUB_CONNECTION_STRING is set)")
	return cmd
}

// The past of a demo, so that there is something to see at once.
const (
	demoPast     = 15 * time.Minute
	demoInterval = 10 * time.Second
)

func (a *app) demoCommand() *cobra.Command {
	var f serveFlags
	var partitions int
	var seed uint64
	var speed float64
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Show the page of serve over a simulated fleet, without an account",
		Long: `demo shows the page of serve over a fleet that is simulated in memory: consumers that
come, die, pause and share partitions, a partition that is stuck, a reset now and then,
and a consumer group that nobody reads any more. It needs no account and no network.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if partitions < 4 || partitions > 1024 {
				return usage(cmd, "--partitions must be between 4 and 1024")
			}
			if speed <= 0 || speed > 100 {
				return usage(cmd, "--speed must be more than 0 and at most 100")
			}
			ctx, cancel := context.WithCancel(cmd.Context())
			defer cancel()
			fleet := demo.New(demo.Options{Seed: seed, Partitions: partitions, Start: time.Now().Add(-demoPast)})
			server := live.New(live.Options{
				Store:      fleet.Store(),
				OpenHub:    fleet.OpenHub,
				Interval:   time.Duration(f.interval),
				Expiration: demo.Expiration,
				Hub:        ops.HubOptions{Interval: time.Nanosecond},
				Demo:       true,
				Now:        fleet.Now,
			})
			for past := time.Duration(0); past < demoPast; past += demoInterval {
				if err := fleet.Step(ctx, demoInterval); err != nil {
					return err
				}
				server.Refresh(ctx)
			}
			ended := make(chan error, 1)
			go func() {
				defer cancel() // the page ends with the fleet
				ended <- fleet.Run(ctx, speed)
			}()
			if err := a.serve(ctx, cmd, f, server); err != nil {
				return err
			}
			cancel()
			if err := <-ended; cmd.Context().Err() == nil {
				return err
			}
			return nil
		},
	}
	flags := cmd.Flags()
	f.add(flags, 2*time.Second)
	flags.IntVar(&partitions, "partitions", 32, "partitions of the larger event hub, up to 1024")
	flags.Uint64Var(&seed, "seed", 1, "another number lets other things happen")
	flags.Float64Var(&speed, "speed", 1, "how much faster than the machine's clock the fleet's is")
	return cmd
}

// serve shows a page until it is interrupted, which is how it ends.
func (a *app) serve(ctx context.Context, cmd *cobra.Command, f serveFlags, server *live.Server) error {
	host, _, err := net.SplitHostPort(f.listen)
	if err != nil {
		return usage(cmd, "--listen must be an address and a port, such as 127.0.0.1:8460 or :8460")
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", f.listen)
	if err != nil {
		return fmt.Errorf("%w (--listen 127.0.0.1:0 takes a free port)", err)
	}
	if ip, err := netip.ParseAddr(host); host != "localhost" && (err != nil || !ip.IsLoopback()) {
		a.say("warning: the page listens on %s and has no login: everyone who can reach this address sees it.", listener.Addr())
	}
	if a.env("GOGC") == "" {
		debug.SetGCPercent(live.GCPercent)
	}
	fmt.Fprintf(a.out, "http://%s/\n", listener.Addr())
	_, port, _ := net.SplitHostPort(listener.Addr().String())
	return server.Serve(ctx, listener, append(f.hosts, net.JoinHostPort(host, port))...)
}
