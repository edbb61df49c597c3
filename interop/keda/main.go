// Command keda drives the reader of KEDA's Event Hubs scaler for the tests: one
// JSON request per line in, one JSON answer per line out.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/bloberror"
	"github.com/kedacore/keda/v2/pkg/scalers/azure"
)

type request struct {
	Call       string   `json:"call"`
	Container  string   `json:"container"`
	Namespace  string   `json:"namespace"`
	Hub        string   `json:"hub"`
	Group      string   `json:"group"`
	Partitions []string `json:"partitions"`
}

type reply struct {
	Checkpoints []checkpoint `json:"checkpoints"`
	Error       string       `json:"error,omitempty"`
}

type checkpoint struct {
	Partition      string `json:"partition"`
	SequenceNumber int64  `json:"sequenceNumber,string"`
}

func main() {
	if err := serve(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// serve answers until standard input ends.
func serve() error {
	client, err := azblob.NewClientFromConnectionString(os.Getenv("INTEROP_CONNECTION_STRING"), nil)
	if err != nil {
		return err
	}
	out := json.NewEncoder(os.Stdout)
	in := bufio.NewScanner(os.Stdin)
	for in.Scan() {
		var r request
		err := json.Unmarshal(in.Bytes(), &r)
		var answer reply
		if err == nil {
			answer.Checkpoints, err = list(context.Background(), client, r)
		}
		if err != nil {
			answer = reply{Error: strings.Join(strings.Fields(err.Error()), " ")}
		}
		if err := out.Encode(answer); err != nil {
			return err
		}
	}
	return in.Err()
}

// list reads the partitions as the scaler does: a blob that is missing is a
// partition without a checkpoint, and any other failure fails all of them.
func list(ctx context.Context, client *azblob.Client, r request) ([]checkpoint, error) {
	if r.Call != "list-checkpoints" {
		return nil, errors.New("KEDA only reads checkpoints: " + r.Call)
	}
	name, suffix, _ := strings.Cut(r.Namespace, ".")
	info := azure.EventHubInfo{
		Namespace:                name,
		ServiceBusEndpointSuffix: suffix,
		EventHubName:             r.Hub,
		EventHubConsumerGroup:    r.Group,
		BlobContainer:            r.Container,
		CheckpointStrategy:       "blobMetadata",
	}
	var all []checkpoint
	for _, partition := range r.Partitions {
		found, err := azure.GetCheckpointFromBlobStorage(ctx, client, info, partition)
		if bloberror.HasCode(err, bloberror.BlobNotFound, bloberror.ContainerNotFound) {
			continue
		}
		if err != nil {
			return nil, err
		}
		all = append(all, checkpoint{found.PartitionID, found.SequenceNumber})
	}
	return all, nil
}
