// Package azurite gives tests and examples a blob service to talk to: Azurite, started on a free loopback port and
// kept in memory.
package azurite

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
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
	hint          = "set " + EndpointVariable
	program       = "azurite-blob"
	startTimeout  = 2 * time.Minute
	answerTimeout = 10 * time.Second
	startAttempts = 5
	pollInterval  = 25 * time.Millisecond
)

// errPortTaken says that the chosen port went to someone else before Azurite had it.
var errPortTaken = errors.New("port taken")

// Server is an Azurite that answers. Its methods may be called at once by any number of goroutines.
type Server struct {
	endpoint string
	process  *nodepkg.Process // nil if someone else started it
}

// Start returns an Azurite that answers: the one at [EndpointVariable] if that is set, else a new one, run from the
// azurite-blob on PATH or else from the npm package locked in testdata/azurite, which is installed the first time.
// A new one is empty, and ends with Close or with this process, even if that is killed.
//
// The error is one line: what is missing and what to install or to set. ctx bounds the start and not the life of the
// server.
func Start(ctx context.Context) (*Server, error) {
	if value := os.Getenv(EndpointVariable); value != "" {
		return attach(ctx, value)
	}
	command, err := findCommand(ctx)
	if err != nil {
		return nil, fmt.Errorf("start azurite: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	for range startAttempts {
		var server *Server
		if server, err = launch(ctx, command); err == nil {
			return server, nil
		}
		if !errors.Is(err, errPortTaken) {
			break
		}
	}
	return nil, fmt.Errorf("start azurite: %w", err)
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
	if err := awaitAnswer(ctx, endpoint.String(), nil); err != nil {
		return nil, fmt.Errorf("no Azurite answers at %s=%s: start one there or unset it: %w", EndpointVariable, endpoint, err)
	}
	return &Server{endpoint: endpoint.String()}, nil
}

// findCommand returns how to run Azurite here, without its port.
func findCommand(ctx context.Context) (nodepkg.Command, error) {
	if path, err := exec.LookPath(program); err == nil {
		return nodepkg.Command{Program: path}, nil
	}
	folder, err := lockFolder()
	if err != nil {
		return nodepkg.Command{}, err
	}
	pkg := nodepkg.Package{Name: "azurite", Files: os.DirFS(folder), Hint: hint}
	dir, err := pkg.Install(ctx)
	if err != nil {
		return nodepkg.Command{}, err
	}
	script := filepath.Join(dir, "node_modules", "azurite", "dist", "src", "blob", "main.js")
	return nodepkg.Command{Args: []string{script}}, nil
}

// lockFolder finds testdata/azurite: from this source file, or, in a binary built with -trimpath, in the working
// directory or above it.
func lockFolder() (string, error) {
	var roots []string
	if _, file, _, ok := runtime.Caller(0); ok {
		roots = append(roots, filepath.Dir(filepath.Dir(filepath.Dir(file))))
	}
	if dir, err := os.Getwd(); err == nil {
		for parent := filepath.Dir(dir); parent != dir; dir, parent = parent, filepath.Dir(parent) {
			roots = append(roots, dir)
		}
	}
	for _, root := range roots {
		folder := filepath.Join(root, "testdata", "azurite")
		if _, err := fs.Stat(os.DirFS(folder), "package-lock.json"); err == nil {
			return folder, nil
		}
	}
	return "", errors.New("testdata/azurite/package-lock.json is not in the source tree: run inside the checkout, install " +
		program + ", or " + hint)
}

// launch runs command on a free port and waits for it to answer.
func launch(ctx context.Context, command nodepkg.Command) (*Server, error) {
	port, err := freePort(ctx)
	if err != nil {
		return nil, err
	}
	listening := make(chan struct{})
	command.OnLine = onceFor("successfully listen", listening)
	command.Dir = os.TempDir() // --inMemoryPersistence writes nothing there and excludes --location
	command.Args = append(command.Args[:len(command.Args):len(command.Args)],
		"--blobHost", "127.0.0.1", "--blobPort", strconv.Itoa(port),
		"--inMemoryPersistence", "--skipApiVersionCheck", "--disableTelemetry", "--silent")
	process, err := nodepkg.Start(command)
	if err != nil {
		return nil, err
	}
	server := &Server{endpoint: fmt.Sprintf("http://127.0.0.1:%d/%s", port, AccountName), process: process}
	if err := await(ctx, server, listening); err != nil {
		server.Close()
		if strings.Contains(process.Tail(), "EADDRINUSE") {
			return nil, errPortTaken
		}
		return nil, err
	}
	return server, nil
}

// await waits until the process says that it listens, and then until it answers.
func await(ctx context.Context, server *Server, listening <-chan struct{}) error {
	select {
	case <-listening:
	case <-server.process.Done():
		return server.process.Err()
	case <-ctx.Done():
		return fmt.Errorf("it does not listen: %w: %s", ctx.Err(), server.process.Tail())
	}
	return awaitAnswer(ctx, server.endpoint, server.process.Done())
}

// onceFor returns a line handler that closes found at the first line that contains text.
func onceFor(text string, found chan<- struct{}) func(string) {
	seen := false
	return func(line string) {
		if !seen && strings.Contains(line, text) {
			seen = true
			close(found)
		}
	}
}

// awaitAnswer asks until any HTTP answer comes; that of an Azurite to an anonymous caller is a refusal.
func awaitAnswer(ctx context.Context, endpoint string, ended <-chan struct{}) error {
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	for {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, endpoint+"?comp=list", nil)
		if err != nil {
			return err
		}
		response, err := client.Do(request)
		if err == nil {
			return response.Body.Close()
		}
		select {
		case <-ended:
			return errors.New("it ended before it answered")
		case <-ctx.Done():
			return err
		case <-time.After(pollInterval):
		}
	}
}

func freePort(ctx context.Context) (int, error) {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	port := listener.Addr().(*net.TCPAddr).Port
	return port, listener.Close()
}
