package cli

import (
	"context"
	"fmt"
	"net/url"
	"strings"

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
	flags.StringVar(&f.containerURL, "container-url", "", "URL of the checkpoint container: https://<account>.blob.core.windows.net/<container>")
	flags.BoolVar(&f.verbatim, "verbatim", false, "the consumers write names as they are typed, as the official Go and Rust stores do (BlobNamingVerbatim)")
}

// place is a container and how to open it.
type place struct {
	connectionString, container string
	url                         string // with the SAS, if there is one
	sas                         bool
}

// place reads flags and environment.
func (a *app) place(cmd *cobra.Command) (place, error) {
	name, at := a.connection.container, a.connection.containerURL
	if name == "" && at == "" {
		name, at = a.env("CHECKPOINT_CONTAINER"), a.env("CHECKPOINT_CONTAINER_URL")
	}
	connectionString := a.env("AZURE_STORAGE_CONNECTION_STRING")
	switch {
	case name != "" && at != "":
		return place{}, usage(cmd, "--container and --container-url cannot be combined: the URL has the container's name in it")
	case at != "":
		if u, err := url.Parse(at); err != nil || u.RawQuery != "" {
			return place{}, usage(cmd, "--container-url must be a URL without a query: give the SAS in AZURE_STORAGE_SAS_TOKEN")
		}
		if sas := strings.TrimPrefix(a.env("AZURE_STORAGE_SAS_TOKEN"), "?"); sas != "" {
			return place{url: at + "?" + sas, sas: true}, nil
		}
		return place{url: at}, nil
	case connectionString == "":
		return place{}, &usageError{cmd.CommandPath(), errNoConnection}
	case name == "":
		return place{}, usage(cmd, "which container? Give --container or CHECKPOINT_CONTAINER")
	}
	return place{connectionString: connectionString, container: name}, nil
}

// store opens the container.
func (a *app) store(cmd *cobra.Command) (*checkpointstore.BlobCheckpointStore, error) {
	p, err := a.place(cmd)
	if err != nil {
		return nil, err
	}
	options := &checkpointstore.BlobCheckpointStoreOptions{}
	if a.connection.verbatim {
		options.BlobNaming = checkpointstore.BlobNamingVerbatim
	}
	switch {
	case p.connectionString != "":
		return checkpointstore.NewBlobCheckpointStoreFromConnectionString(p.connectionString, p.container, options)
	case p.sas:
		return checkpointstore.NewBlobCheckpointStoreWithNoCredential(p.url, options)
	}
	credential, err := azidentity.NewDefaultAzureCredential(nil)
	if err != nil {
		return nil, err
	}
	return checkpointstore.NewBlobCheckpointStoreWithTokenCredential(p.url, credential, options)
}

// client opens a container without a store, for what is not about records.
func (p place) client() (*container.Client, error) {
	switch {
	case p.connectionString != "":
		return container.NewClientFromConnectionString(p.connectionString, p.container, nil)
	case p.sas:
		return container.NewClientWithNoCredential(p.url, nil)
	}
	credential, err := azidentity.NewDefaultAzureCredential(nil)
	if err != nil {
		return nil, err
	}
	return container.NewClient(p.url, credential, nil)
}

// findScope completes the consumer group that the flags name from those that there
// are, if only one fits.
func (a *app) findScope(ctx context.Context, cmd *cobra.Command, store ops.Store) (ops.Scope, error) {
	f := a.scope
	if f.namespace != "" && f.eventHub != "" && f.group != "" {
		return ops.Scope{FullyQualifiedNamespace: f.namespace, EventHubName: f.eventHub, ConsumerGroup: f.group}, nil
	}
	groups, err := ops.ListGroups(ctx, store)
	if err != nil {
		return ops.Scope{}, err
	}
	fits := func(flag, name string) bool { return flag == "" || strings.EqualFold(flag, name) }
	var found, all []string
	var scope ops.Scope
	for _, g := range groups {
		text := scopeText(g.Scope)
		all = append(all, text)
		if fits(f.namespace, g.Scope.FullyQualifiedNamespace) && fits(f.eventHub, g.Scope.EventHubName) && fits(f.group, g.Scope.ConsumerGroup) {
			found = append(found, text)
			scope = g.Spellings[0]
		}
	}
	switch {
	case len(found) == 1:
		return scope, nil
	case len(all) == 0:
		return ops.Scope{}, usage(cmd, "the container has no consumer group: give --namespace, --hub and --group")
	case len(found) == 0:
		return ops.Scope{}, usage(cmd, "no such consumer group in the container; it has:\n  %s", strings.Join(all, "\n  "))
	}
	return ops.Scope{}, usage(cmd, "which consumer group? Give --namespace, --hub and --group; it has:\n  %s", strings.Join(found, "\n  "))
}

// knownScope is findScope, and refuses a consumer group without records.
func (a *app) knownScope(ctx context.Context, cmd *cobra.Command, store ops.Store) (ops.Scope, error) {
	scope, err := a.findScope(ctx, cmd, store)
	if err != nil {
		return scope, err
	}
	groups, err := ops.ListGroups(ctx, store)
	if err != nil {
		return scope, err
	}
	var all []string
	for _, g := range groups {
		if strings.EqualFold(scopeText(g.Scope), scopeText(scope)) {
			return scope, nil
		}
		all = append(all, scopeText(g.Scope))
	}
	if len(all) == 0 {
		return scope, fmt.Errorf("no consumer group %s: the container has none", scopeText(scope))
	}
	return scope, fmt.Errorf("no consumer group %s in the container; it has:\n  %s", scopeText(scope), strings.Join(all, "\n  "))
}

func scopeText(s ops.Scope) string {
	return s.FullyQualifiedNamespace + "/" + s.EventHubName + "/" + s.ConsumerGroup
}

// hub opens the event hub of a scope, to read in a consumer group of it.
func (a *app) hub(scope ops.Scope, viaGroup string) (ops.EventHub, func(), error) {
	var client *azeventhubs.ConsumerClient
	var err error
	if text := a.env("EVENTHUB_CONNECTION_STRING"); text != "" {
		name := scope.EventHubName
		if strings.Contains(strings.ToLower(text), "entitypath=") {
			name = ""
		}
		client, err = azeventhubs.NewConsumerClientFromConnectionString(text, name, viaGroup, nil)
	} else {
		var credential *azidentity.DefaultAzureCredential
		if credential, err = azidentity.NewDefaultAzureCredential(nil); err == nil {
			client, err = azeventhubs.NewConsumerClient(scope.FullyQualifiedNamespace, scope.EventHubName, viaGroup, credential, nil)
		}
	}
	if err != nil {
		return nil, nil, fmt.Errorf("opening the event hub: %w (set EVENTHUB_CONNECTION_STRING, or sign in for DefaultAzureCredential)", err)
	}
	return opshub.New(client), func() { _ = client.Close(context.Background()) }, nil
}
