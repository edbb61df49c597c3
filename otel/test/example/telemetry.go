package main

import (
	"context"
	"errors"
	"log/slog"
	"time"

	azlog "github.com/Azure/azure-sdk-for-go/sdk/azcore/log"
	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azeventhubs/v2"
	api "go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/exporters/prometheus"
	"go.opentelemetry.io/otel/exporters/stdout/stdouttrace"
	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/resource"
	"go.opentelemetry.io/otel/sdk/trace"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
)

// startTelemetry sets the global providers, and returns a function that exports what they still have.
func startTelemetry(ctx context.Context, ownerID string, logger *slog.Logger) (flush func() error, err error) {
	api.SetErrorHandler(api.ErrorHandlerFunc(func(err error) { logger.Warn("telemetry failed", "error", err) }))
	about, err := resource.New(ctx,
		resource.WithAttributes(semconv.ServiceName("consumer"), semconv.ServiceInstanceID(ownerID)),
		resource.WithTelemetrySDK(), resource.WithFromEnv()) // the later ones win
	if err != nil {
		return nil, err
	}
	reader, err := prometheus.New(prometheus.WithoutScopeInfo())
	if err != nil {
		return nil, err
	}
	exporter, err := stdouttrace.New() // or otlptracehttp.New(ctx), which reads OTEL_EXPORTER_OTLP_ENDPOINT
	if err != nil {
		return nil, err
	}
	meters := metric.NewMeterProvider(metric.WithResource(about), metric.WithReader(reader))
	tracers := trace.NewTracerProvider(trace.WithResource(about), trace.WithBatcher(exporter))
	api.SetMeterProvider(meters)
	api.SetTracerProvider(tracers)
	return func() error {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second) // the program's has ended
		defer cancel()
		return errors.Join(tracers.Shutdown(ctx), meters.Shutdown(ctx))
	}, nil
}

// logAzure hands the logs of azeventhubs and azcore to slog. Call it before making clients.
func logAzure(logger *slog.Logger) {
	azlog.SetEvents(azeventhubs.EventConn, azeventhubs.EventAuth, azeventhubs.EventProducer, azeventhubs.EventConsumer,
		azlog.EventResponseError)
	azlog.SetListener(func(event azlog.Event, message string) {
		logger.Debug(message, "event", event)
	})
}
