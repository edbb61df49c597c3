// Command checkpointctl shows and changes where Event Hubs consumers are: who owns
// each partition, how far behind it is, and where it resumes.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/ea947076/checkpointstore/cmd/checkpointctl/internal/cli"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	os.Exit(cli.Main(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr, os.LookupEnv))
}
