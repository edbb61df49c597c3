// Package azurite gives tests and examples a blob service: Azurite, started on a free loopback port and kept in memory.
package azurite

import (
	"context"
	"embed"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/ea947076/checkpointstore/internal/nodepkg"
)

// AccountName and AccountKey are the public, well-known credentials of every Azurite. They are no secret.
const (
	AccountName = "devstoreaccount1"
	AccountKey  = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
)

// EndpointVariable names the environment variable with the endpoint of an Azurite that runs already, as
// http://127.0.0.1:10000/devstoreaccount1.
const EndpointVariable = "AZURITE_BLOB_ENDPOINT"

const (
	startTimeout  = 2 * time.Minute
	answerTimeout = 10 * time.Second
	listening     = "successfully listens on " // the address follows
)

//go:embed package.json package-lock.json
var locked embed.FS

// Server is an Azurite that answers. Its methods may be called at once by any number of goroutines.
type Server struct {
	endpoint string
	process  *nodepkg.Process // nil if someone else started it
}

// Start returns an Azurite that answers: the one at [EndpointVariable] if that is set, else a new one from the locked
// npm package, which is installed the first time. A new one is empty, and ends with Close or with this process, even
// if that is killed.
//
// The error is one line: what is missing and what to install or to set. ctx bounds the start and not the life of the
// server.
func Start(ctx context.Context) (*Server, error) {
	if value := os.Getenv(EndpointVariable); value != "" {
		return attach(ctx, value)
	}
	dir, err := nodepkg.Install(ctx, "azurite", locked)
	if err != nil {
		return nil, fmt.Errorf("start azurite: %w, or set %s", err, EndpointVariable)
	}
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	var address string
	process, err := nodepkg.Start(ctx, nodepkg.Command{
		Args: []string{
			filepath.Join(dir, "node_modules", "azurite", "dist", "src", "blob", "main.js"),
			"--blobHost", "127.0.0.1", "--blobPort", "0",
			"--inMemoryPersistence", "--skipApiVersionCheck", "--disableTelemetry", "--silent",
		},
		Ready: listening,
		OnLine: func(line string) {
			if _, after, found := strings.Cut(line, listening); found {
				address = strings.TrimSpace(after)
			}
		},
	})
	if err != nil {
		return nil, fmt.Errorf("start azurite: %w", err)
	}
	return &Server{endpoint: address + "/" + AccountName, process: process}, nil
}

// attach uses a server that someone else started.
func attach(ctx context.Context, value string) (*Server, error) {
	endpoint, err := url.Parse(value)
	if err != nil || endpoint.Host == "" || (endpoint.Scheme != "http" && endpoint.Scheme != "https") {
		return nil, fmt.Errorf("%s is not a URL as http://127.0.0.1:10000/%s", EndpointVariable, AccountName)
	}
	if endpoint.Path = strings.TrimRight(endpoint.Path, "/"); endpoint.Path == "" {
		endpoint.Path = "/" + AccountName
	}
	endpoint.RawQuery, endpoint.Fragment, endpoint.User = "", "", nil
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, endpoint.String()+"?comp=list", nil)
	if err != nil {
		return nil, err
	}
	response, err := http.DefaultClient.Do(request) // an Azurite refuses an anonymous caller, which is an answer
	if err != nil {
		return nil, fmt.Errorf("no Azurite answers at %s=%s: start one there or unset it: %w", EndpointVariable, endpoint, err)
	}
	return &Server{endpoint: endpoint.String()}, response.Body.Close()
}

// Endpoint returns the URL of the account, without a slash at its end.
func (s *Server) Endpoint() string { return s.endpoint }

// ConnectionString returns what azblob's NewClientFromConnectionString takes.
func (s *Server) ConnectionString() string {
	scheme, _, _ := strings.Cut(s.endpoint, ":")
	return "DefaultEndpointsProtocol=" + scheme + ";AccountName=" + AccountName + ";AccountKey=" + AccountKey +
		";BlobEndpoint=" + s.endpoint + ";"
}

// Close ends the server and with it all of its data, and waits until it is gone. A server that Start did not start
// goes on. A second call does nothing.
func (s *Server) Close() {
	if s.process != nil {
		s.process.Stop()
	}
}
