package workload

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/ea947076/checkpointstore/bench/internal/backend"
	"github.com/ea947076/checkpointstore/bench/internal/measure"
	"github.com/ea947076/checkpointstore/bench/internal/subject"
)

// Row is a work with what came of it.
type Row struct {
	Work
	Series map[string]measure.Series // by subject
}

// Run measures one work. The subjects and what they need are made for it alone.
func Run(ctx context.Context, w Work, on backend.Backend, plan measure.Plan) (row Row, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("%s: %w", w.Name(), err)
		}
	}()
	if err := on.SetLatency(0); err != nil {
		return Row{}, err
	}
	c, err := on.Container(ctx)
	if err != nil {
		return Row{}, err
	}
	defer func() { err = cmp.Or(err, on.Drop(ctx, c)) }()
	if err := fill(ctx, w, on, c); err != nil {
		return Row{}, err
	}
	names := w.Subjects()
	jobs := make([]measure.Job, len(names))
	for i, name := range names {
		store, err := subject.Open(name, c, w.Handed)
		if err != nil {
			return Row{}, err
		}
		defer store.Close()
		if err := connect(ctx, w, on, store, name); err != nil {
			return Row{}, err
		}
		jobs[i] = newJob(w, store, name)
		if err := jobs[i].Prepare(ctx, 1); err != nil {
			return Row{}, err
		}
	}
	if err := on.SetLatency(w.Latency); err != nil {
		return Row{}, err
	}
	counts := func() measure.Counts {
		t := on.Traffic()
		return measure.Counts{Requests: t.Requests, Dialled: t.Dialled}
	}
	all, err := measure.Run(ctx, jobs, counts, plan)
	if err != nil {
		return Row{}, err
	}
	row = Row{Work: w, Series: make(map[string]measure.Series, len(names))}
	for i, name := range names {
		row.Series[name] = all[i]
	}
	return row, nil
}

// fill stores the records that are listed, under both spellings where the store
// reads both.
func fill(ctx context.Context, w Work, on backend.Backend, c backend.Container) error {
	if !w.lists() {
		return nil
	}
	s := listed(w)
	kind, metadata := "ownership", map[string]string{"ownerid": "6fbd5e9b-1d7c-4a35-9c9f-2f0ad9b2c8b1"}
	if w.Kind == ListCheckpoints {
		kind, metadata = "checkpoint", map[string]string{"sequencenumber": "1099511627776", "offset": "8589934592"}
	}
	prefix := strings.Join([]string{s.Namespace, s.EventHub, s.ConsumerGroup, kind, ""}, "/")
	if err := on.Fill(ctx, c, prefix, w.Records, metadata); err != nil {
		return err
	}
	if lower := strings.ToLower(prefix); lower != prefix {
		return on.Fill(ctx, c, lower, w.Records, metadata)
	}
	return nil
}

// connect makes the connections that a fleet has after its first rounds: enough
// for as many requests at once as the store sends, each of which has to be slow
// enough to meet all others.
func connect(ctx context.Context, w Work, on backend.Backend, store subject.Store, name string) error {
	if w.Backend != backend.TLS {
		return nil
	}
	if err := on.SetLatency(5 * time.Millisecond); err != nil {
		return err
	}
	const atOnce = 32
	if err := claimAll(ctx, store.Claims(scope(w, backend.AbsentHub+"connect-"+name), atOnce), atOnce); err != nil {
		return err
	}
	return on.SetLatency(0)
}
