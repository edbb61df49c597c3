// Command example is a consumer that can be watched: metrics for Prometheus, traces on
// standard output, probes, and one log. It prints the events of an event hub, together
// with all others that run it with the same container.
//
// EVENTHUB_CONNECTION_STRING (with an EntityPath), AZURE_STORAGE_CONNECTION_STRING and
// CHECKPOINT_CONTAINER say what it reads. OpenTelemetry's variables OTEL_SERVICE_NAME and
// OTEL_RESOURCE_ATTRIBUTES say what it is.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azeventhubs/v2"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/ea947076/checkpointstore"
	"github.com/ea947076/checkpointstore/otel"
	"github.com/ea947076/checkpointstore/processor"
)

func main() {
	listen := flag.String("listen", ":9464", "address of /metrics, /healthz and /readyz")
	verbose := flag.Bool("v", false, "log at debug level, with the logs of azcore and azeventhubs")
	flag.Parse()
	level := slog.LevelInfo
	if *verbose {
		level = slog.LevelDebug
	}
	slog.SetDefault(slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: level})))
	if *verbose {
		logAzure(slog.Default())
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *listen, slog.Default()); err != nil {
		slog.Error("the consumer failed", "error", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, listen string, logger *slog.Logger) (err error) {
	client, err := azeventhubs.NewConsumerClientFromConnectionString(
		os.Getenv("EVENTHUB_CONNECTION_STRING"), "", azeventhubs.DefaultConsumerGroup, nil)
	if err != nil {
		return fmt.Errorf("EVENTHUB_CONNECTION_STRING: %w", err)
	}
	defer client.Close(context.Background())
	flush, err := startTelemetry(ctx, client.InstanceID(), logger)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, flush()) }() // after Run, which ends the last spans

	options := &otel.Options{} // the global providers; lag is read every minute
	store, err := checkpointstore.NewBlobCheckpointStoreFromConnectionString(
		os.Getenv("AZURE_STORAGE_CONNECTION_STRING"), os.Getenv("CHECKPOINT_CONTAINER"),
		&checkpointstore.BlobCheckpointStoreOptions{
			Logger: logger,
			ClientOptions: container.ClientOptions{ClientOptions: azcore.ClientOptions{
				PerRetryPolicies: []policy.Policy{otel.Policy(options)},
			}},
		})
	if err != nil {
		return fmt.Errorf("AZURE_STORAGE_CONNECTION_STRING, CHECKPOINT_CONTAINER: %w", err)
	}
	defer store.Close()
	earliest := true
	p, err := processor.New(client, otel.Store(store, options), processor.Batches(otel.Handler(handle, options), nil),
		&processor.Options{
			StartPositions: azeventhubs.StartPositions{Default: azeventhubs.StartPosition{Earliest: &earliest}},
			MaxPendingAge:  10 * time.Minute, // a handler that hangs for longer fails /healthz
			Logger:         logger,
			Hooks:          otel.Hooks(options),
		})
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", listen)
	if err != nil {
		return err
	}
	server := &http.Server{Handler: endpoints(p), ReadHeaderTimeout: 10 * time.Second}
	defer server.Close() // after Run: until then it says that the consumer is not ready
	go server.Serve(listener)
	logger.Info("serving /metrics, /healthz and /readyz", "address", listener.Addr())
	return p.Run(ctx)
}

// handle gets up to 100 events of one partition. ctx has the span "process <event hub>".
func handle(ctx context.Context, b *processor.Batch) error {
	for _, event := range b.Events {
		slog.InfoContext(ctx, "event", "partition", b.PartitionID, "body", string(event.Body))
	}
	return nil
}

// endpoints serves the metrics and the probes.
func endpoints(p *processor.Processor) http.Handler {
	probe := func(healthy func() error) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			if err := healthy(); err != nil {
				http.Error(w, err.Error(), http.StatusServiceUnavailable)
			}
		}
	}
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.Handler())
	mux.Handle("GET /healthz", probe(func() error { return p.Healthy().Live }))
	mux.Handle("GET /readyz", probe(func() error { return p.Healthy().Ready }))
	return mux
}
