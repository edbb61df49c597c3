package backend

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"sync/atomic"
	"time"
)

// inProcess answers at once and in place, so that what is measured is the
// client alone.
type inProcess struct {
	answers  *answers
	requests atomic.Int64
}

// newInProcess is the back end [InProcess]. It takes no latency.
func newInProcess() (Backend, error) {
	a, err := newAnswers()
	if err != nil {
		return nil, err
	}
	return &inProcess{answers: a}, nil
}

// Do answers a request. It is the transport of every client.
func (b *inProcess) Do(req *http.Request) (*http.Response, error) {
	b.requests.Add(1)
	a := b.answers.to(req)
	resp := &http.Response{
		Status: a.text, StatusCode: a.status,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: a.header, Body: http.NoBody, ContentLength: int64(len(a.body)), Request: req,
	}
	if len(a.body) > 0 {
		resp.Body = io.NopCloser(bytes.NewReader(a.body))
	}
	return resp, nil
}

func (b *inProcess) Container(context.Context) (Container, error) {
	c := Container{URL: "https://account.blob.core.windows.net/c"}
	c.Options.Transport = b
	return c, nil
}

func (b *inProcess) Fill(ctx context.Context, _ Container, prefix string, blobs int, metadata map[string]string) error {
	return b.answers.fill(ctx, prefix, blobs, metadata)
}

func (b *inProcess) Drop(context.Context, Container) error { return nil }

func (b *inProcess) SetLatency(latency time.Duration) error {
	if latency != 0 {
		return errors.New("answers in the same process take no latency")
	}
	return nil
}

func (b *inProcess) Gather(int) error {
	return errors.New("answers in the same process need no connection")
}

func (b *inProcess) Traffic() Traffic { return Traffic{Requests: b.requests.Load()} }

func (b *inProcess) Close() {}
