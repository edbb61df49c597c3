package main

import (
	"log/slog"

	azlog "github.com/Azure/azure-sdk-for-go/sdk/azcore/log"
	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azeventhubs/v2"
)

// logAzure hands what azeventhubs logs about connections, tokens and links to slog.
func logAzure(logger *slog.Logger) {
	azlog.SetEvents(azeventhubs.EventConn, azeventhubs.EventAuth, azeventhubs.EventConsumer)
	azlog.SetListener(func(event azlog.Event, message string) {
		logger.Debug(message, "event", event)
	})
}
