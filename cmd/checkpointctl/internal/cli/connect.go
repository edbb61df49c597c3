package cli

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azeventhubs/v2"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/ea947076/checkpointstore"
	"github.com/ea947076/checkpointstore/ops"
	"github.com/ea947076/checkpointstore/processor/opshub"
)

// connectionFlags say where the container is. Credentials are in the environment.
type connectionFlags struct {
	container, containerURL string
	verbatim                bool
}

func (f *connectionFlags) add(flags *pflag.FlagSet) {
	flags.StringVarP(&f.container, "container", "c", "", "checkpoint container, with AZURE_STORAGE_CONNECTION_STRING")
	flags.StringVar(&f.containerURL, "container-url", "", "`URL` of the checkpoint container: https://<account>.blob.core.windows.net/<container>")
	flags.BoolVar(&f.verbatim, "verbatim", false, "the consumers spell names as they were typed, as the official Go and Rust stores do (BlobNamingVerbatim)")
}

// location is a container and how to sign in to it.
type location struct {
	connectionString, container string
	url                         string // with the SAS, if there is one
	hasSAS                      bool
}

// locate reads flags and environment.
func (a *app) locate(cmd *cobra.Command) (location, error) {
	name, at := a.connection.container, a.connection.containerURL
	if name == "" && at == "" {
		name, at = a.env("CHECKPOINT_CONTAINER"), a.env("CHECKPOINT_CONTAINER_URL")
	}
	connectionString := a.env("AZURE_STORAGE_CONNECTION_STRING")
	switch {
	case name != "" && at != "":
		return location{}, usage(cmd, "--container and --container-url (or CHECKPOINT_CONTAINER and CHECKPOINT_CONTAINER_URL) cannot be combined: the URL ends with the container's name")
	case at != "":
		if u, err := url.Parse(at); err != nil || u.RawQuery != "" || u.ForceQuery || u.User != nil {
			return location{}, usage(cmd, "--container-url must be a URL without a query: put the SAS into AZURE_STORAGE_SAS_TOKEN")
		}
		if sas := strings.TrimPrefix(a.env("AZURE_STORAGE_SAS_TOKEN"), "?"); sas != "" {
			return location{url: at + "?" + sas, hasSAS: true}, nil
		}
		return location{url: at}, nil
	case connectionString == "":
		return location{}, usage(cmd, "no credential: set AZURE_STORAGE_CONNECTION_STRING and --container, or give --container-url (with AZURE_STORAGE_SAS_TOKEN, or an identity that DefaultAzureCredential finds)")
	case name == "":
		return location{}, usage(cmd, "no container: give --container or set CHECKPOINT_CONTAINER")
	}
	return location{connectionString: connectionString, container: name}, nil
}

// store opens the container.
func (a *app) store(cmd *cobra.Command) (*checkpointstore.BlobCheckpointStore, error) {
	l, err := a.locate(cmd)
	if err != nil {
		return nil, err
	}
	options := &checkpointstore.BlobCheckpointStoreOptions{}
	if a.connection.verbatim {
		options.BlobNaming = checkpointstore.BlobNamingVerbatim
	}
	switch {
	case l.connectionString != "":
		return checkpointstore.NewBlobCheckpointStoreFromConnectionString(l.connectionString, l.container, options)
	case l.hasSAS:
		return checkpointstore.NewBlobCheckpointStoreWithNoCredential(l.url, options)
	}
	credential, err := azidentity.NewDefaultAzureCredential(nil)
	if err != nil {
		return nil, err
	}
	return checkpointstore.NewBlobCheckpointStoreWithTokenCredential(l.url, credential, options)
}

// client opens the container for requests that a store does not send.
func (l location) client() (*container.Client, error) {
	switch {
	case l.connectionString != "":
		return container.NewClientFromConnectionString(l.connectionString, l.container, nil)
	case l.hasSAS:
		return container.NewClientWithNoCredential(l.url, nil)
	}
	credential, err := azidentity.NewDefaultAzureCredential(nil)
	if err != nil {
		return nil, err
	}
	return container.NewClient(l.url, credential, nil)
}

// errNoGroup is the error of a consumer group without records.
var errNoGroup = errors.New("no such consumer group")

// knownScope returns the one consumer group of the container that fits the flags, as
// its records spell it.
func (a *app) knownScope(ctx context.Context, cmd *cobra.Command, store ops.Store) (ops.Scope, error) {
	groups, err := ops.ListGroups(ctx, store)
	if err != nil {
		return ops.Scope{}, err
	}
	var all, fitting []ops.Scope
	for _, g := range groups {
		spellings := g.Spellings[:1] // a mixed-case spelling, if there is one: with it both are read
		if a.connection.verbatim {
			spellings = g.Spellings
		}
		for _, s := range spellings {
			all = append(all, s)
			if a.fits(s) {
				fitting = append(fitting, s)
			}
		}
	}
	switch {
	case len(fitting) == 1:
		return fitting[0], nil
	case len(all) == 0:
		return ops.Scope{}, fmt.Errorf("%w: the container has none", errNoGroup)
	case len(fitting) == 0:
		return ops.Scope{}, fmt.Errorf("%w: the container has\n  %s", errNoGroup, scopeLines(all))
	}
	return ops.Scope{}, usage(cmd, "several consumer groups fit: give --namespace, --hub and --group of one of\n  %s", scopeLines(fitting))
}

// fits reports whether the flags name a consumer group, or leave it open.
func (a *app) fits(s ops.Scope) bool {
	same := func(flag, name string) bool {
		if a.connection.verbatim {
			return flag == "" || flag == name
		}
		return flag == "" || strings.EqualFold(flag, name)
	}
	f := a.scope
	return same(f.namespace, s.FullyQualifiedNamespace) && same(f.eventHub, s.EventHubName) && same(f.group, s.ConsumerGroup)
}

// scopeToWrite is knownScope, but accepts a consumer group that has no records yet if
// the flags name it whole.
func (a *app) scopeToWrite(ctx context.Context, cmd *cobra.Command, store ops.Store) (ops.Scope, error) {
	scope, err := a.knownScope(ctx, cmd, store)
	if named := a.scope.whole(); named != nil && errors.Is(err, errNoGroup) {
		a.say("warning: %s is new: %s", named, err)
		return *named, nil
	}
	return scope, err
}

// read returns what is stored of the consumer group that the flags name. It lists all
// groups only if that is needed to find it.
func (a *app) read(ctx context.Context, cmd *cobra.Command, store ops.Store, options *ops.ReadOptions) (*ops.Snapshot, error) {
	if scope := a.scope.whole(); scope != nil {
		s, err := ops.Read(ctx, store, *scope, options)
		if err != nil || len(s.Partitions) > 0 {
			return s, err
		}
	}
	scope, err := a.knownScope(ctx, cmd, store)
	if err != nil {
		return nil, err
	}
	return ops.Read(ctx, store, scope, options)
}

func scopeLines(scopes []ops.Scope) string {
	var lines []string
	for _, s := range scopes {
		lines = append(lines, s.String())
	}
	return strings.Join(lines, "\n  ")
}

// hub opens the event hub of a scope, to read in a consumer group of it.
func (a *app) hub(cmd *cobra.Command, scope ops.Scope, viaGroup string) (ops.EventHub, func(), error) {
	client, err := a.hubClient(cmd, scope, viaGroup)
	if err != nil {
		return nil, nil, err
	}
	return opshub.New(client), func() { _ = client.Close(context.Background()) }, nil
}

// hubError says what to do about an error of the event hub.
func hubError(scope ops.Scope, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, opshub.ErrPartitionOwned):
		return fmt.Errorf("%w: stop it, or read in another consumer group of the hub with --via-group", err)
	case strings.Contains(err.Error(), "amqp:unauthorized-access"):
		return fmt.Errorf("%w: the credential needs the right to listen (the role Azure Event Hubs Data Receiver)", err)
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("%w: event hub %q of %s did not answer: check its name, the credential, the network and the firewall (AMQP, port 5671)", err, scope.EventHubName, scope.FullyQualifiedNamespace)
	}
	return err
}

// hubOptions let azeventhubs try little again: while it does, a refusal looks like a
// partition without events.
var hubOptions = &azeventhubs.ConsumerClientOptions{RetryOptions: azeventhubs.RetryOptions{MaxRetries: 1, RetryDelay: 500 * time.Millisecond}}

func (a *app) hubClient(cmd *cobra.Command, scope ops.Scope, viaGroup string) (*azeventhubs.ConsumerClient, error) {
	text := a.env("EVENTHUB_CONNECTION_STRING")
	if text == "" {
		credential, err := azidentity.NewDefaultAzureCredential(nil)
		if err != nil {
			return nil, err
		}
		return azeventhubs.NewConsumerClient(scope.FullyQualifiedNamespace, scope.EventHubName, viaGroup, credential, hubOptions)
	}
	parsed, err := azeventhubs.ParseConnectionString(text)
	if err != nil {
		return nil, usage(cmd, "EVENTHUB_CONNECTION_STRING is no connection string of an event hub: Endpoint=sb://<namespace>/;SharedAccessKeyName=…;SharedAccessKey=…;EntityPath=<hub>")
	}
	name := scope.EventHubName
	if parsed.EntityPath != nil && *parsed.EntityPath != "" {
		if !strings.EqualFold(*parsed.EntityPath, name) {
			return nil, usage(cmd, "EVENTHUB_CONNECTION_STRING is that of event hub %q, and not of %q", *parsed.EntityPath, name)
		}
		name = "" // it must not be given twice
	}
	// An emulator is not where its clients say that it is.
	if host := strings.TrimSuffix(parsed.FullyQualifiedNamespace, "/"); !parsed.Emulator && !strings.EqualFold(host, scope.FullyQualifiedNamespace) {
		return nil, usage(cmd, "EVENTHUB_CONNECTION_STRING is that of namespace %q, and not of %q", host, scope.FullyQualifiedNamespace)
	}
	return azeventhubs.NewConsumerClientFromConnectionString(text, name, viaGroup, hubOptions)
}
