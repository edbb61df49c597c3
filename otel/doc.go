// Package otel reports what consumers do as metrics and traces of OpenTelemetry. It
// depends on OpenTelemetry's API only: the program chooses the SDK and the exporters.
//
//	options := &otel.Options{} // the global providers
//	err := processor.Run(ctx, client,
//		otel.Store(store, options),
//		processor.Batches(otel.Handler(handle, options), nil),
//		&processor.Options{Hooks: otel.Hooks(options)})
//
// Each function reports what it alone sees, so nothing is counted twice, and each is
// of use without the others:
//
//   - [Store] wraps any store: spans and durations of its calls, and the results of
//     claims and checkpoints. It works under every consumer, azeventhubs' Processor
//     included.
//   - [Hooks] tells what only a [processor.Processor] knows: received events, lag,
//     positions, pending events, restarts, outages.
//   - [Handler] wraps a handler of batches: its duration, and a span that is linked to
//     the span of each event's sender.
//   - [Policy] counts and times the requests to the storage service, retries included.
//
// Metrics and spans have the names of the semantic conventions for messaging, version
// 1.43.0, whose status is Development, of the Java package for
// Event Hubs, and of this module ("checkpointstore."). docs/observability.md lists
// them, and says what to watch.
//
// A file that also imports go.opentelemetry.io/otel has to give one of the two packages
// another name.
//
// No attribute contains a credential. Owner ids are left out unless
// Options.WithOwnerID is set.
package otel
