package securitytest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"unicode"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	azlog "github.com/Azure/azure-sdk-for-go/sdk/azcore/log"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/tracing"
	"github.com/stretchr/testify/require"
)

// A sink keeps everything that comes out of a store: the texts of errors, the
// log, azcore's log and spans.
type sink struct {
	mu    sync.Mutex
	texts map[spill]bool
}

// A spill is one text that came out, and where.
type spill struct{ where, text string }

func (s *sink) add(where, text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.texts == nil {
		s.texts = make(map[spill]bool)
	}
	s.texts[spill{where, text}] = true
}

// Write takes a line of a log.
func (s *sink) Write(line []byte) (int, error) {
	s.add("the log", string(line))
	return len(line), nil
}

// logger writes all that is logged as text and as JSON.
func (s *sink) logger() *slog.Logger {
	all := &slog.HandlerOptions{Level: slog.LevelDebug, AddSource: true}
	return slog.New(both{slog.NewTextHandler(s, all), slog.NewJSONHandler(s, all)})
}

// listen takes azcore's own log until the test ends.
func (s *sink) listen(t *testing.T) {
	azlog.SetListener(func(event azlog.Event, text string) { s.add("azcore's log, "+string(event), text) })
	t.Cleanup(func() { azlog.SetListener(nil) })
}

// tracer takes all spans.
func (s *sink) tracer() tracing.Tracer {
	attributes := func(all ...tracing.Attribute) {
		for _, a := range all {
			s.add("a span's attribute "+a.Key, fmt.Sprint(a.Value))
		}
	}
	return tracing.NewTracer(func(ctx context.Context, name string, options *tracing.SpanOptions) (context.Context, tracing.Span) {
		s.add("a span's name", name)
		if options != nil {
			attributes(options.Attributes...)
		}
		return ctx, tracing.NewSpan(tracing.SpanImpl{
			SetAttributes: attributes,
			AddEvent: func(name string, all ...tracing.Attribute) {
				s.add("a span's event", name)
				attributes(all...)
			},
			SetStatus: func(_ tracing.SpanStatus, text string) { s.add("a span's status", text) },
		})
	}, nil)
}

// error takes an error and all that it wraps, in every way in which they are
// printed, and what their fields hold.
func (s *sink) error(err error) {
	if err == nil {
		return
	}
	where := fmt.Sprintf("%T", err)
	s.add(where, err.Error())
	s.value(where, err)
	if v := reflect.ValueOf(err); v.Kind() == reflect.Pointer {
		s.value(where+", what it points to", v.Elem().Interface())
	}
	s.logger().Info("failed", "error", err, slog.Any("group", []any{err}))
	switch e := err.(type) {
	case *url.Error:
		s.add(where+".URL", e.URL)
	case *azcore.ResponseError:
		s.answer(where, e.RawResponse)
	}
	switch u := err.(type) {
	case interface{ Unwrap() error }:
		s.error(u.Unwrap())
	case interface{ Unwrap() []error }:
		for _, cause := range u.Unwrap() {
			s.error(cause)
		}
	}
}

// value takes a value as fmt and encoding/json print it.
func (s *sink) value(where string, v any) {
	for _, verb := range []string{"%v", "%+v", "%#v", "%q"} {
		s.add(where+" as "+verb, fmt.Sprintf(verb, v))
	}
	if text, err := json.Marshal(v); err == nil {
		s.add(where+" as JSON", string(text))
	}
}

// answer takes the parts of a response and of the request that it holds on to.
func (s *sink) answer(where string, resp *http.Response) {
	if resp == nil {
		return
	}
	s.add(where+".RawResponse.Header", fmt.Sprint(resp.Header))
	if resp.Body != nil {
		body, _ := io.ReadAll(resp.Body)
		resp.Body = io.NopCloser(bytes.NewReader(body))
		s.add(where+".RawResponse.Body", string(body))
	}
	if req := resp.Request; req != nil {
		s.add(where+".RawResponse.Request.URL", req.URL.String())
		s.add(where+".RawResponse.Request.Header", fmt.Sprint(req.Header))
		s.value(where+".RawResponse.Request", *req)
	}
}

// leaks are the spills that hold a part of a secret.
func (s *sink) leaks(secrets ...string) []spill {
	s.mu.Lock()
	defer s.mu.Unlock()
	var parts []string
	for _, secret := range secrets {
		parts = append(parts, partsOf(secret)...)
	}
	var found []spill
	for text := range s.texts {
		lower := strings.ToLower(text.text)
		if slices.ContainsFunc(parts, func(part string) bool { return strings.Contains(lower, part) }) {
			found = append(found, text)
		}
	}
	return found
}

// partsOf are the ends of a secret's runs of letters and digits, which no
// escaping changes, in lower case.
func partsOf(secret string) []string {
	const enough = 8
	var parts []string
	for _, run := range strings.FieldsFunc(strings.ToLower(secret), func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) }) {
		if len(run) >= enough {
			parts = append(parts, run[:enough], run[len(run)-enough:])
		}
	}
	return parts
}

// both writes to two handlers.
type both [2]slog.Handler

func (b both) Enabled(context.Context, slog.Level) bool { return true }

func (b both) Handle(ctx context.Context, r slog.Record) error {
	return errors.Join(b[0].Handle(ctx, r), b[1].Handle(ctx, r))
}

func (b both) WithAttrs(attrs []slog.Attr) slog.Handler {
	return both{b[0].WithAttrs(attrs), b[1].WithAttrs(attrs)}
}

func (b both) WithGroup(name string) slog.Handler {
	return both{b[0].WithGroup(name), b[1].WithGroup(name)}
}

// TestTheGrepFindsAPlantedSecret: what the tests of secrets rely on.
func TestTheGrepFindsAPlantedSecret(t *testing.T) {
	const secret = "cGxhbnRlZCs/L3NlY3JldD0rL3BsYW50ZWQ="
	sasURL := "https://account.blob.core.windows.net/c?sv=2021-06-08&sig=" + url.QueryEscape(secret)
	u, err := url.Parse(sasURL)
	require.NoError(t, err)
	for name, plant := range map[string]func(*sink){
		"a text":            func(s *sink) { s.error(errors.New("it is " + secret)) },
		"a URL in a text":   func(s *sink) { s.error(errors.New("get " + sasURL)) },
		"a net/http error":  func(s *sink) { s.error(&url.Error{Op: "Get", URL: sasURL, Err: io.EOF}) },
		"a cause":           func(s *sink) { s.error(fmt.Errorf("told: %w", quiet{errors.New(secret)})) },
		"one of several":    func(s *sink) { s.error(errors.Join(io.EOF, quiet{errors.New(secret)})) },
		"a field":           func(s *sink) { s.error(byValue{secret}) },
		"the request's URL": func(s *sink) { s.error(answered(&http.Request{URL: u}, "")) },
		"the request's header": func(s *sink) {
			s.error(answered(&http.Request{URL: &url.URL{}, Header: http.Header{"A": {secret}}}, ""))
		},
		"the body":          func(s *sink) { s.error(answered(nil, "it is "+secret)) },
		"JSON in the body":  func(s *sink) { s.error(answered(nil, `{"url":"\u0026sig=`+url.QueryEscape(secret)+`"}`)) },
		"a line of the log": func(s *sink) { s.logger().Debug("x", "url", sasURL) },
		"azcore's log":      func(s *sink) { s.add("azcore's log", "?sig="+strings.ToLower(url.QueryEscape(secret))) },
		"a part of it":      func(s *sink) { s.error(errors.New(secret[:12])) },
		"a span": func(s *sink) {
			_, span := s.tracer().Start(context.Background(), "x", nil)
			span.SetStatus(tracing.SpanStatusError, sasURL)
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := &sink{}
			plant(s)
			require.NotEmpty(t, partsOf(secret))
			require.NotEmpty(t, s.leaks(secret))
			require.Empty(t, s.leaks("b3RoZXIrc2VjcmV0L290aGVyK3NlY3JldA=="))
		})
	}
}

// quiet does not tell its cause in its own text.
type quiet struct{ cause error }

func (quiet) Error() string   { return "quiet" }
func (q quiet) Unwrap() error { return q.cause }

// byValue does not tell its field.
type byValue struct{ secret string }

func (byValue) Error() string { return "by value" }

// answered is the error of an answer with that body.
func answered(req *http.Request, body string) error {
	return &azcore.ResponseError{StatusCode: 403, RawResponse: &http.Response{
		StatusCode: 403, Request: req, Body: io.NopCloser(strings.NewReader(body)),
	}}
}
