package main

import (
	"cmp"
	"errors"
	"flag"
	"fmt"
	"io"
)

var errHelp = flag.ErrHelp

// settings are what the program was called with.
type settings struct {
	eventHubConnection, namespace, eventHub, group string
	storageConnection, storage, container          string
	latest, create                                 bool
}

// parse reads flags and, for those that are not given, environment variables. What
// is wrong with them is printed. The environment is read after the flags, so that
// no secret in it becomes a default that the usage shows.
func parse(args []string, getenv func(string) string, stderr io.Writer) (settings, error) {
	var s settings
	flags := flag.NewFlagSet("processor", flag.ContinueOnError)
	flags.SetOutput(stderr)
	environment := make(map[string]string) // by flag
	text := func(value *string, name, variable, usage string) {
		environment[name] = variable
		flags.StringVar(value, name, "", usage+" ($"+variable+")")
	}
	text(&s.eventHubConnection, "eventhub-connection-string", "EVENTHUB_CONNECTION_STRING", "connection string of the namespace or the event hub")
	text(&s.namespace, "namespace", "EVENTHUB_NAMESPACE", "fully qualified namespace, in place of a connection string: ns.servicebus.windows.net")
	text(&s.eventHub, "eventhub", "EVENTHUB_NAME", "name of the event hub, unless the connection string has an EntityPath")
	text(&s.group, "group", "EVENTHUB_CONSUMER_GROUP", "consumer group, $Default if there is none")
	text(&s.storageConnection, "storage-connection-string", "AZURE_STORAGE_CONNECTION_STRING", "connection string of the storage account")
	text(&s.storage, "storage", "AZURE_STORAGE_URL", "URL of the storage account, in place of a connection string: https://account.blob.core.windows.net")
	text(&s.container, "container", "CHECKPOINT_CONTAINER", "name of the blob container, checkpoints if there is none")
	flags.BoolVar(&s.latest, "latest", false, "begin partitions without a checkpoint with the next event, rather than at their beginning")
	flags.BoolVar(&s.create, "create", false, "create the container if it does not exist")
	if err := flags.Parse(args); err != nil {
		return s, err
	}
	given := make(map[string]bool)
	flags.Visit(func(f *flag.Flag) { given[f.Name] = true })
	for name, variable := range environment {
		instead := map[string]string{ // a flag beats the environment of the other form
			"eventhub-connection-string": "namespace", "namespace": "eventhub-connection-string",
			"storage-connection-string": "storage", "storage": "storage-connection-string",
		}
		if !given[name] && !given[instead[name]] {
			_ = flags.Set(name, getenv(variable))
		}
	}
	s.group = cmp.Or(s.group, "$Default")
	s.container = cmp.Or(s.container, "checkpoints")
	if err := s.check(flags.Args()); err != nil {
		_, _ = fmt.Fprintf(stderr, "%v\nprocessor -h lists the flags\n", err)
		return s, err
	}
	return s, nil
}

func (s settings) check(rest []string) error {
	switch {
	case len(rest) > 0:
		return fmt.Errorf("unexpected argument: %q", rest[0])
	case s.eventHubConnection == "" && (s.namespace == "" || s.eventHub == ""):
		return errors.New("set -eventhub-connection-string, or -namespace and -eventhub")
	case s.storageConnection == "" && s.storage == "":
		return errors.New("set -storage-connection-string, or -storage")
	}
	return nil
}
